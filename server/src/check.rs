//! `findme-server check`: every row has its file with its digest, every file its row; what can be put right is.
//!
//! Beside a serving server nothing is changed, and what looks wrong is looked at once more, so that a photo that comes or
//! goes meanwhile is no false alarm. A repair never deletes: what belongs nowhere goes to `DATA/lost/`.

mod files;
mod repair;

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use findme_common::protocol::Kind;
use findme_common::{EventId, PhotoId, UploadId};

use crate::Site;
use crate::catalog::Promised;
use crate::store::Rendition;
use crate::uploads::blocking;
use crate::vault::VaultError;
pub(crate) use files::digest_of;

/// Photos that are read from the catalogue at a time.
const PAGE: i64 = 500;

/// How thorough a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Every file is read and its digest computed.
    Digests,
    /// Files are there and have their lengths.
    Lengths,
}

/// One thing that is not as promised, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// What SQLite says about its own file.
    #[error("catalogue: {0}")]
    Catalogue(String),
    /// The faces of the event cannot be read.
    #[error("event {0}: its key is gone; its faces must be indexed again, and its guests take a new selfie")]
    NoKey(EventId),
    /// The key file is there and is no key.
    #[error("event {0}: its key is damaged; put the right one back, or remove it and check again")]
    BadKey(EventId),
    /// The event's folder of photos is not there: no upload to it could end.
    #[error("event {0}: its folder is missing")]
    NoFolder(EventId),
    /// A photo without its file.
    #[error("event {0} photo {1}: {2} is missing")]
    Missing(EventId, PhotoId, What),
    /// A file that is not what was stored.
    #[error("event {0} photo {1}: {2} is damaged")]
    Damaged(EventId, PhotoId, What),
    /// A derivative that can be made again.
    #[error("event {0} photo {1}: preview or thumbnail is missing")]
    NoDerivatives(EventId, PhotoId),
    /// A file that belongs to no photo.
    #[error("{0}: belongs to no photo")]
    Stray(PathBuf),
    /// A staged file without its upload.
    #[error("upload {0}: staged bytes without a row")]
    StagedStray(UploadId),
    /// Bytes that were acknowledged are gone.
    #[error("upload {0}: acknowledged bytes are gone; it begins anew at the next start")]
    StagedShort(UploadId),
}

/// Which file of a photo, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct What(pub(crate) Rendition);

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Rendition::Original => "the original",
            Rendition::SentPreview => "the sent preview",
            Rendition::Preview => "the preview",
            Rendition::Thumb => "the thumbnail",
            Rendition::Small => "the small thumbnail",
        })
    }
}

/// What a check came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Photos that were looked at.
    pub photos: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Things that were not as promised.
    pub problems: u64,
    /// Those of them that were put right.
    pub repaired: u64,
}

/// A check that is under way.
pub(crate) struct Check<'a> {
    site: &'a Site,
    depth: Depth,
    repair: bool,
    /// Told about each problem, with what was done about it.
    report: &'a mut dyn FnMut(&Problem, Option<&str>),
    /// Told how many photos of how many are done.
    progress: &'a mut dyn FnMut(u64, u64),
    summary: Summary,
}

/// Checks a data folder. With `repair` the caller holds the folder's lock and nobody else works in it.
///
/// # Errors
/// When catalogue or folder cannot be read, or a repair cannot be written; problems are no errors.
pub(crate) async fn check(
    site: &Site,
    depth: Depth,
    repair: bool,
    report: &mut dyn FnMut(&Problem, Option<&str>),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Summary> {
    let mut check = Check { site, depth, repair, report, progress, summary: Summary::default() };
    for damage in site.catalog.damages().await? {
        check.found(Problem::Catalogue(damage)).await?;
    }
    check.keys().await?;
    check.folders().await?;
    check.photos().await?;
    check.strays().await?;
    check.staged().await?;
    Ok(check.summary)
}

impl Check<'_> {
    async fn found(&mut self, problem: Problem) -> Result<()> {
        self.summary.problems += 1;
        let done = if self.repair { repair::repair(self.site, &problem).await? } else { None };
        self.summary.repaired += u64::from(done.is_some());
        (self.report)(&problem, done.as_deref());
        Ok(())
    }

    async fn keys(&mut self) -> Result<()> {
        for event in self.site.catalog.keyed_events().await? {
            let problem = match self.site.vault.key(event) {
                Ok(_) => continue,
                Err(VaultError::NoKey(_)) => Problem::NoKey(event),
                Err(VaultError::Damaged) => Problem::BadKey(event),
                Err(VaultError::Io(error)) => return Err(error).context("a key cannot be read"),
            };
            // Deleted while it was looked at: no damage.
            if self.site.catalog.keyed_events().await?.contains(&event) {
                self.found(problem).await?;
            }
        }
        Ok(())
    }

    async fn folders(&mut self) -> Result<()> {
        // An object store has none, and each node makes its own.
        let events = if self.site.store.has_folders() { self.site.catalog.events().await? } else { Vec::new() };
        for event in events {
            let store = self.site.store.clone();
            let there = blocking(move || store.has_event(event.id)).await?;
            // Deleted while it was looked at: no damage.
            if !there && self.site.catalog.event(event.id).await?.is_some() {
                self.found(Problem::NoFolder(event.id)).await?;
            }
        }
        Ok(())
    }

    async fn photos(&mut self) -> Result<()> {
        let (total, _) = self.site.catalog.totals().await?;
        let mut after = 0;
        loop {
            let page = self.site.catalog.promises(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.seq;
            for promised in page {
                self.photo(promised).await?;
                self.summary.photos += 1;
                (self.progress)(self.summary.photos, total.max(self.summary.photos));
            }
        }
    }

    async fn photo(&mut self, promised: Promised) -> Result<()> {
        let files = [(Kind::Original, promised.original.map(Some)), (Kind::Preview, promised.preview)];
        for (kind, expected) in files {
            let Some(expected) = expected else { continue };
            let (store, file, depth) = (self.site.store.clone(), (promised.event, promised.photo, kind), self.depth);
            let state = blocking(move || files::state(&store, file, expected, depth)).await?;
            self.summary.bytes += state.read;
            let rendition = kind.into();
            let problem = match state.found {
                files::Found::Right => continue,
                files::Found::Missing => Problem::Missing(promised.event, promised.photo, What(rendition)),
                files::Found::Wrong => Problem::Damaged(promised.event, promised.photo, What(rendition)),
            };
            // A photo that was deleted or sent again meanwhile has another row, or none.
            if self.site.catalog.promise(promised.event, promised.photo).await?.as_ref() == Some(&promised) {
                self.found(problem).await?;
            }
        }
        if promised.derived {
            // The small thumbnail is made when it is asked for.
            let (store, event, photo) = (self.site.store.clone(), promised.event, promised.photo);
            let is_there = move |rendition| Ok::<_, std::io::Error>(store.length(event, photo, rendition)?.is_some());
            let there = blocking(move || Ok(is_there(Rendition::Preview)? && is_there(Rendition::Thumb)?)).await?;
            if !there && self.site.catalog.promise(promised.event, promised.photo).await?.as_ref() == Some(&promised) {
                self.found(Problem::NoDerivatives(promised.event, promised.photo)).await?;
            }
        }
        Ok(())
    }

    async fn strays(&mut self) -> Result<()> {
        let store = self.site.store.clone();
        for file in blocking(move || store.files()).await? {
            if !self.belongs(&file).await? {
                let (store, again) = (self.site.store.clone(), file.clone());
                // Gone by now: its photo was being deleted.
                if blocking(move || store.is_there(&again)).await? && !self.belongs(&file).await? {
                    self.found(Problem::Stray(file.path)).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether a photo's row or an unfinished upload explains a file.
    async fn belongs(&self, file: &crate::store::Stored) -> Result<bool> {
        let Some((event, photo, rendition)) = file.name else { return Ok(false) };
        let catalog = &self.site.catalog;
        if let Some(promised) = catalog.promise(event, photo).await? {
            // A replaced preview stays until its photo goes.
            return Ok(rendition != Rendition::Original || promised.original.is_some());
        }
        if self.repair {
            return Ok(false);
        }
        // Renamed and about to be recorded, or deleted and about to be removed.
        let uploads = catalog.unfinished_uploads().await?;
        let finishing = uploads.iter().any(|row| row.new.event == event && row.new.photo == photo);
        Ok(finishing || catalog.unswept().await?.contains(&(event, photo)))
    }

    async fn staged(&mut self) -> Result<()> {
        let store = self.site.store.clone();
        let staged: HashSet<UploadId> = blocking(move || store.staged_uploads()).await?.into_iter().collect();
        let rows = self.site.catalog.unfinished_uploads().await?;
        for id in &staged {
            if rows.iter().all(|row| row.id != *id) {
                // Begun after the folder was read, or finished since.
                let again = self.site.catalog.unfinished_uploads().await?;
                let store = (self.site.store.clone(), *id);
                let there = blocking(move || store.0.staged_length(store.1)).await?.is_some();
                if there && again.iter().all(|row| row.id != *id) {
                    self.found(Problem::StagedStray(*id)).await?;
                }
            }
        }
        // What other nodes have staged is not here.
        for row in rows.iter().filter(|row| row.offset > 0 && row.node.is_none()) {
            let store = (self.site.store.clone(), row.id);
            let length = blocking(move || store.0.staged_length(store.1)).await?;
            let now = self.site.catalog.upload(row.new.event, row.id).await?;
            let still = now.is_some_and(|now| !now.complete && now.offset >= row.offset);
            let published = self.site.store.path(row.new.event, row.new.photo, row.new.kind.into());
            let renamed = blocking(move || published.try_exists()).await?;
            if length.is_none_or(|length| length < row.offset) && still && !renamed {
                self.found(Problem::StagedShort(row.id)).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
