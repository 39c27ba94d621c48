//! One attempt to bring one photo to the server, by tus 1.0.
//!
//! The upload is created with an empty `POST`; its address is on stable storage before the first byte leaves by
//! `PATCH`; an upload whose address is known is asked for its offset before anything is sent. So neither a killed
//! program nor a lost answer can make a second photo, whatever the server calls it. Success is a receipt: the server
//! names the digest of what it stored, and it is ours.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use findme_common::manifest::{FailReason, PhotoState, PreviewState};
use findme_common::media::Media;
use findme_common::protocol::{
    Code, Kind, OFFSET_OCTET_STREAM, PhotoSelection, STATUS_CHECKSUM_MISMATCH, header, metadata, path,
};
use findme_common::{Digest, EventId, PhotoId};
use futures_util::TryStreamExt;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::fingerprint::{Fingerprint, Stat};
use crate::manifest::{Manifest, now_ms};
use crate::pace::Pace;
use crate::preview::{self, Preview};
use crate::rating;
use crate::server::{Answer, Failure, Server, away, not_ours};

/// Default of [`Manner::stall`].
const STALL: Duration = Duration::from_secs(30);
/// Requests of one attempt; more means that the two sides do not understand each other.
const MOST_REQUESTS: u32 = 12;

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
    /// The file has changed since; it is to be looked at again.
    pub(crate) changed_since: bool,
}

/// Where an upload stands.
enum Standing {
    /// The server has so many bytes.
    At(u64),
    /// The server has all of it.
    Complete(PhotoId),
    /// The server does not know it (any more).
    Unknown,
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
    parcel: &Parcel,
    manner: &Manner,
    sent: &Arc<AtomicU64>,
) -> Result<Received, Failure> {
    if !is_unchanged(parcel).await? {
        return Err(Failure::Changed);
    }
    let mut attempt = Attempt { server, manifest, event, parcel, manner, sent, load: Load::Original, told: None };
    let photo = attempt.run().await?;
    if let Some(old) = attempt.told {
        drop(manifest.put_told(parcel.digest, old));
    }
    manifest.put_received(parcel.digest, parcel.fingerprint.bytes, photo).wait().await?;
    Ok(Received { photo, changed_since: !is_unchanged(parcel).await.unwrap_or(false) })
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
    parcel: &Parcel,
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
    let load = Load::Preview(preview);
    let mut attempt = Attempt { server, manifest, event, parcel, manner, sent, load, told: None };
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
    Ok(Received { photo, changed_since: !is_unchanged(parcel).await.unwrap_or(false) })
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
    let path = parcel.path.clone();
    let rating = tokio::task::spawn_blocking(move || rating::of(&path)).await.unwrap_or_default();
    if manner.release.is_some_and(|stars| rating::reaches(rating, stars)) {
        let request = server.request(Method::POST, path::RELEASE).json(&PhotoSelection { photos: vec![photo] });
        let answer = server.short(request).await?;
        if !answer.status.is_success() {
            return Err(answer.failure());
        }
    }
    Ok(Received { photo, changed_since: false })
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
        let load = Load::Original;
        let mut attempt = Attempt { server, manifest, event, parcel, manner, sent: &sent, load, told: None };
        attempt.post().await?;
        if let Some(old) = attempt.told {
            manifest.put_told(parcel.digest, old).wait().await?;
        }
    }
    Ok(Received { photo, changed_since: false })
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

/// Which bytes are sent of a photo.
enum Load {
    /// The file.
    Original,
    /// What goes ahead of it.
    Preview(Preview),
}

struct Attempt<'a> {
    server: &'a Server,
    manifest: &'a Manifest,
    event: EventId,
    parcel: &'a Parcel,
    manner: &'a Manner,
    sent: &'a Arc<AtomicU64>,
    load: Load,
    /// The photo that the server was told this one replaces.
    told: Option<Digest>,
}

impl Attempt<'_> {
    async fn run(&mut self) -> Result<PhotoId, Failure> {
        let known = self.manifest.photo(&self.parcel.digest);
        let known = match (&self.load, known.map(|photo| (photo.state, photo.preview))) {
            (Load::Original, Some((PhotoState::Announced { upload }, _))) => upload,
            (Load::Original, Some((PhotoState::Received { photo, .. }, _))) => return Ok(photo),
            (Load::Preview(_), Some((_, Some(PreviewState::Announced { upload })))) => Some(upload),
            _ => None,
        };
        let (mut upload, mut standing) = match known {
            Some(upload) => {
                let standing = self.ask(&upload).await?;
                (upload, standing)
            }
            None => self.create().await?,
        };
        let mut mismatches = 0;
        for _ in 0..MOST_REQUESTS {
            standing = match standing {
                Standing::Complete(photo) => return Ok(photo),
                Standing::Unknown => {
                    let (created, standing) = self.create().await?;
                    upload = created;
                    standing
                }
                Standing::At(offset) => {
                    let answer = self.patch(&upload, offset).await?;
                    match (answer.status.as_u16(), answer.number(header::UPLOAD_OFFSET)) {
                        (200 | 204, Some(offset)) => self.standing(&answer, offset)?,
                        (200 | 204, None) => return Err(not_ours("no offset")),
                        (409, _) => self.ask(&upload).await?,
                        (STATUS_CHECKSUM_MISMATCH, _) => {
                            mismatches += 1;
                            // Once may be the line. Twice, and the file is not what was read.
                            if mismatches == 2 || !is_unchanged(self.parcel).await? {
                                return Err(Failure::Changed);
                            }
                            match self.ask(&upload).await? {
                                Standing::At(0) => Standing::At(0),
                                _ => Standing::Unknown,
                            }
                        }
                        (404 | 410, _) if answer.is_ours() && answer.code() != Some(Code::PhotoDeleted) => {
                            Standing::Unknown
                        }
                        _ => return Err(answer.failure()),
                    }
                }
            };
        }
        Err(Failure::Again { why: "the server's offsets lead nowhere".into(), tries: None })
    }

    /// Creates the upload, without a byte of it, and makes its address durable.
    async fn create(&mut self) -> Result<(Box<str>, Standing), Failure> {
        let (upload, standing) = self.post().await?;
        if !matches!(standing, Standing::Complete(_)) {
            let (digest, bytes) = (self.parcel.digest, self.parcel.fingerprint.bytes);
            let upload = upload.clone();
            let durable = match self.load {
                Load::Original => {
                    self.manifest.put_state(digest, bytes, PhotoState::Announced { upload: Some(upload) })
                }
                Load::Preview(_) => self.manifest.put_preview(digest, bytes, PreviewState::Announced { upload }),
            };
            durable.wait().await?;
        }
        Ok((upload, standing))
    }

    /// Creates the upload, or finds it.
    async fn post(&mut self) -> Result<(Box<str>, Standing), Failure> {
        let replaces = self.manifest.photo(&self.parcel.digest).and_then(|record| record.replaces).map(|of| of.photo);
        let request = self
            .server
            .request(Method::POST, path::UPLOADS)
            .header(header::UPLOAD_LENGTH, self.length())
            .header(header::UPLOAD_METADATA, self.metadata(replaces))
            .header(CONTENT_LENGTH, 0);
        let answer = self.server.short(request).await?;
        match answer.status.as_u16() {
            201 => {}
            410 if answer.is_ours() => return Err(Failure::Deleted),
            _ => return Err(answer.failure()),
        }
        let upload = answer
            .text(LOCATION.as_str())
            .and_then(|location| self.server.upload_path(location))
            .ok_or_else(|| not_ours("no upload address"))?;
        self.server.last_answer.now();
        self.told = replaces;
        let standing = self.standing(&answer, answer.number(header::UPLOAD_OFFSET).unwrap_or(0))?;
        Ok((upload, standing))
    }

    /// Asks where an upload stands.
    async fn ask(&self, upload: &str) -> Result<Standing, Failure> {
        let answer = self.server.short(self.server.request(Method::HEAD, upload)).await?;
        match (answer.status.as_u16(), answer.number(header::UPLOAD_OFFSET)) {
            (200 | 204, Some(offset)) => {
                let length = answer.number(header::UPLOAD_LENGTH);
                if length.is_some_and(|length| length != self.length()) {
                    return Ok(Standing::Unknown);
                }
                self.standing(&answer, offset)
            }
            // Only from one who speaks tus: a login page must not make us forget an upload.
            (404 | 410, _) if answer.is_ours() => Ok(Standing::Unknown),
            (200..=299, _) => Err(not_ours("no offset")),
            (404 | 410, _) => Err(not_ours("not found")),
            _ => Err(answer.failure()),
        }
    }

    /// Sends everything from `offset` on.
    async fn patch(&self, upload: &str, offset: u64) -> Result<Answer, Failure> {
        let length = self.length().saturating_sub(offset);
        let pieces = self.pieces(offset, length).await?;
        let (sent, alive) = (Arc::clone(self.sent), self.server.last_answer.clone());
        let pace = self.manner.pace.clone();
        let pieces = ReaderStream::with_capacity(pieces, pace.piece());
        let body = pieces.and_then(move |piece| {
            let (pace, sent, alive) = (pace.clone(), Arc::clone(&sent), alive.clone());
            async move {
                pace.wait(piece.len()).await;
                sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                alive.now();
                Ok(piece)
            }
        });
        let request = self
            .server
            .request(Method::PATCH, upload)
            .header(header::UPLOAD_OFFSET, offset)
            .header(CONTENT_TYPE, OFFSET_OCTET_STREAM)
            .header(CONTENT_LENGTH, length)
            .body(Body::wrap_stream(body));
        match self.while_it_moves(request.send()).await? {
            Ok(response) => self.server.understood(response).await,
            // A file that became shorter ends the body early, which looks like a broken connection.
            Err(_) if !is_unchanged(self.parcel).await? => Err(Failure::Changed),
            Err(error) => Err(away(&error)),
        }
    }

    async fn while_it_moves<T>(&self, request: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::pin!(request);
        loop {
            let before = self.sent.load(Ordering::Relaxed);
            match tokio::time::timeout(self.manner.stall, &mut request).await {
                Ok(done) => return Ok(done),
                Err(_) if self.sent.load(Ordering::Relaxed) == before => {
                    return Err(Failure::Away(format!("no progress for {} s", self.manner.stall.as_secs())));
                }
                Err(_) => {}
            }
        }
    }

    /// What an answer with an offset means. A complete upload needs a receipt for our digest.
    fn standing(&self, answer: &Answer, offset: u64) -> Result<Standing, Failure> {
        let length = self.length();
        let photo = answer.text(header::FINDME_PHOTO).and_then(|id| id.parse().ok());
        let stored = answer.text(header::REPR_DIGEST).and_then(Digest::from_repr_digest);
        match (offset, stored, photo) {
            (at, _, _) if at < length => Ok(Standing::At(at)),
            (at, _, _) if at > length => Err(not_ours("more bytes than there are")),
            (_, Some(stored), Some(photo)) if stored == self.digest() => Ok(Standing::Complete(photo)),
            (_, Some(_), Some(_)) => Err(Failure::Refused {
                reason: FailReason::ReceiptDiffers,
                why: "its receipt names another digest".into(),
            }),
            _ => Err(not_ours("no receipt")),
        }
    }

    /// The bytes from `offset` on.
    async fn pieces(&self, offset: u64, length: u64) -> Result<Box<dyn AsyncRead + Send + Unpin>, Failure> {
        match &self.load {
            Load::Original => {
                let mut file = File::open(&self.parcel.path).await.map_err(|error| unreadable(&error))?;
                file.seek(SeekFrom::Start(offset)).await.map_err(|error| unreadable(&error))?;
                Ok(Box::new(file.take(length)))
            }
            Load::Preview(preview) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(preview.bytes.len());
                Ok(Box::new(std::io::Cursor::new(preview.bytes.slice(from..))))
            }
        }
    }

    fn length(&self) -> u64 {
        match &self.load {
            Load::Original => self.parcel.fingerprint.bytes,
            Load::Preview(preview) => preview.bytes.len() as u64,
        }
    }

    fn digest(&self) -> Digest {
        match &self.load {
            Load::Original => self.parcel.digest,
            Load::Preview(preview) => preview.digest,
        }
    }

    fn metadata(&self, replaces: Option<Digest>) -> String {
        let (kind, media) = match self.load {
            Load::Original => (Kind::Original, self.parcel.media),
            Load::Preview(_) => (Kind::Preview, Media::Jpeg),
        };
        let photo = PhotoId::of(self.event, &self.parcel.digest);
        let name = self.parcel.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let known = [
            (metadata::FILENAME, name),
            (metadata::FILETYPE, media.content_type().to_owned()),
            (metadata::DIGEST, self.digest().to_string()),
            (metadata::PHOTO, photo.to_string()),
            (metadata::KIND, kind.as_str().to_owned()),
        ];
        let hold = self.manner.hold.then(|| (metadata::HOLD, "yes".to_owned()));
        let replaces = replaces.map(|old| (metadata::REPLACES, PhotoId::of(self.event, &old).to_string()));
        let pairs = known.into_iter().chain(hold).chain(replaces);
        pairs.map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).collect::<Vec<_>>().join(",")
    }
}
