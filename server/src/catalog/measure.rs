//! What commits and the queue cost: for `examples/commits.rs` and `examples/queue.rs`, which have no other way in.

use std::path::Path;
use std::time::{Duration, Instant};

use findme_common::protocol::{Kind, Policy};
use findme_common::{Digest, EventId, JoinCode, PhotoId, UploadId};

use super::db::query;
use super::{Accepted, Catalog, GuestEnrolment, Indexed, JobOutcome, Matcher, NewUpload, Scope, Suppressed, Terms};

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

/// How the queue is measured.
#[derive(Debug, Clone, Copy)]
pub struct QueueRun {
    /// Worker processes: each has connections of its own.
    pub claimers: u64,
    /// Photos that wait.
    pub jobs: u64,
    /// Events that they are spread over.
    pub events: u64,
    /// Jobs that are leased at once where there are many.
    pub batch: u32,
}

/// How long it takes until no photo waits, where finding out about one takes no time at all: the queue alone, with all
/// that it writes about a photo without faces.
///
/// # Errors
/// When the catalogue, in `folder` or at `database`, cannot be made or written, or a photo is indexed twice.
pub async fn queue(folder: &Path, database: Option<&str>, run: QueueRun) -> anyhow::Result<Duration> {
    let catalog = open(folder, database).await?;
    fill(&catalog, run).await?;
    let mut workers = Vec::new();
    for _ in 0..run.claimers {
        workers.push(open(folder, database).await?);
    }
    let (start, mut tasks) = (Instant::now(), tokio::task::JoinSet::new());
    for worker in workers {
        tasks.spawn(work(worker, run.batch));
    }
    let mut done = 0;
    while let Some(finished) = tasks.join_next().await {
        done += finished??;
    }
    let took = start.elapsed();
    anyhow::ensure!(done == run.jobs, "{done} of {} photos were indexed", run.jobs);
    catalog.close().await;
    Ok(took)
}

/// Works as an indexer does until no photo waits; how many it was.
async fn work(catalog: Catalog, batch: u32) -> anyhow::Result<u64> {
    let nobody = |_: &[GuestEnrolment], _: &[bool]| Vec::new();
    let unwanted = |_: &[Suppressed]| Vec::new();
    let matcher = Matcher { pack: "", find: &nobody, unwanted: &unwanted };
    let mut done = 0;
    loop {
        let mut lease = [0; 16];
        getrandom::fill(&mut lease)?;
        let claims = catalog.claim_jobs(lease, batch).await?;
        if claims.is_empty() {
            catalog.close().await;
            return Ok(done);
        }
        for claim in claims {
            let found = Indexed { width: 6000, height: 4000, media: "image/jpeg", taken_at: None, private: None };
            let held = catalog.complete_job(&claim, &JobOutcome::Indexed(found, Vec::new()), &matcher).await?;
            anyhow::ensure!(held, "a lease was lost");
            done += 1;
        }
    }
}

async fn open(folder: &Path, database: Option<&str>) -> anyhow::Result<Catalog> {
    match database {
        None => Ok(Catalog::open(&folder.join("findme.sqlite")).await?),
        #[cfg(feature = "postgres")]
        Some(url) => Ok(Catalog::open_postgres(url).await?),
        #[cfg(not(feature = "postgres"))]
        Some(_) => anyhow::bail!("build it with `--features postgres`"),
    }
}

/// Photos that wait, of so many events in turn.
async fn fill(catalog: &Catalog, run: QueueRun) -> anyhow::Result<()> {
    let mut events = Vec::new();
    for _ in 0..run.events {
        let event = EventId::random()?;
        let terms = Terms { policy: Policy::Off, attested: None, faces_until: None, photos_until: None };
        catalog.create_event_under(event, "measure", &JoinCode::random()?, &terms).await?;
        events.push(event);
    }
    let mut tx = catalog.begin(Scope::Everything).await?;
    for (number, event) in (0..run.jobs).zip(events.iter().cycle()) {
        let row = query(
            "INSERT INTO photos (event, id, name, accepted_at, visibility, digest, bytes) VALUES (?, ?, '', 0, 'shown', ?, 8)
             RETURNING seq",
        )
        .bind(event.as_bytes().as_slice())
        .bind(PhotoId::random()?.as_bytes().as_slice())
        .bind(Digest::of(&number.to_le_bytes()).as_bytes().as_slice());
        let seq: i64 = row.fetch_one(&mut tx).await?.try_get(0)?;
        super::jobs::enqueue(&mut tx, *event, seq).await?;
    }
    Ok(tx.commit().await?)
}
