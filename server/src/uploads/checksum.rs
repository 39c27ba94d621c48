//! `Upload-Checksum` (tus, checksum extension): a digest of one request's bytes, announced before them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use findme_common::digest::Hasher;
use sha1::{Digest as _, Sha1};

/// Algorithms that are offered, as `Tus-Checksum-Algorithm` lists them.
pub(crate) const SUM_ALGORITHMS: &str = "sha1,sha256";

/// What a request announced about its bytes. An expectation of the wrong length is kept: nothing will meet it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checksum {
    algorithm: Algorithm,
    expected: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    /// Broken for names and secrets, good enough against a bad cable; the extension demands it.
    Sha1,
    Sha256,
}

/// Why a header is no checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAChecksum {
    /// Another algorithm than [`SUM_ALGORITHMS`].
    #[error("Upload-Checksum is taken with sha1 or sha256")]
    UnknownAlgorithm,
    /// Not `<algorithm> <base64>`.
    #[error("Upload-Checksum is an algorithm, a space and a digest in base64")]
    Malformed,
}

impl std::str::FromStr for Checksum {
    type Err = NotAChecksum;

    fn from_str(text: &str) -> Result<Self, NotAChecksum> {
        let (algorithm, digest) = text.split_once(' ').ok_or(NotAChecksum::Malformed)?;
        let algorithm = match algorithm {
            "sha1" => Algorithm::Sha1,
            "sha256" => Algorithm::Sha256,
            _ => return Err(NotAChecksum::UnknownAlgorithm),
        };
        let expected = STANDARD.decode(digest).map_err(|_| NotAChecksum::Malformed)?;
        if expected.is_empty() { Err(NotAChecksum::Malformed) } else { Ok(Self { algorithm, expected }) }
    }
}

/// A checksum on its way.
#[derive(Debug, Clone)]
pub(super) struct Sum {
    state: State,
    expected: Vec<u8>,
}

#[derive(Debug, Clone)]
enum State {
    Sha1(Sha1),
    Sha256(Hasher),
}

impl Sum {
    pub(super) fn new(announced: Checksum) -> Self {
        let state = match announced.algorithm {
            Algorithm::Sha1 => State::Sha1(Sha1::new()),
            Algorithm::Sha256 => State::Sha256(Hasher::new()),
        };
        Self { state, expected: announced.expected }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha1(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
        }
    }

    /// Whether the bytes are those that were announced.
    pub(super) fn met(self) -> bool {
        match self.state {
            State::Sha1(state) => state.finalize().as_slice() == self.expected,
            State::Sha256(state) => state.finish().as_bytes().as_slice() == self.expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the bytes `hello world`, as the extension's own example has it.
    const HELLO_WORLD: &str = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=";

    fn meets(header: &str, bytes: &[u8]) -> bool {
        let mut sum = Sum::new(header.parse().unwrap());
        bytes.chunks(3).for_each(|piece| sum.update(piece));
        sum.met()
    }

    #[test]
    fn the_announced_bytes_and_no_others_meet_a_checksum() {
        let sha256 = format!("sha256 {}", STANDARD.encode(findme_common::Digest::of(b"hello world").as_bytes()));
        for header in [HELLO_WORLD, &sha256] {
            assert!(meets(header, b"hello world"), "{header}");
            assert!(!meets(header, b"hello w0rld"), "{header}");
            assert!(!meets(header, b""), "{header}");
        }
        assert!(!meets("sha1 Kq5sNclPz7QV2+lfQIuc6Q==", b"hello world"), "too short is never met");
    }

    #[test]
    fn what_is_no_checksum_is_told_apart() {
        for (header, why) in [
            ("", NotAChecksum::Malformed),
            ("sha1", NotAChecksum::Malformed),
            ("sha1 ", NotAChecksum::Malformed),
            ("sha1 !!!", NotAChecksum::Malformed),
            ("sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0=", NotAChecksum::Malformed),
            ("md5 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", NotAChecksum::UnknownAlgorithm),
            ("SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", NotAChecksum::UnknownAlgorithm),
        ] {
            assert_eq!(header.parse::<Checksum>(), Err(why), "{header:?}");
        }
    }
}
