//! What commits cost: for `examples/commits.rs`, which has no other way in.

use std::path::Path;
use std::time::{Duration, Instant};

use findme_common::protocol::Kind;
use findme_common::{Digest, EventId, JoinCode, PhotoId, UploadId};

use super::db::query;
use super::{Accepted, Catalog, NewUpload};

/// What a run came to.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Uploads that were created and finished; two writes each.
    pub uploads: u64,
    /// Commits that they took.
    pub commits: u64,
    /// Time on the clock.
    pub took: Duration,
}

/// Creates and finishes uploads (rows only, no files) from so many writers at once; at most `batch` writes share a
/// commit, 1 is without sharing.
///
/// # Errors
/// When the catalogue in `folder` cannot be made or written.
pub async fn uploads(folder: &Path, writers: u64, uploads: u64, batch: usize) -> anyhow::Result<Run> {
    let catalog = Catalog::open_sharing(&folder.join("findme.sqlite"), batch).await?;
    let event = EventId::random()?;
    query("INSERT INTO events (id, name, join_code, created_at) VALUES (?, 'measure', ?, 0)")
        .bind(event.as_bytes().as_slice())
        .bind(JoinCode::random()?.as_str())
        .execute(&catalog.writer)
        .await?;
    let (before, start) = (catalog.writer_task.commits(), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let catalog = catalog.clone();
        tasks.spawn(async move {
            for number in (writer..uploads).step_by(writers as usize) {
                upload(&catalog, event, number).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let run = Run { uploads, commits: catalog.writer_task.commits() - before, took: start.elapsed() };
    catalog.close().await;
    Ok(run)
}

async fn upload(catalog: &Catalog, event: EventId, number: u64) -> anyhow::Result<()> {
    let digest = Digest::of(&number.to_le_bytes());
    let new = NewUpload {
        event,
        photo: PhotoId::of(event, &digest),
        kind: Kind::Original,
        length: 8,
        digest: Some(digest),
        metadata: String::new(),
        name: format!("{number}.jpg"),
        token: None,
        replaces: None,
        held: false,
    };
    let Accepted::Upload(row) = catalog.create_upload(UploadId::random()?, &new, None).await? else {
        anyhow::bail!("an upload of its own was refused");
    };
    Ok(catalog.finish_upload(&row, &digest).await?)
}
