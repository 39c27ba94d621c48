//! What was read a moment ago: who a session is, and what serving a photo's bytes needs. A page of thumbnails asks the
//! same two questions a hundred times. A few hundred bytes an answer, a bounded number of them, never a picture's byte.
//!
//! Invariant: an answer is used only while nothing that it could depend on has been written since it was read. SQLite
//! itself tells of the writes of this process, row by row and before they are committed: from then on, until the writing
//! connection is at rest again, every question goes to the tables. The writes of other processes are noticed when the
//! writing connection is looked at, which is no longer ago than [`SURE_FOR`]; else the tables are asked as well.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use findme_common::{Digest, EventId, PhotoId};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteOperation};

use super::{Catalog, Guest, Photo, Result};

/// How late a change by another process may be noticed, at most.
pub(super) const SURE_FOR: Duration = Duration::from_millis(250);

/// After this the next question has it looked for other processes' changes, so that the answers after it are sure again.
const LOOK_AFTER: Duration = Duration::from_millis(100);

/// Answers of one kind in memory; more than this many at once begin anew.
const MOST: usize = 8192;

/// A moment of the tables: whatever was read at the same one belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Moment(u64);

/// The answers, and how it is known that they still hold.
#[derive(Debug, Clone)]
pub(super) struct Recent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Grows with every change; odd while one is being written.
    stamp: AtomicU64,
    /// SQLite's count of what other processes have committed, as it was looked up last.
    others: AtomicI64,
    /// When that was, in milliseconds after `began`.
    looked: AtomicU64,
    looking: AtomicBool,
    began: Instant,
    guests: RwLock<Answers<Digest, Guest>>,
    photos: RwLock<Answers<(EventId, PhotoId), Arc<Photo>>>,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            stamp: AtomicU64::new(0),
            others: AtomicI64::new(0),
            looked: AtomicU64::new(0),
            looking: AtomicBool::new(false),
            began: Instant::now(),
            guests: RwLock::default(),
            photos: RwLock::default(),
        }))
    }

    /// Has the writing connection tell of its writes from now on.
    pub(super) async fn listen(&self, writer: &mut SqliteConnection) -> sqlx::Result<()> {
        let this = self.clone();
        writer.lock_handle().await?.set_update_hook(move |change| {
            if concerns(change.table, &change.operation) {
                this.0.stamp.fetch_or(1, Ordering::SeqCst);
            }
        });
        // What happened while there was no connection is not known.
        self.0.stamp.fetch_add(2, Ordering::SeqCst);
        self.at_rest(writer).await
    }

    /// The writing connection is between two transactions: what it wrote can be read, and it is looked whether others
    /// wrote.
    pub(super) async fn at_rest(&self, writer: &mut SqliteConnection) -> sqlx::Result<()> {
        let inner = &self.0;
        let now = elapsed(inner);
        // Asked of the connection that writes, this counts what all others have written and not what it wrote itself.
        let others: i64 = sqlx::query("PRAGMA data_version").fetch_one(writer).await?.try_get(0)?;
        if inner.others.swap(others, Ordering::SeqCst) != others {
            inner.stamp.fetch_add(2, Ordering::SeqCst);
        }
        let stamp = inner.stamp.load(Ordering::SeqCst);
        inner.stamp.fetch_add(stamp & 1, Ordering::SeqCst);
        inner.looked.store(now, Ordering::SeqCst);
        inner.looking.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// `None`: something is being written, or it is not known whether others wrote.
    fn moment(&self) -> Option<Moment> {
        let age = elapsed(&self.0).saturating_sub(self.0.looked.load(Ordering::SeqCst));
        let stamp = self.0.stamp.load(Ordering::SeqCst);
        (stamp.is_multiple_of(2) && u128::from(age) <= SURE_FOR.as_millis()).then_some(Moment(stamp))
    }

    /// Whether it is this caller who has to have it looked whether others wrote.
    fn is_to_be_looked(&self) -> bool {
        let age = elapsed(&self.0).saturating_sub(self.0.looked.load(Ordering::SeqCst));
        u128::from(age) > LOOK_AFTER.as_millis() && !self.0.looking.swap(true, Ordering::SeqCst)
    }
}

/// Milliseconds since it all began.
fn elapsed(inner: &Inner) -> u64 {
    u64::try_from(inner.began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Whether a row that changes may change an answer. What is not there is never an answer, so that new rows of photos and
/// guests change none. A replacement makes no call of its own (its table has no row numbers), but grows its event's version.
fn concerns(table: &str, operation: &SqliteOperation) -> bool {
    match table {
        "photos" | "guests" => *operation != SqliteOperation::Insert,
        // A session that came by a link ends when its row goes.
        "return_sessions" => *operation != SqliteOperation::Insert,
        "events" => true,
        _ => false,
    }
}

/// Answers of one moment.
#[derive(Debug)]
struct Answers<K, V> {
    of: Moment,
    known: HashMap<K, V>,
}

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self { of: Moment::default(), known: HashMap::new() }
    }
}

impl<K: Hash + Eq, V: Clone> Answers<K, V> {
    fn get(answers: &RwLock<Self>, now: Moment, key: &K) -> Option<V> {
        let answers = answers.read().unwrap_or_else(PoisonError::into_inner);
        (answers.of == now).then(|| answers.known.get(key).cloned())?
    }

    fn put(answers: &RwLock<Self>, now: Moment, key: K, value: V) {
        let mut answers = answers.write().unwrap_or_else(PoisonError::into_inner);
        if now < answers.of {
            return;
        }
        if answers.of != now || answers.known.len() >= MOST {
            answers.known.clear();
            answers.of = now;
        }
        answers.known.insert(key, value);
    }
}

impl Catalog {
    /// The moment that answers have to be of; `None` when only the tables know.
    fn moment(&self) -> Option<Moment> {
        // A database server tells nobody row by row what others write: there the tables are asked.
        let writer = self.writer.sqlite()?;
        if self.recent.is_to_be_looked() {
            // Looked at when it is given back, see [`Recent::at_rest`]; one that is in use is given back anyway.
            drop(writer.try_acquire());
        }
        self.recent.moment()
    }

    /// The guest of a session, see [`Catalog::guest_of`].
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn guest(&self, session: &Digest) -> Result<Option<Guest>> {
        let before = self.moment();
        let known = &self.recent.0.guests;
        if let Some(guest) = before.and_then(|now| Answers::get(known, now, session)) {
            return Ok(Some(guest));
        }
        let found = self.guest_of(session).await?;
        if let (Some(guest), Some(now)) = (found, before) {
            Answers::put(known, now, *session, guest);
        }
        Ok(found)
    }

    /// What serving a photo's bytes needs, see [`Catalog::photo_of`].
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn photo(&self, event: EventId, id: PhotoId) -> Result<Option<Arc<Photo>>> {
        let before = self.moment();
        let known = &self.recent.0.photos;
        if let Some(photo) = before.and_then(|now| Answers::get(known, now, &(event, id))) {
            return Ok(Some(photo));
        }
        let found = self.photo_of(event, id).await?.map(Arc::new);
        if let (Some(photo), Some(now)) = (&found, before)
            && photo.is_light()
        {
            Answers::put(known, now, (event, id), photo.clone());
        }
        Ok(found)
    }
}
