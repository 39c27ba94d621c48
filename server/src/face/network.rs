//! One loaded network on rten, and the threads it runs on.
//!
//! Invariant: a run uses one thread. Photos are worked on in parallel, so more threads a run would only fight.

use std::sync::{Arc, Mutex, PoisonError};

use rten::{Model, NodeId, RunOptions, ThreadPool};
use rten_tensor::NdTensor;

/// Single-threaded pools, one for each run that is going on. rten would otherwise share one pool between all workers.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<Vec<Arc<ThreadPool>>>);

impl Lanes {
    fn with<T>(&self, run: impl FnOnce(&Arc<ThreadPool>) -> T) -> T {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lane = free.unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(1)));
        let result = run(&lane);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
        result
    }
}

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
pub(super) struct Network {
    model: Model,
    input: NodeId,
    outputs: Vec<NodeId>,
}

impl Network {
    /// Loads ONNX bytes. `outputs` are the names wanted, in this order; empty: all, in the file's order.
    pub(super) fn load(bytes: Vec<u8>, outputs: &[&str]) -> Result<Self, String> {
        let model = Model::load(bytes).map_err(|e| e.to_string())?;
        let &[input] = model.input_ids() else { return Err("it has not one input".to_owned()) };
        let outputs = match outputs {
            [] => model.output_ids().to_vec(),
            names => {
                let ids = names.iter().map(|name| model.node_id(name)).collect::<Result<_, _>>();
                ids.map_err(|e| e.to_string())?
            }
        };
        Ok(Self { model, input, outputs })
    }

    /// Runs on one picture; the values of each output, in the order asked for when it was loaded.
    pub(super) fn run(&self, lanes: &Lanes, planes: Planes) -> Result<Vec<Vec<f32>>, String> {
        let input = NdTensor::from_data([1, 3, planes.height, planes.width], planes.values);
        let outputs = lanes.with(|lane| {
            let options = RunOptions::default().with_thread_pool(Some(Arc::clone(lane)));
            self.model.run(vec![(self.input, input.into())], &self.outputs, Some(options))
        });
        let outputs = outputs.map_err(|e| e.to_string())?;
        let values = outputs.into_iter().map(|value| {
            let tensor: rten_tensor::Tensor<f32> = value.try_into().map_err(|_| "an output is not of floats")?;
            Ok(tensor.into_data())
        });
        values.collect::<Result<_, &str>>().map_err(str::to_owned)
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network({} parameters)", self.model.total_params())
    }
}
