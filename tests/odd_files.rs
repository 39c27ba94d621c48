//! Every odd file ends in its own word, none stops the others, and none makes the server fail.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use findme_common::protocol::PhotoState;

use crate::support::photos::{of_size, small};
use crate::support::{Laptop, Random, Server, asset, not_tested, say};

#[tokio::test(flavor = "multi_thread")]
async fn every_odd_file_gets_its_word_and_stops_no_other() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let mut expected: Vec<(PathBuf, &str)> = Vec::new();
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        small(number)
    };
    for n in 0..5 {
        expected.push((laptop.put(format!("DSC_{n}.JPG"), &fresh()), "uploaded"));
    }
    let whole = of_size(1000, 30);
    expected.push((laptop.put("truncated.jpg", &small(1001)[..4000]), "failed:truncated"));
    expected.push((laptop.put("headless.jpg", &whole[100..]), "skipped:not-a-photo"));
    expected.push((laptop.put("text.jpg", b"this is no photo, whatever its name says"), "skipped:not-a-photo"));
    expected.push((laptop.put("empty.jpg", b""), "skipped:empty"));
    expected.push((laptop.put("notes.txt", b"x"), "skipped:not-a-photo"));
    expected.push((laptop.put("DSC_0.xmp", b"<x/>"), "skipped:sidecar"));
    expected.push((laptop.put(".DSC_1.JPG", &fresh()), "skipped:hidden"));
    expected.push((laptop.put("DSC_9.jpg.part", &fresh()), "skipped:temporary-name"));
    expected.push((laptop.put("DSC_0.NEF", b"II*\0\x08\0\0\0\0\0\0\0\0\0"), "skipped:raw-of-pair"));
    expected.push((laptop.put("alone.NEF", b"II*\0\x08\0\0\0\0\0\0\0\0\0"), "skipped:raw-without-preview"));
    // A phone's HEIC under a JPEG's name is a photo all the same; so is one that cannot be decoded here.
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x0cmeta\0\0\0\0".to_vec();
    expected.push((laptop.put("phone.heic", &heic), "uploaded"));
    expected.push((laptop.put("phone.jpg", &[heic.as_slice(), b"\0\0\0\x08free"].concat()), "uploaded"));
    for name in
        ["with space.jpg", "quotes \"' and \\.jpg", "new\nline.jpg", "ümläut 😀.jpg", "percent%20.jpg", "-x.jpg"]
    {
        expected.push((laptop.put(name, &fresh()), "uploaded"));
    }
    let not_unicode = OsString::from_vec(b"caf\xe9 \xff.jpg".to_vec());
    expected.push((laptop.put(not_unicode, &fresh()), "uploaded"));
    let link = laptop.photos().join("link.jpg");
    std::os::unix::fs::symlink(laptop.photos().join("DSC_0.JPG"), &link).unwrap();
    let socket = laptop.photos().join("socket.jpg");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    expected.push((socket, "skipped:special-file"));
    let unreadable = laptop.put("no permission.jpg", &fresh());
    std::fs::set_permissions(&unreadable, std::fs::Permissions::from_mode(0o000)).unwrap();

    let without_privilege = Unprivileged::find();
    let mut command = match without_privilege {
        Unprivileged::Already => laptop.command(&[]),
        Unprivileged::BySetpriv => laptop.command(&["setpriv", SETPRIV_NO_OVERRIDE, "--"]),
        Unprivileged::Not => laptop.command(&[]),
    };
    laptop.add_event(&mut command, &event);
    command.arg("--once");
    let run = laptop.start(command).end().await;

    run.assert_exit(3);
    for (path, word) in &expected {
        assert_eq!(run.word(path), *word, "{path:?}");
    }
    let link = link.to_str().unwrap();
    let linked = run.lines.iter().find(|line| line["path"] == link).expect("a word about the link");
    assert_eq!((linked["type"].as_str(), linked["reason"].as_str()), (Some("skipped"), Some("symlink")));
    match without_privilege {
        Unprivileged::Not => not_tested("running as root without setpriv: every file can be read"),
        _ => assert_eq!(run.word(&unreadable), "failed:cannot-be-read"),
    }
    let words = run.words();
    assert_eq!(run.total("failed") as usize, words.values().filter(|word| word.starts_with("failed")).count());
    assert_eq!(run.total("left"), 0);

    // On the server: what came is there, and what is no photo to it says so.
    let counts = event.rest().await;
    let uploaded = words.values().filter(|word| *word == "uploaded").count() as u64;
    assert_eq!(counts.received + counts.indexed + counts.failed, uploaded);
    for item in event.photos().await {
        let phone = item.name.starts_with("phone");
        assert_eq!(item.state == PhotoState::Failed, phone, "{}: {:?} {:?}", item.name, item.state, item.reason);
        assert_eq!(item.reason.is_some(), phone);
    }
    server.assert_no_faults();
    // Mended, everything is sent; what was right stays as it is.
    std::fs::set_permissions(&unreadable, std::fs::Permissions::from_mode(0o644)).unwrap();
    laptop.put("truncated.jpg", &small(1001));
    let again = laptop.once(&event).await;
    again.assert_exit(0);
    assert_eq!(again.word(&laptop.photos().join("truncated.jpg")), "uploaded");
    assert_eq!(again.total("failed"), 0);
}

/// Drops root's right to read what nobody may read; the watcher stays root otherwise.
const SETPRIV_NO_OVERRIDE: &str = "--bounding-set=-dac_override,-dac_read_search";

/// How a file without read permission becomes unreadable: root reads everything.
#[derive(Clone, Copy)]
enum Unprivileged {
    Already,
    BySetpriv,
    Not,
}

impl Unprivileged {
    fn find() -> Self {
        let me = Command::new("id").arg("-u").output().unwrap();
        if me.stdout != b"0\n" {
            return Self::Already;
        }
        let works = Command::new("setpriv").args([SETPRIV_NO_OVERRIDE, "--", "true"]).status();
        if works.is_ok_and(|status| status.success()) {
            say("odd files: root without CAP_DAC_OVERRIDE, by setpriv");
            return Self::BySetpriv;
        }
        Self::Not
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_photos_of_every_kind_are_stored_and_shown() {
    let (Some(photos), Some(models)) = (asset("photos"), asset("models")) else { return };
    let server = Server::start_with_models(&models).await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let mut sent = 0;
    for folder in ["groups", "exif_orientation", "camera", "heic_raw", "exif_face"] {
        for entry in std::fs::read_dir(photos.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            laptop.put(format!("{folder}/{name}"), &std::fs::read(&path).unwrap());
            sent += 1;
        }
    }
    laptop.put("no face.jpg", &of_size(1, 40));
    sent += 1;
    let run = laptop.once(&event).await;
    run.assert_exit(0);
    let (uploaded, raw) =
        (run.said("uploaded"), run.words().values().filter(|word| *word == "skipped:raw-without-preview").count());
    assert_eq!(uploaded + run.said("duplicate") + raw, sent, "{:#?}", run.words());
    assert_eq!(raw, 1, "the DNG has no picture of a useful size inside");

    let mut failed = Vec::new();
    for item in event.photos().await {
        let decodable = ["jpg", "png", "webp"].iter().any(|ending| item.name.ends_with(ending));
        match item.state {
            PhotoState::Received => panic!("{} was not indexed", item.name),
            PhotoState::Failed => {
                assert!(!decodable, "{} failed: {:?}", item.name, item.reason);
                failed.push((item.name, item.reason.expect("a reason")));
            }
            PhotoState::Indexed => {
                let (width, height) = (item.width.unwrap(), item.height.unwrap());
                // All eight are stored differently and shown alike.
                if item.name.starts_with("Landscape_") {
                    assert!(width > height, "{}: {width} × {height}", item.name);
                }
                if item.name.starts_with("Portrait_") {
                    assert!(height > width, "{}: {width} × {height}", item.name);
                }
            }
        }
    }
    say(&format!("stored, not decodable here: {failed:?}"));
    server.assert_no_faults();
}

/// What `--similar` says of a burst of three frames, another view, and an edit.
#[tokio::test(flavor = "multi_thread")]
async fn frames_of_a_burst_are_left_out_only_when_that_is_asked_for() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let frames = [1_u64, 2, 3].map(|n| burst(n, false));
    for (n, frame) in frames.iter().enumerate() {
        laptop.put(format!("DSC_{n}.JPG"), frame);
    }
    let other = burst(4, true);
    laptop.put("DSC_9.JPG", &other);
    let with = async |what: &str| {
        let mut command = laptop.for_event(&event);
        command.args(["--once", "--order", "oldest", "--similar", what]);
        laptop.start(command).end().await
    };
    let run = with("skip").await;
    run.assert_exit(0);
    let left_out = run.words().values().filter(|word| *word == "skipped:similar").count();
    assert_eq!((run.said("uploaded"), left_out, run.total("similar")), (2, 2, 2), "{:#?}", run.words());
    assert!(run.complaints.contains("is nearly the same as"), "{}", run.complaints);
    assert_eq!(event.names().await.len(), 2);
    let again = with("skip").await;
    assert_eq!((again.said("uploaded"), again.total("skipped")), (0, 2));
    // Nothing was moved or deleted; without the wish, or when it is only to tell, all of them go.
    let run = with("report").await;
    run.assert_exit(0);
    assert_eq!((run.said("uploaded"), run.total("similar")), (2, 2));
    event.assert_holds_exactly(&[&frames[..], &[other]].concat()).await;
    assert!(laptop.manifest(&event).photos.iter().all(|photo| photo.look.is_some()));
}

/// A picture with a bright half, left or right, and grain of its own.
fn burst(number: u64, right: bool) -> Vec<u8> {
    let (width, height) = (360_u16, 240_u16);
    let mut random = Random::new(number);
    let pixels: Vec<u8> = (0..u32::from(width) * u32::from(height))
        .map(|at| {
            let x = at % u32::from(width);
            let x = if right { u32::from(width) - x } else { x };
            (x / 2 + (random.next() >> 62) as u32) as u8
        })
        .collect();
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, 88).encode(&pixels, width, height, jpeg_encoder::ColorType::Luma).unwrap();
    bytes
}
