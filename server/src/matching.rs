//! From faces to guests: galleries in memory, selfies searched in them, enrolments kept.
//!
//! One search, one pair of thresholds, whichever came first, photo or selfie: the order of arrival cannot matter. What a
//! guest is shown is searched anew each time, so that nothing derived is stored and erasing an enrolment erases all.

mod elsewhere;
mod galleries;
mod guests;
mod mine;
mod never;
mod people;
mod probe;
mod rematch;
mod selfie;
mod verdict;

use std::sync::Arc;

use findme_common::protocol::{Band, FaceBox, SelfieResult};
use findme_common::{EventId, GuestId};

use crate::catalog::{Catalog, CatalogError};
use crate::cpu::CpuPool;
use crate::face::{Embedding, Engine, Face, Pack, Rect};
use crate::picture::{Limits, Pixels};
use crate::remote::{Remote, RemoteError};
use crate::vault::{Vault, VaultError};
use galleries::{Galleries, Loaded};
pub(crate) use guests::Seen;
pub(crate) use people::Gathering;
use probe::{Found, Probe};
pub(crate) use selfie::MOST_PEOPLE;

/// Whether faces can be searched.
#[derive(Debug, Clone)]
pub(crate) enum FaceState {
    /// Models are loaded.
    Ready(Arc<Engine>, &'static Pack),
    /// A service elsewhere finds and compares faces.
    Remote(Remote),
    /// Models of this pack are missing; jobs wait. One line with the way out.
    Waiting(String, &'static Pack),
    /// The operator switched faces off.
    Off,
}

impl FaceState {
    /// The pack whose vectors are compared here: that takes no models, only finding faces does.
    fn pack(&self) -> Option<&'static Pack> {
        match self {
            Self::Ready(_, pack) | Self::Waiting(_, pack) => Some(pack),
            Self::Remote(_) | Self::Off => None,
        }
    }
}

/// Why a selfie found nothing.
#[derive(Debug)]
pub(crate) enum SelfieError {
    /// The bytes cannot be decoded.
    NotAPicture,
    /// No face in it.
    NoFace,
    /// Several people in it, largest first; nobody said which.
    ManyFaces(Vec<FaceBox>),
    /// The chosen face is not there; how many are.
    NoSuchFace(usize),
    /// No models yet, or faces are off.
    NoModels,
    /// A service elsewhere does not answer, or may not be asked for its price.
    Unavailable,
    /// The guest erased themselves while it was looked at.
    Erased,
    /// The event is being deleted.
    Gone,
    /// A fault of ours.
    Fault(String),
}

/// Why matches could not be found. No variant is the guest's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MatchError {
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The vectors cannot be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A service elsewhere did not answer.
    #[error(transparent)]
    Remote(RemoteError),
}

impl From<RemoteError> for MatchError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Catalog(error) => Self::Catalog(error),
            error => Self::Remote(error),
        }
    }
}

impl From<MatchError> for SelfieError {
    fn from(error: MatchError) -> Self {
        match error {
            MatchError::Vault(VaultError::NoKey(_)) | MatchError::Catalog(CatalogError::Gone) => Self::Gone,
            MatchError::Remote(error) => {
                tracing::warn!(%error, "a selfie cannot be searched for");
                Self::Unavailable
            }
            error => Self::Fault(error.to_string()),
        }
    }
}

/// Finds guests in the photos of their event.
#[derive(Debug, Clone)]
pub(crate) struct Matching {
    catalog: Catalog,
    vault: Vault,
    faces: FaceState,
    /// Threads that hold pictures, shared with the indexer.
    cpu: CpuPool,
    limits: Limits,
    galleries: Arc<Galleries>,
    remembered: mine::Remembered,
}

impl Matching {
    /// Over a catalogue, with the engine that there is.
    pub(crate) fn new(catalog: Catalog, vault: Vault, faces: FaceState, cpu: CpuPool, limits: Limits) -> Self {
        let galleries = Arc::new(Galleries::new(u64::MAX));
        Self { catalog, vault, faces, cpu, limits, galleries, remembered: mine::Remembered::default() }
    }

    /// The same, with at most so many bytes of galleries in memory.
    pub(crate) fn with_memory(self, most: u64) -> Self {
        Self { galleries: Arc::new(Galleries::new(most)), ..self }
    }

    /// Whether faces can be searched.
    pub(crate) fn faces(&self) -> &FaceState {
        &self.faces
    }

    /// The threads that hold pictures.
    pub(crate) const fn cpu(&self) -> &CpuPool {
        &self.cpu
    }

    /// Why faces are not searchable, in one line; `None` when they are, or are not wanted.
    pub(crate) fn faces_problem(&self) -> Option<String> {
        match &self.faces {
            FaceState::Waiting(problem, _) => Some(problem.clone()),
            FaceState::Ready(..) | FaceState::Remote(_) | FaceState::Off => None,
        }
    }

    /// The photos of a guest and of those that they added, by all their enrolments and what they said about photos; empty
    /// without an enrolment.
    ///
    /// # Errors
    /// When catalogue or key fail.
    pub(crate) async fn find_guest(&self, event: EventId, guest: GuestId) -> Result<SelfieResult, MatchError> {
        Ok(self.found_for(event, guest).await?.into_iter().collect())
    }

    /// The same with what each photo was found by, best first.
    async fn found_for(&self, event: EventId, guest: GuestId) -> Result<Vec<Found>, MatchError> {
        let mut found = match &self.faces {
            FaceState::Remote(_) => self.found_elsewhere(event, guest).await?,
            _ => self.found_here(event, guest).await?,
        };
        if found.is_empty() {
            return Ok(found);
        }
        let said = self.catalog.verdicts(guest).await?;
        found.retain(|found| said.get(&found.photo) != Some(&false));
        for found in found.iter_mut().filter(|found| said.get(&found.photo) == Some(&true)) {
            found.band = Band::You;
        }
        Ok(found)
    }

    /// By comparing the guest's vectors with the event's, each with those of its own pack: who enrolled before the pack
    /// was changed is found in what was indexed before.
    async fn found_here(&self, event: EventId, guest: GuestId) -> Result<Vec<Found>, MatchError> {
        let Some(current) = self.faces.pack() else { return Ok(Vec::new()) };
        let stored = self.catalog.enrolments(guest).await?;
        if stored.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.vault.key(event)?;
        let earlier = crate::face::packs().iter().filter(|pack| pack.name != current.name);
        let mut found = Vec::new();
        for pack in std::iter::once(current).chain(earlier) {
            let mut probes = Vec::with_capacity(stored.len());
            for enrolment in stored.iter().filter(|enrolment| enrolment.pack == pack.name) {
                let embedding = Embedding::from_bytes(&key.open(&enrolment.vector)?).ok_or(VaultError::Damaged)?;
                probes.push(Probe { embedding, person: enrolment.person, confirmed: enrolment.confirmed });
            }
            if !probes.is_empty() {
                found.extend(self.find(event, pack, &probes).await?);
            }
        }
        Ok(probe::best(found))
    }

    /// Changes whenever a guest's enrolments do, or what they said.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn enrolment_tag(&self, guest: GuestId) -> Result<String, CatalogError> {
        let stored = self.catalog.enrolments(guest).await?;
        let (said, what) = self.catalog.verdict_tag(guest).await?;
        // The sealed bytes differ with every enrolment, also of the same picture; a few of them tell enough.
        let vectors = stored
            .iter()
            .map(|enrolment| findme_common::digest::to_hex(&enrolment.vector[..enrolment.vector.len().min(6)]));
        let searched: i64 = stored.iter().map(|enrolment| enrolment.searched_to).sum();
        Ok(vectors.chain([format!("{said}.{what}.{searched}")]).collect())
    }

    /// Drops the gallery of an event that is gone.
    pub(crate) fn forget(&self, event: EventId) {
        self.galleries.forget(event);
    }

    /// A search in an event's gallery, restricted to what guests may see; best first, each photo once.
    async fn find(&self, event: EventId, pack: &Pack, probes: &[Probe]) -> Result<Vec<Found>, MatchError> {
        let loaded = self.refreshed(event, pack).await?;
        let found = {
            let loaded = loaded.read().await;
            let start = std::time::Instant::now();
            let found = probe::search(&loaded.gallery, probes, &pack.thresholds.bands(loaded.gallery.len()));
            crate::metrics::get().search("local", start.elapsed());
            found
        };
        self.shown(event, found).await
    }

    /// What guests may see of it.
    async fn shown(&self, event: EventId, found: Vec<Found>) -> Result<Vec<Found>, MatchError> {
        let ids: Vec<_> = found.iter().map(|found| found.photo).collect();
        let shown: std::collections::HashSet<_> =
            self.catalog.shown_photos(event, &ids).await?.into_iter().map(|(_, item)| item.id).collect();
        Ok(found.into_iter().filter(|found| shown.contains(&found.photo)).collect())
    }

    /// The event's gallery with every face that is committed now.
    async fn refreshed(&self, event: EventId, pack: &Pack) -> Result<Arc<tokio::sync::RwLock<Loaded>>, MatchError> {
        let loaded = self.galleries.ask(event, &pack.name);
        let mut held = loaded.write().await;
        if self.catalog.face_epoch(event).await? != held.epoch {
            *held = Loaded { epoch: held.epoch, ..Loaded::default() };
        }
        let mut new = self.catalog.faces_after(event, &pack.name, held.last).await?;
        if new.epoch != held.epoch {
            *held = Loaded { epoch: new.epoch, ..Loaded::default() };
            new = self.catalog.faces_after(event, &pack.name, 0).await?;
            // Faces that go away from here on change the epoch again, and the next search sees it.
            held.epoch = new.epoch;
        }
        if !new.faces.is_empty() {
            let key = self.vault.key(event)?;
            for face in &new.faces {
                let embedding = Embedding::from_bytes(&key.open(&face.sealed.vector)?).ok_or(VaultError::Damaged)?;
                held.gallery.insert(face.photo, face.id, &embedding, face.sealed.poor);
                held.last = face.id;
            }
        }
        let dropped = self.galleries.weigh(event, &pack.name, held.gallery.bytes());
        if dropped > 0 {
            tracing::debug!(dropped, "galleries made room; they are read again when they are asked for");
        }
        drop(held);
        Ok(loaded)
    }
}

/// Where a face is, in fractions of its picture.
pub(crate) fn area(face: &Face, of: &Pixels) -> FaceBox {
    area_of(&face.detection.rect, of)
}

/// Where something is, in fractions of its picture.
fn area_of(rect: &Rect, of: &Pixels) -> FaceBox {
    let (w, h) = (of.width() as f32, of.height() as f32);
    FaceBox { x: rect.x / w, y: rect.y / h, width: rect.width / w, height: rect.height / h }
}
