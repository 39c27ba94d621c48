//! Pictures that pages load from the object store: who may, and what goes through the server all the same.

use super::*;
use crate::PhotoUrls;
use crate::picture::location;
use crate::store::{Rendition, tests::place};

#[tokio::test(flavor = "multi_thread")]
async fn signed_addresses_need_an_object_store() {
    let folder = tempfile::tempdir().unwrap();
    let photo_urls = PhotoUrls::Signed { store: None };
    let refused = Server::open(Config { photo_urls, ..Config::new(folder.path()) }).await.unwrap_err();
    assert!(format!("{refused:#}").contains("--photos s3://"), "{refused:#}");
}

/// A JPEG that says where it was taken: EXIF with one latitude.
fn with_location(jpeg: &[u8]) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08".to_vec();
    tiff.extend([0, 1, 0x88, 0x25, 0, 4, 0, 0, 0, 1, 0, 0, 0, 26, 0, 0, 0, 0]); // one entry: the other list is at 26
    tiff.extend([0, 1, 0, 1, 0, 2, 0, 0, 0, 2, b'N', 0, 0, 0, 0, 0, 0, 0]);
    let mut made = jpeg[..2].to_vec();
    made.extend([0xFF, 0xE1]);
    made.extend(u16::try_from(tiff.len() + 8).unwrap().to_be_bytes());
    made.extend(b"Exif\0\0");
    made.extend(tiff);
    made.extend(&jpeg[2..]);
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_gets_pictures_from_the_store_and_everybody_else_from_here() {
    if place(std::path::Path::new("")).is_none() {
        eprintln!("skipped: FINDME_TEST_STORE names no object store (tests/on-store)");
        return;
    }
    let bench = Bench::with(|config| Config { photo_urls: PhotoUrls::Signed { store: None }, ..config }).await;
    let (ours, other) = (bench.party("ours").await, bench.party("other").await);
    let ask = async |path: &str, who: Option<(&str, &str)>, wanted: Option<&str>| {
        let mut request = Request::get(path).header("host", "photos.example");
        for (name, value) in who.into_iter().chain(wanted.map(|wanted| ("sec-fetch-dest", wanted))) {
            request = request.header(name, value);
        }
        let answer = bench.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    };
    let guest = Some(("cookie", &*ours.guest));
    for path in ["", "/preview", "/thumb"].map(|end| format!("/api/photo/{}{end}", ours.photo)) {
        let here = ask(&path, guest, None).await;
        assert_eq!(here.status, StatusCode::OK, "{path}");
        assert_eq!(ask(&path, guest, Some("empty")).await.body, here.body, "{path}: a script's");
        let sent = ask(&path, guest, Some("image")).await;
        assert_eq!((sent.status, sent.body.len()), (StatusCode::FOUND, 0), "{path}");
        assert_eq!(sent.headers["cache-control"], "private, no-store");
        assert_eq!(sent.headers["referrer-policy"], "no-referrer");
        let url = sent.headers["location"].to_str().unwrap();
        assert!(url.contains("X-Amz-Expires=300") && url.contains("X-Amz-Signature="), "{url}");
        let got = reqwest::get(url).await.unwrap();
        let head = |name: &str| got.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(head("content-type"), here.headers["content-type"].to_str().unwrap());
        assert_eq!(head("cache-control"), "private, max-age=31536000, immutable");
        if path.ends_with(&ours.photo.to_string()) {
            assert_eq!(head("content-disposition"), here.headers["content-disposition"].to_str().unwrap());
        }
        assert!(got.bytes().await.unwrap() == here.body, "{path}: the same picture");
        // Asked first, and told nothing.
        for who in [None, Some(("cookie", &*other.guest)), Some(("authorization", &*other.photographer))] {
            let refused = ask(&path, who, Some("image")).await;
            assert!(matches!(refused.status.as_u16(), 401 | 404), "{path} {who:?}: {}", refused.status);
            assert!(!refused.headers.contains_key("location"));
        }
    }
    let thumb = format!("/api/photo/{}/thumb", ours.photo);
    let first = ask(&thumb, guest, Some("image")).await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await; // signatures tell the second
    let again = ask(&thumb, guest, Some("image")).await;
    assert_eq!(again.headers["location"], first.headers["location"], "a browser keeps the picture by its address");
    let page = ask("/gallery", guest, Some("document")).await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    let origin = std::env::var("AWS_ENDPOINT").unwrap();
    assert!(policy.contains(&format!("img-src 'self' blob: {origin};")), "{policy}");
    bench.set_visibility(&ours.photo, Visibility::Hidden).await;
    assert_eq!(ask(&thumb, guest, Some("image")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_original_that_tells_a_place_goes_through_the_server() {
    if place(std::path::Path::new("")).is_none() {
        eprintln!("skipped: FINDME_TEST_STORE names no object store (tests/on-store)");
        return;
    }
    let bench = Bench::with(|config| Config { photo_urls: PhotoUrls::Signed { store: None }, ..config }).await;
    let party = bench.party("ours").await;
    let (store, event) = (bench.app.store.clone(), party.id.parse::<findme_common::EventId>().unwrap());
    let photo = bench.catalog.photo(event, party.photo).await.unwrap().unwrap();
    // The file is exchanged for one that tells a place, and what was found out about it is what it tells.
    let (id, digest) = (party.photo, photo.digest.unwrap());
    let found = tokio::task::spawn_blocking(move || {
        let jpeg = with_location(&std::fs::read(&*store.local(event, id, Rendition::Original).unwrap()).unwrap());
        store.put_derived(event, id, Rendition::Original, &jpeg).unwrap();
        location::find(&store.local(event, id, Rendition::Original).unwrap()).unwrap()
    });
    let found = found.await.unwrap();
    assert!(!found.is_empty(), "it tells a place");
    bench.catalog.set_private(event, id, &digest, &found).await.unwrap();
    let path = format!("/api/photo/{id}");
    let ask = async |name: &str, who: &str| {
        let request = Request::get(&path).header("host", "photos.example").header(name, who);
        let request = request.header("sec-fetch-dest", "image").body(Body::empty()).unwrap();
        bench.router.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(ask("cookie", &party.guest).await, StatusCode::OK, "its place is taken out on the way");
    assert_eq!(ask("authorization", &party.photographer).await, StatusCode::FOUND, "photographers get it as it is");
}
