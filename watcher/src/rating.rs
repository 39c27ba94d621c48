//! The stars of a photo: in a sidecar beside it, where there is one with a rating, else in the file itself.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use findme_common::media::Media;

use crate::{shot, xmp};

/// How much of a sidecar or of a file's beginning is read.
const MOST: u64 = 1024 * 1024;

/// Both ways in which programs name sidecars: `DSC_1.xmp` and `DSC_1.NEF.xmp`.
pub(crate) fn sidecars(photo: &Path) -> impl Iterator<Item = PathBuf> {
    let added = |ending: &str| {
        let mut name = photo.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    [added(".xmp"), added(".XMP"), photo.with_extension("xmp"), photo.with_extension("XMP")].into_iter()
}

/// The photos that a sidecar may be about: those that its name names.
pub(crate) fn photos_of(sidecar: &Path) -> Vec<PathBuf> {
    let stem = sidecar.with_extension("");
    if Media::of_name(&stem).is_some() {
        return vec![stem];
    }
    let endings = Media::endings().flat_map(|ending| [ending.to_owned(), ending.to_uppercase()]);
    endings.map(|ending| sidecar.with_extension(ending)).collect()
}

/// The rating in the photo's sidecar.
pub(crate) fn beside(photo: &Path) -> Option<i8> {
    sidecars(photo).find_map(|sidecar| xmp::rating(&String::from_utf8_lossy(&beginning(&sidecar)?)))
}

/// The rating of a photo, wherever it is written. Blocks.
pub(crate) fn of(photo: &Path) -> Option<i8> {
    beside(photo).or_else(|| shot::rating(&beginning(photo)?))
}

/// Whether a photo has at least so many stars. One without a rating has none.
pub(crate) fn reaches(rating: Option<i8>, stars: u8) -> bool {
    i16::from(rating.unwrap_or(0)) >= i16::from(stars)
}

fn beginning(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_sidecar_counts_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let packet = |stars: u8| format!("<x:xmpmeta><r xmp:Rating=\"{stars}\"/></x:xmpmeta>");
        fs::write(path("a.jpg"), [&b"\xFF\xD8\xFF\xE1"[..], packet(2).as_bytes()].concat()).unwrap();
        assert_eq!(of(&path("a.jpg")), Some(2));
        fs::write(path("a.xmp"), "<x:xmpmeta><r dc:title=\"no rating\"/></x:xmpmeta>").unwrap();
        assert_eq!(of(&path("a.jpg")), Some(2));
        fs::write(path("a.xmp"), packet(4)).unwrap();
        assert_eq!(of(&path("a.jpg")), Some(4));
        fs::write(path("a.jpg.xmp"), packet(5)).unwrap();
        assert_eq!(of(&path("a.jpg")), Some(5));
        assert_eq!(of(&path("none.jpg")), None);
    }

    #[test]
    fn a_sidecar_names_its_photo_in_two_ways() {
        assert_eq!(photos_of(Path::new("/p/a.NEF.xmp")), [Path::new("/p/a.NEF")]);
        let named = photos_of(Path::new("/p/a.xmp"));
        assert!(named.contains(&"/p/a.JPG".into()) && named.contains(&"/p/a.cr3".into()));
        for photo in ["/p/a.jpg", "/p/a.b.NEF"] {
            assert!(sidecars(Path::new(photo)).all(|sidecar| photos_of(&sidecar).contains(&photo.into())), "{photo}");
        }
    }

    #[test]
    fn no_rating_is_no_star() {
        assert!(reaches(Some(3), 3) && !reaches(Some(2), 3) && !reaches(None, 1) && reaches(None, 0));
        assert!(!reaches(Some(-1), 0), "rejected");
    }
}
