//! Which files are photos: by extension (what a folder scan sees) and by magic bytes (what is really in the file).

use std::path::Path;

/// How much of a file's beginning [`Media::sniff`] wants to see, in bytes.
pub const SNIFF_LEN: usize = 32;

/// A picture format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Media {
    /// JFIF or EXIF JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    Webp,
    /// TIFF that no camera maker's RAW extension claims.
    Tiff,
    /// HEIC or HEIF (ISO 23008-12).
    Heif,
    /// AVIF.
    Avif,
    /// A camera maker's RAW format.
    Raw,
}

const RAW_EXTENSIONS: [&str; 18] = [
    "3fr", "arw", "cr2", "cr3", "crw", "dng", "erf", "iiq", "mrw", "nef", "nrw", "orf", "pef", "raf", "rw2", "rwl",
    "sr2", "srw",
];

/// Endings of the other formats.
const ENDINGS: [&str; 10] = ["jpg", "jpeg", "jpe", "png", "webp", "tif", "tiff", "heic", "heif", "hif"];

impl Media {
    /// Endings of the names of RAW files, in lower case.
    pub fn raw_endings() -> impl Iterator<Item = &'static str> {
        RAW_EXTENSIONS.into_iter()
    }

    /// Endings of the names of photos, in lower case.
    pub fn endings() -> impl Iterator<Item = &'static str> {
        ENDINGS.into_iter().chain(["avif"]).chain(RAW_EXTENSIONS)
    }

    /// What the name claims, any case; `None` when it names no photo.
    pub fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?;
        // Without a text of its own: a listing asks for every file.
        let mut lower = [0; 8];
        let lower = lower.get_mut(..extension.len())?;
        lower.copy_from_slice(extension.as_bytes());
        lower.make_ascii_lowercase();
        match std::str::from_utf8(lower).ok()? {
            "jpg" | "jpeg" | "jpe" => Some(Self::Jpeg),
            "png" => Some(Self::Png),
            "webp" => Some(Self::Webp),
            "tif" | "tiff" => Some(Self::Tiff),
            "heic" | "heif" | "hif" => Some(Self::Heif),
            "avif" => Some(Self::Avif),
            other => RAW_EXTENSIONS.contains(&other).then_some(Self::Raw),
        }
    }

    /// What the first bytes say ([`SNIFF_LEN`] of them are enough); `None` when they are no photo's.
    ///
    /// Most RAW formats are TIFF inside, so a RAW file may answer [`Media::Tiff`]; [`Media::agrees`] knows.
    pub fn sniff(head: &[u8]) -> Option<Self> {
        match head {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Self::Tiff),
            // Olympus ORF and Panasonic RW2 are TIFF with another number; Fuji RAF has its own name.
            [b'I', b'I', b'R', b'O' | b'S', ..] | [b'M', b'M', b'O', b'R', ..] | [b'I', b'I', 0x55, 0, ..] => {
                Some(Self::Raw)
            }
            _ if head.starts_with(b"FUJIFILMCCD-RAW") => Some(Self::Raw),
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => Self::of_brand(brand.get(..4)?),
            _ => None,
        }
    }

    fn of_brand(brand: &[u8]) -> Option<Self> {
        match brand {
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => Some(Self::Heif),
            b"avif" | b"avis" => Some(Self::Avif),
            b"crx " => Some(Self::Raw),
            _ => None,
        }
    }

    /// Whether bytes that say `sniffed` may bear a name that says `self`.
    ///
    /// Names lie harmlessly (a phone's HEIC called `.jpg`), so any two pictures agree; what matters is that RAW by name
    /// is TIFF inside more often than not, and stays RAW.
    pub fn agrees(self, sniffed: Self) -> Self {
        match (self, sniffed) {
            (Self::Raw, _) => Self::Raw,
            (_, actual) => actual,
        }
    }

    /// Media type for `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Tiff => "image/tiff",
            Self::Heif => "image/heic",
            Self::Avif => "image/avif",
            Self::Raw => "image/x-raw",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_case() {
        assert_eq!(Media::of_name(Path::new("a/DSC_0001.JPG")), Some(Media::Jpeg));
        assert_eq!(Media::of_name(Path::new("x.NEF")), Some(Media::Raw));
        for none in ["x", "x.xmp", ".jpg", "x.txt", "jpg"] {
            assert_eq!(Media::of_name(Path::new(none)), None, "{none}");
        }
    }

    #[test]
    fn magic_bytes() {
        assert_eq!(Media::sniff(&[0xFF, 0xD8, 0xFF, 0xE1, 0, 0]), Some(Media::Jpeg));
        assert_eq!(Media::sniff(b"\0\0\0\x18ftypheic\0\0\0\0"), Some(Media::Heif));
        assert_eq!(Media::sniff(b"\0\0\0\x18ftypavif\0\0\0\0"), Some(Media::Avif));
        assert_eq!(Media::sniff(b"RIFF\x10\0\0\0WEBPVP8 "), Some(Media::Webp));
        assert_eq!(Media::sniff(b"II*\0\x08\0\0\0"), Some(Media::Tiff));
        for none in [&b""[..], b"hello", b"\0\0\0\x18ftypisom", b"RIFF\0\0\0\0WAVE", &[0xFF, 0xD8]] {
            assert_eq!(Media::sniff(none), None);
        }
    }

    #[test]
    fn a_raw_name_over_tiff_bytes_stays_raw() {
        assert_eq!(Media::Raw.agrees(Media::Tiff), Media::Raw);
        assert_eq!(Media::Jpeg.agrees(Media::Heif), Media::Heif);
    }
}
