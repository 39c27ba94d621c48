//! Networks on onnxruntime, from a library file that the operator names: faster than rten where `rows` does not know a
//! network.

use std::fmt::Display;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::session::Session;
use ort::value::Tensor;

use super::{Network, Planes};

/// The loaded library; a process can have one.
pub(in crate::face) struct Library(&'static Environment);

fn text(error: impl Display) -> String {
    error.to_string()
}

impl Library {
    /// Loads the library. A second call gives what the first one loaded.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        static LOADED: OnceLock<Result<Environment, String>> = OnceLock::new();
        let loaded =
            LOADED.get_or_init(|| ort::init_from(path).map_err(text)?.with_telemetry(false).build().map_err(text));
        loaded.as_ref().map(Self).map_err(Clone::clone)
    }

    pub(super) fn load(&self, bytes: Vec<u8>, outputs: &[&str]) -> Result<Loaded, String> {
        let first = session(self.0, &bytes)?;
        let names =
            |session: &Session| session.outputs().iter().map(|output| output.name().to_owned()).collect::<Vec<_>>();
        let outputs =
            if outputs.is_empty() { names(&first) } else { outputs.iter().map(|&name| name.to_owned()).collect() };
        let [_] = first.inputs() else { return Err("it has not one input".to_owned()) };
        if let Some(missing) = outputs.iter().find(|name| !names(&first).contains(name)) {
            return Err(format!("it has no output {missing}"));
        }
        Ok(Loaded { environment: self.0, bytes, outputs, idle: Mutex::new(vec![first]) })
    }
}

fn session(environment: &Environment, bytes: &[u8]) -> Result<Session, String> {
    let builder = Session::builder(environment).map_err(text)?;
    let builder = builder.with_intra_threads(1).map_err(text)?.with_inter_threads(1).map_err(text)?;
    // Pictures have many sizes: a plan of the memory for each of them would only grow.
    builder.with_memory_pattern(false).map_err(text)?.commit_from_memory(bytes).map_err(text)
}

/// A loaded network. A session runs one picture at a time, so there are as many as ever ran at once.
pub(super) struct Loaded {
    environment: &'static Environment,
    bytes: Vec<u8>,
    outputs: Vec<String>,
    idle: Mutex<Vec<Session>>,
}

impl Network for Loaded {
    fn run(&self, planes: Planes) -> Result<Vec<Vec<f32>>, String> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let free = idle().pop();
        let mut session = match free {
            Some(session) => session,
            None => session(self.environment, &self.bytes)?,
        };
        let input = Tensor::from_array(([1, 3, planes.height, planes.width], planes.values)).map_err(text)?;
        let values = {
            let outputs = session.run(ort::inputs![input]).map_err(text)?;
            let value = |name: &String| -> Result<Vec<f32>, String> {
                let output = outputs.get(name).ok_or_else(|| format!("it gave no output {name}"))?;
                Ok(output.try_extract_tensor::<f32>().map_err(text)?.1.to_vec())
            };
            self.outputs.iter().map(value).collect()
        };
        idle().push(session);
        values
    }
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loaded({} bytes)", self.bytes.len())
    }
}
