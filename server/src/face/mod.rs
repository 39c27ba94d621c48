//! Faces: found, aligned, turned into embeddings. Synchronous and without state between pictures.
//!
//! The stages are separate methods of [`Engine`] (detect, align, embed), each callable and testable alone;
//! [`Engine::faces`] chains them. Coordinates are always those of the upright [`crate::picture::Pixels`] that were given.

mod align;
mod detect;
mod embedding;
mod engine;
mod landmarks;
mod network;
mod pack;
mod quality;
mod scrfd;
mod threshold;
mod tiles;
mod turned;

pub use align::Crop;
pub use detect::{Detection, Rect};
pub use embedding::{DIMENSIONS, Embedding, STORED_BYTES, Similarity, WIDE};
pub use engine::{Engine, EngineError, Face, MIN_FACE, Purpose, Timings};
pub use pack::{
    Channels, DetectorSpec, EmbedderSpec, ModelError, ModelFile, Pack, PackError, Source, chosen, default_pack, packs,
};
pub use quality::Quality;
pub use threshold::{Bands, Impostors, Threshold, Thresholds};

#[cfg(test)]
mod orientations;
#[cfg(test)]
mod tests;
