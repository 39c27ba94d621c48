//! What a long day needs: several events from one program, an alarm when the camera has gone quiet, a service that starts
//! by itself, a manual, and answers while a watcher runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use findme_common::{PhotographerToken, Secret};

use crate::support::photos::small;
use crate::support::{Event, Laptop, Server, wait_for};

fn output(mut command: Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// A watcher that sends folders to events.
fn mapped(laptop: &Laptop, server: &Server, tokens: &[&str], map: &[(&str, &Event)]) -> Command {
    let file = laptop.place("tokens");
    fs::write(&file, tokens.join("\n")).unwrap();
    let mut command = laptop.command(&[]);
    command.args(["--server", &server.url(), "--output", "json", "--token-file"]).arg(file);
    for (folder, event) in map {
        let folder = laptop.photos().join(folder);
        fs::create_dir_all(&folder).unwrap();
        command.arg("--map").arg(format!("{}={}", folder.display(), &event.id.to_simple()[..12]));
    }
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_go_to_events_of_their_own() {
    let server = Server::start().await;
    let (church, party) = (server.create_event("church"), server.create_event("party"));
    let laptop = Laptop::new();
    let tokens = [church.token.as_str(), party.token.as_str()];
    let map = [("church", &church), ("evening", &party), ("night", &party)];
    laptop.put("church/a.jpg", &small(1));
    // The same content may be in both; each has a manifest of its own.
    laptop.put("evening/a.jpg", &small(1));
    let mut watch = laptop.start(mapped(&laptop, &server, &tokens, &map));
    watch.wait_for("uploaded", 2).await;
    laptop.put("evening/b.jpg", &small(2));
    laptop.put("night/c.jpg", &small(3));
    let line = watch.wait_for("uploaded", 4).await;
    assert_eq!(line["event"], party.id.to_string(), "{line}");
    watch.wait_for("idle", 1).await;
    watch.interrupt();
    let run = watch.end().await;
    run.assert_exit(0);
    assert_eq!((run.said("summary"), run.total("uploaded")), (1, 4), "one summary for all");
    church.assert_holds_exactly(&[small(1)]).await;
    party.assert_holds_exactly(&[1, 2, 3].map(small)).await;
    assert_eq!((laptop.manifest(&church).photos.len(), laptop.manifest(&party).photos.len()), (1, 3));

    // An event whose token is refused does not stop the other, and is not forgotten in the end.
    let wrong = PhotographerToken { event: church.id, secret: Secret::random().unwrap() }.reveal();
    laptop.put("church/late.jpg", &small(4));
    laptop.put("night/late.jpg", &small(5));
    let mut command = mapped(&laptop, &server, &[&wrong, &party.token], &map);
    command.arg("--once");
    let run = laptop.start(command).end().await;
    run.assert_exit(5);
    assert!(run.complaints.contains(&church.id.to_string()) && run.complaints.contains("token"), "{}", run.complaints);
    party.assert_holds_exactly(&[1, 2, 3, 5].map(small)).await;
    church.assert_holds_exactly(&[small(1)]).await;
    // Which event is meant must be clear.
    let mut command = mapped(&laptop, &server, &tokens, &[]);
    command.arg(laptop.photos());
    let (code, said) = output(command);
    assert_eq!((code, said.contains("--map")), (2, true), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_camera_rings() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let mut command = laptop.for_event(&event);
    command.args(["--alarm", "0.02"]);
    let mut watch = laptop.start(command);
    let said = async |watch: &crate::support::Watch, what: &str, times: usize| {
        wait_for(what, async || (watch.complaints().matches(what).count() >= times).then_some(())).await;
    };
    said(&watch, "NO NEW PHOTO for 1 s: is the camera still sending?", 1).await;
    laptop.put("a.jpg", &small(1));
    said(&watch, "photos come again", 1).await;
    watch.wait_for("uploaded", 1).await;
    said(&watch, "NO NEW PHOTO", 2).await;
    watch.interrupt();
    watch.end().await.assert_exit(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_runs_what_was_typed() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let (bin, calls) = (laptop.place("bin"), laptop.place("calls"));
    fs::create_dir(&bin).unwrap();
    let systemctl = bin.join("systemctl");
    fs::write(&systemctl, format!("#!/bin/sh\necho \"$*\" >> {}\n", calls.display())).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let command = |words: &[&str]| {
        let mut command = laptop.command(&[]);
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).args(words).current_dir(laptop.place(""));
        command
    };
    let unit = laptop.home().join("config/systemd/user/findme-watch.service");
    // A token that only this shell has would not be there at the next login.
    let mut typed = command(&["service", "install", "--server", &event.url, "photos"]);
    typed.env("FINDME_TOKEN", &event.token);
    let (code, said) = output(typed);
    assert_eq!((code, said.contains("findme-watch login"), unit.exists()), (2, true, false), "{said}");
    let tokens = laptop.place("token of today");
    fs::write(&tokens, &event.token).unwrap();
    let install =
        ["service", "install", "--server", &event.url, "--token-file", tokens.to_str().unwrap(), "--once", "photos"];
    let (code, said) = output(command(&install));
    assert_eq!(code, 0, "{said}");
    let text = fs::read_to_string(&unit).unwrap();
    assert!(!text.contains(&event.token), "{text}");
    let called = fs::read_to_string(&calls).unwrap();
    let enabled = "--user daemon-reload\n--user enable findme-watch.service\n--user restart findme-watch.service\n";
    assert_eq!(called, enabled);
    if Command::new("systemd-analyze").arg("--version").output().is_ok_and(|run| run.status.success()) {
        let checked = Command::new("systemd-analyze").args(["--user", "verify"]).arg(&unit).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(!said.contains("findme-watch.service"), "systemd finds fault with it: {said}");
    }
    // The very command of the unit, in its folder, does the work.
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    laptop.put("a.jpg", &small(1));
    let mut typed = laptop.command(&[]);
    typed.current_dir(line("WorkingDirectory="));
    let words = line("ExecStart=");
    let mut shell = Command::new("sh");
    shell.args(["-c", &words]).current_dir(line("WorkingDirectory=")).env_clear();
    for (name, value) in typed.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let (code, said) = output(shell);
    assert_eq!(code, 0, "{said}");
    event.assert_holds_exactly(&[small(1)]).await;
    let (code, said) = output(command(&["service", "remove"]));
    assert_eq!((code, unit.exists()), (0, false), "{said}");
    assert!(fs::read_to_string(&calls).unwrap().contains("--user disable --now findme-watch.service"));
    assert_eq!(output(command(&["service", "remove"])).0, 0, "it is gone already");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_while_a_watcher_runs_and_before_it() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("idle", 1).await;
    let ask = |words: &[&str]| {
        let mut command = laptop.command(&[]);
        command.env("FINDME_TOKEN", &event.token).env("FINDME_SERVER", &event.url).args(words);
        output(command)
    };
    let (code, said) = ask(&["status"]);
    assert_eq!((code, said.contains("received 1, on the way 0")), (0, true), "{said}");
    let before = event.names().await.len();
    let began = std::time::Instant::now();
    let (code, said) = ask(&["doctor", laptop.photos().to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    assert!(began.elapsed().as_secs() < 30, "thirty seconds before the ceremony");
    for looked_at in
        ["can be read", "can be watched", "free for the manifest", "takes the token", "clocks agree", "MB/s", "ready"]
    {
        assert!(said.contains(looked_at), "{looked_at}: {said}");
    }
    assert_eq!(event.names().await.len(), before, "measuring leaves no photo");
    let (code, said) = ask(&["verify", "--deep", laptop.photos().to_str().unwrap()]);
    assert_eq!((code, said.contains("1 of 1 photo (")), (0, true), "{said}");
    assert!(watch.is_running());
    let pages = laptop.place("pages");
    let (code, said) = ask(&["man", pages.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    assert!(fs::read_dir(&pages).unwrap().count() > 5);
    let (code, page) = ask(&["man"]);
    assert!(code == 0 && page.contains(".TH") && page.contains("\\-\\-map"), "{page}");
}
