//! Face engines elsewhere: services that find and compare faces themselves and give out references, never vectors.
//!
//! [`FaceService`] is what such a service can do; [`Remote`] is what every use of it goes through: a bound on calls at a
//! time and per second, another try after a pause, the count of calls and their price in the catalogue, and the ceiling.
//! A photo costs one call. Guests are searched for when they ask, with the reference of their selfie's face; the same call
//! and the same bounds whichever came first, photo or selfie, so that the order of arrival cannot matter.

mod erasing;
mod picture;
#[cfg(feature = "rekognition")]
mod rekognition;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt::Debug;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use findme_common::EventId;
use findme_common::protocol::FaceBox;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;

use crate::catalog::{Catalog, CatalogError, Collection, Priced};
use crate::face::{Bands, Quality, Similarity, Threshold};
pub(crate) use picture::to_send;

/// Calls that wait for their answers at a time.
const AT_ONCE: usize = 16;

/// Tries of one call, the first included.
const TRIES: u32 = 6;

/// The first pause before another try is at most so long; each further one twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 300 });

/// How often it is looked whether another worker has made the collection.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// From here on a photo is shown as «you». The service's own scale, 0 to 1; the error rates there were not measured.
const YOU: Threshold = Threshold::new(0.95);
/// From here on as «maybe you?»: what the service itself advises for finding people in photos.
const MAYBE: Threshold = Threshold::new(0.80);

/// Where the bands begin, for photos and selfies alike, however many faces the event has.
pub(crate) const BANDS: Bands = Bands { you: YOU, maybe: MAYBE, you_poor: YOU };

/// An amount of money on the command line, in dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dollars(i64);

impl FromStr for Dollars {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let dollars: f64 = text.parse().map_err(|_| "expected dollars, for example 25")?;
        let millionths = dollars * 1e6;
        (0.0..=1e15).contains(&millionths).then_some(Self(millionths as i64)).ok_or("expected dollars, 0 or more")
    }
}

/// How a face service elsewhere is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct RemoteTerms {
    /// Calls per second of each kind to Rekognition by this process: the account's quota, divided by the processes.
    #[arg(long = "rekognition-rate", env = "FINDME_REKOGNITION_RATE", default_value = "5", value_name = "N")]
    pub rate: NonZeroU32,
    /// What Rekognition may cost in a month of UTC, in dollars; from there on faces wait [default: no ceiling].
    #[arg(long = "rekognition-budget", env = "FINDME_REKOGNITION_BUDGET", value_name = "USD")]
    pub budget: Option<Dollars>,
}

impl Default for RemoteTerms {
    fn default() -> Self {
        Self { rate: NonZeroU32::MIN.saturating_add(4), budget: None }
    }
}

/// The service's name of a face of an event. It means nothing outside, and is no measurement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FaceRef {
    pub(crate) event: EventId,
    pub(crate) name: String,
}

impl FaceRef {
    /// As the catalogue keeps it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [self.event.as_bytes().as_slice(), self.name.as_bytes()].concat()
    }

    /// From the catalogue; `None` for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (event, name) = bytes.split_first_chunk::<16>()?;
        Some(Self { event: EventId::from_bytes(*event), name: String::from_utf8(name.to_vec()).ok()? })
    }
}

/// A face that a service keeps.
#[derive(Debug, Clone)]
pub(crate) struct RemoteFace {
    /// Its name there.
    pub(crate) reference: FaceRef,
    /// Where it is, in fractions of the picture.
    pub(crate) area: FaceBox,
    /// How sure the service is that it is one, 0 to 1.
    pub(crate) score: f32,
    /// 0 (looks into the camera) to 1 (seen from the side).
    pub(crate) turned: f32,
}

/// Why a service did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(not(feature = "rekognition"), allow(dead_code, reason = "services say so, and none may be built in"))]
pub(crate) enum ServiceError {
    /// It was asked too often, or is out of order for now.
    #[error("{0}")]
    Passing(String),
    /// The collection, or the face, is not there.
    #[error("{0}")]
    NotThere(String),
    /// It has no use for the picture.
    #[error("{0}")]
    Picture(String),
    /// It will say the same the next time: no right to use it, a wrong region.
    #[error("{0}")]
    Refused(String),
}

/// An answer of a service.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ServiceError>> + Send + 'a>>;

/// A service that finds, keeps and compares the faces of events, each event by itself.
pub(crate) trait FaceService: Debug + Send + Sync {
    /// Makes the place for an event's faces; one that is there is no error.
    fn create(&self, event: EventId) -> Answer<'_, ()>;

    /// Finds the faces in a JPEG and keeps them under a name (the photo's or the guest's id), largest first.
    fn index<'a>(&'a self, event: EventId, name: &'a str, jpeg: Bytes) -> Answer<'a, Vec<RemoteFace>>;

    /// Faces of the event that are at least [`MAYBE`] like this one, without itself.
    fn search<'a>(&'a self, face: &'a FaceRef) -> Answer<'a, Vec<(FaceRef, Similarity)>>;

    /// All faces that are kept for an event, each with the name that it is kept under.
    fn list(&self, event: EventId) -> Answer<'_, Vec<(FaceRef, String)>>;

    /// Erases faces of one event, a thousand at most. One that is gone is no error.
    fn delete_faces<'a>(&'a self, event: EventId, faces: &'a [FaceRef]) -> Answer<'a, ()>;

    /// Erases everything that is kept for an event. When nothing is, that is no error.
    fn delete(&self, event: EventId) -> Answer<'_, ()>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// This month's calls would cost more than the operator allows.
    #[error("this month's budget for face search is used up")]
    OverBudget,
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The service did not do it.
    #[error("face service: {0}")]
    Service(#[from] ServiceError),
}

/// Calls that have rates and prices of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Create,
    Index,
    Search,
    List,
    DeleteFaces,
    Delete,
}

impl Operation {
    const ALL: [Self; 6] = [Self::Create, Self::Index, Self::Search, Self::List, Self::DeleteFaces, Self::Delete];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CreateCollection",
            Self::Index => "IndexFaces",
            Self::Search => "SearchFaces",
            Self::List => "ListFaces",
            Self::DeleteFaces => "DeleteFaces",
            Self::Delete => "DeleteCollection",
        }
    }

    /// In millionths of a dollar: the price of the first million a month (second-hand, end of 2025), an upper bound.
    const fn price(self) -> i64 {
        match self {
            Self::Index | Self::Search | Self::List => 1000,
            Self::Create | Self::DeleteFaces | Self::Delete => 0,
        }
    }
}

/// A service with its bounds. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    service: Arc<dyn FaceService>,
    catalog: Catalog,
    terms: RemoteTerms,
    gates: Arc<Gates>,
}

#[derive(Debug)]
struct Gates {
    at_once: Semaphore,
    /// One for each operation, in the order of [`Operation::ALL`].
    rates: Vec<DefaultDirectRateLimiter>,
    /// Events whose collection is there.
    made: Mutex<HashSet<EventId>>,
}

impl Remote {
    pub(crate) fn new(service: Arc<dyn FaceService>, catalog: Catalog, terms: RemoteTerms) -> Self {
        let quota = || Quota::per_second(terms.rate).allow_burst(NonZeroU32::MIN);
        let rates = Operation::ALL.map(|_| RateLimiter::direct(quota())).into();
        let gates = Gates { at_once: Semaphore::new(AT_ONCE), rates, made: Mutex::default() };
        Self { service, catalog, terms, gates: Arc::new(gates) }
    }

    /// Finds the faces in a picture, which the service keeps from then on under `name`. What comes of it has to be told
    /// with [`Remote::settle`].
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub(crate) async fn index(&self, event: EventId, name: &str, jpeg: Bytes) -> Result<Vec<RemoteFace>, RemoteError> {
        self.require_collection(event).await?;
        let call = || self.service.index(event, name, jpeg.clone());
        self.call(event, Operation::Index, Some(name), call).await
    }

    /// What became of the faces is on record: the service is to erase those that nothing refers to. When that cannot be
    /// written down now, it is found out later.
    pub(crate) async fn settle(&self, event: EventId, name: &str, faces: &[RemoteFace]) {
        let references: Vec<_> = faces.iter().map(|face| face.reference.to_bytes()).collect();
        if let Err(error) = self.catalog.settle(event, name, &references).await {
            tracing::warn!(%error, "faces that nothing refers to may be kept elsewhere for a while");
        }
    }

    /// Faces that are like this one.
    ///
    /// # Errors
    /// See [`RemoteError`]. One that is gone is like nobody.
    pub(crate) async fn search(&self, face: &FaceRef) -> Result<Vec<(FaceRef, Similarity)>, RemoteError> {
        let start = std::time::Instant::now();
        let found = self.call(face.event, Operation::Search, None, || self.service.search(face)).await;
        crate::metrics::get().search("rekognition", start.elapsed());
        match found {
            Err(RemoteError::Service(ServiceError::NotThere(_))) => Ok(Vec::new()),
            found => found,
        }
    }

    /// Makes the event's collection unless it is there: of all workers in all processes, one does, the others wait.
    async fn require_collection(&self, event: EventId) -> Result<(), RemoteError> {
        let made = || self.gates.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made().contains(&event) {
            return Ok(());
        }
        loop {
            match self.catalog.claim_collection(event).await? {
                Collection::Made => break,
                Collection::Others => tokio::time::sleep(LOOK_AGAIN).await,
                Collection::Yours => {
                    let done = self.call(event, Operation::Create, None, || self.service.create(event)).await;
                    self.catalog.end_making(event, done.is_ok()).await?;
                    done?;
                    break;
                }
            }
        }
        made().insert(event);
        Ok(())
    }

    /// One call, tried again while the service is only too busy.
    async fn call<'a, T>(
        &self,
        event: EventId,
        operation: Operation,
        keeps: Option<&str>,
        make: impl Fn() -> Answer<'a, T>,
    ) -> Result<T, RemoteError> {
        let priced = Priced { event, operation: operation.as_str(), price: operation.price(), keeps };
        if !self.catalog.begin_call(priced, self.terms.budget.map(|Dollars(millionths)| millionths)).await? {
            return Err(RemoteError::OverBudget);
        }
        let mut tried = 0;
        loop {
            let answer = self.attempt(operation, &make).await;
            tried += 1;
            match answer {
                Err(ServiceError::Passing(_)) if tried < TRIES => tokio::time::sleep(pause(tried)).await,
                Err(error) => {
                    self.catalog.undo_call(priced).await?;
                    return Err(error.into());
                }
                Ok(value) => return Ok(value),
            }
        }
    }

    async fn attempt<'a, T>(&self, operation: Operation, make: impl Fn() -> Answer<'a, T>) -> Result<T, ServiceError> {
        let closed = |_| ServiceError::Passing("the process is ending".to_owned());
        let _place = self.gates.at_once.acquire().await.map_err(closed)?;
        // In the order of `ALL`, which is that of the variants.
        if let Some(rate) = self.gates.rates.get(operation as usize) {
            rate.until_ready().await;
        }
        let start = std::time::Instant::now();
        let answer = make().await;
        let outcome = match &answer {
            Ok(_) => "done",
            Err(ServiceError::Passing(_)) => "throttled",
            Err(_) => "failed",
        };
        crate::metrics::get().remote_call(operation.as_str(), outcome, operation.price(), start.elapsed());
        answer
    }
}

/// Before a further try: anything up to a bound that doubles, so that workers who were refused together do not come back
/// together.
fn pause(tried: u32) -> Duration {
    let mut dice = [0; 2];
    // Without randomness all wait for the longest time.
    let part = getrandom::fill(&mut dice).map_or(1.0, |()| f64::from(u16::from_le_bytes(dice)) / 65535.0);
    (FIRST_PAUSE * 2_u32.saturating_pow(tried.saturating_sub(1))).mul_f64(part)
}

impl RemoteFace {
    /// How good it is for comparing, in a photo of this height in pixels. The service keeps only what it takes to be sharp
    /// enough, and measures that on a scale of its own.
    pub(crate) fn quality(&self, photo_height: u32) -> Quality {
        Quality { pixels: self.area.height * photo_height as f32, sharpness: 1.0, turned: self.turned }
    }
}

/// Reaches the service that this program was built with.
///
/// # Errors
/// When it was built without one, or nothing says where the service is.
pub(crate) async fn open(catalog: Catalog, terms: RemoteTerms) -> Result<Remote, String> {
    Ok(Remote::new(service().await?, catalog, terms))
}

#[cfg(feature = "rekognition")]
async fn service() -> Result<Arc<dyn FaceService>, String> {
    Ok(Arc::new(rekognition::Rekognition::from_environment().await?))
}

#[cfg(not(feature = "rekognition"))]
async fn service() -> Result<Arc<dyn FaceService>, String> {
    Err("this program was built without the cargo feature `rekognition`".to_owned())
}
