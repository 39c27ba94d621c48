//! Each limit, met; and what is believed about whom.

use super::*;
use crate::http::client::Peer;
use crate::{Bytes, Limits, Network, Rate};

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

/// An event without faces.
const NEW: &str = "{\"name\":\"x\",\"policy\":\"off\"}";

async fn bench(limits: Limits) -> Bench {
    Bench::with(|config| Config { limits, ..config }).await
}

/// A request from an address, over plain http unless `https`.
async fn ask_from(
    bench: &Bench,
    address: &str,
    headers: &[(&str, &str)],
    method: &str,
    path: &str,
    body: &str,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let address = std::net::SocketAddr::new(address.parse().unwrap(), 40_000);
    let request = request.extension(Peer { address, tls: false }).body(Body::from(body.to_owned())).unwrap();
    let (parts, body) = bench.router.clone().oneshot(request).await.unwrap().into_parts();
    Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
}

fn problem(answer: &Answer) -> Problem {
    let problem: Problem = answer.json();
    assert_eq!(problem.request_id.as_deref(), answer.headers["x-request-id"].to_str().ok());
    assert_eq!(answer.headers["findme-protocol"], "1");
    problem
}

#[tokio::test]
async fn selfies_of_a_guest_are_counted_and_erasing_is_not() {
    let bench = bench(Limits { rate_selfies: rate("2/h"), ..Limits::default() }).await;
    let party = bench.party("one").await;
    let guest = Some(("cookie", &*party.guest));
    for left in ["1", "0"] {
        let answer = bench.ask("POST", "/api/selfie", guest, "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.headers["ratelimit-policy"], "\"selfies\";q=2;w=3600");
        let standing = answer.headers["ratelimit"].to_str().unwrap();
        assert!(standing.starts_with(&format!("\"selfies\";r={left};t=")), "{standing}");
    }
    let refused = bench.ask("POST", "/api/selfie", guest, "").await;
    assert_eq!((refused.status, problem(&refused).code), (StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests));
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&wait), "{wait}");
    assert_eq!(bench.ask("DELETE", "/api/selfie", guest, "").await.status, StatusCode::OK);
    assert_eq!(bench.ask("GET", "/api/all-photos", guest, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn lists_bytes_and_uploads_are_counted_by_who_asks() {
    let one = rate("1/h");
    let bench = bench(Limits { rate_lists: one, rate_bytes: one, ..Limits::default() }).await;
    let (party, other) = (bench.party("one").await, bench.party("other").await);
    for path in ["/api/all-photos".to_owned(), format!("/api/photo/{}/thumb", party.photo)] {
        for expected in [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
            assert_eq!(bench.ask("GET", &path, Some(("cookie", &party.guest)), "").await.status, expected, "{path}");
        }
        let others = bench.ask("GET", &path, Some(("cookie", &other.guest)), "").await;
        assert_ne!(others.status, StatusCode::TOO_MANY_REQUESTS);
    }
    let bench = super::limits::bench(Limits { rate_uploads: one, ..Limits::default() }).await;
    let party = bench.party("one").await;
    let path = format!("/api/uploads/{}", findme_common::UploadId::random().unwrap());
    let refused = bench.ask("HEAD", &path, Some(("authorization", &party.photographer)), "").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers["tus-resumable"], "1.0.0");
}

#[tokio::test]
async fn a_code_and_an_address_let_in_so_many_at_a_time() {
    let bench = bench(Limits { rate_joins: rate("3/h"), ..Limits::default() }).await;
    let party = bench.party("one").await;
    let code = format!("{{\"code\":\"{}\"}}", party.join);
    let join = async |address| ask_from(&bench, address, &[], "POST", "/api/join", &code).await.status;
    // The party's own guest was the first.
    assert_eq!(join("203.0.113.1").await, StatusCode::OK);
    assert_eq!(join("203.0.113.2").await, StatusCode::OK);
    assert_eq!(join("203.0.113.3").await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn whoever_guesses_codes_waits_and_the_venue_goes_on() {
    let bench = bench(Limits { rate_guesses: rate("2/h"), ..Limits::default() }).await;
    let (party, other) = (bench.party("one").await, bench.party("other").await);
    let venue = "203.0.113.1";
    let join = async |code: &str| {
        let body = format!("{{\"code\":\"{code}\"}}");
        ask_from(&bench, venue, &[], "POST", "/api/join", &body).await.status
    };
    assert_eq!(join(&party.join).await, StatusCode::OK);
    for _ in 0..3 {
        assert_eq!(join("0000000000").await, StatusCode::NOT_FOUND);
    }
    assert_eq!(join("0000000000").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(join(&other.join).await, StatusCode::TOO_MANY_REQUESTS, "guessing right is guessing");
    assert_eq!(join(&party.join).await, StatusCode::OK, "the code on the wall goes on working");
    let page = ask_from(&bench, venue, &[], "GET", "/e/0000000000", "").await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn an_address_is_the_last_resort() {
    let bench = bench(Limits { rate_address: rate("2/h"), ..Limits::default() }).await;
    for expected in [StatusCode::OK, StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
        assert_eq!(ask_from(&bench, "203.0.113.1", &[], "GET", "/livez", "").await.status, expected);
    }
    assert_eq!(ask_from(&bench, "203.0.113.2", &[], "GET", "/livez", "").await.status, StatusCode::OK);
    for _ in 0..5 {
        assert_eq!(ask_from(&bench, "127.0.0.1", &[], "GET", "/livez", "").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let bench = bench(Limits { max_selfie: Bytes(1000), max_upload: Bytes(5000), ..Limits::default() }).await;
    let party = bench.party("one").await;
    let selfie = Request::post("/api/selfie?consent=yes")
        .header("cookie", &party.guest)
        .header(header::CONTENT_TYPE, "image/jpeg")
        .header(header::CONTENT_LENGTH, 1001);
    let answer = bench.router.clone().oneshot(selfie.body(Body::from(vec![0; 1001])).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let upload = Request::post("/api/uploads")
        .header("authorization", &party.photographer)
        .header("tus-resumable", "1.0.0")
        .header("upload-length", 5001);
    let answer = bench.router.clone().oneshot(upload.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_reserve_of_the_disk_is_not_touched() {
    let bench = bench(Limits { disk_reserve: Bytes(1 << 60), ..Limits::default() }).await;
    let operator = format!("Bearer {}", bench.operator);
    let created = bench.ask("POST", "/api/admin/events", Some(("authorization", &operator)), NEW).await;
    let photographer = format!("Bearer {}", created.json::<EventCreated>().photographer_token);
    let upload = Request::post("/api/uploads")
        .header("authorization", &photographer)
        .header("tus-resumable", "1.0.0")
        .header("upload-length", 1);
    let answer = bench.router.clone().oneshot(upload.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INSUFFICIENT_STORAGE);
    let ready = bench.ask("GET", "/readyz", None, "").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(String::from_utf8(ready.body).unwrap().contains("the disk is full"));
}

#[tokio::test]
async fn one_guest_listens_so_often_at_a_time() {
    let bench = bench(Limits { max_listeners: 1, ..Limits::default() }).await;
    let party = bench.party("one").await;
    let listen = async || bench.head("GET", "/api/live", Some(("cookie", &party.guest)), "").await;
    let first = listen().await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(listen().await.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(first);
    assert_eq!(listen().await.status(), StatusCode::OK);
}

#[tokio::test]
async fn only_a_named_proxy_says_who_the_client_is_and_how_it_came() {
    let proxy: Network = "10.0.0.1".parse().unwrap();
    let bench = Bench::with(|config| Config { trusted_proxies: vec![proxy], ..config }).await;
    let operator = format!("Bearer {}", bench.operator);
    let said = [
        ("authorization", &*operator),
        ("host", "inside:8420"),
        ("x-forwarded-for", "198.51.100.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "photos.example"),
        ("x-request-id", "of-the-proxy"),
    ];
    for (address, link, secure) in
        [("10.0.0.1", "https://photos.example/e/", true), ("203.0.113.1", "http://inside:8420/e/", false)]
    {
        let created = ask_from(&bench, address, &said, "POST", "/api/admin/events", NEW).await;
        assert_eq!(created.headers["x-request-id"] == "of-the-proxy", secure);
        let created: EventCreated = created.json();
        assert!(created.guest_link.starts_with(link), "{}", created.guest_link);
        let code = format!("{{\"code\":\"{}\"}}", created.join_code);
        let joined = ask_from(&bench, address, &said, "POST", "/api/join", &code).await;
        assert_eq!(joined.headers[header::SET_COOKIE].to_str().unwrap().contains("; Secure"), secure);
    }
    let forged = [("authorization", &*operator), ("host", "evil.example/\"><x")];
    let created = ask_from(&bench, "203.0.113.1", &forged, "POST", "/api/admin/events", NEW).await;
    assert!(created.json::<EventCreated>().guest_link.starts_with("http://localhost/e/"));
}

#[tokio::test]
async fn metrics_are_the_operators() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let operator = format!("Bearer {}", bench.operator);
    let shown = bench.ask("GET", "/metrics", Some(("authorization", &operator)), "").await;
    let text = String::from_utf8(shown.body).unwrap();
    for name in
        ["findme_uploads_finished_total", "findme_upload_bytes_total", "findme_queue_depth", "findme_disk_free_bytes"]
    {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    assert!(text.contains("route=\"/api/uploads\",method=\"POST\",status=\"2xx\""), "{text}");
    for secret in [&party.id, &party.join, &party.photo.to_string()] {
        assert!(!text.contains(secret.as_str()), "{secret} is in the metrics");
    }
}

#[tokio::test]
async fn a_token_uploads_as_much_as_it_may_and_gets_back_what_came_to_nothing() {
    let bench = bench(Limits { token_uploads: 3, token_bytes: Bytes(100_000), ..Limits::default() }).await;
    let party = bench.party("one").await;
    let create = async |length: u64| {
        let upload = Request::post("/api/uploads")
            .header("authorization", &party.photographer)
            .header("tus-resumable", "1.0.0")
            .header("upload-length", length);
        let answer = bench.router.clone().oneshot(upload.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    };
    // The party's photo was the first.
    let second = create(50_000).await;
    assert_eq!(second.status, StatusCode::CREATED);
    let refused = create(50_000).await;
    assert_eq!((refused.status, problem(&refused).code), (StatusCode::FORBIDDEN, Code::QuotaExceeded), "bytes");
    assert!(!problem(&refused).retryable);
    assert_eq!(create(10).await.status, StatusCode::CREATED);
    assert_eq!(problem(&create(10).await).code, Code::QuotaExceeded, "uploads");
    let location = second.headers["location"].to_str().unwrap();
    let photographer = Some(("authorization", &*party.photographer));
    assert_eq!(bench.ask("DELETE", location, photographer, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(create(50_000).await.status, StatusCode::CREATED, "what was freed unfinished is given back");
    assert_eq!(create(1).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn readiness_says_what_is_wrong() {
    let bench = Bench::new().await;
    assert_eq!(bench.ask("GET", "/readyz", None, "").await.status, StatusCode::OK);
    std::fs::remove_dir_all(bench._folder.path().join("keys")).unwrap();
    let ready = bench.ask("GET", "/readyz", None, "").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(String::from_utf8(ready.body).unwrap().contains("the keys cannot be read"));
    assert_eq!(bench.ask("GET", "/livez", None, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn unreviewed_reports_hide_so_many_photos_of_an_event_whoever_sends_them() {
    let bench = bench(Limits { max_reported: 2, ..Limits::default() }).await;
    let (party, other) = (bench.party("one").await, bench.party("other").await);
    let photographer = Some(("authorization", &*party.photographer));
    let event = party.id.parse().unwrap();
    let mut photos = vec![party.photo];
    for name in ["two", "three"] {
        photos.push(bench.upload(event, &party.photographer, name).await);
    }
    let mut hidden = Vec::new();
    for photo in &photos {
        let joined = bench.ask("POST", "/api/join", None, format!("{{\"code\":\"{}\"}}", party.join)).await;
        let cookie = joined.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        let path = format!("/api/photo/{photo}/report");
        hidden.push(bench.ask("POST", &path, Some(("cookie", &cookie)), "").await.json::<ReportTaken>().hidden);
    }
    assert_eq!(hidden, [true, true, false]);
    let seen = bench.ask("GET", "/api/all-photos", Some(("cookie", &party.guest)), "").await.json::<PhotoList>();
    assert_eq!(seen.photos.iter().map(|photo| photo.id).collect::<Vec<_>>(), photos[2..]);
    let reports = bench.ask("GET", "/api/photos/reports", photographer, "").await.json::<Vec<Report>>();
    assert_eq!(reports.iter().map(|report| report.hidden).collect::<Vec<_>>(), [true, true, false], "all are told");
    // Another event has its own bound, and what was looked at makes room.
    let path = format!("/api/photo/{}/report", other.photo);
    let theirs = bench.ask("POST", &path, Some(("cookie", &other.guest)), "").await;
    assert!(theirs.json::<ReportTaken>().hidden);
    let selection = format!("{{\"photos\":[\"{}\"]}}", photos[0]);
    bench.ask("POST", "/api/photos/show", photographer, selection).await;
    let path = format!("/api/photo/{}/report", photos[2]);
    let again = bench.ask("POST", &path, Some(("cookie", &party.guest)), "").await;
    assert!(again.json::<ReportTaken>().hidden);
}

#[tokio::test]
async fn made_up_secrets_are_nobody_new_and_wait_with_their_address() {
    let limits = Limits { rate_lists: rate("1/h"), rate_refused: rate("4/h"), ..Limits::default() };
    let bench = bench(limits).await;
    let party = bench.party("one").await;
    let venue = "203.0.113.1";
    let ask = async |address, name, value: &str| {
        ask_from(&bench, address, &[(name, value)], "GET", "/api/all-photos", "").await
    };
    assert_eq!(ask(venue, "cookie", &party.guest).await.status, StatusCode::OK);
    let token = format!("Bearer fmp.{}.{}", party.id.replace('-', ""), "A".repeat(43));
    let cookie = format!("findme={}", "A".repeat(43));
    for (n, (name, made_up)) in
        [("authorization", &*token), ("cookie", &cookie), ("cookie", "findme=x")].iter().enumerate()
    {
        let refused = ask(venue, name, made_up).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{made_up}");
        assert_eq!(refused.headers["ratelimit-policy"], "\"refused\";q=4;w=3600");
        let standing = refused.headers["ratelimit"].to_str().unwrap();
        assert!(standing.starts_with(&format!("\"refused\";r={};", 3 - n)), "{standing}");
    }
    assert_eq!(ask(venue, "x-nobody", "").await.status, StatusCode::UNAUTHORIZED);
    let waits = ask_from(&bench, venue, &[("authorization", &*token)], "GET", "/api/admin/events", "").await;
    assert_eq!((waits.status, problem(&waits).code), (StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests));
    assert!(waits.headers.contains_key("retry-after") && waits.headers.contains_key("ratelimit"));
    // Only who is somebody was counted as one, and nobody's count was begun anew.
    assert_eq!(bench.app.rates.counted(super::super::rates::Policy::Lists), 1);
    assert_eq!(ask(venue, "cookie", &party.guest).await.status, StatusCode::TOO_MANY_REQUESTS);
    // Whoever has a good secret goes on beside those who guess; another address and this machine wait for nobody.
    let (guest, photo) = (party.guest.as_str(), format!("/api/photo/{}/thumb", party.photo));
    assert_eq!(ask_from(&bench, venue, &[("cookie", guest)], "GET", &photo, "").await.status, StatusCode::OK);
    assert_eq!(ask("203.0.113.2", "cookie", &cookie).await.status, StatusCode::UNAUTHORIZED);
    for _ in 0..6 {
        assert_eq!(ask("127.0.0.1", "cookie", &cookie).await.status, StatusCode::UNAUTHORIZED);
    }
}
