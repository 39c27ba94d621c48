//! From faces to guests: galleries in memory, selfies searched in them, enrolments kept.
//!
//! One search, one pair of thresholds, whichever came first, photo or selfie: the order of arrival cannot matter. What a
//! guest is shown is searched anew each time, so that nothing derived is stored and erasing an enrolment erases all.

mod mine;
mod never;
mod rematch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use findme_common::protocol::{Band, FaceBox, LiveKind, Match, SelfieResult};
use findme_common::{EventId, GuestId, PhotoId};

use crate::catalog::{Catalog, CatalogError, GuestEnrolment, SealedFaces};
use crate::cpu::{CpuPool, GivenUp};
use crate::face::{Bands, Embedding, Engine, Face, Pack, Purpose};
use crate::gallery::Gallery;
use crate::picture::{self, Limits, PictureError, Pixels};
use crate::vault::{EventKey, Vault, VaultError};

/// A second face counts when it is at least this much of the largest one's height: two people in one picture, not
/// somebody in the background.
const SECOND_FACE: f32 = 0.6;

/// Whether faces can be searched.
#[derive(Debug, Clone)]
pub(crate) enum FaceState {
    /// Models are loaded.
    Ready(Arc<Engine>, &'static Pack),
    /// Models are missing; jobs wait. One line with the way out.
    Waiting(String),
    /// The operator switched faces off.
    Off,
}

impl FaceState {
    /// The pack whose vectors are compared: that takes no models, only finding faces does.
    fn pack(&self) -> Option<&'static Pack> {
        match self {
            Self::Ready(_, pack) => Some(pack),
            Self::Waiting(_) => Some(crate::face::default_pack()),
            Self::Off => None,
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
}

impl From<MatchError> for SelfieError {
    fn from(error: MatchError) -> Self {
        match error {
            MatchError::Vault(VaultError::NoKey(_)) | MatchError::Catalog(CatalogError::Gone) => Self::Gone,
            error => Self::Fault(error.to_string()),
        }
    }
}

/// The gallery of one event as far as it was loaded.
#[derive(Debug, Default)]
struct Loaded {
    gallery: Gallery,
    /// Highest face id that is in it.
    last: i64,
    epoch: i64,
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
    galleries: Arc<Mutex<HashMap<EventId, Arc<tokio::sync::RwLock<Loaded>>>>>,
    remembered: mine::Remembered,
}

impl Matching {
    /// Over a catalogue, with the engine that there is.
    pub(crate) fn new(catalog: Catalog, vault: Vault, faces: FaceState, cpu: CpuPool, limits: Limits) -> Self {
        Self { catalog, vault, faces, cpu, limits, galleries: Arc::default(), remembered: mine::Remembered::default() }
    }

    /// Whether faces can be searched.
    pub(crate) fn faces(&self) -> &FaceState {
        &self.faces
    }

    /// Why faces are not searchable, in one line; `None` when they are, or are not wanted.
    pub(crate) fn faces_problem(&self) -> Option<String> {
        match &self.faces {
            FaceState::Waiting(problem) => Some(problem.clone()),
            FaceState::Ready(..) | FaceState::Off => None,
        }
    }

    /// Looks at a guest's selfie, keeps the face as their enrolment in place of earlier ones, and finds their photos.
    /// `choice` picks a face (0 is the largest) where there are several.
    ///
    /// # Errors
    /// See [`SelfieError`].
    pub(crate) async fn enrol_selfie(
        &self,
        event: EventId,
        guest: GuestId,
        picture: Bytes,
        choice: Option<usize>,
    ) -> Result<SelfieResult, SelfieError> {
        let (embedding, sealed, pack) = self.looked_at(event, picture, choice).await?;
        if !self.catalog.enrol(guest, &pack.name, &sealed).await.map_err(MatchError::from)? {
            return Err(SelfieError::Erased);
        }
        Ok(self.find(event, &[embedding]).await?)
    }

    /// The face that counts in a selfie, in the clear and sealed, and the pack that measured it.
    async fn looked_at(
        &self,
        event: EventId,
        picture: Bytes,
        choice: Option<usize>,
    ) -> Result<(Embedding, Vec<u8>, &'static Pack), SelfieError> {
        let FaceState::Ready(engine, pack) = &self.faces else { return Err(SelfieError::NoModels) };
        let (engine, limits) = (engine.clone(), self.limits);
        let fault = |error: GivenUp| SelfieError::Fault(error.to_string());
        let turn = self.cpu.turn().await.map_err(fault)?;
        let start = std::time::Instant::now();
        let looked = self.cpu.run(turn, move || look(&engine, &picture, &limits, choice)).await;
        let outcome = if matches!(looked, Ok(Ok(_))) { "done" } else { "failed" };
        crate::metrics::get().stage("selfie", outcome, start.elapsed());
        let embedding = looked.map_err(fault)??;
        let key = self.vault.key(event).map_err(MatchError::from)?;
        let sealed = key.seal(&embedding.to_bytes()).map_err(MatchError::from)?;
        Ok((embedding, sealed, pack))
    }

    /// The photos of a guest, by all their enrolments; empty without one.
    ///
    /// # Errors
    /// When catalogue or key fail.
    pub(crate) async fn find_guest(&self, event: EventId, guest: GuestId) -> Result<SelfieResult, MatchError> {
        let Some(pack) = self.faces.pack() else { return Ok(SelfieResult::default()) };
        let stored = self.catalog.enrolments(guest).await?;
        if stored.is_empty() {
            return Ok(SelfieResult::default());
        }
        let key = self.vault.key(event)?;
        let mut probes = Vec::with_capacity(stored.len());
        for enrolment in stored.iter().filter(|enrolment| enrolment.pack == pack.name) {
            probes.push(Embedding::from_bytes(&key.open(&enrolment.vector)?).ok_or(VaultError::Damaged)?);
        }
        self.find(event, &probes).await
    }

    /// Changes whenever a guest's enrolments do.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn enrolment_tag(&self, guest: GuestId) -> Result<String, CatalogError> {
        let stored = self.catalog.enrolments(guest).await?;
        // The sealed bytes differ with every enrolment, also of the same picture; a few of them tell enough.
        Ok(stored
            .iter()
            .map(|enrolment| findme_common::digest::to_hex(&enrolment.vector[..enrolment.vector.len().min(6)]))
            .collect())
    }

    /// Drops the gallery of an event that is gone.
    pub(crate) fn forget(&self, event: EventId) {
        self.galleries.lock().unwrap_or_else(PoisonError::into_inner).remove(&event);
    }

    /// What it takes to tell which guests are in a photo with these faces. Without models, or when the gallery cannot be
    /// read now, it tells nothing: guests still find the photo in their list.
    pub(crate) async fn guests_in<'a>(&self, event: EventId, faces: &'a [Embedding]) -> GuestsIn<'a> {
        let FaceState::Ready(_, pack) = &self.faces else { return GuestsIn::nobody() };
        if faces.is_empty() {
            return GuestsIn::nobody();
        }
        let known = async {
            // Counted, not loaded: workers that answer nobody need no gallery in memory.
            let count = self.catalog.count_faces(event).await?;
            Ok::<_, MatchError>((self.vault.key(event)?, pack.thresholds.bands(count + faces.len())))
        };
        match known.await {
            Ok((key, bands)) => GuestsIn { pack: &pack.name, faces, known: Some((key, bands)) },
            Err(error) => {
                tracing::warn!(%error, "guests are not told about a photo");
                GuestsIn::nobody()
            }
        }
    }

    /// What it takes to tell which guests are in photos whose faces are stored. Without models, or without the event's
    /// key, it tells nothing.
    pub(crate) async fn seen_again(&self, event: EventId) -> SeenAgain {
        let FaceState::Ready(_, pack) = &self.faces else { return SeenAgain { pack: "", known: None } };
        let known = async {
            let count = self.refreshed(event, pack).await?.read().await.gallery.len();
            Ok::<_, MatchError>((self.vault.key(event)?, pack.thresholds.bands(count)))
        };
        let known = known.await.inspect_err(|error| tracing::warn!(%error, "guests are not told about photos")).ok();
        SeenAgain { pack: &pack.name, known }
    }

    /// The two bands of a search in an event's gallery, restricted to what guests may see.
    async fn find(&self, event: EventId, probes: &[Embedding]) -> Result<SelfieResult, MatchError> {
        let Some(pack) = self.faces.pack() else { return Ok(SelfieResult::default()) };
        let loaded = self.refreshed(event, pack).await?;
        let (found, bands) = {
            let loaded = loaded.read().await;
            let bands = pack.thresholds.bands(loaded.gallery.len());
            let start = std::time::Instant::now();
            let found = loaded.gallery.search(probes, bands.maybe);
            crate::metrics::get().search("local", start.elapsed());
            (found, bands)
        };
        let ids: Vec<_> = found.iter().map(|candidate| candidate.photo).collect();
        let shown: std::collections::HashSet<_> =
            self.catalog.shown_photos(event, &ids).await?.into_iter().map(|(_, item)| item.id).collect();
        let mut result = SelfieResult::default();
        for candidate in found.iter().filter(|candidate| shown.contains(&candidate.photo)) {
            let found = Match { photo: candidate.photo, similarity: candidate.similarity.get() };
            match bands.of(candidate.similarity) {
                Some(Band::You) => result.you.push(found),
                Some(Band::Maybe) => result.maybe.push(found),
                None => {}
            }
        }
        Ok(result)
    }

    /// The event's gallery with every face that is committed now.
    async fn refreshed(&self, event: EventId, pack: &Pack) -> Result<Arc<tokio::sync::RwLock<Loaded>>, MatchError> {
        let loaded = {
            let mut galleries = self.galleries.lock().unwrap_or_else(PoisonError::into_inner);
            galleries.entry(event).or_default().clone()
        };
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
                let embedding = Embedding::from_bytes(&key.open(&face.vector)?).ok_or(VaultError::Damaged)?;
                held.gallery.insert(face.photo, face.id, &embedding);
                held.last = face.id;
            }
        }
        drop(held);
        Ok(loaded)
    }
}

/// The faces of a photo, ready to be compared with enrolments.
#[derive(Debug)]
pub(crate) struct GuestsIn<'a> {
    pack: &'a str,
    faces: &'a [Embedding],
    known: Option<(Arc<EventKey>, Bands)>,
}

impl GuestsIn<'_> {
    const fn nobody() -> Self {
        Self { pack: "", faces: &[], known: None }
    }

    /// Pack of the faces.
    pub(crate) const fn pack(&self) -> &str {
        self.pack
    }

    /// The guests whose enrolments these faces match, each once, in their better band. Faces that are marked as unwanted
    /// do not count.
    pub(crate) fn find(&self, enrolments: &[GuestEnrolment], unwanted: &[bool]) -> Vec<(GuestId, LiveKind)> {
        let Some((key, bands)) = &self.known else { return Vec::new() };
        let counts = |n: usize| !unwanted.get(n).copied().unwrap_or_default();
        let faces: Vec<_> =
            self.faces.iter().enumerate().filter(|(n, _)| counts(*n)).map(|(_, face)| face.clone()).collect();
        guests_among(&faces, &opened(key, enrolments), bands)
    }
}

/// Stored faces, ready to be compared with enrolments.
#[derive(Debug)]
pub(crate) struct SeenAgain {
    pack: &'static str,
    known: Option<(Arc<EventKey>, Bands)>,
}

impl SeenAgain {
    /// Pack of the faces.
    pub(crate) const fn pack(&self) -> &'static str {
        self.pack
    }

    /// The guests whose enrolments match these photos' faces, each once a photo, in their better band.
    pub(crate) fn find(
        &self,
        photos: &[SealedFaces],
        enrolments: &[GuestEnrolment],
    ) -> Vec<(PhotoId, GuestId, LiveKind)> {
        let Some((key, bands)) = &self.known else { return Vec::new() };
        let enrolments = opened(key, enrolments);
        let of_photo = |(photo, sealed): &SealedFaces| {
            let faces: Vec<_> = sealed.iter().filter_map(|vector| open(key, vector)).collect();
            let found = guests_among(&faces, &enrolments, bands);
            found.into_iter().map(|(guest, kind)| (*photo, guest, kind)).collect::<Vec<_>>()
        };
        photos.iter().flat_map(of_photo).collect()
    }
}

fn open(key: &EventKey, sealed: &[u8]) -> Option<Embedding> {
    key.open(sealed).ok().and_then(|bytes| Embedding::from_bytes(&bytes))
}

fn opened(key: &EventKey, enrolments: &[GuestEnrolment]) -> Vec<(GuestId, Embedding)> {
    enrolments.iter().filter_map(|enrolment| Some((enrolment.guest, open(key, &enrolment.vector)?))).collect()
}

/// The guests whose enrolments these faces match, each once, in their better band.
fn guests_among(faces: &[Embedding], enrolments: &[(GuestId, Embedding)], bands: &Bands) -> Vec<(GuestId, LiveKind)> {
    let mut found: HashMap<GuestId, Band> = HashMap::new();
    for (guest, probe) in enrolments {
        let best = faces.iter().map(|face| probe.similarity(face)).max_by(|a, b| a.get().total_cmp(&b.get()));
        match best.and_then(|best| bands.of(best)) {
            Some(Band::You) => drop(found.insert(*guest, Band::You)),
            Some(Band::Maybe) => drop(found.entry(*guest).or_insert(Band::Maybe)),
            None => {}
        }
    }
    let kind = |band| if band == Band::You { LiveKind::You } else { LiveKind::Maybe };
    found.into_iter().map(|(guest, band)| (guest, kind(band))).collect()
}

/// The embedding of the face that counts in a selfie.
fn look(engine: &Engine, picture: &[u8], limits: &Limits, choice: Option<usize>) -> Result<Embedding, SelfieError> {
    let picture = picture::from_bytes(picture, limits).map_err(|error| match error {
        PictureError::Io(cause) => SelfieError::Fault(cause.to_string()),
        _ => SelfieError::NotAPicture,
    })?;
    let faces =
        engine.faces(&picture.pixels, Purpose::Selfie).map_err(|error| SelfieError::Fault(error.to_string()))?;
    let chosen = match (choice, faces.as_slice()) {
        (_, []) => return Err(SelfieError::NoFace),
        (Some(n), faces) => faces.get(n).ok_or(SelfieError::NoSuchFace(faces.len()))?,
        (None, [first, second, ..]) if second.detection.rect.height >= SECOND_FACE * first.detection.rect.height => {
            return Err(SelfieError::ManyFaces(faces.iter().map(|face| area(face, &picture.pixels)).collect()));
        }
        (None, [first, ..]) => first,
    };
    Ok(chosen.embedding.clone())
}

/// Where a face is, in fractions of its picture.
pub(crate) fn area(face: &Face, of: &Pixels) -> FaceBox {
    let (rect, w, h) = (&face.detection.rect, of.width() as f32, of.height() as f32);
    FaceBox { x: rect.x / w, y: rect.y / h, width: rect.width / w, height: rect.height / h }
}
