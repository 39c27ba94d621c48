//! What a page of photos shows before any request of its own: the newest photos, as the lists of the API have them, stand
//! in the page, and the pictures of the first rows are asked for before a module has run. On a slow line each round trip
//! that a first photo waits for is a third of a second.

use std::collections::HashSet;

use findme_common::PhotoId;
use findme_common::protocol::{Band, PhotoItem};
use serde::Serialize;

use crate::catalog::{Event, Guest, PhotoFilter};
use crate::http::App;
use crate::http::problem::ApiError;

/// Photos that stand in the page: more than the first screen of a desk has.
const LISTED: usize = 24;

/// Photos whose pictures are asked for at once: the first rows of a phone.
const WANTED: usize = 4;

/// The first photos of a page.
#[derive(Debug, Default)]
pub(super) struct First {
    /// Whose pictures are asked for at once.
    pub(super) wanted: Vec<PhotoId>,
    /// `{"photos":[…],"total":n}`, where there are any.
    pub(super) listed: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    photos: Vec<PhotoItem>,
    /// How many there are in all.
    total: u64,
}

impl First {
    /// The `sizes` of every thumbnail in a grid, and of those asked for ahead, so that browsers choose the same file for
    /// both. A tile is about 170 CSS pixels wide on a phone and 310 elsewhere; the phone's is called smaller than it is, so
    /// that one with three pixels for each of CSS takes the small thumbnail too, which suits its line better.
    pub(super) const SIZES: &str = "(min-width: 40rem) 300px, 100px";

    fn of(photos: Vec<PhotoItem>, total: u64) -> Self {
        let wanted = photos.iter().take(WANTED).map(|photo| photo.id).collect();
        let any = !photos.is_empty();
        let listed = any.then(|| serde_json::to_string(&Listed { photos, total }).ok()).flatten();
        Self { wanted, listed }
    }

    /// The newest of those that are surely a guest's.
    pub(super) async fn of_guest(app: &App, guest: &Guest) -> Result<Self, ApiError> {
        let found = app.matching.find_guest(guest.event, guest.id).await?;
        let ids: HashSet<PhotoId> = found.you.iter().map(|found| found.photo).collect();
        let ids: Vec<PhotoId> = ids.into_iter().collect();
        let mut shown = app.catalog.shown_photos(guest.event, &ids).await?;
        shown.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        let total = shown.len() as u64;
        let photos = shown.into_iter().take(LISTED).map(|(_, item)| PhotoItem { band: Some(Band::You), ..item });
        Ok(Self::of(photos.collect(), total))
    }

    /// The newest of an event.
    pub(super) async fn of_event(app: &App, event: &Event) -> Result<Self, ApiError> {
        let newest = app.catalog.photos(event.id, PhotoFilter::Shown, None, LISTED as u32).await?.photos;
        let counts = app.catalog.counts(event.id, PhotoFilter::Shown).await?;
        Ok(Self::of(newest, counts.indexed + counts.received))
    }
}
