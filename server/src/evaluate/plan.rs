//! What is measured on: photos whose people are known, and selfies of people who are in them or are not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

/// A photo of the gallery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shot {
    pub(crate) path: PathBuf,
    /// Who is in it, as far as is known: indices of people.
    pub(crate) people: Vec<usize>,
    /// Whether it was filed under one person, who is then in its middle.
    pub(crate) portrait: bool,
}

/// A selfie to search with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) path: PathBuf,
    /// Whose it is; `None`: a stranger's, who is in no photo.
    pub(crate) person: Option<usize>,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) photos: Vec<Shot>,
    pub(crate) probes: Vec<Probe>,
    pub(crate) people: usize,
}

/// Of so many people one is left out of the gallery and searches as a stranger.
const STRANGER_EVERY: usize = 5;

/// What is known to be wrong with the names of folders of people, one correction a line:
///
/// ```text
/// same PERSON OTHER     two folders hold one person
/// also PERSON PHOTO     somebody is in another's photo, too
/// not PHOTO             the photo shows somebody else
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    same: Vec<(String, String)>,
    also: Vec<(String, String)>,
    not: BTreeSet<String>,
}

impl Labels {
    /// Reads corrections; what follows a `#` is said to people.
    ///
    /// # Errors
    /// When a line is none.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        let mut labels = Self::default();
        for line in text.lines() {
            let words: Vec<_> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            match words[..] {
                [] => {}
                ["same", person, other] => labels.same.push((person.to_owned(), other.to_owned())),
                ["also", person, photo] => labels.also.push((person.to_owned(), photo.to_owned())),
                ["not", photo] => drop(labels.not.insert(photo.to_owned())),
                _ => anyhow::bail!("«{line}» is no correction of labels"),
            }
        }
        Ok(labels)
    }

    /// The photos of each person, corrected.
    fn merged(&self, mut people: Vec<Vec<PathBuf>>) -> Vec<Vec<PathBuf>> {
        for (person, other) in &self.same {
            let of = |people: &[Vec<PathBuf>], name: &String| {
                people.iter().position(|photos| photos.first().is_some_and(|photo| owner(photo) == *name))
            };
            if let (Some(to), Some(from)) = (of(&people, person), of(&people, other)) {
                let more = std::mem::take(&mut people[from]);
                people[to].extend(more);
            }
        }
        people.iter_mut().for_each(|photos| photos.retain(|photo| !self.not.contains(&stem(photo))));
        people
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whose folder a photo is in.
fn owner(path: &Path) -> String {
    path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
}

#[derive(Deserialize)]
struct Truth {
    photos: BTreeMap<String, BTreeSet<String>>,
    guests: Vec<String>,
}

impl Plan {
    /// Folders with one folder of photos per person. The first photo of a person is their selfie, the others make the
    /// gallery; every fifth person is left out of it and searches all the same. Who has only one photo is, by turns, a
    /// stranger who searches and somebody else in the gallery.
    ///
    /// # Errors
    /// When a folder cannot be read or holds too little.
    pub(crate) fn of_people(folders: &[PathBuf], labels: &Labels) -> anyhow::Result<Self> {
        let mut plan = Self { name: names(folders), ..Self::default() };
        let (mut many, mut single) = (0, 0);
        let people = folders.iter().map(|folder| people_of(folder)).collect::<anyhow::Result<Vec<_>>>()?.concat();
        // Corrections leave everybody else's turn as it was.
        let alone: Vec<bool> = people.iter().map(|photos| photos.len() == 1).collect();
        for (person, alone) in labels.merged(people).into_iter().zip(alone) {
            let counter = if alone { &mut single } else { &mut many };
            *counter += 1;
            let stranger = if alone { *counter % 2 == 0 } else { *counter % STRANGER_EVERY == 0 };
            let Some((first, rest)) = person.split_first() else { continue };
            if stranger {
                plan.probes.push(Probe { path: first.clone(), person: None });
                continue;
            }
            let number = plan.people;
            plan.people += 1;
            let of_them = |path: &PathBuf| Shot { path: path.clone(), people: vec![number], portrait: true };
            if rest.is_empty() {
                plan.photos.push(of_them(first));
            } else {
                plan.probes.push(Probe { path: first.clone(), person: Some(number) });
                plan.photos.extend(rest.iter().map(of_them));
            }
        }
        // A stranger who is in a photo after all is neither a stranger nor in the plan's numbers: they do not search.
        for (person, photo) in &labels.also {
            let number = plan.probes.iter().find(|probe| owner(&probe.path) == *person).and_then(|probe| probe.person);
            if let Some(shot) = plan.photos.iter_mut().find(|shot| stem(&shot.path) == *photo) {
                match number {
                    Some(number) => shot.people.push(number),
                    None => plan.probes.retain(|probe| owner(&probe.path) != *person),
                }
            }
        }
        anyhow::ensure!(!plan.photos.is_empty(), "there is nobody with two photos in {}", plan.name);
        Ok(plan)
    }

    /// A made event: `photos/`, `selfies/` and `truth.json`; and folders of people who are in none of its photos.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn of_event(folder: &Path, strangers: &[PathBuf]) -> anyhow::Result<Self> {
        let file = folder.join("truth.json");
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let truth: Truth = serde_json::from_slice(&text).with_context(|| format!("cannot read {}", file.display()))?;
        let numbers: HashMap<&String, usize> = truth.guests.iter().zip(0..).collect();
        let photos = truth.photos.iter().map(|(name, people)| Shot {
            path: folder.join("photos").join(name),
            people: people.iter().filter_map(|person| numbers.get(person).copied()).collect(),
            portrait: false,
        });
        let photos: Vec<_> = photos.collect();
        let seen: BTreeSet<usize> = photos.iter().flat_map(|photo| photo.people.iter().copied()).collect();
        let mut probes: Vec<Probe> = (truth.guests.iter().enumerate())
            .map(|(number, guest)| Probe {
                path: folder.join("selfies").join(format!("{guest}.jpg")),
                person: seen.contains(&number).then_some(number),
            })
            .collect();
        for person in strangers.iter().map(|folder| people_of(folder)).collect::<anyhow::Result<Vec<_>>>()?.concat() {
            probes.extend(person.into_iter().take(1).map(|path| Probe { path, person: None }));
        }
        Ok(Self { name: names(&[folder.to_owned()]), people: truth.guests.len(), photos, probes })
    }

    /// Photos that a person is in, rising.
    pub(crate) fn photos_of(&self, person: usize) -> Vec<usize> {
        let photos = self.photos.iter().enumerate();
        photos.filter(|(_, photo)| photo.people.contains(&person)).map(|(number, _)| number).collect()
    }

    /// Parts of the gallery of about so many photos each, nobody in two of them; one flag per photo.
    pub(crate) fn parts(&self, size: usize) -> Vec<Vec<bool>> {
        // A fixed stride spreads people over the parts whatever the order of their names.
        let stride = (1..).map(|n| n * 7 + 3).find(|&stride| coprime(stride, self.people.max(1))).unwrap_or(1);
        let (mut parts, mut part, mut count) = (Vec::new(), vec![false; self.photos.len()], 0);
        for person in (0..self.people).map(|n| n * stride % self.people.max(1)) {
            for photo in self.photos_of(person) {
                part[photo] = true;
                count += 1;
            }
            if count >= size {
                parts.push(std::mem::replace(&mut part, vec![false; self.photos.len()]));
                count = 0;
            }
        }
        parts
    }
}

fn coprime(a: usize, b: usize) -> bool {
    if b == 0 { a == 1 } else { coprime(b, a % b) }
}

fn names(folders: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    folders.iter().filter_map(name).collect::<Vec<_>>().join(" + ")
}

/// The photos of each person of a folder, in order of their names.
fn people_of(folder: &Path) -> anyhow::Result<Vec<Vec<PathBuf>>> {
    let sorted = |folder: &Path| -> anyhow::Result<Vec<PathBuf>> {
        let cannot = || format!("cannot read {}", folder.display());
        let entries = fs::read_dir(folder).with_context(cannot)?;
        let mut paths =
            entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().with_context(cannot)?;
        paths.sort();
        Ok(paths)
    };
    let folders = sorted(folder)?.into_iter().filter(|path| path.is_dir());
    folders.map(|person| Ok(sorted(&person)?.into_iter().filter(|path| path.is_file()).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(counts: &[usize]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (number, count) in counts.iter().enumerate() {
            let person = dir.path().join(format!("person-{number:02}"));
            fs::create_dir(&person).unwrap();
            (0..*count).for_each(|photo| fs::write(person.join(format!("{photo}.jpg")), "x").unwrap());
        }
        dir
    }

    #[test]
    fn no_selfie_is_in_the_gallery_and_strangers_are_in_none() {
        let dir = people(&[3, 2, 1, 4, 2, 2, 1, 1, 2]);
        let plan = Plan::of_people(&[dir.path().to_owned()], &Labels::default()).unwrap();
        assert!(plan.probes.iter().all(|probe| plan.photos.iter().all(|photo| photo.path != probe.path)));
        let strangers: Vec<_> = plan.probes.iter().filter(|probe| probe.person.is_none()).collect();
        assert_eq!(strangers.len(), 2, "the fifth with two photos, the second with one");
        for stranger in strangers {
            let folder = stranger.path.parent().unwrap();
            assert!(plan.photos.iter().all(|photo| photo.path.parent().unwrap() != folder));
        }
        assert_eq!(plan.photos.len(), 2 + 1 + 1 + 3 + 1 + 1 + 1);
        assert!(Plan::of_people(&[dir.path().join("person-00")], &Labels::default()).is_err());
    }

    #[test]
    fn known_errors_of_labels_are_corrected() {
        let dir = tempfile::tempdir().unwrap();
        for (person, photos) in [("anna", 2), ("ann", 1), ("bert", 3), ("carl", 2)] {
            fs::create_dir(dir.path().join(person)).unwrap();
            (0..photos)
                .for_each(|n| fs::write(dir.path().join(person).join(format!("{person}_{n}.jpg")), "x").unwrap());
        }
        let text = "# of people\nsame anna ann\nalso carl bert_1 # beside him\n\nnot bert_2\n";
        let plan = Plan::of_people(&[dir.path().to_owned()], &Labels::read(text).unwrap()).unwrap();
        let named: Vec<_> = plan.photos.iter().map(|shot| (stem(&shot.path), shot.people.clone())).collect();
        let of = |name: &str, people: &[usize]| (name.to_owned(), people.to_vec());
        assert_eq!(named, [of("anna_1", &[0]), of("ann_0", &[0]), of("bert_1", &[1, 2]), of("carl_1", &[2])]);
        assert!(Labels::read("perhaps anna").is_err());
    }

    #[test]
    fn parts_share_nobody() {
        let dir = people(&[3; 20]);
        let plan = Plan::of_people(&[dir.path().to_owned()], &Labels::default()).unwrap();
        let parts = plan.parts(6);
        assert!(parts.len() >= 4, "{}", parts.len());
        for person in 0..plan.people {
            let photos = plan.photos_of(person);
            assert!(parts.iter().filter(|part| photos.iter().any(|&photo| part[photo])).count() <= 1);
        }
    }

    #[test]
    fn an_event_is_read_with_its_truth() {
        let dir = people(&[1, 2]);
        fs::write(
            dir.path().join("truth.json"),
            r#"{"photos":{"a.jpg":["x"],"b.jpg":[]},"guests":["x","y"],"strangers":0}"#,
        )
        .unwrap();
        let plan = Plan::of_event(dir.path(), &[dir.path().to_owned()]).unwrap();
        assert_eq!(plan.photos.iter().map(|photo| photo.people.clone()).collect::<Vec<_>>(), [vec![0], vec![]]);
        assert_eq!(plan.probes.iter().map(|probe| probe.person).collect::<Vec<_>>(), [Some(0), None, None, None]);
    }
}
