//! tus-js-client and tuspy upload through a line that is cut at random offsets and loses answers; they go on until they
//! are done, and every byte is there, once.

use std::collections::BTreeMap;
use std::time::Instant;

use findme_common::Digest;

use crate::foreign::{self, Foreign};
use crate::support::chaos::{Fault, Line};
use crate::support::photos::of_size;
use crate::support::{Event, Random, Server, say};

/// Files in one run of a driver.
const BATCH: u64 = 20;

/// Until the clients together went on so often from inside a file after they had been cut off, half of it each.
pub(crate) async fn run(cuts: u64, mut random: Random) {
    let server = Server::start().await;
    let node = Foreign::node(&["tus-js-client@4"]);
    one(&server, &node, "tus_js.mjs", &["4"], cuts / 2, &mut random).await;
    let python = Foreign::python(&["tuspy"]);
    one(&server, &python, "tus_py.py", &[], cuts - cuts / 2, &mut random).await;
    server.assert_no_faults();
}

async fn one(server: &Server, client: &Foreign, script: &str, options: &[&str], wanted: u64, random: &mut Random) {
    let event = server.create_event(script);
    let line = bad_line(server.url(), Random::new(random.next())).await;
    let (began, mut sent, mut retries, mut resumes) = (Instant::now(), BTreeMap::new(), 0, 0);
    for batch in 0.. {
        if resumes >= wanted {
            break;
        }
        assert!(batch < 200, "only {resumes} resumes after {} cuts", line.cuts());
        let folder = tempfile::tempdir().unwrap();
        for number in 0..BATCH {
            let bytes = of_size(batch * BATCH + number, random.between(200, 2000) as usize);
            std::fs::write(folder.path().join(format!("{number:04}.jpg")), &bytes).unwrap();
            sent.insert(Digest::of(&bytes), bytes.len() as u64);
        }
        let mut command = client.driver(script);
        command.args([&format!("{}/api/uploads", line.url()), &event.token]).args(options);
        command.args(foreign::files_in(folder.path()));
        let said = foreign::output(command).await;
        retries += said["retries"].as_u64().unwrap();
        resumes += said["resumes"].as_u64().unwrap();
    }
    let damaged = compare(&event, &sent).await;
    say(&format!(
        "{script}: {} files, {} connections cut or answers lost, {retries} retries, {resumes} of them resumes inside the \
         file, {:.0} s; all there once, {damaged} damaged",
        sent.len(),
        line.cuts(),
        began.elapsed().as_secs_f32()
    ));
    assert_eq!(damaged, 0);
}

/// Most connections are cut after some of an upload; some lose an answer.
async fn bad_line(target: String, mut random: Random) -> Line {
    Line::to(target, move || match random.between(0, 8) {
        0 | 1 => Fault::None,
        2 => Fault::SwallowAnswer,
        _ => Fault::CutAfter(random.between(300, 900_000)),
    })
    .await
}

/// Everything that was sent is there once; how many are not the same bytes.
async fn compare(event: &Event, sent: &BTreeMap<Digest, u64>) -> usize {
    let names = event.names().await;
    assert_eq!(names.len(), sent.len(), "photos on the server, and files sent");
    let mut damaged = 0;
    for name in &names {
        let answer = event.request(reqwest::Method::GET, &format!("/api/photo/{}", name.id)).send().await.unwrap();
        let bytes = answer.bytes().await.unwrap();
        let digest = Digest::of(&bytes);
        damaged +=
            usize::from(!sent.contains_key(&digest) || digest != name.digest || bytes.len() as u64 != name.bytes);
    }
    let unique: std::collections::BTreeSet<_> = names.iter().map(|name| name.digest).collect();
    assert_eq!(unique.len(), sent.len(), "something is there twice");
    damaged
}
