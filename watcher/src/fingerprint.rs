//! What a file is: cheap to compare by its fingerprint, for certain by its digest.
//!
//! A fingerprint is always the one from before the reading; a digest counts only when the fingerprint was the same
//! before and after.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use findme_common::Digest;
use findme_common::digest::Hasher;
use findme_common::manifest::{Look, Shot};
use findme_common::media::{Media, SNIFF_LEN};

use crate::format::{End, EndCheck};
use crate::pixels::ImageKeys;
use crate::rating;
use crate::shot::{self, Told};

/// Read at a time; large enough for a spinning disk, small enough for many at once.
const PIECE: usize = 256 * 1024;

/// What tells a changed file from an unchanged one without reading it. As recorded in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Fingerprint {
    /// Length.
    pub(crate) bytes: u64,
    /// Modification time, in nanoseconds since 1970 (UTC).
    pub(crate) mtime_ns: i64,
    /// File number; 0 where there is none.
    pub(crate) inode: u64,
}

/// What the file system says about a file at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) fingerprint: Fingerprint,
    /// When anything about the file last changed, in nanoseconds since 1970 (UTC): copies keep the modification time
    /// of their original, but not this. Also changes with the access rights.
    pub(crate) changed_ns: i64,
}

fn since_1970(time: io::Result<SystemTime>) -> i64 {
    let Ok(time) = time else { return 0 };
    let nanos = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|before| -nanos(before.duration()), nanos)
}

impl Stat {
    /// From what the file system gave.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let mtime_ns = since_1970(metadata.modified());
        #[cfg(unix)]
        let (inode, changed_ns) = {
            use std::os::unix::fs::MetadataExt;
            let ctime = metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec());
            (metadata.ino(), ctime.max(mtime_ns))
        };
        // Windows gives a copy its original's modification time but a creation time of its own.
        #[cfg(not(unix))]
        let (inode, changed_ns) = (0, mtime_ns.max(since_1970(metadata.created())));
        Self { fingerprint: Fingerprint { bytes: metadata.len(), mtime_ns, inode }, changed_ns }
    }

    /// For how long the file has not changed, by the clock of this machine; zero when its times lie in the future.
    pub(crate) fn age(&self) -> Duration {
        let age = since_1970(Ok(SystemTime::now())).saturating_sub(self.changed_ns);
        Duration::from_nanos(u64::try_from(age).unwrap_or(0))
    }

    /// Whether a change right now could leave the modification time as it is. Clocks of file systems tick every few
    /// milliseconds, on memory cards every two seconds.
    fn is_racy(&self) -> bool {
        let coarse = self.fingerprint.mtime_ns % 1_000_000_000 == 0;
        let tick = if coarse { Duration::from_secs(2) } else { Duration::from_millis(20) };
        let age = since_1970(Ok(SystemTime::now())).saturating_sub(self.fingerprint.mtime_ns);
        age < i64::try_from(tick.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// What reading a file to its end has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A whole photo.
    Photo(Content),
    /// It has no bytes.
    Empty,
    /// Its first bytes are no photo's.
    NotAPhoto,
    /// It has not as many stars as are asked for; nothing else was looked at.
    BelowRating,
    /// It does not end as its format demands.
    Truncated,
    /// It was not the same before and after.
    Changed,
    /// It is not there any more.
    Gone,
    /// The operating system does not give it.
    CannotBeRead(String),
}

/// A whole photo that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) digest: Digest,
    pub(crate) media: Media,
    /// What the picture is without its metadata, where that can be told.
    pub(crate) image: Option<ImageKeys>,
    /// Which shot it is of, where its data say so.
    pub(crate) shot: Option<Box<Shot>>,
    /// What it looks like, where somebody wants to know.
    pub(crate) look: Option<Look>,
    /// From before the reading.
    pub(crate) fingerprint: Fingerprint,
    /// The file may change once more without its fingerprint changing.
    pub(crate) racy: bool,
}

/// What is wanted of a file beside its digest.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish {
    /// It is read to its end only when it has at least so many stars.
    pub(crate) stars: Option<u8>,
    /// The image keys of earlier programs are wanted too.
    pub(crate) earlier_images: bool,
}

/// Reads a file once, from beginning to end: digest, format and completeness. Also answers what the file was like
/// before, where it could be opened. Blocks.
pub(crate) fn read(path: &Path, wish: Wish) -> (Reading, Option<Stat>) {
    let mut before = None;
    let reading = try_read(path, wish, &mut before).unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Reading::Gone,
        _ => Reading::CannotBeRead(error.to_string()),
    });
    (reading, before)
}

fn try_read(path: &Path, wish: Wish, found: &mut Option<Stat>) -> io::Result<Reading> {
    let mut file = File::open(path)?;
    let before = Stat::of(&file.metadata()?);
    *found = Some(before);
    let racy = before.is_racy();
    if before.fingerprint.bytes == 0 {
        return Ok(Reading::Empty);
    }
    let mut buffer = vec![0; PIECE];
    let head_len = read_full(&mut file, &mut buffer)?;
    let Some(sniffed) = Media::sniff(&buffer[..head_len.min(SNIFF_LEN)]) else {
        return Ok(Reading::NotAPhoto);
    };
    let media = Media::of_name(path).map_or(sniffed, |named| named.agrees(sniffed));
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let Told { shot, rating: rated, orientation } =
        shot::told(&buffer[..head_len], media, &name, before.fingerprint.mtime_ns / 1_000_000_000);
    if wish.stars.is_some_and(|stars| !rating::reaches(rating::beside(path).or(rated), stars)) {
        return Ok(Reading::BelowRating);
    }
    let (mut hasher, mut end, mut filled) = (Hasher::new(), EndCheck::new(sniffed, wish.earlier_images), head_len);
    while filled > 0 {
        hasher.update(&buffer[..filled]);
        end.push(&buffer[..filled]);
        filled = read_full(&mut file, &mut buffer)?;
    }
    // By the path again: the name may have been given to another file meanwhile.
    if Stat::of(&fs::symlink_metadata(path)?).fingerprint != before.fingerprint {
        return Ok(Reading::Changed);
    }
    let image = end.image(orientation);
    Ok(match end.finish(before.fingerprint.bytes) {
        End::Truncated => Reading::Truncated,
        End::Complete => {
            let fingerprint = before.fingerprint;
            let shot = shot.map(Box::new);
            Reading::Photo(Content { digest: hasher.finish(), media, image, shot, look: None, fingerprint, racy })
        }
    })
}

/// Fills the buffer unless the file ends before.
pub(crate) fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> (Reading, Option<Stat>) {
        super::read(path, Wish::default())
    }
    use crate::format::tests::jpeg;

    #[test]
    fn a_whole_photo_gives_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        fs::write(&path, jpeg(700_000)).unwrap();
        let Reading::Photo(content) = read(&path).0 else { panic!("not read as a photo") };
        assert_eq!(content.digest, Digest::of(&jpeg(700_000)));
        assert_eq!(content.media, Media::Jpeg);
        assert_eq!(content.fingerprint.bytes, jpeg(700_000).len() as u64);
    }

    #[test]
    fn each_wrong_file_has_its_word() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("empty.jpg"), b"").unwrap();
        fs::write(path("text.jpg"), b"hello, this is text").unwrap();
        fs::write(path("cut.jpg"), &jpeg(9000)[..5000]).unwrap();
        assert_eq!(read(&path("empty.jpg")).0, Reading::Empty);
        assert_eq!(read(&path("text.jpg")).0, Reading::NotAPhoto);
        assert_eq!(read(&path("cut.jpg")).0, Reading::Truncated);
        assert_eq!(read(&path("none.jpg")).0, Reading::Gone);
        assert!(matches!(read(dir.path()).0, Reading::CannotBeRead(_)));
    }

    #[test]
    fn a_fresh_file_is_racy_and_an_old_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        fs::write(&path, jpeg(10)).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        for (ago, racy) in [(0, true), (1, true), (5, false)] {
            // Whole seconds, as a memory card has them.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(now - ago)).unwrap();
            assert_eq!(Stat::of(&fs::metadata(&path).unwrap()).is_racy(), racy, "{ago} s");
        }
    }
}
