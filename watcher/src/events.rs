//! Which folders are watched, and which one's photos go to which event: all to the token's own, or as `--map FOLDER=EVENT` says.
//!
//! A folder belongs to one event: none of two events' folders may lie inside the other, or a photo would have two homes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use findme_common::PhotographerToken;

use crate::config::ConfigError;

/// `--map`: this folder's photos go to this event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// As typed.
    pub folder: PathBuf,
    /// Its id, or how that begins.
    pub event: String,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A folder's name may hold the sign, an id cannot.
        let (folder, event) = text.rsplit_once('=').ok_or("FOLDER=EVENT, as in Ceremony=00112233")?;
        let event: String = event.to_ascii_lowercase().chars().filter(|c| *c != '-').collect();
        if folder.is_empty() || event.len() < 4 || !event.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err("behind the last = stands the event's id, or at least its first four digits".to_owned());
        }
        Ok(Self { folder: folder.into(), event })
    }
}

/// One event's token, and the folders whose photos go there.
pub(crate) type Home = (PhotographerToken, Vec<PathBuf>);

/// Sorts folders by event. `folders`: those that were named without one.
///
/// # Errors
/// When it is not clear which event is meant, or a folder would belong to two.
pub(crate) fn homes(
    folders: &[PathBuf],
    map: &[Mapping],
    tokens: &[PhotographerToken],
) -> Result<Vec<Home>, ConfigError> {
    let problem = |why: String| ConfigError::Map(why);
    let mut named: Vec<(&PhotographerToken, Vec<PathBuf>)> = tokens.iter().map(|token| (token, Vec::new())).collect();
    for Mapping { folder, event } in map {
        let mut meant = named.iter_mut().filter(|(token, _)| token.event.to_simple().starts_with(event.as_str()));
        match (meant.next(), meant.next()) {
            (Some((_, folders)), None) => folders.push(folder.clone()),
            (Some(_), Some(_)) => return Err(problem(format!("{event} begins several events' ids; write more of it"))),
            (None, _) => {
                let how = "put its token into the token file, one a line";
                return Err(problem(format!("there is no token for the event {event}…; {how}")));
            }
        }
    }
    match (folders, named.as_mut_slice()) {
        ([], _) => {}
        (folders, [(_, own)]) => own.extend_from_slice(folders),
        (folders, _) => {
            let which = folders[0].display();
            return Err(problem(format!(
                "to which event do the photos in {which} go? Say it with --map {which}=EVENT"
            )));
        }
    }
    let mut homes = Vec::new();
    for (token, folders) in named.into_iter().filter(|(_, folders)| !folders.is_empty()) {
        homes.push((token.clone(), canonical(&folders)?));
    }
    apart(&homes)?;
    Ok(homes)
}

fn apart(homes: &[Home]) -> Result<(), ConfigError> {
    let all = || homes.iter().enumerate().flat_map(|(n, (_, folders))| folders.iter().map(move |folder| (n, folder)));
    let inside = |a: &Path, b: &Path| a.starts_with(b);
    let clash = all().find_map(|(n, a)| all().find(|(m, b)| n != *m && inside(a, b)).map(|(_, b)| (a, b)));
    match clash {
        None => Ok(()),
        Some((a, b)) => Err(ConfigError::Map(format!(
            "{} lies in {}, which belongs to another event: a photo has one home",
            a.display(),
            b.display()
        ))),
    }
}

/// The folders as the file system names them, without those that lie below another.
pub(crate) fn canonical(folders: &[PathBuf]) -> Result<Vec<PathBuf>, ConfigError> {
    let mut found = Vec::new();
    for path in folders {
        let problem = |why: String| ConfigError::Folder { path: path.clone(), why };
        let folder = fs::canonicalize(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => problem("there is no such folder".into()),
            _ => problem(error.to_string()),
        })?;
        if !folder.is_dir() {
            return Err(problem("is not a folder".into()));
        }
        fs::read_dir(&folder).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                problem(format!("this user may not look into it; give yourself the right to read it ({error})"))
            }
            _ => problem(error.to_string()),
        })?;
        found.push(folder);
    }
    // Above sorts before below; the stable order of the rest is what the user typed.
    let all = found.clone();
    let mut kept: Vec<PathBuf> = Vec::new();
    for folder in found {
        let below_another = all.iter().any(|other| *other != folder && folder.starts_with(other));
        if !below_another && !kept.contains(&folder) {
            kept.push(folder);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(first: &str) -> PhotographerToken {
        format!("fmp.{first}112233445566778899aabbccddee.{}", "A".repeat(43)).parse().unwrap()
    }

    #[test]
    fn each_folder_has_one_home() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["church", "party", "party/late", "a=b"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        let tokens = [token("aaaa"), token("bbbb")];
        let map = |pairs: &[(&str, &str)]| -> Vec<Mapping> {
            pairs.iter().map(|(folder, event)| format!("{}={event}", path(folder).display()).parse().unwrap()).collect()
        };
        let two = homes(&[], &map(&[("party", "BBBB"), ("church", "aaaa-11"), ("a=b", "bbbb1122")]), &tokens).unwrap();
        let names =
            |n: usize| -> Vec<_> { two[n].1.iter().map(|f| f.file_name().unwrap().to_str().unwrap()).collect() };
        assert_eq!((names(0), names(1)), (vec!["church"], vec!["party", "a=b"]));
        assert_eq!((two[0].0.event, two[1].0.event), (tokens[0].event, tokens[1].event));
        let wrong =
            |folders: &[PathBuf], pairs: &[(&str, &str)]| homes(folders, &map(pairs), &tokens).unwrap_err().to_string();
        assert!(wrong(&[], &[("party", "aaaa"), ("party/late", "bbbb")]).contains("another event"));
        assert!(wrong(&[], &[("party", "cccc")]).contains("no token"));
        assert!(wrong(&[path("church")], &[("party", "aaaa")]).contains("--map"), "which event?");
        let one = homes(&[path("church")], &[], &tokens[..1]).unwrap();
        assert_eq!(one.len(), 1);
        let twins = [token("aaaa"), format!("fmp.aaaa{}.{}", "0".repeat(28), "A".repeat(43)).parse().unwrap()];
        assert!(homes(&[], &map(&[("party", "aaaa")]), &twins).unwrap_err().to_string().contains("several"));
        for text in ["party", "party=", "=aaaa", "party=xyz1", "party=aa"] {
            assert!(text.parse::<Mapping>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_folder_below_another_is_watched_once() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir_all(a.join("below")).unwrap();
        fs::create_dir(&b).unwrap();
        let folders = canonical(&[b.clone(), a.join("below"), a.clone(), b.join("../b")]).unwrap();
        assert_eq!(folders, [b.canonicalize().unwrap(), a.canonicalize().unwrap()]);
        assert!(canonical(&[dir.path().join("none")]).is_err());
    }
}
