//! Networks on rten, and the threads they run on.

use std::sync::{Arc, Mutex, PoisonError};

use rten::{Model, NodeId, RunOptions, ThreadPool};
use rten_tensor::NdTensor;

use super::{Network, Planes};

/// Single-threaded pools, one for each run that is going on. rten would otherwise share one pool between all workers.
#[derive(Debug, Default)]
pub(in crate::face) struct Lanes(Mutex<Vec<Arc<ThreadPool>>>);

impl Lanes {
    fn with<T>(&self, run: impl FnOnce(&Arc<ThreadPool>) -> T) -> T {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lane = free.unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(1)));
        let result = run(&lane);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
        result
    }
}

/// A loaded network.
pub(super) struct Loaded {
    model: Model,
    input: NodeId,
    outputs: Vec<NodeId>,
    lanes: Arc<Lanes>,
}

impl Loaded {
    pub(super) fn new(bytes: Vec<u8>, outputs: &[&str], lanes: Arc<Lanes>) -> Result<Self, String> {
        let model = Model::load(bytes).map_err(|e| e.to_string())?;
        let &[input] = model.input_ids() else { return Err("it has not one input".to_owned()) };
        let outputs = match outputs {
            [] => model.output_ids().to_vec(),
            names => {
                let ids = names.iter().map(|name| model.node_id(name)).collect::<Result<_, _>>();
                ids.map_err(|e| e.to_string())?
            }
        };
        Ok(Self { model, input, outputs, lanes })
    }
}

impl Network for Loaded {
    fn run(&self, planes: Planes) -> Result<Vec<Vec<f32>>, String> {
        let input = NdTensor::from_data([1, 3, planes.height, planes.width], planes.values);
        let outputs = self.lanes.with(|lane| {
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

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loaded({} parameters)", self.model.total_params())
    }
}
