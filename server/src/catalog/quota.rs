//! What a photographer token may upload in all. Taken when an upload is created, given back when one is forgotten that
//! became no photo; the same photo again is the same upload and takes nothing.

use findme_common::UploadId;

use super::db::query;
use super::{Result, Tx};

/// What a token may upload; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Uploads, previews included.
    pub(crate) uploads: Option<i64>,
    /// Bytes of all of them.
    pub(crate) bytes: Option<i64>,
}

impl Quota {
    /// What the flags say, where 0 is no limit.
    pub(crate) fn of(limits: &crate::Limits) -> Self {
        let limit = |number: u64| (number > 0).then(|| i64::try_from(number).unwrap_or(i64::MAX));
        Self { uploads: limit(limits.token_uploads), bytes: limit(limits.token_bytes.0) }
    }
}

/// Counts an upload of this length; whether the token may have it.
pub(super) async fn take(tx: &mut Tx, token: i64, length: u64) -> Result<bool> {
    let taken = query(
        "UPDATE photographer_tokens SET uploads = uploads + 1, bytes = bytes + ?2 WHERE id = ?1
             AND (max_uploads IS NULL OR uploads < max_uploads) AND (max_bytes IS NULL OR bytes + ?2 <= max_bytes)",
    )
    .bind(token)
    .bind(i64::try_from(length).unwrap_or(i64::MAX / 2))
    .execute(&mut *tx)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Gives back what an upload took that is about to be forgotten, unless it became a photo.
pub(super) async fn give_back(tx: &mut Tx, upload: UploadId) -> Result<()> {
    query(
        "UPDATE photographer_tokens SET uploads = uploads - 1, bytes = bytes - forgotten.length
             FROM (SELECT token, length FROM uploads WHERE id = ? AND complete = 0) AS forgotten
             WHERE photographer_tokens.id = forgotten.token",
    )
    .bind(upload.as_bytes().as_slice())
    .execute(&mut *tx)
    .await?;
    Ok(())
}
