//! Memory over a long event.

use std::time::Instant;

use tokio::task::JoinSet;

use crate::crew::upload;
use crate::figures::{Memory, UNLIMITED};
use crate::support::photos::small;
use crate::support::{Server, say};
use crate::wire::Wire;

/// How much a value grows from sample to sample: the straight line that fits best.
fn slope(samples: &[f64]) -> f64 {
    let count = samples.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, samples.iter().sum::<f64>() / count);
    let offsets = || (0..samples.len()).map(|at| at as f64 - middle);
    let above: f64 = offsets().zip(samples).map(|(at, sample)| at * (sample - mean)).sum();
    above / offsets().map(|at| at * at).sum::<f64>()
}

/// Uploads so many small photos, which the server indexes; its memory after each tenth, at rest.
pub(crate) async fn photos(count: u64) {
    let server = Server::start_with(&UNLIMITED).await;
    let event = server.create_event("soak");
    let idle = Memory::of(server.pid());
    say(&format!("soak: idle {idle}"));
    let began = Instant::now();
    let mut samples = Vec::new();
    for tenth in 0..10 {
        let (first, last) = (count * tenth / 10, count * (tenth + 1) / 10);
        let mut at_work = JoinSet::new();
        for machine in 0..6 {
            let event = event.clone();
            at_work.spawn(async move {
                let mut wire = Wire::to(&event.url).await.unwrap();
                for number in (first + machine..last).step_by(6) {
                    let bytes = tokio::task::spawn_blocking(move || small(number)).await.unwrap();
                    upload(&mut wire, &event, &bytes).await;
                }
            });
        }
        while let Some(ended) = at_work.join_next().await {
            ended.unwrap();
        }
        event.rest().await;
        let memory = Memory::of(server.pid());
        say(&format!("soak: {last} photos after {:.0} s: {memory}", began.elapsed().as_secs_f32()));
        samples.push(memory.own);
    }
    let counts = event.counts().await;
    let second_half = slope(&samples[4..]) * 1_048_576.0 / (count as f64 / 10.0);
    say(&format!(
        "soak: {count} photos, {} indexed; in the second half {second_half:+.0} bytes of the process's own memory a photo",
        counts.indexed
    ));
    assert_eq!(counts.indexed, count);
    server.assert_no_faults();
}
