//! The watcher's commands beside watching: `login`, `status`, `verify`, `doctor`, `withdraw`, `repair`.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use findme_common::protocol::PhotoList;

use crate::support::photos::small;
use crate::support::watch::read_manifest;
use crate::support::{Event, Laptop, Server};

fn run(laptop: &Laptop, event: Option<&Event>, args: &[&str], typed: &str) -> (i32, String) {
    let mut command: Command = laptop.command(&[]);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(event) = event {
        command.env("FINDME_TOKEN", &event.token).env("FINDME_SERVER", &event.url);
    }
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code().unwrap(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn login_once_and_every_later_start_knows() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let (code, said) = run(&laptop, None, &["login", &event.url], "fmp.nonsense\n");
    assert_eq!(code, 2, "{said}");
    let (code, said) = run(&laptop, None, &["login"], &format!("{}\n{}\n", event.url, event.token));
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains(&event.token), "the token is shown");
    let token = laptop.home().join("config/findme/token");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_to_string(&token).unwrap().trim(), event.token);
    laptop.put("a.jpg", &small(1));
    // A folder that bears a command's name goes after `--`.
    laptop.put("verify/b.jpg", &small(2));
    let photos = laptop.photos();
    let (code, said) = run(&laptop, None, &["--once", photos.to_str().unwrap()], "");
    assert_eq!(code, 0, "{said}");
    event.assert_holds_exactly(&[small(1), small(2)]).await;
    let (code, said) = run(&laptop, None, &["status"], "");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("received 2, on the way 0") && said.contains("indexed 2"), "{said}");
    let (code, said) = run(&laptop, None, &["--once", "--", "verify"], "");
    assert_eq!((code, said.contains("no such folder")), (2, true), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_vouches_for_what_the_server_has_and_for_nothing_else() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let photos = laptop.photos();
    let folder = photos.to_str().unwrap();
    for n in 0..4 {
        laptop.put(format!("{n}.jpg"), &small(n));
    }
    laptop.put("film.mp4", b"a film");
    laptop.once(&event).await.assert_exit(0);
    for options in [&["verify", folder][..], &["verify", "--deep", folder]] {
        let (code, said) = run(&laptop, Some(&event), options, "");
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("4 of 4 photos") && said.contains("1 other file ("), "{said}");
        // The server is this machine.
        assert!(said.contains("not a backup") && !said.contains("is safe"), "{said}");
    }
    let new = laptop.put("new.jpg", &small(9));
    let cut = laptop.put("cut.jpg", &small(8)[..900]);
    let (code, said) = run(&laptop, Some(&event), &["verify", folder], "");
    assert_eq!(code, 3, "{said}");
    for path in [&new, &cut] {
        assert!(said.contains(&format!("NOT SAFE  {}", path.display())), "{said}");
    }
    assert!(said.contains("4 of 6 photos") && said.contains("do not format"), "{said}");
    std::fs::remove_file(new).unwrap();
    std::fs::remove_file(cut).unwrap();
    // A bit of the server's copy turns: its list does not know, its bytes do.
    let stored = server.data().join("photos").join(event.id.to_simple());
    let victim = std::fs::read_dir(stored).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&victim, bytes).unwrap();
    assert_eq!(run(&laptop, Some(&event), &["verify", folder], "").0, 0);
    let (code, said) = run(&laptop, Some(&event), &["verify", "--deep", folder], "");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("the server's copy is damaged") && said.contains("3 of 4"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn held_and_withdrawn_photos_are_not_for_guests() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    laptop.put("shown.jpg", &small(1));
    laptop.once(&event).await.assert_exit(0);
    laptop.put("held.jpg", &small(2));
    let mut command = laptop.for_event(&event);
    command.args(["--once", "--hold", "--limit-rate", "1m"]);
    laptop.start(command).end().await.assert_exit(0);
    event.assert_holds_exactly(&[small(1), small(2)]).await;
    let guest = event.guest().await;
    let seen = async || {
        let list: PhotoList = guest.get("/api/all-photos").await.json().await.unwrap();
        list.photos.into_iter().map(|photo| photo.name).collect::<Vec<_>>()
    };
    assert_eq!(seen().await, ["shown.jpg"]);
    let (code, said) = run(&laptop, Some(&event), &["withdraw", "--last", "2"], "");
    assert_eq!(code, 0, "{said}");
    assert!(seen().await.is_empty(), "{said}");
    let (code, said) = run(&laptop, Some(&event), &["doctor", laptop.photos().to_str().unwrap()], "");
    assert_eq!((code, said.contains("ready")), (0, true), "{said}");
    let (code, said) = run(&laptop, Some(&event), &["retry"], "");
    assert_eq!((code, said.contains("0 photos")), (0, true), "{said}");
    let gone = event.through("http://127.0.0.1:9");
    assert_eq!(run(&laptop, Some(&gone), &["doctor"], "").0, 4);
    assert!(run(&laptop, None, &["completions", "bash"], "").1.contains("findme-watch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn repair_makes_a_damaged_manifest_good_and_nothing_is_sent_again() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    for n in 0..6 {
        laptop.put(format!("{n}.jpg"), &small(n));
    }
    laptop.once(&event).await.assert_exit(0);
    let manifest = laptop.manifest_file(&event);
    let (code, said) = run(&laptop, Some(&event), &["repair"], "");
    assert_eq!((code, said.contains("nothing to repair")), (0, true), "{said}");
    let mut bytes = std::fs::read(&manifest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&manifest, &bytes).unwrap();
    let refused = laptop.once(&event).await;
    refused.assert_exit(6);
    assert!(refused.complaints.contains("findme-watch repair"), "{}", refused.complaints);
    let (code, said) = run(&laptop, Some(&event), &["repair"], "");
    assert_eq!(code, 0, "{said}");
    let kept = said.lines().last().and_then(|line| line.split("kept in ").nth(1)).unwrap();
    assert_eq!(std::fs::read(std::path::Path::new(kept.trim()).join("manifest.json")).unwrap(), bytes);
    let run = laptop.once(&event).await;
    run.assert_exit(0);
    assert_eq!(run.said("uploaded"), 0, "{:#?}", run.lines);
    assert_eq!(read_manifest(&manifest).photos.len(), 6);
    event.assert_holds_exactly(&(0..6).map(small).collect::<Vec<_>>()).await;
}
