//! «Yes, me» and «not me»: what a guest says about a photo that they were shown.

use findme_common::PhotoId;

use super::{MatchError, Matching};
use crate::catalog::Guest;

impl Matching {
    /// Records what a guest says: a photo that is theirs is shown as theirs, and its face helps to find more; one that
    /// is not is shown to them no more. `None` takes it back. Only about photos in which they were found, or about which
    /// they spoke before, so that nobody makes themselves somebody else; `None` when it is another. Otherwise whether
    /// anything is different now.
    ///
    /// # Errors
    /// When catalogue or key fail.
    pub(crate) async fn say(
        &self,
        guest: &Guest,
        photo: PhotoId,
        mine: Option<bool>,
    ) -> Result<Option<bool>, MatchError> {
        let found = self.found_for(guest.event, guest.id).await?.into_iter().find(|found| found.photo == photo);
        if found.is_none() && (mine == Some(true) || !self.catalog.verdicts(guest.id).await?.contains_key(&photo)) {
            return Ok(None);
        }
        let face = found.map(|found| (found.face, found.person));
        Ok(Some(self.catalog.set_verdict((guest.event, guest.id), photo, mine, face).await?))
    }
}
