//! A whole server on loopback with a data folder of its own, which goes when it ends: photos go in and selfies are asked
//! as any client does it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use findme_common::protocol::{Code, FaceBox, OFFSET_OCTET_STREAM, Policy, Problem, SelfieResult, path};
use findme_common::{Digest, EventId, PhotoId};
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::{Client, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Options;
use crate::catalog::{Catalog, PhotoFilter};
use crate::face::{Pack, Quality};
use crate::limits::{Limits, Rate};
use crate::matching::FaceState;
use crate::{Config, CreatedEvent, NewEvent, Server, Site};

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The running server.
pub(super) struct Bench {
    url: String,
    http: Client,
    site: Site,
    catalog: Catalog,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
    runtime: &'static str,
    _folder: tempfile::TempDir,
}

/// Why a selfie was not searched with: the word of the problem.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Refused(pub(super) String);

/// A face of a photo: where, in fractions, and how good.
pub(super) type Found = (PhotoId, FaceBox, Option<Quality>);

impl Bench {
    /// Starts it over these models.
    ///
    /// # Errors
    /// When there are no models or the system refuses.
    pub(super) async fn start(options: &Options, pack: &'static Pack) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("findme-evaluate-").tempdir()?;
        let none = Rate { count: 0, per: Duration::from_secs(1) };
        let limits = Limits {
            rate_joins: none,
            rate_guesses: none,
            rate_selfies: none,
            rate_lists: none,
            rate_uploads: none,
            rate_address: none,
            ..Limits::default()
        };
        let (models, workers, onnxruntime) =
            (Some(options.models.clone()), options.workers, options.onnxruntime.clone());
        let config = Config { models, workers, onnxruntime, limits, ..Config::new(folder.path().join("data")) };
        let server = Server::open_with(config, pack).await?;
        if let Some(problem) = server.faces_problem() {
            bail!(problem);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        // Somebody else in this process may have chosen one already; both are ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().build()?;
        let FaceState::Ready(engine, _) = server.matching.faces() else { bail!("faces are off") };
        let runtime = engine.runtime();
        let (site, shutdown) = (server.site.clone(), CancellationToken::new());
        let running = tokio::spawn(server.serve(listener, shutdown.clone()));
        Ok(Self { url, http, catalog: site.catalog.clone(), site, shutdown, running, runtime, _folder: folder })
    }

    /// What runs the networks.
    pub(super) const fn runtime(&self) -> &'static str {
        self.runtime
    }

    pub(super) async fn event(&self, name: &str) -> anyhow::Result<CreatedEvent> {
        let event = NewEvent { policy: Policy::Attested, ..NewEvent::new(name) };
        self.site.create_event(event).await
    }

    /// Uploads a photo in one request.
    pub(super) async fn upload(&self, event: &CreatedEvent, photo: Vec<u8>) -> anyhow::Result<PhotoId> {
        let digest = Digest::of(&photo);
        let named = base64::engine::general_purpose::STANDARD.encode(digest.to_string());
        let answer = self
            .http
            .post(format!("{}{}", self.url, path::UPLOADS))
            .bearer_auth(event.photographer.reveal())
            .header("tus-resumable", "1.0.0")
            .header("upload-length", photo.len())
            .header("upload-metadata", format!("digest {named}"))
            .header(CONTENT_TYPE, OFFSET_OCTET_STREAM)
            .body(photo)
            .send()
            .await?;
        ensure!(answer.status() == StatusCode::CREATED, "an upload was answered with {}", answer.status());
        Ok(PhotoId::of(event.id, &digest))
    }

    /// Until every photo is indexed or has failed; how many failed.
    pub(super) async fn indexed(&self, event: EventId) -> anyhow::Result<u64> {
        while self.catalog.open_jobs(Some(event)).await?.0 > 0 {
            tokio::time::sleep(LOOK).await;
        }
        Ok(self.catalog.counts(event, PhotoFilter::All).await?.failed)
    }

    /// Faces that were found in the event's photos.
    pub(super) async fn faces(&self, event: EventId) -> anyhow::Result<Vec<Found>> {
        Ok(self.catalog.face_qualities(event).await?)
    }

    /// Joins as a new guest and searches with a picture. Where it has several faces, the one nearest to its middle.
    pub(super) async fn search(
        &self,
        event: &CreatedEvent,
        picture: &[u8],
    ) -> anyhow::Result<Result<SelfieResult, Refused>> {
        let body = serde_json::json!({ "code": event.join.as_str() }).to_string();
        let joined = self.http.post(format!("{}{}", self.url, path::JOIN)).header(CONTENT_TYPE, "application/json");
        let joined = joined.body(body).send().await?.error_for_status()?;
        let cookie = joined.headers().get(SET_COOKIE).and_then(|value| value.to_str().ok()).context("no session")?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let mut choice = String::new();
        loop {
            let request = self.http.post(format!("{}{}?consent=yes{choice}", self.url, path::SELFIE));
            let request = request.header(COOKIE, &cookie).header(CONTENT_TYPE, "application/octet-stream");
            let answer = request.body(picture.to_vec()).send().await?;
            if answer.status().is_success() {
                return Ok(Ok(answer.json().await?));
            }
            let problem: Problem = answer.json().await?;
            match problem.faces.as_deref().and_then(middle) {
                Some(face) if problem.code == Code::ManyFaces && choice.is_empty() => choice = format!("&face={face}"),
                _ => return Ok(Err(Refused(problem.code.as_str().to_owned()))),
            }
        }
    }

    /// Stops the server and removes its folder.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.running.await.context("the server died")?
    }
}

/// Number of the face nearest to the middle of its picture.
pub(super) fn middle(faces: &[FaceBox]) -> Option<usize> {
    let aside = |face: &FaceBox| (face.x + face.width / 2.0 - 0.5).hypot(face.y + face.height / 2.0 - 0.5);
    let numbered = faces.iter().enumerate().min_by(|(_, a), (_, b)| aside(a).total_cmp(&aside(b)));
    numbered.map(|(number, _)| number)
}

/// A bench that several tasks use.
pub(super) type Shared = Arc<Bench>;
