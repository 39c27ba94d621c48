//! `check`, `backup`, `restore`, `support`: looking after a data folder.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::{DataArg, folder, site};
use crate::check::Depth;
use crate::{Elsewhere, Site, backup, check, roles, support};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    data: DataArg,
    /// Put right what can be; the server must be stopped. Nothing is deleted: what belongs nowhere goes to lost/.
    #[arg(long)]
    repair: bool,
    /// Do not read the photos again: only look whether they are there and have their lengths.
    #[arg(long)]
    shallow: bool,
}

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Folder of the backup: new, or that of an earlier one, which is renewed.
    dir: PathBuf,
    #[command(flatten)]
    data: DataArg,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// Folder of the backup.
    dir: PathBuf,
    /// New data folder; must be empty or not be there.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct SupportArgs {
    #[command(flatten)]
    data: DataArg,
    /// Folder with the model files.
    #[arg(long, env = "FINDME_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    /// Write here instead of to the standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Opens a data folder that is there: looking after nothing must not make something.
async fn existing(data: &Path) -> Result<Site> {
    ensure!(data.join("findme.sqlite").is_file(), "there is no catalogue in {}", data.display());
    Site::open(data).await
}

/// The data folder of a server that has everything in it.
fn in_folder(data: DataArg) -> Result<PathBuf> {
    ensure!(
        data.elsewhere() == Elsewhere::default(),
        "this looks after a data folder that has everything in it; a database server and an object store have means of \
         their own (pg_dump, replication)"
    );
    folder(data)
}

/// Shows on a terminal how many of how many photos are done; ends the line with the last of them.
fn progress(done: u64, of: u64) {
    if std::io::stderr().is_terminal() && (done.is_multiple_of(50) || done == of) {
        let end = if done == of { "\n" } else { "" };
        eprint!("\r{:>3} %  {done} of {of} photos{end}", done * 100 / of.max(1));
        let _ = std::io::stderr().flush();
    }
}

/// Says what is wrong, one line each, and a summary.
pub(super) async fn check(args: CheckArgs) -> Result<()> {
    let mut _lock = None;
    let site = if !args.repair && args.data.elsewhere() != Elsewhere::default() {
        site(args.data).await? // of many machines, beside which it changes nothing
    } else {
        let data = in_folder(args.data)?;
        _lock = if args.repair { Some(roles::serving(&data)?) } else { None };
        ensure!(!args.repair || !roles::somebody_works(&data)?, "workers index in {}; stop them first", data.display());
        existing(&data).await?
    };
    let depth = if args.shallow { Depth::Lengths } else { Depth::Digests };
    let mut report = |problem: &check::Problem, done: Option<&str>| match done {
        Some(done) => println!("{problem}: {done}"),
        None => println!("{problem}"),
    };
    let summary = check::check(&site, depth, args.repair, &mut report, &mut progress).await;
    site.close().await;
    let summary = summary?;
    println!(
        "{} photos, {} bytes read: {} problems, {} repaired",
        summary.photos, summary.bytes, summary.problems, summary.repaired
    );
    match summary.problems - summary.repaired {
        0 if summary.problems == 0 || args.repair => Ok(()),
        left if args.repair => bail!("{left} problems are left"),
        left => bail!("{left} problems; stop the server and run `findme-server check --repair`"),
    }
}

/// Makes or renews a backup.
pub(super) async fn backup(args: BackupArgs) -> Result<()> {
    let data = in_folder(args.data)?;
    let site = existing(&data).await?;
    let made = backup::backup(&site, &data, &args.dir, &mut progress).await;
    site.close().await;
    let made = made?;
    println!(
        "{} events, {} photos, {} bytes as of {} in {}",
        made.events,
        made.photos,
        made.bytes,
        made.begun_at,
        args.dir.display()
    );
    println!("Faces and keys are in no backup: after a restore faces are indexed again, and guests take a new selfie.");
    ensure!(made.missing == 0, "{} files were missing; run `findme-server check`", made.missing);
    Ok(())
}

/// Brings a backup back.
pub(super) async fn restore(args: RestoreArgs) -> Result<()> {
    let restored = backup::restore(&args.dir, &args.data, progress).await?;
    restored.problems.iter().for_each(|problem| println!("{problem}"));
    println!(
        "{} events and {} photos as of {} in {}",
        restored.manifest.events,
        restored.manifest.photos,
        restored.manifest.begun_at,
        args.data.display()
    );
    println!("Faces are indexed again when the server starts; guests take a new selfie.");
    ensure!(restored.problems.is_empty(), "{} problems", restored.problems.len());
    Ok(())
}

/// Writes the facts.
pub(super) async fn support(args: SupportArgs) -> Result<()> {
    let data = folder(args.data)?;
    let site = existing(&data).await?;
    let facts = support::bundle(&site, &data, args.models.as_deref()).await;
    site.close().await;
    let text = serde_json::to_string_pretty(&facts?)?;
    match args.output {
        Some(file) => std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display())),
        None => {
            println!("{text}");
            Ok(())
        }
    }
}
