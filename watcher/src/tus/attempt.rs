//! One attempt: asks where the upload stands, sends what is missing, and believes nothing but the receipt.
//!
//! Over a slow line a request carries a portion of it, so that a connection that breaks costs no more than that.

use std::io::SeekFrom;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use findme_common::manifest::{FailReason, PhotoState, PreviewState};
use findme_common::media::Media;
use findme_common::protocol::{Code, Kind, OFFSET_OCTET_STREAM, STATUS_CHECKSUM_MISMATCH, header, metadata, path};
use findme_common::{Digest, EventId, PhotoId};
use futures_util::TryStreamExt;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{Manner, Parcel, is_good_enough, is_unchanged, unreadable};
use crate::manifest::Manifest;
use crate::preview::Preview;
use crate::server::{Answer, Failure, Server, away, not_ours};

/// Requests in a row that bring nothing; more means that the two sides do not understand each other.
const MOST_FRUITLESS: u32 = 12;

/// Where an upload stands.
pub(super) enum Standing {
    /// The server has so many bytes.
    At(u64),
    /// The server has all of it.
    Complete(PhotoId),
    /// The server does not know it (any more).
    Unknown,
}

/// Between two looks whether somebody else gets on with the same photo.
const STAND_BACK: Duration = Duration::from_secs(1);
/// Looks in a row that show no progress; after them it is sent from here.
const MOST_IDLE: u32 = 4;

/// Which bytes are sent of a photo.
pub(super) enum Load {
    /// The file.
    Original,
    /// What goes ahead of it.
    Preview(Preview),
}

/// What one attempt knows.
pub(super) struct Attempt<'a> {
    pub(super) server: &'a Server,
    pub(super) manifest: &'a Manifest,
    pub(super) event: EventId,
    pub(super) parcel: &'a Parcel,
    /// When its file was closed, as far as was seen; of no interest where nothing is sent.
    pub(super) closed: Option<Instant>,
    pub(super) manner: &'a Manner,
    pub(super) sent: &'a Arc<AtomicU64>,
    pub(super) load: Load,
    /// The photo that the server was told this one replaces.
    pub(super) told: Option<Digest>,
}

impl Attempt<'_> {
    /// Goes on until the receipt; answers what the server calls the photo.
    pub(super) async fn run(&mut self) -> Result<PhotoId, Failure> {
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
        let (mut mismatches, mut fruitless) = (0, 0);
        while fruitless < MOST_FRUITLESS {
            fruitless += 1;
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
                        (200 | 204, Some(reached)) => {
                            if reached > offset {
                                fruitless = 0;
                            }
                            self.standing(&answer, reached)?
                        }
                        (200 | 204, None) => return Err(not_ours("no offset")),
                        (409, _) if answer.code() == Some(Code::TakenOver) => self.stand_back(&upload).await?,
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
    pub(super) async fn post(&mut self) -> Result<(Box<str>, Standing), Failure> {
        let replaces = self.manifest.photo(&self.parcel.digest).and_then(|record| record.replaces).map(|of| of.photo);
        let hold = self.manner.hold && !is_good_enough(self.parcel, self.manner).await;
        let request = self
            .server
            .request(Method::POST, path::UPLOADS)
            .header(header::UPLOAD_LENGTH, self.length())
            .header(header::UPLOAD_METADATA, self.metadata(replaces, hold))
            .header(CONTENT_LENGTH, 0);
        let began = Instant::now();
        let answer = self.server.short(request).await?;
        self.manner.pace.portions.answered(began.elapsed());
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

    /// Somebody else sends the same photo, now: leaves it to them for as long as they get on with it. If each took it
    /// back from the other, neither would.
    async fn stand_back(&self, upload: &str) -> Result<Standing, Failure> {
        let (mut reached, mut idle) = (0, 0);
        loop {
            tokio::time::sleep(STAND_BACK).await;
            match self.ask(upload).await? {
                Standing::At(offset) if offset > reached => (reached, idle) = (offset, 0),
                // The server counts what is on its disk: a quick sender may be between two such moments.
                Standing::At(_) if idle < MOST_IDLE => idle += 1,
                standing => return Ok(standing),
            }
        }
    }

    /// Sends from `offset` on: everything, or as much as is wise on a slow line.
    async fn patch(&self, upload: &str, offset: u64) -> Result<Answer, Failure> {
        let portion = self.manner.pace.portions.begin(Instant::now());
        let length = self.length().saturating_sub(offset).min(portion.most());
        let request = self
            .server
            .request(Method::PATCH, upload)
            .header(header::UPLOAD_OFFSET, offset)
            .header(CONTENT_TYPE, OFFSET_OCTET_STREAM)
            .header(CONTENT_LENGTH, length)
            .body(self.body(offset, length).await?);
        match self.while_it_moves(request.send()).await {
            Ok(Ok(response)) => {
                if response.status().is_success() {
                    portion.arrived(length, Instant::now());
                }
                self.server.understood(response).await
            }
            // A file that became shorter ends the body early, which looks like a broken connection.
            Ok(Err(_)) if !is_unchanged(self.parcel).await? => Err(Failure::Changed),
            Ok(Err(error)) => {
                portion.broke();
                Err(away(&error))
            }
            Err(stalled) => {
                portion.broke();
                Err(stalled)
            }
        }
    }

    /// So many bytes from `offset` on, no quicker than is allowed; counted as they leave.
    async fn body(&self, offset: u64, length: u64) -> Result<Body, Failure> {
        let pace = self.manner.pace.clone();
        let (sent, alive) = (Arc::clone(self.sent), self.server.last_answer.clone());
        let pieces = ReaderStream::with_capacity(self.pieces(offset, length).await?, pace.piece());
        Ok(Body::wrap_stream(pieces.and_then(move |piece| {
            let (pace, sent, alive) = (pace.clone(), Arc::clone(&sent), alive.clone());
            async move {
                pace.wait(piece.len()).await;
                sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                alive.now();
                Ok(piece)
            }
        })))
    }

    async fn while_it_moves<T>(&self, request: impl Future<Output = T>) -> Result<T, Failure> {
        let request = self.server.while_awake(request);
        tokio::pin!(request);
        loop {
            let before = self.sent.load(Ordering::Relaxed);
            match tokio::time::timeout(self.manner.stall, &mut request).await {
                Ok(done) => return done,
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

    /// So many bytes from `offset` on.
    async fn pieces(&self, offset: u64, length: u64) -> Result<Box<dyn AsyncRead + Send + Unpin>, Failure> {
        match &self.load {
            Load::Original => {
                let mut file = File::open(&self.parcel.path).await.map_err(|error| unreadable(&error))?;
                file.seek(SeekFrom::Start(offset)).await.map_err(|error| unreadable(&error))?;
                Ok(Box::new(file.take(length)))
            }
            Load::Preview(preview) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(preview.bytes.len());
                Ok(Box::new(std::io::Cursor::new(preview.bytes.slice(from..)).take(length)))
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

    fn metadata(&self, replaces: Option<Digest>, hold: bool) -> String {
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
        let hold = hold.then(|| (metadata::HOLD, "yes".to_owned()));
        // A time that has passed, not a time of day: the two machines' clocks need not agree.
        let age = self.closed.map(|closed| (metadata::AGE, closed.elapsed().as_millis().to_string()));
        let replaces = replaces.map(|old| (metadata::REPLACES, PhotoId::of(self.event, &old).to_string()));
        let pairs = known.into_iter().chain(age).chain(hold).chain(replaces);
        pairs.map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).collect::<Vec<_>>().join(",")
    }
}
