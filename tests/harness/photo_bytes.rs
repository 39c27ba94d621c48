//! Photo bytes a second beside nginx on the same files.
//!
//! nginx has no sessions, so whoever serves private files with it has it ask somebody for each request (`auth_request`). The
//! peer whose check is equal asks an endpoint of its own on loopback over kept-alive connections, which looks at the cookie
//! and answers 204 or 403: no database, no program but nginx. Beside it the bare one, which compares the cookie with one
//! constant: no more is possible without asking, and no event could be served so.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::crew::upload;
use crate::figures::{Memory, UNLIMITED};
use crate::foreign::{self, Peer};
use crate::speed::wrk;
use crate::support::photos::jpeg;
use crate::support::{Event, Guest, Random, Server, not_tested, say};
use crate::wire::Wire;

/// Connections that ask at once.
const CONNECTIONS: u64 = 16;

/// Thumbnails and originals a second, ours and both nginx's in turn.
pub(crate) async fn run(photos: u64, seconds: u64, rounds: u64) {
    if !foreign::installed("nginx") || !foreign::installed("wrk") {
        return not_tested("nginx or wrk is not installed");
    }
    let server = Server::start_with(&UNLIMITED).await;
    let event = server.create_event("bytes");
    let mut wire = Wire::to(&event.url).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..photos {
        ids.push(upload(&mut wire, &event, &photo(number)).await);
    }
    event.rest().await;
    let guest = event.guest().await;
    let place = tempfile::tempdir().unwrap();
    let ports = Ports::free();
    let nginx = nginx(place.path(), &server.data(), guest.cookie(), &ports).await;
    for (what, folder, ending, rendition) in
        [("thumbnails", "derived", ".thumb.jpg", "/thumb"), ("originals of 8 MiB", "photos", "", "")]
    {
        let paths: Vec<_> = ids.iter().map(|id| format!("/api/photo/{id}{rendition}")).collect();
        let ours = script(place.path(), "ours.lua", &paths, guest.cookie());
        let folder = format!("/{folder}/{}", event.id.to_simple());
        let paths: Vec<_> = ids.iter().map(|id| format!("{folder}/{}{ending}", id.to_simple())).collect();
        let theirs = script(place.path(), "nginx.lua", &paths, guest.cookie());
        refuses_strangers(&event, &guest, &ports, &paths[0]).await;
        let sides = [(event.url.clone(), &ours), (url(ports.checked), &theirs), (url(ports.bare), &theirs)];
        let mut measured = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            for ((url, script), figures) in sides.iter().zip(&mut measured) {
                figures.push(wrk(url, script, CONNECTIONS, seconds));
            }
        }
        let [us, checked, bare] = measured.map(median);
        let figures = |(requests, bytes): (f64, f64)| format!("{requests:.0}/s, {:.0} MiB/s", bytes / 1_048_576.0);
        say(&format!(
            "{what}: {}; nginx with an equal check {}: ratio {:.2}; nginx bare {}: ratio {:.2}",
            figures(us),
            figures(checked),
            us.0 / checked.0,
            figures(bare),
            us.0 / bare.0
        ));
    }
    say(&format!("photo bytes: {}", Memory::of(server.pid())));
    drop(nginx);
    server.assert_no_faults();
}

/// Neither peer gives a photo to whoever has no cookie, and both give it to the guest: the work is the same.
async fn refuses_strangers(event: &Event, guest: &Guest, ports: &Ports, path: &str) {
    for port in [ports.checked, ports.bare] {
        let known = guest.at(&url(port)).get(path).await.status();
        let stranger = event.through(&url(port)).request(reqwest::Method::GET, path).send().await.unwrap().status();
        assert!(known.is_success() && stranger.is_client_error(), "{known} {stranger}");
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// 8 MiB, of which a camera-like picture is the beginning.
fn photo(number: u64) -> Vec<u8> {
    let mut bytes = jpeg(number, 1500, 1000);
    let mut random = Random::new(number);
    while bytes.len() < 8 << 20 {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes
}

fn median(mut rounds: Vec<(f64, f64)>) -> (f64, f64) {
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    rounds[rounds.len() / 2]
}

/// Asks for the paths in turn, with the guest's cookie.
fn script(place: &Path, name: &str, paths: &[String], cookie: &str) -> PathBuf {
    let mut lua = String::from("local paths = {\n");
    paths.iter().for_each(|path| writeln!(lua, "\"{path}\",").unwrap());
    write!(
        lua,
        "}}\nlocal at = 0\nrequest = function()\n at = at % #paths + 1\n\
         return wrk.format(\"GET\", paths[at], {{[\"cookie\"] = \"{cookie}\"}})\nend\n"
    )
    .unwrap();
    let file = place.join(name);
    std::fs::write(&file, lua).unwrap();
    file
}

/// Where nginx listens.
struct Ports {
    bare: u16,
    checked: u16,
    /// The endpoint that the checked one asks.
    endpoint: u16,
}

impl Ports {
    fn free() -> Self {
        Self { bare: foreign::free_port(), checked: foreign::free_port(), endpoint: foreign::free_port() }
    }
}

/// nginx over the server's own files.
async fn nginx(place: &Path, data: &Path, cookie: &str, Ports { bare, checked, endpoint }: &Ports) -> Peer {
    let (name, value) = cookie.split_once('=').unwrap();
    let (folder, data_folder) = (place.display(), data.display());
    // The folder is its owner's alone: workers of root's nginx have to be root too.
    #[cfg(unix)]
    let user = if std::os::unix::fs::MetadataExt::uid(&data.metadata().unwrap()) == 0 { "user root;" } else { "" };
    #[cfg(not(unix))]
    let user = "";
    let config = format!(
        "daemon off; {user} worker_processes auto; pid {folder}/pid; error_log {folder}/errors;
         events {{ worker_connections 512; }}
         http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ image/jpeg jpg; }}
           client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
           uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
           map $cookie_{name} $known {{ default 0; \"{value}\" 1; }}
           upstream endpoint {{ server 127.0.0.1:{endpoint}; keepalive 64; }}
           server {{ listen 127.0.0.1:{endpoint}; location / {{ if ($known = 0) {{ return 403; }} return 204; }} }}
           server {{ listen 127.0.0.1:{bare}; root {data_folder};
             location / {{ if ($known = 0) {{ return 404; }} }} }}
           server {{ listen 127.0.0.1:{checked}; root {data_folder};
             location / {{ auth_request /check; }}
             location = /check {{ internal; proxy_pass http://endpoint; proxy_http_version 1.1;
               proxy_set_header Connection \"\"; proxy_pass_request_body off; proxy_set_header Content-Length \"\";
               proxy_set_header X-Asked $request_uri; }} }} }}"
    );
    let file = place.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    Peer::start_silent(Command::new(program).arg("-c").arg(&file).arg("-p").arg(place), &format!("127.0.0.1:{checked}"))
        .await
}
