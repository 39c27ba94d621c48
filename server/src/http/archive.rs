//! `GET /api/my-photos.zip`: all photos of a guest in one archive, streamed from the files, with its length known before
//! the first byte. A photo that vanishes on the way ends the connection: never a wrong archive.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use findme_common::protocol::{Code, path};
use findme_common::{EventId, PhotoId};
use tokio::sync::mpsc;

use super::App;
use super::auth::Session;
use super::bytes::attachment;
use super::patched::Opened;
use super::problem::{ApiError, ApiResult};
use crate::catalog::Original;
use crate::picture::location;
use crate::store::Rendition;
use crate::zip::{self, DosTime, Entry};

/// Pieces that wait for a slow phone. A piece is 64 KiB.
const AHEAD: usize = 4;

/// `GET /api/my-photos.zip`.
#[utoipa::path(
    get, path = path::MY_PHOTOS_ZIP, tag = "guests", operation_id = "my_photos_zip",
    security(("guest" = [])),
    responses((
        status = 200,
        description = "The originals of the photos that surely show the guest, without the place where they were taken",
        body = [u8],
        content_type = "application/zip",
    )),
)]
pub(crate) async fn my_photos_zip(State(app): State<Arc<App>>, Session(guest): Session) -> ApiResult {
    let event = app.catalog.event(guest.event).await?.ok_or_else(|| ApiError::new(Code::NotJoined))?;
    let found = app.matching.find_guest(guest.event, guest.id).await?;
    let ids: Vec<PhotoId> = found.you.iter().map(|found| found.photo).collect();
    let originals = app.catalog.originals(guest.event, &ids).await?;
    let names = zip::unique_names(originals.iter().map(|original| original.name.as_str()));
    let files: Vec<(Entry, Original)> = names
        .into_iter()
        .zip(originals)
        .map(|(name, original)| {
            let modified = DosTime::of_capture(original.taken_at.as_deref());
            (Entry { name, length: original.bytes, modified }, original)
        })
        .collect();
    let entries: Vec<Entry> = files.iter().map(|(entry, _)| entry.clone()).collect();
    let length = zip::length(&entries);
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        if let Err(error) = write(&app, guest.event, files, &sender).await {
            tracing::warn!(%error, "an archive ends early");
            // Without its end the answer is shorter than announced: no client takes it for whole.
            let _ = sender.send(Err(error)).await;
        }
    });
    let body = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(header::CONTENT_DISPOSITION, attachment("attachment", &format!("{}.zip", event.name)));
    Ok(response)
}

type Sender = mpsc::Sender<io::Result<Bytes>>;

/// Sends the archive in pieces; ends quietly when nobody listens any more.
async fn write(app: &App, event: EventId, files: Vec<(Entry, Original)>, sender: &Sender) -> io::Result<()> {
    let mut writer = zip::Writer::default();
    for (entry, original) in files {
        if sender.send(Ok(writer.begin(&entry).into())).await.is_err() {
            return Ok(());
        }
        let Some(checksum) = send_file(app, event, &original, sender).await? else { return Ok(()) };
        if sender.send(Ok(writer.end(&entry, checksum).into())).await.is_err() {
            return Ok(());
        }
    }
    let _ = sender.send(Ok(writer.finish().into())).await;
    Ok(())
}

/// One photo as guests get it; its checksum, `None` when nobody listens any more.
async fn send_file(app: &App, event: EventId, original: &Original, sender: &Sender) -> io::Result<Option<u32>> {
    let patches = match &original.private {
        Some(known) => known.clone(),
        None => {
            let (store, id) = (app.store.clone(), original.id);
            crate::uploads::blocking(move || location::find(&store.local(event, id, Rendition::Original)?)).await?
        }
    };
    let file = Opened::of(&app.store, event, original.id, Rendition::Original).await?;
    if file.length() != original.bytes {
        return Err(io::Error::other("a photo has another length than its row"));
    }
    let mut part = file.part(0, original.bytes, patches);
    let (mut checksum, mut sent) = (crc32fast::Hasher::new(), 0);
    while let Some(piece) = part.next().await? {
        checksum.update(&piece);
        sent += piece.len() as u64;
        if sender.send(Ok(piece)).await.is_err() {
            return Ok(None);
        }
    }
    if sent == original.bytes { Ok(Some(checksum.finalize())) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
