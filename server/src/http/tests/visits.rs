//! What guests do beside being found: come back by a link, leaf by time; stars; what an operator reads of it all.

use findme_common::protocol::{
    AuditList, Changed, ErasureReceipt, Held, HourCount, Joined, PhotoList, ReturnLink, SystemFacts,
};

use super::*;

impl Bench {
    /// A browser that comes by a link; its cookie, when it is let in.
    async fn come_back(&self, link: &str) -> Option<String> {
        let secret = link.split_once('#').unwrap().1;
        let answer = self.ask("POST", "/api/back", None, format!("{{\"secret\":\"{secret}\"}}")).await;
        let cookie = answer.headers.get(header::SET_COOKIE)?.to_str().unwrap().split(';').next().unwrap().to_owned();
        assert_eq!(answer.json::<Joined>().event, "one");
        Some(cookie)
    }

    async fn link(&self, guest: &str) -> String {
        let made = self.ask("POST", "/api/me/link", Some(("cookie", guest)), "").await;
        assert_eq!(made.headers["cache-control"], "no-store");
        made.json::<ReturnLink>().link
    }

    async fn status(&self, cookie: &str) -> StatusCode {
        self.ask("GET", "/api/me", Some(("cookie", cookie)), "").await.status
    }
}

#[tokio::test]
async fn a_link_back_leads_to_the_same_guest_until_it_ends() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let first = bench.link(&party.guest).await;
    assert!(first.starts_with("http://photos.example/back#") && first.len() > 60, "{first}");
    let phone = bench.come_back(&first).await.unwrap();
    let held = async |cookie| bench.ask("GET", "/api/me", Some(("cookie", cookie)), "").await.json::<Held>();
    assert_eq!(held(&phone).await.joined_at, held(&party.guest).await.joined_at, "the same guest");
    assert!(held(&phone).await.return_link);

    // A new link ends the old one, and who came by it.
    let second = bench.link(&party.guest).await;
    assert_eq!(bench.come_back(&first).await, None);
    assert_eq!(bench.status(&phone).await, StatusCode::UNAUTHORIZED);
    let phone = bench.come_back(&second).await.unwrap();
    for changed in [1, 0] {
        let ended = bench.ask("DELETE", "/api/me/link", Some(("cookie", &party.guest)), "").await;
        assert_eq!(ended.json::<Changed>(), Changed { changed });
    }
    assert_eq!((bench.status(&phone).await, bench.come_back(&second).await), (StatusCode::UNAUTHORIZED, None));
    assert_eq!(bench.status(&party.guest).await, StatusCode::OK, "the first browser stays");

    // Erasing ends it too, and says so.
    let third = bench.link(&party.guest).await;
    let phone = bench.come_back(&third).await.unwrap();
    let erased = bench.ask("DELETE", "/api/selfie", Some(("cookie", &party.guest)), "").await;
    assert!(erased.json::<ErasureReceipt>().return_link);
    assert_eq!((bench.status(&phone).await, bench.come_back(&third).await), (StatusCode::UNAUTHORIZED, None));
}

#[tokio::test]
async fn only_so_many_browsers_come_by_one_link() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let link = bench.link(&party.guest).await;
    let mut phones = Vec::new();
    for _ in 0..12 {
        phones.push(bench.come_back(&link).await.unwrap());
    }
    let mut let_in = 0;
    for phone in &phones {
        let_in += usize::from(bench.status(phone).await == StatusCode::OK);
    }
    assert_eq!(let_in, 10);
    assert_eq!(bench.come_back(&format!("x#{}", "A".repeat(43))).await, None);
}

#[tokio::test]
async fn another_sites_page_changes_nothing_with_a_guests_cookie() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let changes = [
        ("POST", "/api/selfie"),
        ("POST", "/api/selfie/look"),
        ("DELETE", "/api/selfie"),
        ("POST", "/api/never-match"),
        ("DELETE", "/api/never-match"),
        ("POST", "/api/me/link"),
        ("DELETE", "/api/me/link"),
        ("POST", &format!("/api/my-photos/{}", party.photo)),
        ("POST", &format!("/api/photo/{}/report", party.photo)),
    ];
    for (method, path) in changes {
        for told in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
            let headers = [("cookie", &*party.guest), told];
            let answer = bench.with_headers(method, path, &headers, "").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} {told:?}");
        }
        let ours = [("cookie", &*party.guest), ("origin", "http://photos.example")];
        let answer = bench.with_headers(method, path, &ours, "").await;
        assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
}

#[tokio::test]
async fn stars_pick_photos_out_for_guests() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let (guest, photographer) = (Some(("cookie", &*party.guest)), Some(("authorization", &*party.photographer)));
    let selection = format!("{{\"photos\":[\"{}\"]}}", party.photo);
    let starred = async || {
        let list = bench.ask("GET", "/api/all-photos?featured=yes", guest, "").await.json::<PhotoList>();
        list.photos.iter().filter(|photo| photo.featured).count()
    };
    assert_eq!(starred().await, 0);
    let theirs = bench.party("other").await.photographer;
    let refused = bench.ask("POST", "/api/photos/feature", Some(("authorization", &theirs)), selection.clone()).await;
    assert_eq!(refused.json::<Changed>(), Changed { changed: 0 }, "another event's photographer");
    for (what, changed, left) in [("feature", 1, 1), ("feature", 0, 1), ("unfeature", 1, 0)] {
        let answer = bench.ask("POST", &format!("/api/photos/{what}"), photographer, selection.clone()).await;
        assert_eq!(answer.json::<Changed>(), Changed { changed });
        assert_eq!(starred().await, left);
    }
    bench.ask("POST", "/api/photos/feature", photographer, selection.clone()).await;
    bench.ask("POST", "/api/photos/hide", photographer, selection).await;
    assert_eq!(starred().await, 0, "a star shows nothing that is hidden");
}

#[tokio::test]
async fn photos_are_told_by_their_hour() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let guest = Some(("cookie", &*party.guest));
    assert_eq!(bench.ask("GET", "/api/times", guest, "").await.json::<Vec<HourCount>>(), []);
    bench.catalog.force_taken_at(party.photo, "2026-09-12T18:59:59.5+02:00").await.unwrap();
    let hours = bench.ask("GET", "/api/times", guest, "").await.json::<Vec<HourCount>>();
    assert_eq!(hours, [HourCount { hour: "2026-09-12T18".to_owned(), photos: 1 }]);
    for (span, expected) in [
        ("from=2026-09-12T18:00&to=2026-09-12T18:60", 1),
        ("from=2026-09-12T19:00", 0),
        ("to=2026-09-12T18:00", 0),
        ("from=2026-09-12", 1),
    ] {
        let list = bench.ask("GET", &format!("/api/all-photos?{span}"), guest, "").await.json::<PhotoList>();
        assert_eq!(list.photos.len(), expected, "{span}");
    }
    for wrong in ["from=%27", "to=x", "from=2026-09-12T18:00:00.000000"] {
        let answer = bench.ask("GET", &format!("/api/all-photos?{wrong}"), guest, "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let bearer = format!("Bearer {}", bench.operator);
    let event = format!("/api/admin/events/{}", party.id);
    let closed = bench.ask("PATCH", &event, Some(("authorization", &bearer)), r#"{"gallery_open":false}"#).await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT);
    for path in ["/api/times", "/api/all-photos?from=2026-09-12"] {
        let answer = bench.ask("GET", path, guest, "").await;
        assert_eq!(answer.json::<Problem>().code, Code::GalleryClosed, "{path}");
    }
}

#[tokio::test]
async fn an_operator_reads_what_was_erased_and_what_there_is() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let bearer = format!("Bearer {}", bench.operator);
    let operator = Some(("authorization", &*bearer));
    let guest = Some(("cookie", &*party.guest));
    bench.ask("POST", &format!("/api/photo/{}/report", party.photo), guest, "").await;
    bench.ask("DELETE", "/api/selfie", guest, "").await;
    let log = bench.ask("GET", "/api/admin/audit?limit=1", operator, "").await.json::<AuditList>();
    let told = |log: &AuditList| {
        let entry = &log.entries[0];
        (entry.name.clone(), entry.actor.clone(), entry.action.clone())
    };
    let entry = |action: &str| (Some("one".to_owned()), "guest".to_owned(), action.to_owned());
    assert_eq!(told(&log), entry("guest-erased"));
    let next = format!("/api/admin/audit?limit=1&after={}", log.next.unwrap());
    assert_eq!(told(&bench.ask("GET", &next, operator, "").await.json()), entry("photo-reported"));

    let system = async || bench.ask("GET", "/api/admin/system", operator, "").await.json::<SystemFacts>();
    let facts = system().await;
    assert_eq!((facts.events.len(), facts.events[0].photos), (1, 1));
    assert!(facts.events[0].bytes > 0 && facts.accuracy.is_none(), "{facts:?}");
    let figures = crate::evaluate::sample_figures();
    figures.write(bench._folder.path()).unwrap();
    let accuracy = system().await.accuracy.unwrap();
    assert_eq!((&*accuracy.set, accuracy.searches, accuracy.strangers), ("set", 2, 1));
}
