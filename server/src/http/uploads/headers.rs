//! What clients say in the headers of uploads, taken apart and checked.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use findme_common::protocol::{Code, Kind, header as h, metadata as m};
use findme_common::{Digest, EventId, PhotoId};

use crate::catalog::NewUpload;
use crate::http::problem::ApiError;
use crate::uploads::{Checksum, NotAChecksum};

/// Metadata that is kept per upload, in bytes.
const MAX_METADATA: usize = 8 * 1024;

/// A header that holds a non-negative integer: digits only, within 63 bits.
pub(in crate::http) fn integer(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, ApiError> {
    let mut values = headers.get_all(name).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = || ApiError::bad(format!("{name} must be one non-negative integer"));
    let text = value.to_str().map_err(|_| wrong())?;
    if values.next().is_some() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = text.parse().map_err(|_| wrong())?;
    if number > i64::MAX as u64 { Err(wrong()) } else { Ok(Some(number)) }
}

pub(in crate::http) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The request's `Upload-Checksum`.
pub(in crate::http) fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>, ApiError> {
    let mut values = headers.get_all(h::UPLOAD_CHECKSUM).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none()).ok_or(NotAChecksum::Malformed);
    text.and_then(str::parse).map(Some).map_err(|error| ApiError::bad(error.to_string()))
}

/// What a creation asks for.
pub(in crate::http) fn new_upload(max: u64, event: EventId, headers: &HeaderMap) -> Result<NewUpload, ApiError> {
    let length = integer(headers, h::UPLOAD_LENGTH)?.ok_or_else(|| ApiError::bad("Upload-Length is missing"))?;
    if length > max {
        return Err(ApiError::new(Code::TooLarge).detail(format!("at most {} bytes", max)));
    }
    let raw = match headers.get(h::UPLOAD_METADATA) {
        None => "",
        Some(value) => value.to_str().map_err(|_| ApiError::bad("Upload-Metadata is not ASCII"))?,
    };
    if raw.len() > MAX_METADATA {
        return Err(ApiError::bad(format!("Upload-Metadata is longer than {MAX_METADATA} bytes")));
    }
    let pairs = parse_metadata(raw).map_err(ApiError::bad)?;
    let text = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| String::from_utf8_lossy(v).into_owned());
    let kind: Kind = text(m::KIND)
        .map_or(Ok(Kind::Original), |word| word.parse())
        .map_err(|_| ApiError::bad("kind is original or preview"))?;
    let digest: Option<Digest> =
        text(m::DIGEST).map(|d| d.parse()).transpose().map_err(|_| ApiError::bad("digest is 64 hexadecimal digits"))?;
    let named: Option<PhotoId> =
        text(m::PHOTO).map(|id| id.parse()).transpose().map_err(|_| ApiError::bad("photo is no photo id"))?;
    let photo = match (kind, named, digest) {
        (Kind::Original, Some(named), Some(digest)) if named == PhotoId::of(event, &digest) => named,
        (Kind::Original, Some(_), _) => {
            return Err(ApiError::bad("photo does not belong to this digest in this event"));
        }
        (Kind::Original, None, Some(digest)) => PhotoId::of(event, &digest),
        (Kind::Original, None, None) => PhotoId::random().map_err(ApiError::internal)?,
        (Kind::Preview, Some(named), _) => named,
        (Kind::Preview, None, _) => return Err(ApiError::bad("a preview must name the photo that follows")),
    };
    let replaces = text(m::REPLACES)
        .filter(|id| !id.is_empty())
        .map(|id| id.parse())
        .transpose()
        .map_err(|_| ApiError::bad("replaces is no photo id"))?;
    let held = match text(m::HOLD).as_deref() {
        None | Some("no") => false,
        Some("yes") => true,
        Some(_) => return Err(ApiError::bad("hold is yes or no")),
    };
    Ok(NewUpload {
        event,
        photo,
        kind,
        length,
        digest,
        metadata: raw.to_owned(),
        name: file_name(text(m::FILENAME)),
        token: None,
        replaces,
        held,
    })
}

/// The last segment of what the client calls the file, without control characters: data for people, never a path.
fn file_name(claimed: Option<String>) -> String {
    let claimed = claimed.unwrap_or_default();
    let last = claimed.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| !c.is_control()).take(200).collect();
    if clean.trim().is_empty() { "photo".to_owned() } else { clean }
}

/// `key base64, key base64`: keys unique and not empty, without spaces and commas; a value may be missing.
fn parse_metadata(raw: &str) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    if raw.trim().is_empty() {
        return Ok(pairs);
    }
    for pair in raw.split(',') {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        if key.is_empty() || !key.is_ascii() {
            return Err("Upload-Metadata has an empty key");
        }
        if pairs.iter().any(|(known, _)| known == key) {
            return Err("Upload-Metadata has a key twice");
        }
        let value = STANDARD.decode(value.trim()).map_err(|_| "Upload-Metadata has a value that is not base64")?;
        pairs.push((key.to_owned(), value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_as_the_specification_has_it() {
        assert_eq!(parse_metadata("").unwrap(), vec![]);
        let pairs = parse_metadata("filename d29ybGQ=, is_confidential,x ").unwrap();
        assert_eq!(pairs[0], ("filename".to_owned(), b"world".to_vec()));
        assert_eq!(pairs[1], ("is_confidential".to_owned(), vec![]));
        for bad in [",", "a YQ==,a YQ==", "a $$$", " ,b YQ=="] {
            assert!(parse_metadata(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn integers_are_digits_and_nothing_else() {
        for (text, expected) in [("0", Some(0)), ("42", Some(42)), ("9223372036854775807", Some(i64::MAX as u64))] {
            let mut headers = HeaderMap::new();
            headers.insert(h::UPLOAD_LENGTH, text.parse().unwrap());
            assert_eq!(integer(&headers, h::UPLOAD_LENGTH).unwrap(), expected);
        }
        for text in ["", "-1", "+1", "1.0", "0x10", "18446744073709551616", "9223372036854775808", "1 "] {
            let mut headers = HeaderMap::new();
            headers.insert(h::UPLOAD_LENGTH, text.parse().unwrap());
            assert!(integer(&headers, h::UPLOAD_LENGTH).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_file_name_is_never_a_path() {
        assert_eq!(file_name(Some("../../etc/passwd".into())), "passwd");
        assert_eq!(file_name(Some("C:\\a\\b.jpg".into())), "b.jpg");
        assert_eq!(file_name(Some("a\r\nb".into())), "ab");
        assert_eq!(file_name(None), "photo");
    }
}
