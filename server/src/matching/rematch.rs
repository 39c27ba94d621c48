//! Telling guests what they would have been told, had today's thresholds and enrolments stood when their photos were
//! indexed: after a change of thresholds, or after faces were found anew.

use std::collections::BTreeMap;

use findme_common::protocol::{Band, LiveKind};
use findme_common::{EventId, GuestId};

use super::probe::{self, Probe};
use super::{MatchError, Matching};
use crate::face::Embedding;
use crate::vault::VaultError;

impl Matching {
    /// Looks for every enrolled guest of an event anew and tells each of the photos that they were not told of; how many
    /// times somebody was told something. `step` is called with (guests done, guests in all). Stopped half-way and begun
    /// again, it goes on: nobody is told twice.
    ///
    /// # Errors
    /// When catalogue or key fail.
    pub(crate) async fn rematch(&self, event: EventId, mut step: impl FnMut(usize, usize)) -> Result<u64, MatchError> {
        let Some(pack) = self.faces.pack() else { return Ok(0) };
        let stored = self.catalog.event_enrolments(event, &pack.name).await?;
        if stored.is_empty() {
            return Ok(0);
        }
        let key = self.vault.key(event)?;
        let mut guests: BTreeMap<GuestId, Vec<Probe>> = BTreeMap::new();
        for enrolment in &stored {
            let embedding = Embedding::from_bytes(&key.open(&enrolment.vector)?).ok_or(VaultError::Damaged)?;
            let probe = Probe { embedding, person: 0, confirmed: enrolment.confirmed };
            guests.entry(enrolment.guest).or_default().push(probe);
        }
        // Looked up once for everybody: a question per guest would take longer than all searches together.
        let told = self.catalog.told(event).await?;
        let loaded = self.refreshed(event, pack).await?;
        let mut news = Vec::new();
        {
            let loaded = loaded.read().await;
            let bands = pack.thresholds.bands(loaded.gallery.len());
            for (done, (guest, probes)) in guests.iter().enumerate() {
                step(done, guests.len());
                for found in probe::search(&loaded.gallery, probes, &bands) {
                    let kind = if found.band == Band::You { LiveKind::You } else { LiveKind::Maybe };
                    if told.wants(*guest, found.photo, kind) {
                        news.push((found.photo, *guest, kind));
                    }
                }
                // A long search must not keep others from this thread.
                tokio::task::yield_now().await;
            }
        }
        step(guests.len(), guests.len());
        Ok(self.catalog.tell_all(event, &news).await?)
    }
}
