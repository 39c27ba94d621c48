//! The server: stores an event's photos, finds the faces in them, lets each guest find theirs.
//!
//! One direction of data:
//!
//! ```text
//! http::uploads → uploads (state machine) → store (files) + catalog (rows, jobs)
//!                                            ↓ job
//!                 indexer → picture (decode, derivatives) → face (detect, align, embed) → vault (seal) → catalog
//!                                                                                                          ↓
//! http::guests, http::lists ← matching (bands) ← gallery (exact search) ←──────────────────────────────────┘
//! ```

mod backup;
mod catalog;
mod check;
mod cli;
mod clock;
mod config;
mod cpu;
mod evaluate;
pub mod face;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod gallery;
mod http;
mod indexer;
mod limits;
mod live;
mod matching;
mod metrics;
pub mod models;
mod names;
pub mod picture;
mod pulse;
mod remote;
mod retention;
mod roles;
mod site;
mod store;
mod support;
mod uploads;
mod vault;
mod zip;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use findme_common::{EventId, JoinCode, OperatorToken, PhotographerToken};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[doc(hidden)]
pub use catalog::measure;
use catalog::{Catalog, Quota};
pub use cli::main;
pub use config::{Config, Elsewhere, Faces, PhotoUrls};
use cpu::CpuPool;
use face::Engine;
use http::{App, Crowd, Rates, Terms, Tls, Unfound};
pub use http::{Network, TlsFiles};
use indexer::{InHand, Indexer};
pub use limits::{Bytes, Limits, Rate, Seconds};
use live::Live;
use matching::{FaceState, Matching};
use pulse::Pulse;
use remote::Remote;
pub use remote::{Dollars, RemoteTerms};
pub use retention::ATTESTED;
use roles::Held;
pub use roles::Role;
pub use site::{CreatedEvent, NewEvent, Site};
use uploads::Uploads;

/// The opened server: catalogue migrated, uploads recovered, models loaded; nothing listens yet.
#[derive(Debug)]
pub struct Server {
    site: Site,
    uploads: Uploads,
    indexer: Indexer,
    matching: Matching,
    live: Live,
    config: Config,
    languages: &'static http::Languages,
    tls: Option<Tls>,
    /// Where `/metrics` is shown, when not where everything is.
    metrics: Option<TcpListener>,
    /// Held for as long as the server lives; the operating system frees them with the process.
    _locks: (Option<Held>, Option<Held>),
}

impl Server {
    /// Opens or creates the data folder, takes its locks, migrates the catalogue and recovers what a crash left.
    ///
    /// # Errors
    /// When the folder is in use, unreadable or damaged. Nothing is ever replaced by something empty.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let pack = config.pack;
        Self::open_with(config, pack).await
    }

    /// [`Server::open`] with a face pack.
    async fn open_with(config: Config, pack: &'static face::Pack) -> anyhow::Result<Self> {
        store::private_dir_if_new(&config.data).with_context(|| format!("cannot create {}", config.data.display()))?;
        let tls = config.tls.clone().map(Tls::open).transpose()?;
        let languages = http::Languages::with_folder(&config.data.join("texts"))?;
        let serving = config.role.serves().then(|| roles::serving(&config.data)).transpose()?;
        let shared = config.elsewhere.database.is_some();
        if !config.role.serves() && !shared && site::is_absent(&config.data.join("findme.sqlite"))? {
            anyhow::bail!("there is no catalogue in {} yet; start the web role first", config.data.display());
        }
        let site = Site { quota: Quota::of(&config.limits), ..Site::open_with(&config.data, &config.elsewhere).await? };
        let site = match &config.photo_urls {
            PhotoUrls::Streamed => site,
            PhotoUrls::Signed { store: reached } => {
                let signed = site.store.with_signed_urls(config.elsewhere.photos.as_deref(), reached.as_deref()).await;
                Site { store: signed.context("--photo-urls signed")?, ..site }
            }
        };
        let work = Arc::new(Notify::new());
        let live = Live::new(site.catalog.clone());
        let node = shared.then(|| roles::node(&config.data)).transpose()?;
        let uploads = Uploads::new(site.catalog.clone(), site.store.clone(), work.clone()).on_node(node);
        if config.role.serves() {
            uploads.recover().await.context("cannot recover unfinished uploads")?;
            sweep_deleted(&site).await.context("cannot remove the files of deleted photos")?;
        }
        require_keys(&site, &config.data).await?;
        let faces = load_faces(&config, pack, &site.catalog).await?;
        let mut working = None;
        if config.role.works() {
            working = Some(roles::working(&config.data, &site.catalog, shared).await?);
            let woken =
                if matches!(faces, FaceState::Waiting(..)) { 0 } else { site.catalog.wake_waiting_jobs().await? };
            if woken > 0 {
                tracing::info!(photos = woken, "photos that waited for models are indexed now");
            }
            if let FaceState::Ready(_, pack) = &faces {
                let queued = site.catalog.requeue_for(&pack.name).await?;
                if queued > 0 {
                    tracing::info!(photos = queued, pack = pack.name, "photos are indexed again for the new face pack");
                }
            }
        }
        let workers =
            config.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from)).max(1);
        let cpu = CpuPool::new(workers).context("cannot start the threads for pictures")?;
        let limits = config.limits.picture();
        let matching = Matching::new(site.catalog.clone(), site.vault.clone(), faces.clone(), cpu.clone(), limits)
            .with_memory(config.limits.gallery_memory.0);
        let indexer = Indexer {
            catalog: site.catalog.clone(),
            store: site.store.clone(),
            vault: site.vault.clone(),
            faces,
            matching: matching.clone(),
            live: live.clone(),
            limits,
            cpu,
            work,
            in_hand: InHand::default(),
        };
        let config = Config { workers: Some(workers), ..config };
        let _locks = (serving, working);
        Ok(Self { site, uploads, indexer, matching, live, config, languages, tls, metrics: None, _locks })
    }

    /// The operator token, only at the very first start of a data folder; afterwards only its hash is known.
    pub fn first_operator_token(&self) -> Option<&OperatorToken> {
        self.site.first_operator_token.as_ref()
    }

    /// See [`Site::create_event`].
    ///
    /// # Errors
    /// As there.
    pub async fn create_event(&self, event: NewEvent) -> anyhow::Result<CreatedEvent> {
        self.site.create_event(event).await
    }

    /// See [`Site::create_photographer_token`].
    ///
    /// # Errors
    /// As there.
    pub async fn create_photographer_token(&self, event: EventId, label: &str) -> anyhow::Result<PhotographerToken> {
        self.site.create_photographer_token(event, label).await
    }

    /// Name and join code of an event, `None` when there is no such event.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub async fn event(&self, id: EventId) -> anyhow::Result<Option<(String, JoinCode)>> {
        Ok(self.site.catalog.event(id).await?.map(|event| (event.name, event.join)))
    }

    /// Why faces are not searchable, in one line with the way out; `None` when they are.
    pub fn faces_problem(&self) -> Option<String> {
        self.matching.faces_problem()
    }

    /// What the handlers share.
    fn app(&self, shutdown: CancellationToken) -> App {
        let limits = self.config.limits;
        App {
            catalog: self.site.catalog.clone(),
            store: self.site.store.clone(),
            site: self.site.clone(),
            uploads: self.uploads.clone(),
            matching: self.matching.clone(),
            live: self.live.clone(),
            work: self.indexer.work.clone(),
            shutdown,
            limits,
            rates: Rates::new(&limits),
            listeners: Crowd::default(),
            unfound: Unfound::default(),
            selfie_room: Arc::new(Semaphore::new(http::selfie_units(&limits) as usize)),
            public_url: self.config.public_url.clone(),
            languages: self.languages,
            contact: self.config.contact.clone(),
            trusted_proxies: self.config.trusted_proxies.clone().into(),
            metrics_apart: self.metrics.is_some(),
            page_policy: http::page_policy(self.site.store.pictures_from()),
        }
    }

    /// Shows `/metrics` to whoever reaches this listener, and only there.
    pub fn show_metrics_on(&mut self, listener: TcpListener) {
        self.metrics = Some(listener);
    }

    /// Answers requests and (unless the role is only to serve) indexes photos until `shutdown` is cancelled, then finishes
    /// what is in flight, for [`Limits::shutdown_time`] at most.
    ///
    /// # Errors
    /// When a part of the server died.
    pub async fn serve(mut self, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
        let limits = self.config.limits;
        let tasks = self.background(&shutdown);
        tasks.spawn(self.live.clone().run(shutdown.clone()));
        tasks.spawn(self.live.clone().trim(shutdown.clone()));
        tasks.spawn(expire_uploads(self.uploads.clone(), limits.upload_expiry.0, shutdown.clone()));
        tasks.spawn(retention::run(self.site.clone(), self.matching.clone(), shutdown.clone()));
        let app = Arc::new(self.app(shutdown.clone()));
        if let Some(listener) = self.metrics.take() {
            self.spawn_metrics(&tasks, listener, &app, &shutdown);
        }
        if let Some(tls) = self.tls.clone() {
            tasks.spawn(tls.keep_current(shutdown.clone()));
        }
        let terms = Terms { limits, trusted_proxies: app.trusted_proxies.clone(), tls: self.tls.take() };
        http::serve(listener, http::router(app), terms, shutdown.clone()).await;
        self.end(tasks, limits.shutdown_time.0).await;
        Ok(())
    }

    /// Indexes photos until `shutdown` is cancelled, then finishes those in hand (60 s at most). Listens to nobody, except
    /// for `/metrics` where [`Server::show_metrics_on`] says so.
    ///
    /// # Errors
    /// When a part of the worker died.
    pub async fn work(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let tasks = self.background(&shutdown);
        if let Some(listener) = self.metrics.take() {
            self.spawn_metrics(&tasks, listener, &Arc::new(self.app(shutdown.clone())), &shutdown);
        }
        shutdown.cancelled().await;
        self.end(tasks, Duration::from_secs(60)).await;
        Ok(())
    }

    fn spawn_metrics(&self, tasks: &TaskTracker, listener: TcpListener, app: &Arc<App>, shutdown: &CancellationToken) {
        let terms = Terms { limits: self.config.limits, trusted_proxies: Arc::default(), tls: None };
        tasks.spawn(http::serve(listener, http::metrics_router(app.clone()), terms, shutdown.clone()));
    }

    /// What goes on whoever asks: indexing, and hearing of other processes.
    fn background(&self, shutdown: &CancellationToken) -> TaskTracker {
        let tasks = TaskTracker::new();
        let workers = if self.config.role.works() { self.config.workers.unwrap_or(1) } else { 0 };
        // One more than there are threads: while a result is written down, every thread has a photo.
        for _ in 0..workers + usize::from(workers > 0) {
            tasks.spawn(self.indexer.clone().run(shutdown.clone()));
        }
        if let FaceState::Remote(remote) = &self.indexer.faces {
            tasks.spawn(remote.clone().run(shutdown.clone()));
        }
        let pulse = Pulse {
            catalog: self.site.catalog.clone(),
            live: self.live.clone(),
            work: self.indexer.work.clone(),
            vault: self.site.vault.clone(),
            matching: self.matching.clone(),
        };
        tasks.spawn(pulse.run(shutdown.clone()));
        tasks
    }

    /// Waits for the workers to finish the photo that they have, then closes the catalogue.
    async fn end(self, tasks: TaskTracker, deadline: Duration) {
        tasks.close();
        if tokio::time::timeout(deadline, tasks.wait()).await.is_err() {
            tracing::warn!("a photo was still being indexed at the deadline; it is indexed again at the next start");
        }
        self.site.close().await;
    }
}

/// Stops when the key of an event is not there: its faces cannot be read, and no work on them would ever end.
async fn require_keys(site: &Site, data: &Path) -> anyhow::Result<()> {
    for event in site.catalog.keyed_events().await? {
        if let Err(error) = site.vault.key(event) {
            anyhow::bail!(
                "event {event}: {error}. Put the folder of keys back, or run `findme-server check --repair --data {}`: it \
                 makes a new key and indexes the event's faces again; its guests then take a new selfie",
                data.display()
            );
        }
    }
    Ok(())
}

/// Removes the files of photos whose deletion a crash cut short.
async fn sweep_deleted(site: &Site) -> anyhow::Result<()> {
    for (event, photo) in site.catalog.unswept().await? {
        let store = site.store.clone();
        uploads::blocking(move || store.remove_photo(event, photo)).await?;
        site.catalog.set_swept(event, photo).await?;
    }
    Ok(())
}

async fn load_faces(config: &Config, pack: &'static face::Pack, catalog: &Catalog) -> anyhow::Result<FaceState> {
    match config.faces {
        Faces::Local => {}
        Faces::Off => return Ok(FaceState::Off),
        Faces::Rekognition => {
            let remote = remote::open(catalog.clone(), config.remote).await;
            let remote: Remote = remote.map_err(|problem| anyhow::anyhow!("--faces rekognition: {problem}"))?;
            return Ok(FaceState::Remote(remote));
        }
    }
    let left = catalog.remote_erasures().await?.len();
    if left > 0 {
        tracing::warn!(left, "faces are still to be erased at Rekognition; serve with --faces rekognition once");
    }
    let models = config.models.clone().unwrap_or_else(|| models::folder_in(&config.data));
    match Engine::open_on(&models, pack, config.onnxruntime.as_deref()) {
        Ok(engine) => Ok(FaceState::Ready(Arc::new(engine), pack)),
        Err(error) => Ok(FaceState::Waiting(format!("faces wait: {error}"), pack)),
    }
}

/// Forgets abandoned uploads once an hour.
async fn expire_uploads(uploads: Uploads, after: Duration, shutdown: CancellationToken) {
    let mut hourly = tokio::time::interval(Duration::from_secs(3600));
    loop {
        tokio::select! {
            _ = hourly.tick() => {}
            () = shutdown.cancelled() => return,
        }
        match uploads.expire(clock::now_ms() - after.as_millis() as i64).await {
            Ok(0) => {}
            Ok(expired) => tracing::info!(expired, "abandoned uploads were forgotten"),
            Err(error) => tracing::error!(%error, "abandoned uploads cannot be forgotten"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(data: &Path) -> Config {
        Config { faces: Faces::Off, workers: Some(1), ..Config::new(data) }
    }

    #[tokio::test]
    async fn a_lost_catalogue_stops_and_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::open(config(dir.path())).await.unwrap();
        server.create_event(NewEvent::new("event")).await.unwrap();
        server.site.clone().close().await;
        drop(server);
        let staged = dir.path().join("staging").join(EventId::random().unwrap().to_simple());
        std::fs::write(&staged, b"bytes of an unfinished upload").unwrap();
        let file = dir.path().join("findme.sqlite");
        for content in [None, Some(b"".as_slice())] {
            std::fs::remove_file(&file).unwrap();
            content.into_iter().for_each(|content| std::fs::write(&file, content).unwrap());
            let stopped = Server::open(config(dir.path())).await.map(drop).unwrap_err();
            assert!(stopped.to_string().contains("missing or empty"), "{stopped:#}");
            assert!(staged.exists(), "staged bytes were thrown away");
            std::fs::write(&file, b"").unwrap();
        }
    }
}
