//! Whether a request is signed as AWS asks (Signature Version 4): worked out anew from the request and the secret.

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};

const BLOCK: usize = 64;

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// RFC 2104, with keys that are no longer than a block.
fn hmac(key: &[u8], message: &str) -> [u8; 32] {
    assert!(key.len() <= BLOCK);
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    sha256(&[&pad(0x5c), &sha256(&[&pad(0x36), message.as_bytes()])])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a `POST /` to Rekognition; what is wrong with it.
pub(super) fn check(headers: &HeaderMap, body: &[u8], key: &str, secret: &str) -> Result<(), String> {
    let header = |name: &str| {
        let value = headers.get(name).ok_or_else(|| format!("no {name}"))?;
        value.to_str().map(str::trim).map_err(|error| error.to_string())
    };
    let authorization = header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("another algorithm")?;
    let field = |name: &str| {
        let fields = authorization.split(',').map(str::trim);
        fields.filter_map(|field| field.split_once('=')).find(|(of, _)| *of == name).map(|(_, value)| value)
    };
    let (credential, signed, signature) = match (field("Credential"), field("SignedHeaders"), field("Signature")) {
        (Some(credential), Some(signed), Some(signature)) => (credential, signed, signature),
        _ => return Err(format!("not all fields are there: {authorization}")),
    };
    let [id, date, region, service, end] = credential.split('/').collect::<Vec<_>>()[..] else {
        return Err(format!("a strange credential: {credential}"));
    };
    if (id, service, end) != (key, "rekognition", "aws4_request") {
        return Err(format!("another's credential: {credential}"));
    }
    for needed in ["host", "x-amz-date", "x-amz-target"] {
        if !signed.split(';').any(|name| name == needed) {
            return Err(format!("{needed} is not signed"));
        }
    }
    let mut canonical = "POST\n/\n\n".to_owned();
    for name in signed.split(';') {
        canonical += &format!("{name}:{}\n", header(name)?);
    }
    canonical += &format!("\n{signed}\n{}", hex(&sha256(&[body])));
    let (time, scope) = (header("x-amz-date")?, format!("{date}/{region}/{service}/{end}"));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&sha256(&[canonical.as_bytes()])));
    let first = hmac(format!("AWS4{secret}").as_bytes(), date);
    let signing = [region, service, end].iter().fold(first, |key, part| hmac(&key, part));
    if hex(&hmac(&signing, &text)) == signature { Ok(()) } else { Err("the signature is wrong".to_owned()) }
}
