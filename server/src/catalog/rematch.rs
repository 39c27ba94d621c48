//! Telling guests of photos that were found for them later than they were indexed.

use std::collections::{HashMap, HashSet};

use findme_common::protocol::LiveKind;
use findme_common::{EventId, GuestId, PhotoId};

use super::db::query;
use super::{Catalog, GuestEnrolment, Result, Scope, guests, id_column, live, photos};

/// Entries that are written in one transaction: uploads wait for it no longer than for a few photos.
const AT_ONCE: usize = 2000;

/// What guests of an event know, and what they said.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Photos that guests may see.
    pub(crate) shown: HashSet<PhotoId>,
    /// Told before, by guest and photo, with the kind.
    known: HashMap<(GuestId, PhotoId), LiveKind>,
    /// «Not me».
    denied: HashSet<(GuestId, PhotoId)>,
}

impl Told {
    /// Whether a guest should be told.
    pub(crate) fn wants(&self, guest: GuestId, photo: PhotoId, kind: LiveKind) -> bool {
        let knows = self.known.get(&(guest, photo)).is_some_and(|known| *known == LiveKind::You || *known == kind);
        self.shown.contains(&photo) && !knows && !self.denied.contains(&(guest, photo))
    }
}

impl Catalog {
    /// All enrolments of an event that `pack` made.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn event_enrolments(&self, event: EventId, pack: &str) -> Result<Vec<GuestEnrolment>> {
        let mut tx = self.begin_reading().await?;
        guests::enrolments_of_event(&mut tx, event, pack).await
    }

    /// What the guests of an event know already.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn told(&self, event: EventId) -> Result<Told> {
        let id = event.as_bytes().as_slice();
        let mut told = Told { shown: self.all_shown(event).await?, ..Told::default() };
        let sql =
            "SELECT guest, photo, kind FROM live WHERE event = ? AND guest IS NOT NULL AND kind IN ('you', 'maybe')";
        for row in query(sql).bind(id).fetch_all(&self.readers).await? {
            let key = (id_column!(&row, "guest", GuestId)?, id_column!(&row, "photo", PhotoId)?);
            let kind = if row.try_get::<&str, _>("kind")? == "you" { LiveKind::You } else { LiveKind::Maybe };
            // «you» stays, whichever comes first.
            told.known
                .entry(key)
                .and_modify(|known| *known = if kind == LiveKind::You { kind } else { *known })
                .or_insert(kind);
        }
        let sql =
            "SELECT guest, id FROM verdicts JOIN photos ON photos.seq = verdicts.photo WHERE event = ? AND mine = 0";
        for row in query(sql).bind(id).fetch_all(&self.readers).await? {
            told.denied.insert((id_column!(&row, "guest", GuestId)?, id_column!(&row, "id", PhotoId)?));
        }
        Ok(told)
    }

    /// Tells guests of photos that they do not know; how many times somebody was told something. Not of what is hidden
    /// by now, nor who was erased meanwhile.
    ///
    /// # Errors
    /// When the catalogue cannot be written; what was written is not written again the next time.
    pub(crate) async fn tell_all(&self, event: EventId, found: &[(PhotoId, GuestId, LiveKind)]) -> Result<u64> {
        let mut told = 0;
        for part in found.chunks(AT_ONCE) {
            let mut tx = self.begin(Scope::Event(event)).await?;
            let mut there: HashMap<GuestId, bool> = HashMap::new();
            let mut seen: HashMap<PhotoId, bool> = HashMap::new();
            for &(photo, guest, kind) in part {
                let enrolled = match there.get(&guest) {
                    Some(known) => *known,
                    None => {
                        let row = query("SELECT 1 FROM enrolments WHERE guest = ? LIMIT 1")
                            .bind(guest.as_bytes().as_slice())
                            .fetch_optional(&mut tx)
                            .await?;
                        *there.entry(guest).or_insert(row.is_some())
                    }
                };
                let shown = match seen.get(&photo) {
                    Some(known) => *known,
                    None => {
                        let row = query("SELECT seq FROM photos WHERE event = ? AND id = ?")
                            .bind(event.as_bytes().as_slice())
                            .bind(photo.as_bytes().as_slice())
                            .fetch_optional(&mut tx)
                            .await?;
                        let shown = match row {
                            Some(row) => photos::is_shown(&mut tx, row.try_get("seq")?).await?,
                            None => false,
                        };
                        *seen.entry(photo).or_insert(shown)
                    }
                };
                if enrolled && shown {
                    // The photo may have been indexed, and told of, since it was looked up.
                    told += u64::from(live::tell_once(&mut tx, event, kind, photo, guest).await?);
                }
            }
            tx.commit().await?;
        }
        Ok(told)
    }
}
