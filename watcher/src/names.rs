//! What a name says about a file, before anybody opens it.

use std::path::Path;

use findme_common::manifest::SkipReason;
use findme_common::media::Media;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Endings that programs give to files they have not finished. They are renamed when they are.
const TEMPORARY: [&str; 9] = ["tmp", "temp", "part", "partial", "crdownload", "download", "filepart", "swp", "!ut"];

/// Endings of files that describe photos.
const SIDECARS: [&str; 10] = ["xmp", "aae", "thm", "pp3", "dop", "cos", "on1", "vrd", "json", "xml"];

/// Folders of operating systems, storage boxes and catalogs, which hold copies and previews but no photos.
const FOREIGN_FOLDERS: [&str; 7] =
    ["@eadir", "$recycle.bin", "system volume information", "lost+found", "__macosx", "captureone", "#recycle"];

/// Which names are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    include: Option<GlobSet>,
    exclude: GlobSet,
    raw: bool,
}

/// What a name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// A photo that is wanted, if the bytes agree.
    Photo,
    /// Nothing to send.
    Skip(SkipReason),
}

fn globs(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(GlobBuilder::new(pattern).case_insensitive(true).build()?);
    }
    set.build()
}

impl Wanted {
    /// From the options. Patterns are matched against the path below the watched folder and against the bare name.
    ///
    /// # Errors
    /// When a pattern is malformed.
    pub(crate) fn new(include: &[String], exclude: &[String], raw: bool) -> Result<Self, globset::Error> {
        let include = if include.is_empty() { None } else { Some(globs(include)?) };
        Ok(Self { include, exclude: globs(exclude)?, raw })
    }

    /// Whether RAW files are sent whole.
    pub(crate) fn sends_raw(&self) -> bool {
        self.raw
    }

    /// What the name of a file promises. `below` is the path below the watched folder.
    pub(crate) fn promise(&self, below: &Path) -> Promise {
        let name = below.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let ending = below.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let is_one_of = |endings: &[&str]| endings.iter().any(|known| known.eq_ignore_ascii_case(ending));
        if name.starts_with('.') {
            return Promise::Skip(SkipReason::Hidden);
        }
        if is_one_of(&TEMPORARY) || name.ends_with('~') || name.starts_with('~') {
            return Promise::Skip(SkipReason::TemporaryName);
        }
        let matches = |set: &GlobSet| set.is_match(below) || set.is_match(Path::new(&*name));
        if self.include.as_ref().is_some_and(|set| !matches(set)) || matches(&self.exclude) {
            return Promise::Skip(SkipReason::Excluded);
        }
        match Media::of_name(below) {
            Some(Media::Raw) if !self.raw => Promise::Skip(SkipReason::Raw),
            Some(_) => Promise::Photo,
            None if is_one_of(&SIDECARS) => Promise::Skip(SkipReason::Sidecar),
            None => Promise::Skip(SkipReason::NotAPhoto),
        }
    }
}

/// Whether a folder below a watched one is looked into.
pub(crate) fn is_wanted_folder(name: &str) -> bool {
    !name.starts_with('.') && !FOREIGN_FOLDERS.contains(&name.to_ascii_lowercase().as_str())
}

/// Whether a picture of the same shot lies beside a RAW file.
pub(crate) fn has_picture_beside(raw: &Path) -> bool {
    ["jpg", "JPG", "jpeg", "JPEG", "heic", "HEIC", "hif", "HIF"]
        .iter()
        .any(|ending| raw.with_extension(ending).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(name: &str) -> Promise {
        Wanted::new(&[], &[], false).unwrap().promise(Path::new(name))
    }

    #[test]
    fn each_name_has_its_word() {
        for (name, reason) in [
            ("a/.hidden.jpg", SkipReason::Hidden),
            ("._DSC1.JPG", SkipReason::Hidden),
            ("DSC1.jpg.part", SkipReason::TemporaryName),
            ("DSC1.jpg~", SkipReason::TemporaryName),
            ("DSC1.XMP", SkipReason::Sidecar),
            ("DSC1.nef", SkipReason::Raw),
            ("notes.txt", SkipReason::NotAPhoto),
            ("no-ending", SkipReason::NotAPhoto),
        ] {
            assert_eq!(promise(name), Promise::Skip(reason), "{name}");
        }
        for name in ["DSC1.JPG", "a/b/c d.heic", "x.tiff"] {
            assert_eq!(promise(name), Promise::Photo, "{name}");
        }
    }

    #[test]
    fn patterns_match_the_path_and_the_bare_name() {
        let wanted = Wanted::new(&["*.jpg".into()], &["rejects/**".into()], true).unwrap();
        assert_eq!(wanted.promise(Path::new("day 1/A.JPG")), Promise::Photo);
        assert_eq!(wanted.promise(Path::new("a.png")), Promise::Skip(SkipReason::Excluded));
        assert_eq!(wanted.promise(Path::new("rejects/a.jpg")), Promise::Skip(SkipReason::Excluded));
        assert!(Wanted::new(&["[".into()], &[], false).is_err());
    }
}
