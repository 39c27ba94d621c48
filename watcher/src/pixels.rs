//! The digest of what a picture file holds beside its metadata, from which its [`ImageKey`] is made.
//!
//! Everything is digested twice while it is read, as a whole and without its metadata. The second digest is a BLAKE3,
//! because it costs a quarter of a second SHA-256. Keys of photos that an earlier program sent are only found when theirs
//! is counted too.

use findme_common::digest::Hasher;
use findme_common::manifest::ImageKey;

/// The digest of the pixels that were passed by so far.
#[derive(Debug, Clone)]
pub(crate) struct Pixels {
    now: Box<blake3::Hasher>,
    earlier: Option<Hasher>,
}

/// What a picture is without its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageKeys {
    /// As it is recorded.
    pub(crate) now: ImageKey,
    /// As an earlier program would have recorded it, where that was asked for.
    pub(crate) earlier: Option<ImageKey>,
}

impl Pixels {
    /// Nothing so far. `earlier`: also for the keys of earlier programs.
    pub(crate) fn new(earlier: bool) -> Self {
        Self { now: Box::default(), earlier: earlier.then(Hasher::new) }
    }

    /// The next bytes that are not metadata.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.now.update(bytes);
        if let Some(earlier) = &mut self.earlier {
            earlier.update(bytes);
        }
    }

    /// The keys of these pixels when they are shown in this `orientation` (EXIF, 1 to 8).
    pub(crate) fn keys(&self, orientation: u8) -> ImageKeys {
        let mut now = self.now.clone();
        now.update(&[orientation]);
        let earlier = self.earlier.clone().map(|pixels| {
            let mut oriented = Hasher::new();
            oriented.update(pixels.finish().as_bytes());
            oriented.update(&[orientation]);
            ImageKey::sha256(&oriented.finish())
        });
        ImageKeys { now: ImageKey::blake3(now.finalize().as_bytes()), earlier }
    }
}

#[cfg(test)]
mod tests {
    use findme_common::Digest;

    use super::*;

    #[test]
    fn keys_are_what_they_always_were() {
        let mut pixels = Pixels::new(true);
        pixels.update(b"pix");
        pixels.update(b"els");
        let keys = pixels.keys(6);
        assert_eq!(keys.now, ImageKey::blake3(blake3::hash(b"pixels\x06").as_bytes()));
        let earlier = Digest::of(&[Digest::of(b"pixels").as_bytes().as_slice(), &[6]].concat());
        assert_eq!(keys.earlier, Some(ImageKey::sha256(&earlier)));
        assert_eq!(Pixels::new(false).keys(1).earlier, None);
        assert_ne!(pixels.keys(1).now, keys.now, "a turned picture is another one");
    }
}
