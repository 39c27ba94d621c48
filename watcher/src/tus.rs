//! One attempt to bring one photo to the server, by tus 1.0.
//!
//! The upload is created with an empty `POST`; its address is on stable storage before the first byte leaves by
//! `PATCH`; an upload whose address is known is asked for its offset before anything is sent. So neither a killed
//! program nor a lost answer can make a second photo, whatever the server calls it. Success is a receipt: the server
//! names the digest of what it stored, and it is ours.

mod attempt;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use findme_common::manifest::{PhotoState, PreviewState};
use findme_common::media::Media;
use findme_common::protocol::{PhotoSelection, path};
use findme_common::{Digest, EventId, PhotoId};
use reqwest::Method;

use self::attempt::{Attempt, Load};
use crate::fingerprint::{Fingerprint, Stat};
use crate::manifest::{Manifest, now_ms};
use crate::pace::Pace;
use crate::preview;
use crate::rating;
use crate::server::{Failure, Server};

/// Default of [`Manner::stall`].
const STALL: Duration = Duration::from_secs(30);

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) media: Media,
    /// From before it was read.
    pub(crate) fingerprint: Fingerprint,
}

/// How all photos of a run are sent.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// Guests do not see them before they are released.
    pub(crate) hold: bool,
    /// How fast.
    pub(crate) pace: Pace,
    /// An upload that makes no progress for so long is given up and asked for again. There is no limit for the whole.
    pub(crate) stall: Duration,
    /// Held while the server is told which photo replaces which.
    pub(crate) one_at_a_time: Arc<tokio::sync::Mutex<()>>,
    /// Held while a preview is made: one at a time has its picture in memory.
    pub(crate) making: Arc<tokio::sync::Mutex<()>>,
    /// Stars from which on held photos are released.
    pub(crate) release: Option<u8>,
    /// RAW files are sent whole.
    pub(crate) raw: bool,
}

impl Manner {
    fn only_previews_of(&self, media: Media) -> bool {
        media == Media::Raw && !self.raw
    }
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            hold: false,
            pace: Pace::default(),
            stall: STALL,
            one_at_a_time: Arc::default(),
            making: Arc::default(),
            release: None,
            raw: false,
        }
    }
}

/// The server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// What the server calls it.
    pub(crate) photo: PhotoId,
    /// How many it has: those of the file, or those of the preview.
    pub(crate) bytes: u64,
    /// The file has changed since; it is to be looked at again.
    pub(crate) changed_since: bool,
}

/// Sends one photo; the manifest holds the receipt durably when this answers.
///
/// `sent` counts the bytes that left, over all attempts.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn send(
    server: &Server,
    manifest: &Manifest,
    event: EventId,
    (parcel, closed): (&Parcel, Instant),
    manner: &Manner,
    sent: &Arc<AtomicU64>,
) -> Result<Received, Failure> {
    if !is_unchanged(parcel).await? {
        return Err(Failure::Changed);
    }
    let (load, closed) = (Load::Original, Some(closed));
    let mut attempt = Attempt { server, manifest, event, parcel, closed, manner, sent, load, told: None };
    let photo = attempt.run().await?;
    if let Some(old) = attempt.told {
        drop(manifest.put_told(parcel.digest, old));
    }
    manifest.put_received(parcel.digest, parcel.fingerprint.bytes, photo).wait().await?;
    let bytes = parcel.fingerprint.bytes;
    Ok(Received { photo, bytes, changed_since: !is_unchanged(parcel).await.unwrap_or(false) })
}

/// Sends a smaller picture ahead of a photo, or the one inside a RAW file that stays here; the manifest holds the receipt
/// durably when this answers.
///
/// # Errors
/// See [`Failure`]; [`Failure::is_of_preview`] tells those that say nothing about the photo itself.
pub(crate) async fn send_preview(
    server: &Server,
    manifest: &Manifest,
    event: EventId,
    (parcel, closed): (&Parcel, Instant),
    manner: &Manner,
    sent: &Arc<AtomicU64>,
) -> Result<Received, Failure> {
    if !is_unchanged(parcel).await? {
        return Err(Failure::Changed);
    }
    let preview = {
        let _turn = manner.making.lock().await;
        let (path, media) = (parcel.path.clone(), parcel.media);
        let made = tokio::task::spawn_blocking(move || preview::of(&path, media)).await;
        made.map_err(|_| Failure::NoPreview)?.map_err(|error| unreadable(&error))?.ok_or(Failure::NoPreview)?
    };
    let bytes = parcel.fingerprint.bytes;
    let worth_it = parcel.media == Media::Raw || (preview.bytes.len() as u64) < bytes / 2;
    if !worth_it {
        return Err(Failure::NoPreview);
    }
    if !is_unchanged(parcel).await? {
        return Err(Failure::Changed);
    }
    let length = preview.bytes.len() as u64;
    let (load, closed) = (Load::Preview(preview), Some(closed));
    let mut attempt = Attempt { server, manifest, event, parcel, closed, manner, sent, load, told: None };
    let photo = attempt.run().await?;
    if let Some(old) = attempt.told {
        drop(manifest.put_told(parcel.digest, old));
    }
    let at_ms = now_ms();
    if manner.only_previews_of(parcel.media) {
        drop(manifest.put_preview(parcel.digest, bytes, PreviewState::Received { at_ms }));
        manifest.put_state(parcel.digest, bytes, PhotoState::PreviewOnly { photo, at_ms }).wait().await?;
    } else {
        manifest.put_preview(parcel.digest, bytes, PreviewState::Received { at_ms }).wait().await?;
    }
    Ok(Received { photo, bytes: length, changed_since: !is_unchanged(parcel).await.unwrap_or(false) })
}

/// Releases a photo that was held, if its rating says so.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn release(
    server: &Server,
    manifest: &Manifest,
    event: EventId,
    parcel: &Parcel,
    manner: &Manner,
) -> Result<Received, Failure> {
    let photo = match manifest.photo(&parcel.digest).map(|photo| photo.state) {
        Some(PhotoState::Received { photo, .. }) => photo,
        _ => PhotoId::of(event, &parcel.digest),
    };
    if is_good_enough(parcel, manner).await {
        let request = server.request(Method::POST, path::RELEASE).json(&PhotoSelection { photos: vec![photo] });
        let answer = server.short(request).await?;
        if !answer.status.is_success() {
            return Err(answer.failure());
        }
    }
    Ok(Received { photo, bytes: 0, changed_since: false })
}

/// Tells the server which other photo one replaces that it has: by creating what exists.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn tell(
    server: &Server,
    manifest: &Manifest,
    event: EventId,
    parcel: &Parcel,
    manner: &Manner,
) -> Result<Received, Failure> {
    // In the order in which they were decided: the newest word counts.
    let _turn = manner.one_at_a_time.lock().await;
    let photo = PhotoId::of(event, &parcel.digest);
    if manifest.photo(&parcel.digest).is_some_and(|record| record.is_untold()) {
        let sent = Arc::default();
        let (load, closed) = (Load::Original, None);
        let mut attempt = Attempt { server, manifest, event, parcel, closed, manner, sent: &sent, load, told: None };
        attempt.post().await?;
        if let Some(old) = attempt.told {
            manifest.put_told(parcel.digest, old).wait().await?;
        }
    }
    Ok(Received { photo, bytes: 0, changed_since: false })
}

/// Whether its rating lets a photo go that is held.
async fn is_good_enough(parcel: &Parcel, manner: &Manner) -> bool {
    let Some(stars) = manner.release else { return false };
    let path = parcel.path.clone();
    let rating = tokio::task::spawn_blocking(move || rating::of(&path)).await.unwrap_or_default();
    rating::reaches(rating, stars)
}

async fn is_unchanged(parcel: &Parcel) -> Result<bool, Failure> {
    match tokio::fs::symlink_metadata(&parcel.path).await {
        Ok(metadata) => Ok(Stat::of(&metadata).fingerprint == parcel.fingerprint),
        Err(error) => Err(unreadable(&error)),
    }
}

fn unreadable(error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound => Failure::Vanished,
        _ => Failure::CannotBeRead(error.to_string()),
    }
}
