//! What the pages are made of: the policy on each, nothing inline in any, the first photos in them, and that another site's
//! page does nothing with a visitor's cookies, whatever route it calls.

use super::*;

/// Pages, each with whether it shows something of an event.
const PAGES: [&str; 12] = [
    "/",
    "/e/{join}",
    "/e?code=x",
    "/me",
    "/gallery",
    "/privacy",
    "/live",
    "/poster",
    "/wall",
    "/admin",
    "/back",
    "/offline",
];

/// What the pages' policy forbids, looked for in their text.
fn inline(html: &str) -> Vec<String> {
    let tags = html.split('<').skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag));
    let wrong = |tag: &&str| {
        let script = tag.starts_with("script") && !tag.contains(" src=\"/static/");
        let handler = tag.split_whitespace().skip(1).any(|word| word.starts_with("on") && word.contains('='));
        let elsewhere = ["src=\"http", "href=\"http", "action=\"http", "src=\"//"].iter().any(|far| tag.contains(far));
        script
            || handler
            || elsewhere
            || tag.starts_with("style")
            || tag.contains(" style=")
            || tag.contains("javascript:")
    };
    tags.filter(wrong).map(str::to_owned).collect()
}

#[test]
fn what_is_inline_is_found() {
    for bad in ["<script>x</script>", "<p style=\"x\">", "<a onclick=\"x\">", "<img src=\"https://x\">", "<style>"] {
        assert_eq!(inline(bad).len(), 1, "{bad}");
    }
    assert!(inline("<script type=\"module\" src=\"/static/1/me.js\"></script><p class=\"on\">a < b</p>").is_empty());
}

#[tokio::test]
async fn every_page_has_the_policy_and_nothing_inline() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let operator = format!("Bearer {}", bench.operator);
    let desk = [bench.sign_in(&party.photographer).await, bench.sign_in(&operator).await];
    let visitors = ["", &party.guest, &desk[0], &desk[1]];
    let mut seen = 0;
    for (page, cookie) in PAGES.iter().flat_map(|page| visitors.iter().map(move |cookie| (page, cookie))) {
        let path = page.replace("{join}", &party.join);
        let answer = bench.with_headers("GET", &path, &[("cookie", cookie), ("accept", "text/html")], "").await;
        if answer.status.is_redirection() {
            continue;
        }
        seen += 1;
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        let body = String::from_utf8(answer.body).unwrap();
        assert!(body.contains("<main"), "{path} as {cookie}: {body}");
        assert_eq!(inline(&body), Vec::<String>::new(), "{path} as {cookie}");
    }
    assert!(seen > 40, "{seen} pages were seen");
}

/// What needs no cookie, and so gives another site nothing that it could not have by itself: to join and to come back, one
/// must know a code or a secret; to sign out of a browser, nothing.
const OPEN: [(&str, &str); 4] =
    [("POST", "/api/join"), ("POST", "/api/back"), ("DELETE", "/api/desk"), ("OPTIONS", "/api/uploads")];

#[tokio::test]
async fn another_sites_page_does_nothing_on_any_route() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let operator = format!("Bearer {}", bench.operator);
    let cookies = [
        party.guest.clone(),
        bench.sign_in(&party.photographer).await,
        bench.sign_in(&operator).await,
        format!("{}; {}", party.guest, bench.sign_in(&party.photographer).await),
    ];
    let mut asked = 0;
    for (method, template) in super::super::openapi::tests::operations() {
        let safe = ["GET", "HEAD", "OPTIONS"].contains(&&*method);
        if safe || OPEN.contains(&(&*method, &*template)) {
            continue;
        }
        let id = if template.starts_with("/api/admin") { party.id.clone() } else { party.photo.to_string() };
        let path =
            template.replace("{id}", &id).replace("{token}", "1").replace("{suppression}", "1").replace("{face}", "1");
        for cookie in &cookies {
            for told in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
                let headers = [("cookie", &**cookie), told, ("tus-resumable", "1.0.0")];
                let answer = bench.with_headers(&method, &path, &headers, "{}").await;
                // Selfies are counted before it is asked where a request comes from.
                let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];
                let refused = refusals.contains(&answer.status);
                assert!(refused, "{method} {path} {told:?}: {}", answer.status);
                asked += 1;
            }
        }
    }
    assert!(asked > 300, "{asked} requests were made");
    assert_eq!(bench.ask("GET", "/api/me", Some(("cookie", &party.guest)), "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_page_brings_its_first_photos_along() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let guest = [("cookie", &*party.guest)];
    let page = String::from_utf8(bench.with_headers("GET", "/gallery", &guest, "").await.body).unwrap();
    let listed = page.split_once("<template id=\"listed\">").unwrap().1.split_once("</template>").unwrap().0;
    let listed: serde_json::Value =
        serde_json::from_str(&listed.replace("&#34;", "\"").replace("&quot;", "\"")).unwrap();
    let list: serde_json::Value = bench.with_headers("GET", "/api/all-photos?limit=24", &guest, "").await.json();
    assert_eq!((&listed["photos"], &listed["total"]), (&list["photos"], &serde_json::json!(1)));
    let ahead = format!("imagesrcset=\"/api/photo/{0}/small 320w, /api/photo/{0}/thumb 480w\"", party.photo);
    assert!(page.contains(&ahead), "{page}");
    // A file's name is the photographer's to choose, and ends nothing here.
    let name = "</template><script>x()</script>.jpg";
    bench.upload_named(party.id.parse().unwrap(), &party.photographer, "two", name).await;
    let page = String::from_utf8(bench.with_headers("GET", "/gallery", &guest, "").await.body).unwrap();
    assert_eq!(inline(&page), Vec::<String>::new());
    assert!(!page.contains(name));
}

#[tokio::test]
async fn a_photo_from_before_gets_its_small_thumbnail_when_it_is_asked_for() {
    let bench = Bench::new().await;
    if !bench.app.store.has_folders() {
        eprintln!("skipped: this removes files of a folder");
        return;
    }
    let party = bench.party("one").await;
    let guest = Some(("cookie", &*party.guest));
    let folder = bench._folder.path().join("derived").join(party.id.replace('-', ""));
    let file = folder.join(format!("{}.small.jpg", party.photo.to_simple()));
    let path = format!("/api/photo/{}/small", party.photo);
    let made = bench.ask("GET", &path, guest, "").await;
    std::fs::remove_file(&file).unwrap();
    let (one, two) = tokio::join!(bench.ask("GET", &path, guest, ""), bench.ask("GET", &path, guest, ""));
    for answer in [one, two] {
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers["etag"], made.headers["etag"]);
        assert_eq!(answer.body, std::fs::read(&file).unwrap(), "for good");
    }
    assert_eq!(std::fs::read_dir(bench._folder.path().join("staging")).unwrap().count(), 0, "a part is left over");
    // Where there is nothing to make it from, that is the server's fault, and said as one.
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(folder.join(format!("{}.thumb.jpg", party.photo.to_simple()))).unwrap();
    assert_eq!(bench.ask("GET", &path, guest, "").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let photographer = Some(("authorization", &*party.photographer));
    bench.ask("DELETE", &format!("/api/photo/{}", party.photo), photographer, "").await;
    assert_eq!(bench.ask("GET", &path, guest, "").await.status, StatusCode::NOT_FOUND);
}
