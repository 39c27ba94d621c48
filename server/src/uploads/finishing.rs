//! From all bytes to a photo. Each step leaves something that the next start can finish or roll back.

use findme_common::Digest;
use findme_common::protocol::Kind;

use super::{Standing, UploadError, Uploads, blocking};
use crate::catalog::UploadRow;

impl Uploads {
    /// Publishes a whole, synced upload.
    pub(super) async fn finish(&self, row: UploadRow, digest: Digest) -> Result<Standing, UploadError> {
        if row.new.digest.is_some_and(|announced| announced != digest) {
            // The offset goes back before the bytes do: a crash between the two only sends them again.
            if !self.catalog.set_offset(&row, 0).await? {
                return Err(self.too_late(row.id).await?);
            }
            let (store, id) = (self.store.clone(), row.id);
            blocking(move || store.discard(id)).await?;
            return Err(UploadError::DigestMismatch);
        }
        let (store, id, new) = (self.store.clone(), row.id, row.new.clone());
        if let Err(error) = blocking(move || store.publish(id, new.event, new.photo, new.kind)).await {
            // A sync that failed is final. The file may stand under its new name and would pass for a crash's rest at
            // the next request: the upload is forgotten, so that its bytes come again.
            self.forget(&row).await?;
            return Err(error.into());
        }
        self.commit(row, digest).await
    }

    async fn commit(&self, row: UploadRow, digest: Digest) -> Result<Standing, UploadError> {
        self.catalog.finish_upload(&row, &digest).await?;
        self.work.notify_one();
        let standing = self.row(row.new.event, row.id).await;
        if matches!(standing, Err(UploadError::NotFound))
            && self.catalog.is_deleted(row.new.event, row.new.photo).await?
        {
            // Deleted while these bytes were on their way: its files were removed before this one was published.
            let (store, new) = (self.store.clone(), row.new);
            blocking(move || store.remove_photo(new.event, new.photo)).await?;
            return Err(UploadError::Deleted);
        }
        match standing? {
            row if row.complete => Ok(row.into()),
            _ => Err(UploadError::TakenOver),
        }
    }

    /// Finishes an upload whose file a crash left renamed but not recorded; whether there was such a file. Without an
    /// announced digest only a name that no other upload can have tells that the file is this upload's: a preview's
    /// name may hold the bytes of an earlier one.
    pub(super) async fn republish(&self, row: &UploadRow) -> Result<bool, UploadError> {
        if row.new.digest.is_none() && row.new.kind == Kind::Preview {
            return Ok(false);
        }
        let (store, new) = (self.store.clone(), row.new.clone());
        let digest = blocking(move || {
            let digest = store.published(new.event, new.photo, new.kind, new.length)?;
            let digest = digest.filter(|digest| new.digest.is_none_or(|announced| announced == *digest));
            if digest.is_some() {
                store.confirm(new.event, new.photo, new.kind)?;
            }
            Ok(digest)
        });
        match digest.await? {
            Some(digest) => self.commit(row.clone(), digest).await.map(|_| true),
            None => Ok(false),
        }
    }
}
