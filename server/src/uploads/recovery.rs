//! What happens to uploads without a request: after a crash, and when nobody comes back.

use std::time::Duration;

use super::{UploadError, Uploads, blocking};

/// A derivative that was begun so long ago is written by nobody any more.
const PART_AGE: Duration = Duration::from_secs(3600);

impl Uploads {
    /// Finishes or rolls back what a crash left: staged files without a row are removed, rows whose file was already
    /// renamed are finished by their next request, rows whose bytes are gone are forgotten.
    ///
    /// # Errors
    /// When catalogue or disk cannot be read.
    pub(crate) async fn recover(&self) -> Result<(), UploadError> {
        let mut rows = self.catalog.unfinished_uploads().await?;
        rows.retain(|row| self.is_here(row));
        let store = self.store.clone();
        let staged = blocking(move || store.staged_uploads()).await?;
        for orphan in staged.into_iter().filter(|id| rows.iter().all(|row| row.id != *id)) {
            let store = self.store.clone();
            blocking(move || store.discard(orphan)).await?;
        }
        self.remove_parts().await?;
        for row in rows {
            if row.offset == row.new.length {
                // Whoever asks is told «all bytes are here» and may never come back: it is finished now.
                match self.stand(row.new.event, row.id).await {
                    Ok(_) | Err(UploadError::Lost | UploadError::TakenOver) => continue,
                    Err(other) => return Err(other),
                }
            }
            let (store, id) = (self.store.clone(), row.id);
            let there = blocking(move || store.staged_length(id)).await?;
            let bytes_gone = there.is_none_or(|length| length < row.offset);
            if bytes_gone && !self.republish(&row).await? && row.offset > 0 {
                self.forget(&row).await?;
            }
        }
        Ok(())
    }

    async fn remove_parts(&self) -> Result<(), UploadError> {
        let store = self.store.clone();
        blocking(move || store.remove_parts(PART_AGE)).await?;
        Ok(())
    }

    /// Forgets unfinished uploads to which nothing was added since `before` (milliseconds since the epoch); how many.
    ///
    /// # Errors
    /// When catalogue or disk fail.
    pub(crate) async fn expire(&self, before: i64) -> Result<usize, UploadError> {
        self.remove_parts().await?;
        let mut expired = 0;
        for row in self.catalog.unfinished_uploads().await?.into_iter().filter(|row| row.touched_at < before) {
            let slot = self.slots.of(row.id);
            // Whoever writes it now is alive, so it is not abandoned.
            let Some(mut turn) = slot.idle_turn() else { continue };
            // It may have gone on, or become a photo, since the list was read.
            let now = self.catalog.upload(row.new.event, row.id).await?;
            if now.is_some_and(|now| !now.complete && now.touched_at < before) {
                self.forget(&row).await?;
                *turn = None;
                expired += 1;
            }
            drop(turn);
            self.slots.release(row.id, &slot);
        }
        Ok(expired)
    }
}
