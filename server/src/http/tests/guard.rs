//! What ends when it should: streams, sessions, what guests may know of.

use std::time::Duration;

use findme_common::protocol::{Consent, Held};
use tokio_util::sync::CancellationToken;

use super::*;

/// An open stream of `GET /api/live`.
struct Stream(axum::body::Body);

impl Stream {
    async fn open(bench: &Bench, who: Option<(&str, &str)>) -> Self {
        let answer = bench.head("GET", "/api/live", who, "").await;
        assert_eq!(answer.status(), StatusCode::OK);
        let mut this = Self(answer.into_body());
        let hello = this.next().await.unwrap();
        assert!(hello.contains("event: hello"), "{hello}");
        this
    }

    /// What comes next; `None` when the stream ended.
    async fn next(&mut self) -> Option<String> {
        let frame = tokio::time::timeout(Duration::from_secs(10), self.0.frame()).await;
        let frame = frame.expect("the stream goes on in silence")?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    /// Everything until the stream ends.
    async fn rest(mut self) -> String {
        let mut all = String::new();
        while let Some(more) = self.next().await {
            all.push_str(&more);
        }
        all
    }
}

/// A bench whose live log is spread.
async fn spreading() -> (Bench, tokio_util::sync::DropGuard) {
    let (bench, ended) = (Bench::new().await, CancellationToken::new());
    tokio::spawn(bench.live.clone().run(ended.clone()));
    (bench, ended.drop_guard())
}

#[tokio::test]
async fn a_stream_ends_with_what_its_listener_was_let_in_under() {
    let (bench, _spreading) = spreading().await;
    let bearer = format!("Bearer {}", bench.operator);
    let operator = Some(("authorization", &*bearer));
    let (party, other) = (bench.party("one").await, bench.party("other").await);
    let (guest, photographer) = (Some(("cookie", &*party.guest)), Some(("authorization", &*party.photographer)));
    let event = format!("/api/admin/events/{}", party.id);
    let tokens: Vec<findme_common::protocol::TokenItem> =
        bench.ask("GET", &format!("{event}/tokens"), operator, "").await.json();
    let revoke = format!("{event}/tokens/{}", tokens[0].id);
    let mut others = Stream::open(&bench, Some(("cookie", &*other.guest))).await;
    let id = party.id.parse().unwrap();
    for (who, method, path, body, who_does) in [
        (guest, "DELETE", "/api/selfie", "", guest),
        (guest, "PATCH", &*event, "{\"gallery_open\":false}", operator),
        (photographer, "PATCH", &event, "{\"closed\":true}", operator),
        (photographer, "DELETE", &revoke, "", operator),
        (guest, "DELETE", &event, "", operator),
    ] {
        let stream = Stream::open(&bench, who).await;
        assert!(bench.ask(method, path, who_does, body).await.status.is_success(), "{method} {path}");
        // Something to tell, written after the reason: the photo is taken back, or the event was deleted with it.
        let selection = format!("{{\"photos\":[\"{}\"]}}", party.photo);
        let change = if method == "PATCH" { "hide" } else { "show" };
        bench.ask("POST", &format!("/api/photos/{change}"), photographer, selection).await;
        bench.live.wake();
        let rest = stream.rest().await;
        assert!(!rest.contains("event:"), "{method} {path}: {rest}");
    }
    assert!(bench.catalog.event(id).await.unwrap().is_none());
    // Another event's listener was not disturbed.
    let selection = format!("{{\"photos\":[\"{}\"]}}", other.photo);
    bench.ask("POST", "/api/photos/hide", Some(("authorization", &*other.photographer)), selection).await;
    bench.live.wake();
    assert!(others.next().await.unwrap().contains("event: removed"));
}

#[tokio::test]
async fn a_session_runs_out_with_its_cookie() {
    let (bench, _spreading) = spreading().await;
    let party = bench.party("one").await;
    let guest = Some(("cookie", &*party.guest));
    assert_eq!(bench.ask("GET", "/api/all-photos", guest, "").await.status, StatusCode::OK);
    bench.catalog.age_guests(90 * crate::clock::DAY_MS + 1).await.unwrap();
    assert_eq!(bench.ask("GET", "/api/all-photos", guest, "").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(bench.head("GET", "/api/live", guest, "").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_ids_of_a_stream_tell_nothing_of_other_events() {
    let bench = Bench::new().await;
    let first = bench.party("one").await;
    for name in ["two", "three"] {
        let event = first.id.parse().unwrap();
        bench.upload(event, &first.photographer, name).await;
    }
    let party = bench.party("other").await;
    let answer = bench.head("GET", "/api/live", Some(("cookie", &party.guest)), "").await;
    let hello = Stream(answer.into_body()).next().await.unwrap();
    // One photo: received and indexed.
    assert!(hello.lines().any(|line| line == "id: 2"), "{hello}");
    let request = Request::get("/api/live").header("cookie", &party.guest).header("last-event-id", "0");
    let answer = bench.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let mut stream = Stream(answer.into_body());
    assert!(stream.next().await.unwrap().contains("id: 0"));
    let replayed = stream.next().await.unwrap();
    assert!(replayed.contains("event: indexed") && replayed.contains("id: 2"), "{replayed}");
}

#[tokio::test]
async fn a_log_that_is_cut_while_a_stream_begins_is_told() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let request = Request::get("/api/live").header("cookie", &party.guest).header("last-event-id", "0");
    let answer = bench.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    // The stream was let in and has read nothing yet.
    bench.catalog.trim_live(i64::MAX).await.unwrap();
    let mut stream = Stream(answer.into_body());
    assert!(stream.next().await.unwrap().contains("event: hello"));
    let told = stream.next().await.unwrap();
    assert!(told.contains("event: reset") && told.contains("id: 2"), "{told}");
}

#[tokio::test]
async fn a_gallery_that_was_closed_is_not_told_again() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let bearer = format!("Bearer {}", bench.operator);
    let event = format!("/api/admin/events/{}", party.id);
    bench.ask("PATCH", &event, Some(("authorization", &bearer)), "{\"gallery_open\":false}").await;
    let id = party.id.parse().unwrap();
    let log = bench.catalog.live_of_event_after(id, 0, 100).await.unwrap();
    assert!(!log.is_empty() && log.iter().all(|entry| entry.audience == Audience::Photographers), "{log:?}");
}

#[tokio::test]
async fn nobody_is_let_into_an_event_that_is_being_deleted() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let bearer = format!("Bearer {}", bench.operator);
    let operator = Some(("authorization", &*bearer));
    let event = format!("/api/admin/events/{}", party.id);
    bench.catalog.begin_deletion(party.id.parse().unwrap()).await.unwrap();
    let joined = bench.ask("POST", "/api/join", None, format!("{{\"code\":\"{}\"}}", party.join)).await;
    assert_eq!(joined.status, StatusCode::NOT_FOUND);
    let guest = findme_common::GuestId::random().unwrap();
    let id = party.id.parse().unwrap();
    assert!(bench.catalog.create_guest(guest, id, &Digest::of(b"x")).await.is_err(), "who asked a moment before");
    let token = bench.ask("POST", &format!("{event}/tokens"), operator, "{\"label\":\"x\"}").await;
    assert_eq!(token.status, StatusCode::NOT_FOUND);
    let reopened = bench.ask("PATCH", &event, operator, "{\"closed\":false,\"gallery_open\":true}").await;
    assert_eq!(reopened.status, StatusCode::NOT_FOUND);
    for (who, path) in
        [(("cookie", &party.guest), "/api/all-photos"), (("authorization", &party.photographer), "/api/names")]
    {
        assert_eq!(bench.ask("GET", path, Some((who.0, who.1)), "").await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(
        bench.ask("DELETE", &event, operator, "").await.status,
        StatusCode::NO_CONTENT,
        "asked again, it goes on"
    );
}

#[tokio::test]
async fn faces_are_looked_for_only_where_it_was_stated_that_everyone_was_told() {
    let bench = Bench::new().await;
    let bearer = format!("Bearer {}", bench.operator);
    let operator = Some(("authorization", &*bearer));
    let create = async |body: &str| bench.ask("POST", "/api/admin/events", operator, body.to_owned()).await;
    for refused in
        ["{\"name\":\"x\"}", "{\"name\":\"x\",\"attested\":false}", "{\"name\":\"x\",\"policy\":\"attested\"}"]
    {
        let answer = create(refused).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        let problem: Problem = answer.json();
        assert_eq!(problem.code, Code::AttestationRequired);
        assert!(problem.detail.unwrap().contains("everyone at the event was told"), "the way out is named");
    }
    let created: EventCreated = create("{\"name\":\"x\",\"policy\":\"off\"}").await.json();
    let event = format!("/api/admin/events/{}", created.id);
    let patch = async |body: &str| bench.ask("PATCH", &event, operator, body.to_owned()).await.status;
    let item = async || bench.ask("GET", "/api/admin/events", operator, "").await.json::<Vec<EventItem>>().remove(0);
    for refused in ["{\"faces\":true}", "{\"faces\":true,\"attested\":false}"] {
        assert_eq!(patch(refused).await, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(!item().await.faces && item().await.attested_at.is_none());
    }
    assert_eq!(patch("{\"faces\":true,\"attested\":true}").await, StatusCode::NO_CONTENT);
    assert!(item().await.faces && item().await.attested_at.is_some());
    assert_eq!(patch("{\"faces\":true}").await, StatusCode::NO_CONTENT, "they are on already");
    assert_eq!(patch("{\"faces\":false}").await, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn one_agreement_is_one_row_however_often_it_is_tried() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let guest = Some(("cookie", &*party.guest));
    for _ in 0..3 {
        bench.ask("POST", "/api/selfie?consent=yes&lang=fr", guest, "{}").await;
    }
    bench.ask("POST", "/api/never-match?consent=yes&lang=en", guest, "{}").await;
    let consents = bench.ask("GET", "/api/me", guest, "").await.json::<Held>().consents;
    let languages: Vec<_> = consents.iter().map(|Consent { language, .. }| language.as_str()).collect();
    assert_eq!(languages, ["en", "fr"]);
}

#[tokio::test]
async fn a_photo_that_is_held_back_is_not_told_from_none() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let guest = Some(("cookie", &*party.guest));
    // As it is before it is indexed.
    bench.catalog.forget_derivatives().await.unwrap();
    let path = format!("/api/photo/{}/thumb", party.photo);
    let code = async || bench.ask("GET", &path, guest, "").await.json::<Problem>().code;
    assert_eq!(code().await, Code::NotReady);
    for visibility in [Visibility::Held, Visibility::Hidden, Visibility::Reported] {
        bench.set_visibility(&party.photo, visibility).await;
        assert_eq!(code().await, Code::NotFound, "{visibility:?}");
    }
    bench.set_visibility(&party.photo, Visibility::Shown).await;
    let bearer = format!("Bearer {}", bench.operator);
    let event = format!("/api/admin/events/{}", party.id);
    bench.ask("PATCH", &event, Some(("authorization", &bearer)), "{\"gallery_open\":false}").await;
    assert_eq!(code().await, Code::NotFound, "who may not see it is told nothing of it");
}

#[tokio::test]
async fn a_range_of_something_else_is_answered_with_everything() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let path = format!("/api/photo/{}/thumb", party.photo);
    let tag = bench.ask("GET", &path, Some(("cookie", &party.guest)), "").await.headers["etag"].clone();
    let odd = axum::http::HeaderValue::from_bytes(b"\"\xFC\"").unwrap();
    for (version, expected) in [(tag, 206), (odd, 200), (axum::http::HeaderValue::from_static("\"x\""), 200)] {
        let request = Request::get(&path).header("cookie", &party.guest).header("range", "bytes=0-0");
        let request = request.header("if-range", &version).body(Body::empty()).unwrap();
        let answer = bench.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{version:?}");
    }
}

#[tokio::test]
async fn the_receipt_says_whether_never_match_me_stays() {
    use crate::catalog::{Agreed, Purpose};
    use findme_common::protocol::{ErasureReceipt, SuppressionState};
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let guest = Some(("cookie", &*party.guest));
    let erase = async || bench.ask("DELETE", "/api/selfie", guest, "").await.json::<ErasureReceipt>();
    let stays = |receipt: ErasureReceipt| (receipt.never_matched, receipt.never_match_held);
    assert_eq!(stays(erase().await), (false, false));
    let secret: findme_common::Secret = party.guest.trim_start_matches("findme=").parse().unwrap();
    let id = bench.catalog.guest(&secret.hash()).await.unwrap().unwrap().id;
    let agreed = Agreed { text: "text", language: "en" };
    for (state, expected) in [(SuppressionState::Held, (false, true)), (SuppressionState::Active, (true, false))] {
        bench.catalog.record_consent_to(Purpose::Never, id, "text", "en").await.unwrap();
        assert!(bench.catalog.suppress(id, "pack", b"sealed", agreed, state).await.unwrap());
        assert_eq!(stays(erase().await), expected);
        let held: Held = bench.ask("GET", "/api/me", guest, "").await.json();
        assert_eq!((held.never_matched, held.never_match_held), expected, "it is in force still");
    }
    assert_eq!(bench.ask("DELETE", "/api/never-match", guest, "").await.json::<Changed>().changed, 1);
    assert_eq!(stays(erase().await), (false, false));
}

#[tokio::test]
async fn what_needs_a_key_that_is_gone_finds_nothing() {
    use crate::matching::{MatchError, SelfieError};
    let gone = || crate::vault::VaultError::NoKey("keys".into());
    let answer =
        axum::response::IntoResponse::into_response(super::super::problem::ApiError::from(MatchError::Vault(gone())));
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(matches!(SelfieError::from(MatchError::Vault(gone())), SelfieError::Gone));
    let damaged = MatchError::Vault(crate::vault::VaultError::Damaged);
    assert!(matches!(SelfieError::from(damaged), SelfieError::Fault(_)));
}
