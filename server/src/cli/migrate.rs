//! `findme-server migrate`: a small server becomes one of many machines. What it has stays as it is.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::{DataArg, site};
use crate::uploads::blocking;
use crate::{Site, roles};

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// Data folder of the small server, which must be stopped. It is only read.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    #[command(flatten)]
    to: DataArg,
}

/// Takes over catalogue, keys and files.
pub(super) async fn migrate(args: MigrateArgs) -> Result<()> {
    ensure!(args.from.join("findme.sqlite").is_file(), "there is no catalogue in {}", args.from.display());
    ensure!(args.to.database.is_some(), "name the database server with --database");
    let _lock = roles::serving(&args.from)?;
    ensure!(!roles::somebody_works(&args.from)?, "workers index in {}; stop them first", args.from.display());
    let from = Site::open(&args.from).await?;
    let to = site(args.to).await?;
    let keys = from.take_keys_to(&to).await.context("cannot copy the keys")?;
    let (store, target) = (from.store.clone(), to.store.clone());
    // Files before rows: a row promises its file.
    let files = blocking(move || store.copy_to(&target)).await.context("cannot copy the photos")?;
    let rows = to.take_over(&from).await.context("cannot take the catalogue over")?;
    println!("{rows} rows, {files} files and {keys} keys taken over; {} stays as it was", args.from.display());
    println!(
        "Unfinished uploads begin again by themselves. Start the nodes with the same --database, --photos and --keys."
    );
    from.close().await;
    to.close().await;
    Ok(())
}
