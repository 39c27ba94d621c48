//! `findme-server evaluate`: error rates of the shipped pipeline on photos whose people are known.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::again::Progress;
use super::serve::cancel_on_signal;
use super::{DataArg, PackArg, RuntimeArg, folder};
use crate::evaluate::{self, Figures, Options, Plan};
use crate::models;

#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    /// Folder with one folder of photos per person. May be given several times.
    #[arg(long, value_name = "DIR", required_unless_present = "event", conflicts_with = "event")]
    people: Vec<PathBuf>,
    /// Folder with photos/, selfies/ and truth.json.
    #[arg(long, value_name = "DIR")]
    event: Option<PathBuf>,
    /// With --event: folder of people who are in none of its photos and search all the same.
    #[arg(long, value_name = "DIR", requires = "event")]
    strangers: Vec<PathBuf>,
    /// With --people: so many of the photos are spoilt too, in every way (blur, backlight, noise, cover, distance).
    #[arg(long, value_name = "N", default_value_t = 150)]
    degraded: usize,
    /// With --people: file of known errors of the labels (`same PERSON OTHER`, `also PERSON PHOTO`, `not PHOTO`).
    #[arg(long, value_name = "FILE", requires = "people")]
    labels: Option<PathBuf>,
    /// Folder for evaluation.json, .txt and .svg [default: the data folder, where there is one].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder with the model files; only read [default: `models` in the data folder].
    #[arg(long, env = "FINDME_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    /// Photos that are indexed at the same time [default: one per core].
    #[arg(long, env = "FINDME_WORKERS", value_name = "N")]
    workers: Option<usize>,
    #[command(flatten)]
    pack: PackArg,
    #[command(flatten)]
    runtime: RuntimeArg,
    #[command(flatten)]
    data: DataArg,
}

/// Measures, tells, and keeps the figures.
pub(super) async fn evaluate(args: EvaluateArgs) -> anyhow::Result<()> {
    let data = folder(args.data)?;
    let labels = match &args.labels {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            evaluate::Labels::read(&text)?
        }
        None => evaluate::Labels::default(),
    };
    let plan = match &args.event {
        Some(event) => Plan::of_event(event, &args.strangers)?,
        None => Plan::of_people(&args.people, &labels)?,
    };
    let models = args.models.unwrap_or_else(|| models::folder_in(&data));
    let degraded = if args.event.is_some() { 0 } else { args.degraded };
    let (pack, onnxruntime) = (args.pack.choose()?, args.runtime.library());
    let options = Options { models, pack, workers: args.workers, onnxruntime, degraded };
    let stopped = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stopped.clone()));
    let progress = std::sync::Mutex::new(Progress::new("done"));
    let step = |what: &str, done: usize, all: usize| {
        progress.lock().expect("showing progress does not panic").show_of(what, done as u64, all as u64);
    };
    // Given up half-way, everything temporary goes too.
    let figures = tokio::select! {
        figures = evaluate::evaluate(&plan, &options, step) => figures?,
        () = stopped.cancelled() => anyhow::bail!("stopped; nothing was kept"),
    };
    progress.into_inner().expect("showing progress does not panic").end();
    print!("{}", figures.table());
    if let Some(out) = args.out.or_else(|| data.is_dir().then_some(data)) {
        figures.write(&out).with_context(|| format!("cannot write to {}", out.display()))?;
        println!("\nkept in {}", Figures::file_in(&out).display());
    }
    Ok(())
}
