//! Networks and what runs them: rten, which is compiled in, or onnxruntime, a library that is loaded when the program
//! starts (cargo feature `ort`).
//!
//! Invariant: a run uses one thread. Photos are worked on in parallel, so more threads a run would only fight.

mod graph;
#[cfg(feature = "ort")]
mod onnxruntime;
mod rows;
mod rten;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use super::pack::ModelError;

/// The input of a network: `1 × 3 × height × width` values, plane by plane.
pub(super) struct Planes {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<f32>,
}

impl Planes {
    /// All zero.
    pub(super) fn black(width: usize, height: usize) -> Self {
        Self { width, height, values: vec![0.0; 3 * width * height] }
    }

    /// The three planes.
    pub(super) fn split(&mut self) -> [&mut [f32]; 3] {
        let (first, rest) = self.values.split_at_mut(self.width * self.height);
        let (second, third) = rest.split_at_mut(self.width * self.height);
        [first, second, third]
    }
}

/// A network with one picture as its input.
pub(super) trait Network: Debug + Send + Sync {
    /// Runs on one picture; the values of each output, in the order asked for when it was loaded.
    fn run(&self, planes: Planes) -> Result<Vec<Vec<f32>>, String>;
}

/// What loads networks.
pub(super) enum Runtime {
    Rten(Arc<rten::Lanes>),
    #[cfg(feature = "ort")]
    Onnxruntime(onnxruntime::Library),
}

impl Runtime {
    /// onnxruntime from this library file, rten where there is none.
    pub(super) fn open(library: Option<&Path>) -> Result<Self, ModelError> {
        match library {
            None => Ok(Self::Rten(Arc::default())),
            #[cfg(feature = "ort")]
            Some(path) => onnxruntime::Library::open(path)
                .map(Self::Onnxruntime)
                .map_err(|problem| ModelError::Runtime { path: path.to_owned(), problem }),
            #[cfg(not(feature = "ort"))]
            Some(path) => Err(ModelError::Runtime {
                path: path.to_owned(),
                problem: "this program was built without the cargo feature `ort`".to_owned(),
            }),
        }
    }

    /// What it is called.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Rten(_) => "rten",
            #[cfg(feature = "ort")]
            Self::Onnxruntime(_) => "onnxruntime",
        }
    }

    /// Loads ONNX bytes. `outputs` are the names wanted, in this order; empty: all, in the file's order.
    pub(super) fn load(&self, bytes: Vec<u8>, outputs: &[&str]) -> Result<Box<dyn Network>, String> {
        // Without optimisation our kernels would be slow, where rten, a dependency, is always optimised.
        if cfg!(not(debug_assertions))
            && matches!(self, Self::Rten(_))
            && let Some(network) = rows::Loaded::new(&bytes, outputs)
        {
            return Ok(Box::new(network));
        }
        let bytes = graph::with_leaky_slopes(&bytes).unwrap_or(bytes);
        match self {
            Self::Rten(lanes) => Ok(Box::new(rten::Loaded::new(bytes, outputs, lanes.clone())?)),
            #[cfg(feature = "ort")]
            Self::Onnxruntime(library) => Ok(Box::new(library.load(bytes, outputs)?)),
        }
    }
}
