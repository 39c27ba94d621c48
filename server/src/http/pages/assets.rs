//! Static files, part of the binary. All stand in one folder whose name is a digest of their content: modules that import
//! each other by relative paths never mix two versions, and browsers keep them for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use findme_common::Digest;
use findme_common::protocol::Code;

use crate::http::problem::ApiError;

/// A static file.
#[derive(Debug)]
struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

macro_rules! assets {
    ($($name:literal: $kind:expr),* $(,)?) => {
        &[$(Asset { name: $name, kind: $kind, content: include_bytes!(concat!("../../../static/", $name)) }),*]
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: &[Asset] = assets! {
    "findme.css": "text/css; charset=utf-8",
    "desk.css": "text/css; charset=utf-8",
    "admin.js": SCRIPT,
    "api.js": SCRIPT,
    "ask.js": SCRIPT,
    "back.js": SCRIPT,
    "board.js": SCRIPT,
    "camera.js": SCRIPT,
    "desk.js": SCRIPT,
    "expiry.js": SCRIPT,
    "gallery.js": SCRIPT,
    "grid.js": SCRIPT,
    "held.js": SCRIPT,
    "me.js": SCRIPT,
    "mine.js": SCRIPT,
    "never.js": SCRIPT,
    "offline.js": SCRIPT,
    "picture.js": SCRIPT,
    "say.js": SCRIPT,
    "selfie.js": SCRIPT,
    "shell.js": SCRIPT,
    "sign-in.js": SCRIPT,
    "sw.js": SCRIPT,
    "system.js": SCRIPT,
    "viewer.js": SCRIPT,
    "wall.js": SCRIPT,
    "zip.js": SCRIPT,
    "icon.svg": "image/svg+xml",
    "icon-180.png": "image/png",
    "icon-192.png": "image/png",
    "icon-512.png": "image/png",
    "findme.webmanifest": "application/manifest+json",
};

/// 64 bits of digest tell versions apart; nobody gains by forging one.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut all = Vec::new();
    for asset in ASSETS {
        all.extend_from_slice(asset.name.as_bytes());
        all.extend_from_slice(Digest::of(asset.content).as_bytes());
    }
    Digest::of(&all).to_string()[..16].to_owned()
});

static FOLDER: LazyLock<String> = LazyLock::new(|| format!("/static/{}", *VERSION));

/// Path of the folder of this version's files.
pub(crate) fn folder() -> &'static str {
    &FOLDER
}

/// What the page without a connection is made of.
const SHELL: [&str; 4] = ["findme.css", "offline.js", "shell.js", "icon.svg"];

/// `GET /sw.js`: the service worker. It stands at the top, where it may answer for every page, and is asked for anew each
/// time, so that a new version takes the old one's place.
pub(crate) async fn worker() -> Response {
    let files: Vec<String> = SHELL.iter().map(|name| format!("\"{}/{name}\"", folder())).collect();
    let script = include_str!("../../../static/sw.js");
    let text = format!("const VERSION = \"{}\";\nconst FILES = [{}];\n{script}", *VERSION, files.join(", "));
    let headers = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_TYPE, SCRIPT),
        // A worker lives under the policy that it came with.
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; connect-src 'self'"),
    ];
    (headers, text).into_response()
}

/// `GET /static/{version}/{name}`.
pub(crate) async fn file(Path((version, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return ApiError::new(Code::NotFound).into_response();
    };
    let tag = format!("\"{}\"", *VERSION);
    // A page that was open across an update still works, and is not told to keep what it got.
    let keep = if version == *VERSION { "public, max-age=31536000, immutable" } else { "no-cache" };
    let cache = [(header::CACHE_CONTROL, keep.to_owned()), (header::ETAG, tag.clone())];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if known.split(',').any(|candidate| candidate.trim().trim_start_matches("W/") == tag) {
        return (StatusCode::NOT_MODIFIED, cache).into_response();
    }
    (cache, [(header::CONTENT_TYPE, asset.kind)], asset.content).into_response()
}
