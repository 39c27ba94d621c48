//! Browsers that signed in: what the cookie opens, and what it does not.

use findme_common::protocol::Board;

use super::*;

impl Bench {
    /// A request with these headers.
    pub(super) async fn with_headers(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "photos.example");
        for (name, value) in headers.iter().chain([&("content-type", "application/json")]) {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Signs in from a page of ours; the cookie.
    pub(super) async fn sign_in(&self, bearer: &str) -> String {
        let answer = self.with_headers("POST", "/api/desk", &[("authorization", bearer), OURS], "").await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }
}

const OURS: (&str, &str) = ("origin", "http://photos.example");
const THEIRS: (&str, &str) = ("origin", "http://evil.example");

#[tokio::test]
async fn who_signed_in_sees_the_board_and_changes_things_from_our_pages_alone() {
    let bench = Bench::new().await;
    let (party, other) = (bench.party("one").await, bench.party("two").await);
    let cookie = bench.sign_in(&party.photographer).await;
    let mine = ("cookie", &*cookie);
    let board: Board = bench.with_headers("GET", "/api/board", &[mine], "").await.json();
    assert_eq!((board.name.as_str(), board.counts.indexed, board.guests.joined), ("one", 1, 1));
    assert!(board.to_guests.is_some() && board.received_lately == 1, "{board:?}");
    assert_eq!(board.machines[0].uploads, 1);
    assert!(board.machines[0].last_photo.is_some() && board.machines[0].last_seen.is_some(), "{board:?}");
    let hide = format!("{{\"photos\":[\"{}\"]}}", party.photo);
    for (from, expected) in [(None, 401), (Some(THEIRS), 401), (Some(OURS), 200)] {
        let headers: Vec<_> = [mine].into_iter().chain(from).collect();
        let answer = bench.with_headers("POST", "/api/photos/hide", &headers, &hide).await;
        assert_eq!(answer.status.as_u16(), expected, "{from:?}");
    }
    // The same browser joined another event as a guest: which of the two is meant, the address says.
    let both = format!("{cookie}; {}", other.guest);
    let seen = async |path: &str| bench.with_headers("GET", path, &[("cookie", &both)], "").await;
    assert_eq!(seen("/api/all-photos?desk").await.json::<PhotoList>().photos[0].id, party.photo);
    assert_eq!(seen("/api/all-photos").await.json::<PhotoList>().photos[0].id, other.photo);
    let thumb = format!("/api/photo/{}/thumb", party.photo);
    assert_eq!(seen(&format!("{thumb}?desk")).await.status, StatusCode::OK);
    assert_eq!(seen(&thumb).await.status, StatusCode::NOT_FOUND);
    assert_eq!(seen(&format!("/api/photo/{}/thumb?desk", other.photo)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(seen("/api/admin/events").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_sign_in_ends_with_its_token() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let bearer = format!("Bearer {}", bench.operator);
    let (cookie, operator) = (bench.sign_in(&party.photographer).await, bench.sign_in(&bearer).await);
    let board = async || bench.with_headers("GET", "/api/board", &[("cookie", &cookie)], "").await.status;
    assert_eq!(board().await, StatusCode::OK);
    let tokens = format!("/api/admin/events/{}/tokens", party.id);
    let list = bench.with_headers("GET", &tokens, &[("cookie", &operator)], "").await;
    let list: Vec<findme_common::protocol::TokenItem> = list.json();
    let revoke = format!("{tokens}/{}", list[0].id);
    let refused = bench.with_headers("DELETE", &revoke, &[("cookie", &operator)], "").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "not from a page of ours");
    let revoked = bench.with_headers("DELETE", &revoke, &[("cookie", &operator), OURS], "").await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    assert_eq!(board().await, StatusCode::UNAUTHORIZED);
    let page = bench.with_headers("GET", "/live", &[("cookie", &cookie)], "").await;
    assert!(String::from_utf8(page.body).unwrap().contains("id=\"sign-in\""), "asked for a token again");
    for (bearer, from) in [(&*party.photographer, OURS), ("Bearer fmp.x", OURS), (&*bearer, THEIRS)] {
        let answer = bench.with_headers("POST", "/api/desk", &[("authorization", bearer), from], "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{from:?}");
        assert!(answer.headers.get("set-cookie").is_none());
    }
}
