//! Telling guests what they would have been told, had today's thresholds and enrolments stood when their photos were
//! indexed: after a change of thresholds, or after faces were found anew.

use findme_common::EventId;

use super::{MatchError, Matching};

impl Matching {
    /// Looks for every enrolled guest of an event anew and tells each of the photos that they were not told of; how many
    /// times somebody was told something. `step` is called with (guests done, guests in all). Stopped half-way and begun
    /// again, it goes on: nobody is told twice.
    ///
    /// # Errors
    /// When catalogue or key fail.
    pub(crate) async fn rematch(&self, event: EventId, mut step: impl FnMut(usize, usize)) -> Result<u64, MatchError> {
        let guests = self.catalog.enrolled_guests(event).await?;
        let mut told = 0;
        for (done, guest) in guests.iter().enumerate() {
            step(done, guests.len());
            let found = self.find_guest(event, *guest).await?;
            told += self.catalog.tell_guest(event, *guest, &found).await?;
        }
        step(guests.len(), guests.len());
        Ok(told)
    }
}
