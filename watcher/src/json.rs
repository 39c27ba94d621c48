//! `--output json`: one object a line, whose members other programs rely on.

use std::path::Path;
use std::time::Duration;

use findme_common::manifest::{FailReason, PathText, SkipReason};
use findme_common::{Digest, EventId, PhotoId};
use serde::Serialize;

use crate::report::Event;
use crate::totals::Totals;

/// Version of the lines.
const VERSION: u8 = 1;

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Serving,
    Found,
    Uploaded,
    Duplicate,
    Skipped,
    Failed,
    Idle,
    Summary,
}

/// All members that any line has, in the order in which they are written.
#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    #[serde(rename = "type")]
    kind: Type,
    /// Where one program sends to several events: whose file this is.
    #[serde(rename = "event", skip_serializing_if = "Option::is_none")]
    of: Option<EventId>,
    #[serde(flatten)]
    path: Option<PathMember>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<PhotoId>,
    #[serde(flatten)]
    serving: Option<ServingMembers<'a>>,
    #[serde(flatten)]
    totals: Option<TotalMembers>,
    #[serde(flatten)]
    arrived: Option<ArrivedMembers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum PathMember {
    Path(String),
    PathB64(String),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Reason {
    Skip(SkipReason),
    Fail(FailReason),
}

#[derive(Serialize)]
struct ServingMembers<'a> {
    url: &'a str,
    event: &'a str,
    join: &'a str,
    photographer_token: &'a str,
    operator_token: Option<&'a str>,
}

#[derive(Serialize)]
struct TotalMembers {
    found: u64,
    known: u64,
    uploaded: u64,
    duplicate: u64,
    skipped: u64,
    failed: u64,
    left: u64,
    /// Of those that are left: guests have their previews.
    previews: u64,
}

/// How this run's photos went, and what the server told of them, in the summary only. Times are from the file's close to the receipt, and
/// until guests could see the photo.
#[derive(Serialize)]
struct ArrivedMembers {
    bytes_sent: u64,
    preview_bytes: u64,
    similar: u64,
    indexed: u64,
    not_indexed: u64,
    server_p50_ms: Option<u64>,
    server_p95_ms: Option<u64>,
    guest_p50_ms: Option<u64>,
    guest_p95_ms: Option<u64>,
}

impl ArrivedMembers {
    fn of(totals: &Totals) -> Self {
        let arrived = &totals.arrived;
        let (server, guests) = (arrived.to_server.unzip(), arrived.to_guests.unzip());
        Self {
            bytes_sent: totals.bytes_sent,
            preview_bytes: totals.preview_bytes,
            similar: totals.similar,
            indexed: arrived.indexed,
            not_indexed: arrived.failed,
            server_p50_ms: server.0.map(milliseconds),
            server_p95_ms: server.1.map(milliseconds),
            guest_p50_ms: guests.0.map(milliseconds),
            guest_p95_ms: guests.1.map(milliseconds),
        }
    }
}

impl Line<'_> {
    fn new(kind: Type) -> Self {
        Self {
            v: VERSION,
            kind,
            of: None,
            path: None,
            reason: None,
            detail: None,
            digest: None,
            photo: None,
            serving: None,
            totals: None,
            arrived: None,
            bytes: None,
            ms: None,
            exit: None,
        }
    }

    fn of_file(kind: Type, path: &Path) -> Self {
        let path = match PathText::of(path) {
            PathText::Unicode(text) => PathMember::Path(text),
            PathText::Base64(text) => PathMember::PathB64(text),
        };
        Self { path: Some(path), ..Self::new(kind) }
    }

    fn of_totals(kind: Type, totals: &Totals) -> Self {
        let members = TotalMembers {
            found: totals.found(),
            known: totals.known,
            uploaded: totals.uploaded,
            duplicate: totals.duplicate,
            skipped: totals.skipped,
            failed: totals.failed,
            left: totals.on_the_way,
            previews: totals.previews,
        };
        Self { totals: Some(members), bytes: Some(totals.bytes), ..Self::new(kind) }
    }
}

/// The line for something to tell, without its line end; `None` for what is not for programs. `of`: whose it is, where
/// there are several events.
pub(crate) fn line(event: &Event<'_>, of: Option<EventId>) -> Option<String> {
    let mut line = match *event {
        Event::Serving(serving) => {
            let members = ServingMembers {
                url: &serving.url,
                event: &serving.event,
                join: &serving.join,
                photographer_token: &serving.photographer_token,
                operator_token: serving.operator_token.as_deref(),
            };
            Line { serving: Some(members), ..Line::new(Type::Serving) }
        }
        Event::Found { path, bytes } => Line { bytes: Some(bytes), ..Line::of_file(Type::Found, path) },
        Event::Uploaded { path, digest, photo, bytes, took } => Line {
            digest: Some(digest),
            photo: Some(photo),
            bytes: Some(bytes),
            ms: Some(milliseconds(took)),
            ..Line::of_file(Type::Uploaded, path)
        },
        Event::Duplicate { path, digest, photo, bytes } => {
            Line { digest: Some(digest), photo, bytes: Some(bytes), ..Line::of_file(Type::Duplicate, path) }
        }
        Event::Skipped { path, reason, bytes } => {
            Line { reason: Some(Reason::Skip(reason)), bytes: Some(bytes), ..Line::of_file(Type::Skipped, path) }
        }
        Event::Failed { path, reason, detail, digest } => Line {
            reason: Some(Reason::Fail(reason)),
            detail: Some(if detail.is_empty() { reason.words() } else { detail }),
            digest,
            ..Line::of_file(Type::Failed, path)
        },
        Event::Idle(ref totals) => Line::of_totals(Type::Idle, totals),
        Event::Summary { ref totals, exit, took } => {
            let arrived = Some(ArrivedMembers::of(totals));
            Line { exit: Some(exit), ms: Some(milliseconds(took)), arrived, ..Line::of_totals(Type::Summary, totals) }
        }
        Event::WouldSend { .. } | Event::Notice(_) | Event::Alarm(_) => return None,
    };
    line.of = of;
    Some(serde_json::to_string(&line).expect("text keys and plain values cannot fail to serialise"))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::Arrived;
    use crate::report::Serving;

    #[test]
    fn each_line_has_its_published_members() {
        let path = Path::new("/a \"b\"\n.jpg");
        let (digest, photo) = (Digest::of(b"hello"), PhotoId::from_bytes([1; 16]));
        let took = Duration::from_millis(12);
        let times = |half, most| Some((Duration::from_millis(half), Duration::from_millis(most)));
        let arrived = Arrived { indexed: 8, failed: 9, to_server: times(400, 800), to_guests: times(900, 1400) };
        let heard = r#""bytes_sent":8,"preview_bytes":2,"similar":1,"indexed":8,"not_indexed":9,"server_p50_ms":400,"server_p95_ms":800,"guest_p50_ms":900,"guest_p95_ms":1400"#;
        let (known, uploaded, duplicate, skipped, failed, on_the_way) = (1, 2, 3, 4, 5, 6);
        let totals = Totals {
            known,
            uploaded,
            duplicate,
            skipped,
            failed,
            on_the_way,
            previews: 3,
            bytes: 7,
            bytes_sent: 8,
            preview_bytes: 2,
            similar: 1,
            bytes_left: 9,
            arrived,
        };
        let members = r#""found":21,"known":1,"uploaded":2,"duplicate":3,"skipped":4,"failed":5,"left":6,"previews":3"#;
        let path_member = r#""path":"/a \"b\"\n.jpg""#;
        for (event, expected) in [
            (Event::Found { path, bytes: 5 }, format!(r#"{{"v":1,"type":"found",{path_member},"bytes":5}}"#)),
            (
                Event::Uploaded { path, digest, photo, bytes: 5, took },
                format!(
                    r#"{{"v":1,"type":"uploaded",{path_member},"digest":"{digest}","photo":"{photo}","bytes":5,"ms":12}}"#
                ),
            ),
            (
                Event::Duplicate { path, digest, photo: None, bytes: 5 },
                format!(r#"{{"v":1,"type":"duplicate",{path_member},"digest":"{digest}","bytes":5}}"#),
            ),
            (
                Event::Skipped { path, reason: SkipReason::NotAPhoto, bytes: 5 },
                format!(r#"{{"v":1,"type":"skipped",{path_member},"reason":"not-a-photo","bytes":5}}"#),
            ),
            (
                Event::Failed { path, reason: FailReason::Truncated, detail: "", digest: None },
                format!(r#"{{"v":1,"type":"failed",{path_member},"reason":"truncated","detail":"truncated"}}"#),
            ),
            (Event::Idle(totals), format!(r#"{{"v":1,"type":"idle",{members},"bytes":7}}"#)),
            (
                Event::Summary { totals, exit: 3, took },
                format!(r#"{{"v":1,"type":"summary",{members},{heard},"bytes":7,"ms":12,"exit":3}}"#),
            ),
        ] {
            assert_eq!(line(&event, None).unwrap(), expected);
        }
        assert_eq!(line(&Event::Notice("x"), None), None);
        let of = EventId::from_bytes([1; 16]);
        let expected = format!(r#"{{"v":1,"type":"found","event":"{of}",{path_member},"bytes":5}}"#);
        assert_eq!(line(&Event::Found { path, bytes: 5 }, Some(of)).unwrap(), expected);
    }

    #[test]
    fn serving_comes_in_one_line_with_everything_a_program_needs() {
        let serving = Serving {
            url: "http://127.0.0.1:1".into(),
            event: "e".into(),
            join: "http://10.0.0.1:1/e/X".into(),
            photographer_token: "fmp.x.y".into(),
            operator_token: Some("s".into()),
            poster: String::new(),
            warnings: vec![],
        };
        assert_eq!(
            line(&Event::Serving(&serving), None).unwrap(),
            r#"{"v":1,"type":"serving","url":"http://127.0.0.1:1","event":"e","join":"http://10.0.0.1:1/e/X","photographer_token":"fmp.x.y","operator_token":"s"}"#
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_unicode_comes_as_base64() {
        let path = Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/\xff.jpg"));
        let text = line(&Event::Found { path, bytes: 1 }, None).unwrap();
        assert_eq!(text, r#"{"v":1,"type":"found","path_b64":"L/8uanBn","bytes":1}"#);
    }
}
