//! Indexing: claim → decode → thumbnail and preview → faces → done. One photo per [`Indexer::step`].
//!
//! Jobs may run twice (a lease that ran out), their result is written once: whoever lost the lease commits nothing.
//! What cannot be decoded is marked, not tried again.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use findme_common::media::{Media, SNIFF_LEN};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::catalog::{
    Catalog, CatalogError, Claim, GuestEnrolment, Indexed, JobOutcome, Matcher, NewFace, REMOTE_PACK, RENEW_EVERY,
    Suppressed, Trouble,
};
use crate::cpu::{CpuPool, GivenUp};
use crate::face::{Face, Pack, Purpose, Timings};
use crate::live::Live;
use crate::matching::{FaceState, Matching, Seen, area};
use crate::picture::{self, Derivatives, Limits, PictureError, Pixels};
use crate::remote::{RemoteError, RemoteFace, ServiceError, to_send};
use crate::store::{PhotoStore, Rendition};
use crate::vault::Vault;

/// A worker that heard nothing looks for jobs this often: leases run out, and delays end.
const POLL: Duration = Duration::from_secs(2);

/// A photo that takes longer than this is not waited for: its lease runs out.
const LONGEST: Duration = Duration::from_secs(600);

/// Pauses between attempts to write a result down.
const RECORD_AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// Jobs that are leased at once where there are many: at most a second's work for a process with one thread.
const BATCH: u32 = 4;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing to do now.
    Idle,
    /// One photo is done, one way or another.
    Done,
}

/// Turns received photos into indexed ones.
#[derive(Debug, Clone)]
pub(crate) struct Indexer {
    /// Where jobs come from and results go.
    pub catalog: Catalog,
    /// Where pictures come from and derivatives go.
    pub store: PhotoStore,
    /// Seals vectors.
    pub vault: Vault,
    /// What finds faces.
    pub faces: FaceState,
    /// Knows which guests are in a photo.
    pub(crate) matching: Matching,
    /// Told when there is something new to tell.
    pub(crate) live: Live,
    /// Bounds of decoding.
    pub limits: Limits,
    /// Threads that hold pictures, shared with selfies.
    pub cpu: CpuPool,
    /// Told about each new job.
    pub work: Arc<Notify>,
    /// What was leased with others and is not begun.
    pub(crate) in_hand: InHand,
}

/// Jobs that were leased and are not begun, each with the moment of its lease, oldest photo first.
#[derive(Debug, Clone, Default)]
pub(crate) struct InHand(Arc<Mutex<Vec<(Claim, Instant)>>>);

impl InHand {
    fn take(&self) -> Option<(Claim, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, claims: impl IntoIterator<Item = Claim>) {
        let now = Instant::now();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(claims.into_iter().map(|claim| (claim, now)));
    }
}

impl Indexer {
    /// Indexes one photo, if there is one.
    ///
    /// # Errors
    /// When the catalogue fails; the job stays and its lease runs out.
    pub(crate) async fn step(&self) -> Result<Step, CatalogError> {
        // The turn comes first: a lease must not run out, and use up an attempt, while selfies have the threads.
        let Ok(turn) = self.cpu.turn().await else { return Ok(Step::Idle) };
        let Some(claim) = self.next().await? else { return Ok(Step::Idle) };
        // Where there is one there may be more.
        self.work.notify_one();
        let (this, photo) = (self.clone(), claim.clone());
        let looked = self.cpu.run(turn, move || this.index(&photo));
        let work = async {
            let looked = looked.await.unwrap_or_else(|GivenUp| {
                tracing::error!(photo = %claim.photo, "indexing panicked");
                Looked::at(JobOutcome::Failed("indexing-failed"))
            });
            let looked = self.keep(&claim, looked).await;
            self.look_elsewhere(&claim, looked).await
        };
        let (outcome, embeddings, elsewhere) = self.renewing(&claim, work).await;
        let start = Instant::now();
        let guests = self.matching.guests_in(claim.event, &embeddings).await;
        let find = |enrolments: &[GuestEnrolment], unwanted: &[bool]| guests.find(enrolments, unwanted);
        let unwanted = |suppressed: &[Suppressed]| self.matching.likeness(claim.event, &embeddings, suppressed);
        let matcher = Matcher { pack: guests.pack(), find: &find, unwanted: &unwanted };
        let recorded = self.record(&claim, &outcome, &matcher).await;
        if let (FaceState::Remote(remote), Some(faces)) = (&self.faces, elsewhere) {
            remote.settle(claim.event, &claim.photo.to_simple(), &faces).await;
        }
        if !recorded? {
            tracing::warn!(photo = %claim.photo, "the lease was lost; the photo is another's, or gone");
            self.sweep(&claim).await?;
        }
        // Includes the commit: the guests are looked for inside the photo's own transaction.
        tracing::info!(photo = %claim.photo, match_ms = start.elapsed().as_secs_f64() * 1e3, "matched and recorded");
        self.live.wake();
        Ok(Step::Done)
    }

    /// A leased job: one in hand, or new ones.
    async fn next(&self) -> Result<Option<Claim>, CatalogError> {
        while let Some((claim, since)) = self.in_hand.take() {
            // One that lay long may be another's by now.
            if since.elapsed() < RENEW_EVERY || self.catalog.renew_lease(&claim).await? {
                return Ok(Some(claim));
            }
        }
        let mut lease = [0; 16];
        getrandom::fill(&mut lease).map_err(|error| CatalogError::Sql(sqlx::Error::Io(error.into())))?;
        let mut claims = self.catalog.claim_jobs(lease, BATCH).await?.into_iter();
        let first = claims.next();
        self.in_hand.put(claims.rev());
        Ok(first)
    }

    /// Gives back what was leased and not begun: the process ends.
    async fn let_go(&self) {
        while let Some((claim, _)) = self.in_hand.take() {
            if let Err(error) = self.catalog.give_back(&claim).await {
                tracing::warn!(photo = %claim.photo, %error, "a job is not given back; its lease runs out");
            }
        }
    }

    /// Writes the result down. A disk that is full for a moment must not cost the work that was done, nor an attempt.
    async fn record(&self, claim: &Claim, outcome: &JobOutcome, matcher: &Matcher<'_>) -> Result<bool, CatalogError> {
        for pause in RECORD_AGAIN {
            match self.catalog.complete_job(claim, outcome, matcher).await {
                Err(error) => tracing::warn!(photo = %claim.photo, %error, "a result cannot be written down"),
                done => return done,
            }
            tokio::time::sleep(pause).await;
        }
        self.catalog.complete_job(claim, outcome, matcher).await
    }

    /// Derivatives that were made while their photo was deleted are in nobody's charge: they go.
    async fn sweep(&self, claim: &Claim) -> Result<(), CatalogError> {
        if self.catalog.is_deleted(claim.event, claim.photo).await? {
            let (store, event, photo) = (self.store.clone(), claim.event, claim.photo);
            if let Err(error) = crate::uploads::blocking(move || store.remove_photo(event, photo)).await {
                tracing::error!(photo = %claim.photo, %error, "files of a deleted photo are left");
            }
        }
        Ok(())
    }

    /// Waits for the work on a claimed photo and renews its lease meanwhile: the process lives. Not for ever, so that a
    /// decoder that never ends cannot keep a photo from being given up.
    async fn renewing<T>(&self, claim: &Claim, work: impl Future<Output = T>) -> T {
        let begin = Instant::now();
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(RENEW_EVERY), if begin.elapsed() < LONGEST => {}
            }
            match self.catalog.renew_lease(claim).await {
                Ok(true) => {}
                // Its original came, or this machine slept: the result will not count.
                Ok(false) => tracing::debug!(photo = %claim.photo, "the lease is another's"),
                Err(error) => tracing::warn!(photo = %claim.photo, %error, "a lease cannot be renewed"),
            }
        }
    }

    /// Steps until `shutdown`. Faults of the catalogue are waited out: photos are safe meanwhile.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            // Interest is registered before looking, so that no wake-up is missed.
            let work = self.work.notified();
            tokio::pin!(work);
            work.as_mut().enable();
            match self.step().await {
                Ok(Step::Done) => {
                    // Others may have been told about jobs while all workers were busy.
                    self.work.notify_one();
                    continue;
                }
                Ok(Step::Idle) => {}
                Err(error) => tracing::error!(%error, "indexing is held up"),
            }
            tokio::select! {
                () = work => {}
                () = tokio::time::sleep(POLL) => {}
                () = shutdown.cancelled() => {}
            }
        }
        self.let_go().await;
    }

    /// Has the faces found by the service elsewhere, where one finds them.
    async fn look_elsewhere(&self, claim: &Claim, looked: Looked) -> (JobOutcome, Vec<Seen>, Option<Vec<RemoteFace>>) {
        let (FaceState::Remote(remote), Some(picture), JobOutcome::Indexed(indexed, _)) =
            (&self.faces, looked.picture, &looked.outcome)
        else {
            return (looked.outcome, looked.seen, None);
        };
        let height = indexed.height;
        let outcome = match remote.index(claim.event, &claim.photo.to_simple(), picture).await {
            Ok(faces) => {
                crate::metrics::get().faces("found", faces.len() as u64);
                let found = faces.iter().map(|face| NewFace {
                    area: face.area,
                    score: face.score,
                    quality: face.quality(height),
                    pack: REMOTE_PACK.to_owned(),
                    vector: face.reference.to_bytes(),
                });
                let found = found.collect();
                return (looked.outcome.with_faces(found), Vec::new(), Some(faces));
            }
            Err(RemoteError::OverBudget) => looked.outcome.without_engine(),
            Err(RemoteError::Service(ServiceError::Picture(cause))) => {
                tracing::warn!(photo = %claim.photo, %cause, "the face service has no use for this picture");
                looked.outcome
            }
            Err(error) => {
                tracing::warn!(photo = %claim.photo, %error, "indexing is put off");
                JobOutcome::Again(Trouble::Engine)
            }
        };
        (outcome, Vec::new(), Some(Vec::new()))
    }

    fn index(&self, claim: &Claim) -> Looked {
        let start = Instant::now();
        self.try_index(claim).unwrap_or_else(|obstacle| stopped(claim, &obstacle, start.elapsed()))
    }

    fn try_index(&self, claim: &Claim) -> Result<Looked, Obstacle> {
        let rendition = if claim.original { Rendition::Original } else { Rendition::SentPreview };
        let path = self.store.local(claim.event, claim.photo, rendition)?;
        let start = Instant::now();
        let media = sniff(&path)?;
        let picture = match picture::open(&path, &self.limits) {
            // What came ahead of an original that cannot be read (a RAW file) still shows it.
            Err(error) if claim.original && error.reason().is_some() => self.sent_ahead(claim).ok_or(error),
            opened => opened,
        };
        let picture = picture.map_err(|error| match (error.reason(), error) {
            (Some(reason), _) => Obstacle::Photo(reason),
            (None, PictureError::Io(error)) => Obstacle::from(error),
            (None, error) => Obstacle::Passing(Trouble::Files, error.to_string()),
        })?;
        let decoded = start.elapsed();
        let made = self.derive(claim, &picture.pixels)?;
        let derived = start.elapsed() - decoded;
        let private = if claim.original { Some(picture::location::find(&path)?) } else { None };
        let indexed = Indexed {
            width: picture.source_width,
            height: picture.source_height,
            media: media.map_or("application/octet-stream", Media::content_type),
            taken_at: picture.taken_at,
            private,
        };
        let mut timings = Timings::default();
        let looked = match &self.faces {
            _ if !claim.faces => Looked::at(JobOutcome::Indexed(indexed, Vec::new())),
            FaceState::Off => Looked::at(JobOutcome::Indexed(indexed, Vec::new())),
            FaceState::Waiting(..) => Looked::at(JobOutcome::WaitsForModels(indexed)),
            FaceState::Remote(_) => {
                let preview = match made.iter().find(|(rendition, _)| *rendition == Rendition::Preview) {
                    Some((_, bytes)) => Some(bytes.clone()),
                    None => std::fs::read(&*self.store.local(claim.event, claim.photo, Rendition::Preview)?).ok(),
                };
                let picture = passing(Trouble::Engine, to_send(&picture.pixels, preview))?;
                Looked { picture, ..Looked::at(JobOutcome::Indexed(indexed, Vec::new())) }
            }
            FaceState::Ready(engine, pack) => {
                let faces = engine.faces_timed(&picture.pixels, Purpose::Photo, &mut timings);
                let faces = passing(Trouble::Engine, faces)?;
                let sealed = self.seal(claim, pack, &picture.pixels, &faces)?;
                let seen = |face: Face| Seen { embedding: face.embedding, poor: face.quality.is_poor() };
                let seen = faces.into_iter().map(seen).collect();
                Looked { seen, ..Looked::at(JobOutcome::Indexed(indexed, sealed)) }
            }
        };
        let stages =
            [("decode", decoded), ("thumbnails", derived), ("detect", timings.detect), ("embed", timings.embed)];
        for (stage, took) in stages {
            crate::metrics::get().stage(stage, "done", took);
        }
        crate::metrics::get().faces("found", looked.seen.len() as u64);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        tracing::info!(
            photo = %claim.photo,
            decode_ms = ms(decoded),
            thumbnails_ms = ms(derived),
            detect_ms = ms(timings.detect),
            embed_ms = ms(timings.embed),
            "indexed"
        );
        Ok(Looked { made, ..looked })
    }

    /// The picture that was sent ahead of the original.
    fn sent_ahead(&self, claim: &Claim) -> Option<picture::Picture> {
        let file = self.store.local(claim.event, claim.photo, Rendition::SentPreview).ok()?;
        picture::open(&file, &self.limits).ok()
    }

    /// Makes the derivatives, unless they are there: what an immutable address has shown is never replaced, whether the
    /// photo is indexed again or its original follows its preview. One that cannot be read has shown nothing.
    fn derive(&self, claim: &Claim, pixels: &Pixels) -> Result<Vec<(Rendition, Vec<u8>)>, Obstacle> {
        let kept = |rendition| {
            let file = self.store.local(claim.event, claim.photo, rendition);
            file.is_ok_and(|file| picture::open(&file, &self.limits).is_ok())
        };
        let all = [Rendition::Preview, Rendition::Thumb, Rendition::Small];
        let missing = all.map(|of| !kept(of));
        if missing == [false; 3] {
            return Ok(Vec::new());
        }
        let Derivatives { preview, thumb, small } = passing(Trouble::Engine, picture::derivatives(pixels))?;
        let made = all.into_iter().zip([preview, thumb, small]).zip(missing);
        Ok(made.filter_map(|(made, missing)| missing.then_some(made)).collect())
    }

    /// Writes the derivatives, durably. The threads that hold pictures do not wait for the disk meanwhile.
    async fn keep(&self, claim: &Claim, mut looked: Looked) -> Looked {
        let (store, event, photo) = (self.store.clone(), claim.event, claim.photo);
        let made = std::mem::take(&mut looked.made);
        let put =
            move || made.iter().try_for_each(|(rendition, bytes)| store.put_derived(event, photo, *rendition, bytes));
        match crate::uploads::blocking(put).await.map_err(Obstacle::from) {
            Ok(()) => looked,
            Err(obstacle) => stopped(claim, &obstacle, Duration::ZERO),
        }
    }

    fn seal(&self, claim: &Claim, pack: &Pack, pixels: &Pixels, faces: &[Face]) -> Result<Vec<NewFace>, Obstacle> {
        let key = passing(Trouble::Key, self.vault.key(claim.event))?;
        let sealed = faces.iter().map(|face| {
            let vector = passing(Trouble::Key, key.seal(&face.embedding.to_bytes()))?;
            let (area, score, quality) = (area(face, pixels), face.detection.score, face.quality);
            Ok(NewFace { area, score, quality, pack: pack.name.clone(), vector })
        });
        sealed.collect()
    }
}

/// What a worker's thread made of a photo.
struct Looked {
    outcome: JobOutcome,
    /// Its faces, to be compared here.
    seen: Vec<Seen>,
    /// What a face service elsewhere is to be sent.
    picture: Option<Bytes>,
    /// Its derivatives, as far as they are not there yet.
    made: Vec<(Rendition, Vec<u8>)>,
}

impl Looked {
    const fn at(outcome: JobOutcome) -> Self {
        Self { outcome, seen: Vec::new(), picture: None, made: Vec::new() }
    }
}

/// What comes of a photo that is not indexed.
fn stopped(claim: &Claim, obstacle: &Obstacle, after: Duration) -> Looked {
    let (word, outcome) = match obstacle {
        Obstacle::Photo(reason) => {
            tracing::info!(photo = %claim.photo, reason, "cannot be indexed");
            (*reason, JobOutcome::Failed(reason))
        }
        Obstacle::Passing(trouble, cause) => {
            tracing::warn!(photo = %claim.photo, trouble = trouble.as_str(), %cause, "indexing is put off");
            (trouble.as_str(), JobOutcome::Again(*trouble))
        }
    };
    crate::metrics::get().stage("index", word, after);
    Looked::at(outcome)
}

/// Faults of the machine, which may pass.
fn passing<T, E: std::fmt::Display>(trouble: Trouble, result: Result<T, E>) -> Result<T, Obstacle> {
    result.map_err(|error| Obstacle::Passing(trouble, error.to_string()))
}

/// Why a photo is not indexed.
enum Obstacle {
    /// It never will be; a stable word.
    Photo(&'static str),
    /// The machine's fault, and it may pass; what it said, for the log.
    Passing(Trouble, String),
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let full = matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem);
        Self::Passing(if full { Trouble::Disk } else { Trouble::Files }, error.to_string())
    }
}

fn sniff(path: &std::path::Path) -> io::Result<Option<Media>> {
    let mut head = Vec::with_capacity(SNIFF_LEN);
    File::open(path)?.take(SNIFF_LEN as u64).read_to_end(&mut head)?;
    Ok(Media::sniff(&head))
}
