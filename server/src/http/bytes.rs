//! Bytes of photos: streamed from the file, cached by the browser for good, ranged. No picture is ever in memory whole.

use std::io::ErrorKind;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use findme_common::protocol::Code;
use findme_common::{Digest, EventId, PhotoId};

use super::App;
use super::auth::Viewer;
use super::patched::{Opened, Part};
use super::problem::{ApiError, ApiResult};
use crate::catalog::Photo;
use crate::names::safe_name;
use crate::picture::location::{self, Patches};
use crate::picture::{self, PictureError};
use crate::store::{Presented, Rendition};

/// What a browser wants a file for: `image` for what a page shows.
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// `GET /api/photo/{id}`.
#[utoipa::path(
    get, path = "/api/photo/{id}", tag = "photos", operation_id = "photo",
    security(("photographer" = []), ("guest" = [])),
    params(("id" = String, Path, description = "Photo id")),
    responses(
        (status = 200, description = "The original, byte for byte; for guests without the place where it was taken (same length, another ETag, no Repr-Digest)", content((Vec<u8> = "image/*"), (Vec<u8> = "application/octet-stream"))),
        (status = 206, description = "The range that was asked for"),
        (status = 302, description = "To the object store, for a picture in a page, where the operator has it so"),
        (status = 304, description = "Unchanged"),
        (status = 416, description = "No such range"),
    ),
)]
pub(crate) async fn original(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult {
    let (id, photo) = find(&app, viewer, &id).await?;
    let Some(digest) = photo.digest else { return Err(not_ready()) };
    let kind = photo.media.clone().unwrap_or_else(|| "application/octet-stream".to_owned());
    let (tag, patches) = match viewer {
        Viewer::Photographer(_) => (format!("\"{digest}\""), Patches::default()),
        Viewer::Guest(_) => (format!("\"{digest}-g\""), private(&app, viewer.event(), id, &photo, &digest).await?),
    };
    let disposition = attachment("inline", &photo.name);
    let named = disposition.to_str().ok();
    let file = Sent { rendition: Rendition::Original, kind: &kind, tag: &tag, patches, disposition: named };
    let mut response = send(&app, viewer, id, file, &headers).await?;
    if response.status() == StatusCode::FOUND {
        return Ok(response);
    }
    // The digest of what a guest gets is another one, and nobody has computed it.
    let whole = matches!(viewer, Viewer::Photographer(_));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    if whole && let Ok(value) = HeaderValue::from_str(&digest.to_repr_digest()) {
        response.headers_mut().insert(findme_common::protocol::header::REPR_DIGEST, value);
    }
    Ok(response)
}

/// `GET /api/photo/{id}/preview`.
#[utoipa::path(
    get, path = "/api/photo/{id}/preview", tag = "photos", operation_id = "photo_preview",
    security(("photographer" = []), ("guest" = [])),
    params(("id" = String, Path, description = "Photo id")),
    responses(
        (status = 200, description = "JPEG, long edge 2048", body = [u8], content_type = "image/jpeg"),
        (status = 206, description = "The range that was asked for"),
        (status = 302, description = "To the object store, for a picture in a page, where the operator has it so"),
        (status = 304, description = "Unchanged"),
        (status = 416, description = "No such range"),
    ),
)]
pub(crate) async fn preview(
    app: State<Arc<App>>,
    viewer: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult {
    derived(&app, viewer, &id, Rendition::Preview, "preview", &headers).await
}

/// `GET /api/photo/{id}/thumb`.
#[utoipa::path(
    get, path = "/api/photo/{id}/thumb", tag = "photos", operation_id = "photo_thumb",
    security(("photographer" = []), ("guest" = [])),
    params(("id" = String, Path, description = "Photo id")),
    responses(
        (status = 200, description = "JPEG, long edge 480", body = [u8], content_type = "image/jpeg"),
        (status = 206, description = "The range that was asked for"),
        (status = 302, description = "To the object store, for a picture in a page, where the operator has it so"),
        (status = 304, description = "Unchanged"),
        (status = 416, description = "No such range"),
    ),
)]
pub(crate) async fn thumb(
    app: State<Arc<App>>,
    viewer: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult {
    derived(&app, viewer, &id, Rendition::Thumb, "thumb", &headers).await
}

/// `GET /api/photo/{id}/small`.
#[utoipa::path(
    get, path = "/api/photo/{id}/small", tag = "photos", operation_id = "photo_small",
    security(("photographer" = []), ("guest" = [])),
    params(("id" = String, Path, description = "Photo id")),
    responses(
        (status = 200, description = "JPEG, long edge 320", body = [u8], content_type = "image/jpeg"),
        (status = 206, description = "The range that was asked for"),
        (status = 302, description = "To the object store, for a picture in a page, where the operator has it so"),
        (status = 304, description = "Unchanged"),
        (status = 416, description = "No such range"),
    ),
)]
pub(crate) async fn small(
    app: State<Arc<App>>,
    viewer: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult {
    derived(&app, viewer, &id, Rendition::Small, "small", &headers).await
}

/// Opens a file of a photo. Photos that were indexed before there were small thumbnails get theirs now.
async fn opened(app: &App, event: EventId, id: PhotoId, rendition: Rendition) -> Result<Opened, ApiError> {
    let mut opened = Opened::of(&app.store, event, id, rendition).await;
    if rendition == Rendition::Small && matches!(&opened, Err(error) if error.kind() == ErrorKind::NotFound) {
        opened = match make_small(app, event, id).await {
            Ok(()) => Opened::of(&app.store, event, id, rendition).await,
            Err(error) => Err(error),
        };
    }
    match opened {
        Ok(file) => Ok(file),
        Err(error) => Err(missing(app, event, id, &error).await),
    }
}

/// Makes the small thumbnail from the thumbnail, for good.
async fn make_small(app: &App, event: EventId, id: PhotoId) -> std::io::Result<()> {
    let (cpu, store) = (app.matching.cpu(), app.store.clone());
    let turn = cpu.turn().await.map_err(std::io::Error::other)?;
    let make = move || {
        let thumb = picture::open(&store.local(event, id, Rendition::Thumb)?, &picture::Limits::default());
        let thumb = thumb.map_err(|error| match error {
            PictureError::Io(error) => error,
            error => std::io::Error::other(error),
        })?;
        let small = picture::small_of(&thumb.pixels).map_err(std::io::Error::other)?;
        store.put_derived(event, id, Rendition::Small, &small)
    };
    cpu.run(turn, make).await.map_err(std::io::Error::other)??;
    // Made while its photo was deleted, it would be in nobody's charge.
    if app.catalog.is_deleted(event, id).await.map_err(std::io::Error::other)? {
        let store = app.store.clone();
        crate::uploads::blocking(move || store.remove_photo(event, id)).await?;
    }
    Ok(())
}

async fn derived(
    app: &App,
    viewer: Viewer,
    id: &str,
    rendition: Rendition,
    word: &str,
    headers: &HeaderMap,
) -> ApiResult {
    let (id, photo) = find(app, viewer, id).await?;
    if !photo.ready {
        return Err(not_ready());
    }
    let tag = format!("\"{}-{word}\"", id.to_simple());
    let kind = "image/jpeg";
    let file = Sent { rendition, kind, tag: &tag, patches: Patches::default(), disposition: None };
    send(app, viewer, id, file, headers).await
}

/// What of an original is not for guests. Recorded when it was indexed; looked for now where it was not.
pub(crate) async fn private(
    app: &App,
    event: EventId,
    id: PhotoId,
    photo: &Photo,
    digest: &Digest,
) -> ApiResult<Patches> {
    if let Some(known) = &photo.private {
        return Ok(known.clone());
    }
    let store = app.store.clone();
    let found = crate::uploads::blocking(move || location::find(&store.local(event, id, Rendition::Original)?)).await;
    let found = match found {
        Ok(found) => found,
        Err(error) => return Err(missing(app, event, id, &error).await),
    };
    app.catalog.set_private(event, id, digest, &found).await?;
    Ok(found)
}

/// A file that cannot be opened: deleted between the look-up and now, or a fault of ours.
async fn missing(app: &App, event: EventId, id: PhotoId, error: &std::io::Error) -> ApiError {
    match app.catalog.photo(event, id).await {
        Ok(None) if error.kind() == ErrorKind::NotFound => ApiError::new(Code::NotFound),
        Err(error) => error.into(),
        Ok(_) => ApiError::internal(format!("photo {id}: {error}")),
    }
}

/// A file on its way, and how it is presented.
struct Sent<'a> {
    rendition: Rendition,
    kind: &'a str,
    tag: &'a str,
    patches: Patches,
    disposition: Option<&'a str>,
}

/// The photo, when this viewer may see it. What belongs to others is not found, and not told from what does not exist.
pub(super) async fn find(app: &App, viewer: Viewer, id: &str) -> Result<(PhotoId, Arc<Photo>), ApiError> {
    let nothing = || ApiError::new(Code::NotFound);
    let id: PhotoId = id.parse().map_err(|_| nothing())?;
    let photo = app.catalog.photo(viewer.event(), id).await?.ok_or_else(nothing)?;
    match viewer {
        Viewer::Photographer(_) => Ok((id, photo)),
        // Bytes that no decoder has seen are not shown to guests; that there are any is said only where they will be.
        Viewer::Guest(_) if !photo.ready && photo.unhidden && photo.gallery_open => Err(not_ready()),
        Viewer::Guest(_) if !photo.ready => Err(nothing()),
        Viewer::Guest(_) if photo.shown && photo.gallery_open => Ok((id, photo)),
        // Where not all photos are everybody's, a guest sees those that they are in.
        Viewer::Guest(guest) if photo.shown && app.matching.photos_of(&guest).await?.contains(&id) => Ok((id, photo)),
        Viewer::Guest(_) => Err(nothing()),
    }
}

fn not_ready() -> ApiError {
    ApiError::new(Code::NotReady)
}

async fn send(
    app: &App,
    viewer: Viewer,
    id: PhotoId,
    Sent { rendition, kind, tag, patches, disposition }: Sent<'_>,
    headers: &HeaderMap,
) -> ApiResult {
    let mut base = HeaderMap::new();
    base.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    base.insert(header::VARY, HeaderValue::from_static("cookie, authorization"));
    base.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    for (name, value) in [(header::ETAG, tag), (header::CONTENT_TYPE, kind)] {
        base.insert(name, HeaderValue::from_str(value).map_err(ApiError::internal)?);
    }
    let sent = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if sent(header::IF_NONE_MATCH).is_some_and(|known| {
        known.split(',').any(|t| matches!(t.trim(), "*") || t.trim().trim_start_matches("W/") == tag)
    }) {
        base.remove(header::CONTENT_TYPE);
        return Ok((StatusCode::NOT_MODIFIED, base).into_response());
    }
    // What is taken out on the way can only be by us. Scripts, which must stay here, and programs say no `image`.
    if patches.is_empty() && sent(FETCH_DEST) == Some("image") {
        if rendition == Rendition::Small {
            drop(opened(app, viewer.event(), id, rendition).await?); // it may have to be made
        }
        let presented = Presented { kind, disposition };
        if let Some(url) =
            app.store.signed_url((viewer.event(), id, rendition), presented).await.map_err(ApiError::internal)?
        {
            return elsewhere(&url);
        }
    }
    let file = opened(app, viewer.event(), id, rendition).await?;
    let size = file.length();
    // A range of another version of the file is not what was asked for.
    let ranged = headers.get(header::IF_RANGE).is_none_or(|version| version.as_bytes() == tag.as_bytes());
    let range = sent(header::RANGE).filter(|_| ranged).and_then(|range| parse_range(range, size));
    match range {
        None => {
            base.insert(header::CONTENT_LENGTH, size.into());
            Ok((StatusCode::OK, base, body(file.part(0, size, patches)).await?).into_response())
        }
        Some(Err(Unsatisfiable)) => {
            let whole = HeaderValue::from_str(&format!("bytes */{size}")).map_err(ApiError::internal)?;
            Ok((
                StatusCode::RANGE_NOT_SATISFIABLE,
                [(header::CONTENT_RANGE, whole), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
            )
                .into_response())
        }
        Some(Ok((first, last))) => {
            base.insert(header::CONTENT_LENGTH, (last - first + 1).into());
            base.insert(
                header::CONTENT_RANGE,
                HeaderValue::from_str(&format!("bytes {first}-{last}/{size}")).map_err(ApiError::internal)?,
            );
            let part = body(file.part(first, last - first + 1, patches)).await?;
            Ok((StatusCode::PARTIAL_CONTENT, base, part).into_response())
        }
    }
}

/// To the object store. Not kept: each look is checked anew.
fn elsewhere(url: &str) -> ApiResult {
    let url = HeaderValue::from_str(url).map_err(ApiError::internal)?;
    let keep = HeaderValue::from_static("private, no-store");
    Ok((StatusCode::FOUND, [(header::LOCATION, url), (header::CACHE_CONTROL, keep)]).into_response())
}

/// What is small goes out with the head of the answer; the rest as fast as it is taken.
async fn body(mut part: Part) -> Result<Body, ApiError> {
    if part.is_small() {
        return Ok(Body::from(part.next().await.map_err(ApiError::internal)?.unwrap_or_default()));
    }
    Ok(Body::from_stream(part.stream()))
}

/// The range lies outside the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsatisfiable;

/// One byte range (RFC 9110 section 14.1.2), inclusive; `None`: ignore the header and send everything, as is allowed for
/// what is malformed or has several ranges.
pub(super) fn parse_range(text: &str, size: u64) -> Option<Result<(u64, u64), Unsatisfiable>> {
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let range = match (first, last) {
        ("", suffix) => {
            let length = number(suffix)?.min(size);
            (size - length, size.checked_sub(1))
        }
        (first, "") => (number(first)?, size.checked_sub(1)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, Some(last.min(size.saturating_sub(1))))
        }
    };
    Some(match range {
        (first, Some(last)) if first <= last && first < size => Ok((first, last)),
        _ => Err(Unsatisfiable),
    })
}

/// `Content-Disposition` with a name that may be any text: what no disk or screen should meet is taken out of it.
pub(crate) fn attachment(how: &'static str, name: &str) -> HeaderValue {
    let name = safe_name(name);
    let value = format!("{how}; filename=\"{}\"; filename*=UTF-8''{}", ascii_name(&name), percent(&name));
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(how))
}

fn ascii_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ' { c } else { '_' }).collect()
}

/// Percent-encoding of RFC 8187 (`ext-value`).
fn percent(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(parse_range("bytes=0-0", 10), Some(Ok((0, 0))));
        assert_eq!(parse_range("bytes=2-", 10), Some(Ok((2, 9))));
        assert_eq!(parse_range("bytes=-3", 10), Some(Ok((7, 9))));
        assert_eq!(parse_range("bytes=-30", 10), Some(Ok((0, 9))));
        assert_eq!(parse_range("bytes=5-100", 10), Some(Ok((5, 9))));
        assert_eq!(parse_range("bytes=10-", 10), Some(Err(Unsatisfiable)));
        assert_eq!(parse_range("bytes=-0", 10), Some(Err(Unsatisfiable)));
        assert_eq!(parse_range("bytes=0-", 0), Some(Err(Unsatisfiable)));
        for ignored in ["bytes=3-2", "bytes=a-b", "items=0-1", "bytes=0-1,3-4", "bytes=", "bytes=--1", "bytes=+1-2"] {
            assert_eq!(parse_range(ignored, 10), None, "{ignored}");
        }
    }

    #[test]
    fn names_fit_into_a_header() {
        assert_eq!(ascii_name("a\"b\\ü.jpg"), "a_b__.jpg");
        assert_eq!(percent("ü 1.jpg"), "%C3%BC%201.jpg");
    }
}
