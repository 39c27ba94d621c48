//! What strangers write, read by our own parsers: entry points of the fuzz targets in `tests/fuzz`, built by them alone.

use axum::extract::Query;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use findme_common::EventId;
use findme_common::protocol::header as h;

use super::guests::SelfieQuery;
use super::lists::PageQuery;
use super::uploads::headers;
use super::{auth, bytes};

/// Lines of `name: value`, as far as HTTP itself would take them.
fn header_map(text: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n').take(32) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}

/// The headers of a creation, a `PATCH` and a checksum.
pub fn upload_headers(text: &[u8]) {
    let map = header_map(text);
    let _ = headers::integer(&map, h::UPLOAD_OFFSET);
    let _ = headers::content_length(&map);
    let _ = headers::checksum(&map);
    if let Ok(new) = headers::new_upload(1 << 30, EventId::from_bytes([7; 16]), &map) {
        assert!(new.length <= 1 << 30 && !new.name.contains('/') && !new.name.chars().any(char::is_control));
    }
}

/// Tokens and cookies.
pub fn keys(text: &[u8]) {
    let map = header_map(text);
    let _ = auth::cookie(&map);
    if let Some(token) = auth::bearer(&map) {
        let _ = token.parse::<findme_common::PhotographerToken>();
        let _ = token.parse::<findme_common::OperatorToken>();
        let _ = token.parse::<findme_common::JoinCode>();
    }
}

/// `Range` of a file of `size` bytes.
pub fn range(text: &str, size: u64) {
    if let Some(Ok((first, last))) = bytes::parse_range(text, size) {
        assert!(first <= last && last < size);
    }
}

/// Query strings of lists and selfies.
pub fn query(text: &str) {
    let Ok(uri) = format!("/x?{text}").parse::<Uri>() else { return };
    if let Ok(Query(page)) = Query::<PageQuery>::try_from_uri(&uri) {
        assert!((1..=1000).contains(&page.limit()));
    }
    let _ = Query::<SelfieQuery>::try_from_uri(&uri);
}
