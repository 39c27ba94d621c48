//! What can be put right. Nothing is deleted: what belongs nowhere is moved to `DATA/lost/`.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use findme_common::{Digest, EventId, PhotoId};

use super::files::digest_of;
use super::{Problem, What};
use crate::Site;
use crate::store::Rendition;
use crate::uploads::blocking;

/// Puts one problem right; what was done, `None` when nothing can be.
pub(super) async fn repair(site: &Site, problem: &Problem) -> Result<Option<String>> {
    Ok(match problem {
        Problem::Catalogue(_) | Problem::BadKey(_) => None,
        Problem::NoKey(event) => {
            site.vault.create(*event).context("cannot make a key")?;
            let lost = site.catalog.begin_faces_anew(*event).await?;
            Some(format!("made a new key; its faces are indexed again, {lost} guests must take a new selfie"))
        }
        Problem::NoFolder(event) => {
            let (store, event) = (site.store.clone(), *event);
            blocking(move || store.create_event(event)).await.context("cannot make the folder")?;
            Some("made".to_owned())
        }
        Problem::Missing(event, photo, What(rendition)) => {
            site.catalog.lose(*event, *photo, *rendition).await?;
            Some("it is taken again when the photographer sends it".to_owned())
        }
        Problem::Damaged(event, photo, What(rendition)) => {
            let path = site.store.path(*event, *photo, *rendition);
            // The row first: a crash in between leaves a file without a row, which the next repair finds.
            site.catalog.lose(*event, *photo, *rendition).await?;
            let kept = move_to_lost(site, &path).await?;
            Some(format!("moved to {kept}; it is taken again when the photographer sends it"))
        }
        Problem::NoDerivatives(event, photo) => {
            let promised = site.catalog.promise(*event, *photo).await?.context("the photo is gone")?;
            site.catalog.index_again(*event, promised.seq).await?;
            Some("it is indexed again".to_owned())
        }
        Problem::Stray(path) => Some(adopt_or_move(site, path).await?),
        Problem::StagedStray(id) => {
            let path = site.store.staged(*id);
            Some(format!("moved to {}", move_to_lost(site, &path).await?))
        }
        Problem::StagedShort(_) => None, // the next start rolls it back
    })
}

/// A file whose content is what its name says is a photo; everything else is put aside.
async fn adopt_or_move(site: &Site, path: &Path) -> Result<String> {
    if let Some((event, photo, Rendition::Original)) = site.store.name_of(path) {
        let known = site.catalog.event(event).await?.is_some();
        let file = path.to_owned();
        let (digest, bytes): (Digest, u64) =
            blocking(move || Ok((digest_of(&file)?, std::fs::metadata(&file)?.len()))).await?;
        if known && is_named_after(event, photo, &digest) && !site.catalog.is_deleted(event, photo).await? {
            site.catalog.adopt(event, photo, digest, bytes).await?;
            return Ok("taken as a photo; guests see it when it is released".to_owned());
        }
    }
    Ok(format!("moved to {}", move_to_lost(site, path).await?))
}

fn is_named_after(event: EventId, photo: PhotoId, digest: &Digest) -> bool {
    PhotoId::of(event, digest) == photo
}

async fn move_to_lost(site: &Site, path: &Path) -> Result<String> {
    let (store, file) = (site.store.clone(), path.to_owned());
    let moved: io::Result<_> = blocking(move || store.put_aside(&file)).await;
    let moved = moved.with_context(|| format!("cannot move {} aside", path.display()))?;
    Ok(moved.display().to_string())
}
