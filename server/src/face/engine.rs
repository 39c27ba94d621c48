//! The engine: detection, alignment and embedding chained.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::picture::Pixels;

use super::align::{self, Crop};
use super::detect::{Detection, Detector, Layout};
use super::embedding::Embedding;
use super::landmarks::{self, View};
use super::network::{Network, Planes, Runtime};
use super::pack::{Channels, EmbedderSpec, ModelError, Pack};
use super::quality::Quality;
use super::tiles;
use super::turned::{self, Turned};

/// Faces lower than this many pixels of the original photo are not embedded: below it, likeness gets unreliable
/// (true matches at one false in a thousand: .964 at 48 px, .927 at 24 px, .686 at 16 px).
pub const MIN_FACE: f32 = 24.0;

/// Longer side, in pixels, that a selfie and a turned picture are shrunk to: a selfie's face is large, and the network
/// misses faces that are too large; a turned picture is a last resort that should cost little.
const SMALL_SIDE: u32 = 640;
/// Longer side of a picture inside its black frame; together they measure three times this.
const FRAMED_SIDE: u32 = 224;
/// What a second look has to be sure of: each look is a further chance to err.
const SECOND_LOOK_SCORE: f32 = 0.75;
/// Upright faces that are good for anything score .85 to .95; the same faces on their side score .83 at most, with
/// landmarks that are wrong. So a picture whose surest face is below this is looked at turned as well.
const DOUBTFUL_BELOW: f32 = 0.85;
/// How much surer a turned picture has to be to be believed.
const TURNED_AHEAD_BY: f32 = 0.05;

/// What a picture is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A photo of the event: faces of any size.
    Photo,
    /// A picture that a guest took of themselves.
    Selfie,
}

/// A face with its embedding.
#[derive(Debug, Clone)]
pub struct Face {
    /// Where it is, in the pixels that were given.
    pub detection: Detection,
    /// Who it resembles.
    pub embedding: Embedding,
    /// How good it is for comparing.
    pub quality: Quality,
}

/// Time spent in each stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Finding faces.
    pub detect: Duration,
    /// Aligning and embedding all of them.
    pub embed: Duration,
}

/// The runtime refused to run a network, which points at a fault of this program or of memory, never at the photo.
#[derive(Debug, thiserror::Error)]
#[error("face engine: {0}")]
pub struct EngineError(String);

/// The loaded models of a pack. Shared by all workers; each call runs on one thread of its own.
#[derive(Debug)]
pub struct Engine {
    detector: Detector,
    long_side: u32,
    embedder: Box<dyn Network>,
    spec: EmbedderSpec,
    runtime: &'static str,
}

impl Engine {
    /// Loads a pack's files from a folder, which is only read.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn open(models: &Path, pack: &Pack) -> Result<Self, ModelError> {
        Self::open_on(models, pack, None)
    }

    /// [`Engine::open`] on onnxruntime, from this library file, where one is named.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn open_on(models: &Path, pack: &Pack, onnxruntime: Option<&Path>) -> Result<Self, ModelError> {
        let runtime = Runtime::open(onnxruntime)?;
        let detector = Detector::load(&runtime, pack.detector.model.read(models)?, &pack.detector)?;
        let file = &pack.embedder.model;
        let embedder = runtime
            .load(file.read(models)?, &[])
            .map_err(|problem| ModelError::Unusable { file: file.file.clone(), problem })?;
        let (long_side, spec) = (pack.detector.long_side, pack.embedder.clone());
        Ok(Self { detector, long_side, embedder, spec, runtime: runtime.name() })
    }

    /// What runs the networks: `rten` or `onnxruntime`.
    pub const fn runtime(&self) -> &'static str {
        self.runtime
    }

    /// The same engine with another longer side for detection, in pixels.
    #[must_use]
    pub fn with_long_side(self, long_side: u32) -> Self {
        Self { long_side, ..self }
    }

    /// All faces of at least [`MIN_FACE`], largest first.
    ///
    /// # Errors
    /// See [`EngineError`]; a picture without faces is no error.
    pub fn faces(&self, pixels: &Pixels, purpose: Purpose) -> Result<Vec<Face>, EngineError> {
        self.faces_timed(pixels, purpose, &mut Timings::default())
    }

    /// [`Engine::faces`], adding the time spent to `timings`.
    ///
    /// # Errors
    /// As [`Engine::faces`].
    pub fn faces_timed(
        &self,
        pixels: &Pixels,
        purpose: Purpose,
        timings: &mut Timings,
    ) -> Result<Vec<Face>, EngineError> {
        let start = Instant::now();
        let mut detections = self.detect(pixels, purpose)?;
        timings.detect += start.elapsed();
        let start = Instant::now();
        detections.retain(|found| found.rect.height * pixels.reduced() as f32 >= MIN_FACE);
        detections.sort_by(|a, b| b.rect.height.total_cmp(&a.rect.height));
        let mut faces = Vec::with_capacity(detections.len());
        for mut detection in detections {
            if let Some(landmarks) = self.look_at_landmarks(pixels, &detection)? {
                detection.landmarks = landmarks;
            }
            let Some(crop) = self.align(pixels, &detection) else { continue };
            let quality = Quality::of(&detection, &crop, pixels.reduced());
            faces.extend(self.embed(&crop)?.map(|embedding| Face { detection, embedding, quality }));
        }
        timings.embed += start.elapsed();
        Ok(faces)
    }

    /// Finds faces of any size, surest first. A group is looked at again in parts. Where there seems to be nobody (in a
    /// selfie: nobody surely) it looks again at the picture in a frame, for a face that fills it; where it is sure of
    /// none, at the picture turned, for a camera that did not say how it was held.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn detect(&self, pixels: &Pixels, purpose: Purpose) -> Result<Vec<Detection>, EngineError> {
        let mut found = self.detect_once(pixels, purpose)?;
        let surest = |found: &[Detection]| found.first().map_or(0.0, |face| face.score);
        if found.is_empty() || (purpose == Purpose::Selfie && surest(&found) < SECOND_LOOK_SCORE) {
            let mut framed = self.run(pixels, Layout::Framed(FRAMED_SIDE))?;
            framed.retain(|face| face.score >= SECOND_LOOK_SCORE);
            if !framed.is_empty() {
                found = framed;
            }
        }
        if surest(&found) >= DOUBTFUL_BELOW {
            if purpose == Purpose::Photo {
                return self.closer(pixels, found);
            }
            // Whoever is asked which face is theirs should be shown faces: beside a sure one, doubtful ones are none.
            found.retain(|face| face.score >= SECOND_LOOK_SCORE);
            return Ok(found);
        }
        for turn in turned::TURNS {
            let view = Turned::new(pixels, turn, SMALL_SIDE);
            let mut seen = self.run(view.pixels(), Layout::Whole(SMALL_SIDE))?;
            if surest(&seen) >= SECOND_LOOK_SCORE.max(surest(&found) + TURNED_AHEAD_BY) {
                seen.retain(|face| face.score >= SECOND_LOOK_SCORE);
                found = seen.into_iter().map(|face| view.undo(face)).collect();
            }
        }
        Ok(found)
    }

    /// The first look alone: the whole picture, shrunk.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub(super) fn detect_once(&self, pixels: &Pixels, purpose: Purpose) -> Result<Vec<Detection>, EngineError> {
        let side = match purpose {
            Purpose::Photo => self.long_side,
            Purpose::Selfie => SMALL_SIDE.min(self.long_side),
        };
        self.run(pixels, Layout::Whole(side))
    }

    /// Adds the faces of a group that only a look at its parts shows.
    fn closer(&self, pixels: &Pixels, found: Vec<Detection>) -> Result<Vec<Detection>, EngineError> {
        let tiles = tiles::wanted(&found, pixels, self.long_side);
        let mut seen = Vec::new();
        for tile in tiles {
            let part = pixels.part(tile.x, tile.y, tile.width, tile.height);
            let faces = self.run(&part, Layout::Whole(part.long_side()))?;
            seen.extend(tiles::place(tile, faces, pixels));
        }
        Ok(if seen.is_empty() { found } else { tiles::merge(found, seen, self.detector.nms) })
    }

    /// The landmarks of a face, from a look at it alone; `None` when it is not seen again.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn look_at_landmarks(&self, pixels: &Pixels, found: &Detection) -> Result<Option<[[f32; 2]; 5]>, EngineError> {
        let view = View::of(pixels, &found.landmarks, &self.spec);
        let Some((view, upright)) = view.and_then(|mut view| view.pixels().map(|pixels| (view, pixels))) else {
            return Ok(None);
        };
        Ok(view.landmarks(&self.run(&upright, Layout::Whole(landmarks::SIDE))?))
    }

    fn run(&self, pixels: &Pixels, layout: Layout) -> Result<Vec<Detection>, EngineError> {
        self.detector.detect(pixels, layout).map_err(EngineError)
    }

    /// Cuts a face out, turned and scaled as the embedder wants it; `None` when its landmarks make no face.
    pub fn align(&self, pixels: &Pixels, detection: &Detection) -> Option<Crop> {
        let template = self.spec.template.map(|point| point.map(|at| at * f64::from(self.spec.size)));
        align::align(pixels, &detection.landmarks, &template, self.spec.size).map(|aligned| aligned.crop)
    }

    /// The embedding of an aligned face; `None` when the network gives no direction.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn embed(&self, crop: &Crop) -> Result<Option<Embedding>, EngineError> {
        let mut planes = Planes::black(crop.size as usize, crop.size as usize);
        let [first, second, third] = planes.split();
        let (red, blue) = match self.spec.channels {
            Channels::Rgb => (first, third),
            Channels::Bgr => (third, first),
        };
        let value = |byte: u8| (f32::from(byte) - self.spec.mean) * self.spec.scale;
        for (index, &[r, g, b]) in crop.rgb.as_chunks::<3>().0.iter().enumerate() {
            (red[index], second[index], blue[index]) = (value(r), value(g), value(b));
        }
        let outputs = self.embedder.run(planes).map_err(EngineError)?;
        Ok(outputs.first().and_then(|values| Embedding::new(values)))
    }
}
