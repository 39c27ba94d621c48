//! Face packs: which files, under which licence, from where, and how they are fed. Described by `models.toml`.
//!
//! Invariant: a model file is used only after the digest of the very bytes that are loaded was compared.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use findme_common::Digest;
use serde::Deserialize;

use super::threshold::{Threshold, Thresholds};

/// Models that belong together: embeddings of one pack mean nothing to another.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// What `--pack` and the catalogue call it.
    pub name: String,
    /// Whether it is used when none is named.
    #[serde(default)]
    pub default: bool,
    /// Licences of its files, for people.
    pub licence: String,
    /// What an operator should know before using it.
    pub notice: String,
    /// Whether the licence of a file forbids commercial use: whoever uses the pack has to say that they know.
    #[serde(default)]
    pub non_commercial: bool,
    /// Finds faces.
    pub detector: DetectorSpec,
    /// Compares faces.
    pub embedder: EmbedderSpec,
    /// From which similarity on two faces count as one person's.
    pub thresholds: Thresholds,
}

impl Pack {
    /// The files that must be in the models folder.
    pub fn files(&self) -> [&ModelFile; 2] {
        [&self.detector.model, &self.embedder.model]
    }

    /// The same pack where the bands begin elsewhere. Vectors stay what they are, and so does its name.
    ///
    /// # Errors
    /// [`PackError::Thresholds`].
    pub fn with_thresholds(
        &self,
        you: Option<Threshold>,
        maybe: Option<Threshold>,
    ) -> Result<&'static Self, PackError> {
        let thresholds = &self.thresholds;
        let (you, maybe_floor) = (you.unwrap_or(thresholds.you), maybe.unwrap_or(thresholds.maybe_floor));
        let thresholds = Thresholds { you, maybe_floor, ..thresholds.clone() };
        let inside = |threshold: Threshold| (0.0..=1.0).contains(&threshold.get());
        if !(inside(you) && inside(maybe_floor) && thresholds.are_sound()) {
            return Err(PackError::Thresholds { you: you.get(), maybe: maybe_floor.get() });
        }
        // Once in a run of the program.
        Ok(Box::leak(Box::new(Self { thresholds, ..self.clone() })))
    }
}

/// One file of a pack.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelFile {
    /// Its name in the models folder.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// SHA-256 of other files that hold the same network, made by other converters, and are taken as well.
    #[serde(default)]
    pub same_as: Vec<Digest>,
    /// Where it officially comes from, alone or in the parts that it is made from; empty: an operator brings it.
    #[serde(default)]
    pub sources: Vec<Source>,
}

/// An official place.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Where.
    pub url: String,
    /// Length of what lies there, when it is not the model file itself.
    pub bytes: Option<u64>,
    /// SHA-256 of what lies there, when it is not the model file itself.
    pub sha256: Option<Digest>,
}

/// How the detector is fed.
#[derive(Debug, Clone, Deserialize)]
pub struct DetectorSpec {
    /// Its file.
    #[serde(flatten)]
    pub model: ModelFile,
    /// The network's family, which says how its outputs are read.
    pub kind: DetectorKind,
    /// Pixels of the longer side that a picture is shrunk to.
    pub long_side: u32,
    /// Score from which a detection counts, 0 to 1.
    pub score: f32,
    /// Overlap (intersection over union) from which two boxes are one face.
    pub nms: f32,
}

/// Families of detectors that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetectorKind {
    /// Anchor-free, strides 8, 16 and 32, five landmarks.
    Yunet,
    /// Two anchors a cell, strides 8, 16 and 32, five landmarks; the outputs in the order of the published files.
    Scrfd,
}

/// How the embedder is fed.
#[derive(Debug, Clone, Deserialize)]
pub struct EmbedderSpec {
    /// Its file.
    #[serde(flatten)]
    pub model: ModelFile,
    /// Side of the square crop, in pixels.
    pub size: u32,
    /// Where eyes, nose and mouth corners come to lie, as fractions of `size`.
    pub template: [[f64; 2]; 5],
    /// Order of the channels.
    pub channels: Channels,
    /// Taken from each value (0 to 255).
    pub mean: f32,
    /// Then multiplied with.
    pub scale: f32,
}

/// Order of colour channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// Why the models cannot be used. Each is one line with the way out.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of the pack is not in the folder.
    #[error("no face models: {file} is not in {}; `findme-server models install` fetches it", folder.display())]
    Missing {
        /// Its name.
        file: String,
        /// The folder that was looked in.
        folder: PathBuf,
    },
    /// A file has another content than the pack says.
    #[error("{} is not the file that the face pack names (its SHA-256 is {found}); fetch it again", path.display())]
    WrongDigest {
        /// The file.
        path: PathBuf,
        /// The digest that it has.
        found: Digest,
    },
    /// A file could not be read.
    #[error("{} could not be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The library that runs networks cannot be used.
    #[error("{} cannot run the face models: {problem}; name another onnxruntime library, or none", path.display())]
    Runtime {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file has the right content, but the runtime does not take it.
    #[error("{file} could not be loaded: {problem}; this program and its face pack do not fit together")]
    Unusable {
        /// Its name.
        file: String,
        /// What the runtime said.
        problem: String,
    },
}

impl ModelFile {
    /// Whether a file of this digest is this model.
    pub fn accepts(&self, digest: &Digest) -> bool {
        *digest == self.sha256 || self.same_as.contains(digest)
    }

    /// Reads the file and checks its digest.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::WrongDigest`] or [`ModelError::Unreadable`].
    pub fn read(&self, folder: &Path) -> Result<Vec<u8>, ModelError> {
        let path = folder.join(&self.file);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(ModelError::Missing { file: self.file.clone(), folder: folder.to_owned() });
            }
            Err(source) => return Err(ModelError::Unreadable { path, source }),
        };
        let found = Digest::of(&bytes);
        if !self.accepts(&found) {
            return Err(ModelError::WrongDigest { path, found });
        }
        Ok(bytes)
    }
}

/// Why a pack cannot be chosen. Each is one line with the way out.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It is neither one that is known nor a file.
    #[error("there is no face pack {0}; `findme-server models list` names them, and a file may describe another")]
    Unknown(String),
    /// Its description cannot be used.
    #[error("{} does not describe a face pack: {problem}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The bands would contradict each other.
    #[error("«you» from {you} and «maybe you?» from {maybe} contradict each other: 0 ≤ maybe ≤ you ≤ 1 less a margin")]
    Thresholds {
        /// Where «you» would begin.
        you: f32,
        /// Where «maybe you?» would begin at the lowest.
        maybe: f32,
    },
    /// Nobody has said that they know its licence.
    #[error("{name} is not for commercial use: {licence}; with --accept-non-commercial you state that yours is not")]
    NotAccepted {
        /// Its name.
        name: String,
        /// Its licence.
        licence: String,
    },
}

/// What describes packs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Packs {
    pack: Vec<Pack>,
}

/// The pack that an operator chose: one that is known, by its name, or one that a file describes as `models.toml` does.
/// `accepted`: they state that their use is not commercial.
///
/// # Errors
/// See [`PackError`].
pub fn chosen(choice: &str, accepted: bool) -> Result<&'static Pack, PackError> {
    let pack = match packs().iter().find(|pack| pack.name == choice) {
        Some(pack) => pack,
        None => Box::leak(Box::new(described(Path::new(choice))?)),
    };
    if pack.non_commercial && !accepted {
        return Err(PackError::NotAccepted { name: pack.name.clone(), licence: pack.licence.clone() });
    }
    Ok(pack)
}

/// The pack that a file describes. Its name is followed by the beginning of its embedder's digest: vectors of another
/// network must never be taken for its own, whatever somebody calls it.
fn described(path: &Path) -> Result<Pack, PackError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PackError::Unknown(path.display().to_string()));
        }
        text => text.map_err(|error| error.to_string()),
    };
    let unusable = |problem: String| PackError::Description { path: path.to_owned(), problem };
    let read: Packs = toml::from_str(&text.map_err(unusable)?).map_err(|error| unusable(error.to_string()))?;
    let [mut pack] = <[Pack; 1]>::try_from(read.pack)
        .map_err(|packs| unusable(format!("it describes {} packs, not one", packs.len())))?;
    if !pack.thresholds.are_sound() {
        return Err(unusable("its thresholds contradict each other".to_owned()));
    }
    pack.name = format!("{}-{}", pack.name, &pack.embedder.model.sha256.to_string()[..8]);
    Ok(pack)
}

/// All packs that this program knows.
pub fn packs() -> &'static [Pack] {
    static PACKS: OnceLock<Vec<Pack>> = OnceLock::new();
    PACKS.get_or_init(|| {
        let read: Packs = toml::from_str(include_str!("../../models.toml"))
            .expect("models.toml is compiled in, and a unit test reads it");
        read.pack
    })
}

/// The pack that is used when none is named.
pub fn default_pack() -> &'static Pack {
    packs().iter().find(|pack| pack.default).expect("a unit test checks that models.toml has one default")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_description_is_sound() {
        assert_eq!(packs().iter().filter(|pack| pack.default).count(), 1);
        for pack in packs() {
            assert!(pack.thresholds.are_sound(), "{}", pack.name);
            for file in pack.files() {
                assert!(file.bytes > 0 && !file.sources.is_empty(), "{}", file.file);
                assert!(file.sources.iter().all(|source| source.url.starts_with("https://")));
            }
        }
    }

    #[test]
    fn an_operator_may_bring_a_pack_and_states_what_it_is_used_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.toml");
        let choose = |text: &str, accepted| {
            fs::write(&file, text).unwrap();
            chosen(file.to_str().unwrap(), accepted)
        };
        // The first of the packs that are known.
        let known: Vec<_> = include_str!("../../models.toml").split("[[pack]]").take(2).collect();
        let known = known.join("[[pack]]").replace("\ndefault = true", "\nnon_commercial = true");
        let refused = choose(&known, false).unwrap_err();
        assert!(matches!(refused, PackError::NotAccepted { .. }), "{refused}");
        let pack = choose(&known, true).unwrap();
        assert_eq!(pack.name, "yunet-retail-1a41a279", "no vector of another network is taken for its own");
        let without_sources = known.lines().filter(|line| !line.contains("{ url =")).collect::<Vec<_>>().join("\n");
        assert!(choose(&without_sources, true).unwrap().files().iter().all(|file| file.sources.is_empty()));
        for broken in ["", "nonsense", &format!("{known}\n{known}"), &known.replace("you = 0.54", "you = 0.1")] {
            assert!(matches!(choose(broken, true), Err(PackError::Description { .. })), "{broken}");
        }
        assert!(matches!(chosen("no-such-pack", true), Err(PackError::Unknown(_))));
        assert_eq!(chosen("yunet-retail", false).unwrap().name, default_pack().name);
    }

    #[test]
    fn thresholds_move_within_reason_and_the_vectors_stay_the_packs() {
        let (pack, at) = (default_pack(), |value| Some(Threshold::new(value)));
        let moved = pack.with_thresholds(at(0.6), at(0.3)).unwrap();
        assert_eq!((moved.thresholds.you, moved.thresholds.maybe_floor), (Threshold::new(0.6), Threshold::new(0.3)));
        assert_eq!(moved.name, pack.name);
        assert_eq!(pack.with_thresholds(None, None).unwrap().thresholds, pack.thresholds);
        for (you, maybe) in [(at(0.3), None), (None, at(0.6)), (at(1.1), None), (at(f32::NAN), None), (None, at(-0.1))]
        {
            assert!(matches!(pack.with_thresholds(you, maybe), Err(PackError::Thresholds { .. })), "{you:?} {maybe:?}");
        }
    }

    #[test]
    fn a_missing_file_and_a_wrong_one_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = &default_pack().detector.model;
        let missing = file.read(folder.path()).unwrap_err();
        assert!(matches!(&missing, ModelError::Missing { file: name, .. } if *name == file.file), "{missing}");
        fs::write(folder.path().join(&file.file), "not a model").unwrap();
        let wrong = file.read(folder.path()).unwrap_err();
        assert!(matches!(wrong, ModelError::WrongDigest { found, .. } if found == Digest::of(b"not a model")));
    }
}
