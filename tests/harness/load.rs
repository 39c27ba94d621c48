//! Many clients at once: large uploads side by side, and more small ones a second than the disk can take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use findme_common::digest::Hasher;
use findme_common::{Digest, PhotoId};
use tokio::task::JoinSet;

use crate::figures::UNLIMITED;
use crate::figures::{Memory, Times};
use crate::support::{Event, Random, Server, say};
use crate::wire::{Answer, Wire, head};

/// Bytes that nobody takes for a photo, so that the indexer does not count here; any number of files of the same length
/// differ in their last bytes only, so that making and hashing them costs nothing.
#[derive(Clone)]
pub(crate) struct Noise {
    shared: Arc<Vec<u8>>,
    hasher: Hasher,
}

impl Noise {
    pub(crate) fn of(bytes: usize, random: &mut Random) -> Self {
        let mut shared = vec![0; bytes - 16];
        shared.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]));
        let mut hasher = Hasher::new();
        hasher.update(&shared);
        Self { shared: Arc::new(shared), hasher }
    }

    pub(crate) fn len(&self) -> usize {
        self.shared.len() + 16
    }

    fn digest(&self, tail: &[u8; 16]) -> Digest {
        let mut hasher = self.hasher.clone();
        hasher.update(tail);
        hasher.finish()
    }
}

fn creation(event: &Event, digest: &Digest, length: usize, more: &str) -> String {
    let photo = PhotoId::of(event.id, digest).to_string();
    let metadata = [("filename", "noise.jpg"), ("digest", &digest.to_string()), ("photo", &photo)]
        .map(|(key, value)| format!("{key} {}", STANDARD.encode(value)))
        .join(",");
    let more = format!("upload-length: {length}\r\nupload-metadata: {metadata}\r\n{more}");
    head("POST", "/api/uploads", &event.token, &more)
}

fn is_receipt(answer: &Answer, digest: &Digest) -> bool {
    answer.header("repr-digest").is_some_and(|receipt| receipt == digest.to_repr_digest())
}

/// One upload by two requests; the status of the last answer, and whether it was the receipt.
pub(crate) async fn send(
    wire: &mut Wire,
    event: &Event,
    noise: &Noise,
    tail: [u8; 16],
) -> std::io::Result<(u16, bool)> {
    let digest = noise.digest(&tail);
    let created = wire.ask(&creation(event, &digest, noise.len(), ""), b"").await?;
    let Some(upload) = created.header("location") else { return Ok((created.status, false)) };
    let more = "content-type: application/offset+octet-stream\r\nupload-offset: 0\r\n";
    wire.send(&head("PATCH", upload, &event.token, more), noise.len(), &noise.shared).await?;
    wire.raw(&tail).await?;
    let answer = wire.answer(false).await?;
    Ok((answer.status, is_receipt(&answer, &digest)))
}

/// Tells the files of one run apart.
pub(crate) fn tail(number: u64) -> [u8; 16] {
    let mut tail = [0; 16];
    tail[..8].copy_from_slice(&number.to_le_bytes());
    tail
}

/// `clients` at once, each with one upload of `megabytes`.
pub(crate) async fn large(clients: u64, megabytes: u64, mut random: Random) {
    let server = Server::start_with(&UNLIMITED).await;
    let event = server.create_event("large");
    let idle = Memory::of(server.pid());
    let noise = Noise::of((megabytes as usize) << 20, &mut random);
    let began = Instant::now();
    let mut at_work = JoinSet::new();
    for number in 0..clients {
        let (event, noise) = (event.clone(), noise.clone());
        at_work.spawn(async move {
            let began = Instant::now();
            let mut wire = Wire::to(&event.url).await?;
            let (status, received) = send(&mut wire, &event, &noise, tail(number)).await?;
            std::io::Result::Ok((status, received, began.elapsed()))
        });
    }
    let (mut times, mut answers) = (Times::default(), BTreeMap::<String, u64>::new());
    while let Some(ended) = at_work.join_next().await {
        let word = match ended.unwrap() {
            Ok((_, true, time)) => {
                times.add(time);
                "receipt".to_owned()
            }
            Ok((status, false, _)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        *answers.entry(word).or_default() += 1;
    }
    let took = began.elapsed().as_secs_f64();
    let memory = Memory::of(server.pid());
    say(&format!(
        "{clients} clients × {megabytes} MiB at once: {took:.1} s, {:.0} MiB/s, {times}; {answers:?}; idle {idle}; then {memory}",
        (clients * megabytes) as f64 / took
    ));
    assert_eq!(times.count() as u64, clients, "not everybody has a receipt");
    server.assert_no_faults();
}

/// So many uploads a second are begun, whatever happens to those before, for so many seconds; each is one request.
pub(crate) async fn small(rate: u64, seconds: u64, kilobytes: u64, mut random: Random) {
    let server = Server::start_with(&UNLIMITED).await;
    let event = server.create_event("small");
    let noise = Noise::of((kilobytes as usize) << 10, &mut random);
    let (began, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut at_work = JoinSet::new();
    for _ in 0..100 {
        at_work.spawn(connection(event.clone(), noise.clone(), next.clone(), began, rate, rate * seconds));
    }
    let (mut waited, mut served, mut answers) = (Times::default(), Times::default(), BTreeMap::<String, u64>::new());
    while let Some(ended) = at_work.join_next().await {
        let one = ended.unwrap();
        waited.extend(one.0);
        served.extend(one.1);
        for (word, count) in one.2 {
            *answers.entry(word).or_default() += count;
        }
    }
    let took = began.elapsed().as_secs_f64();
    say(&format!(
        "{rate} uploads/s of {kilobytes} KiB attempted for {seconds} s over 100 connections: {:.0}/s acknowledged, all after \
         {took:.1} s; from request to receipt {served}; from when it was due {waited}; {answers:?}; {}",
        served.count() as f64 / took,
        Memory::of(server.pid())
    ));
    assert_eq!(event.names().await.len(), served.count(), "photos, and receipts");
    server.assert_no_faults();
}

type Seen = (Times, Times, BTreeMap<String, u64>);

async fn connection(event: Event, noise: Noise, next: Arc<AtomicU64>, began: Instant, rate: u64, all: u64) -> Seen {
    let mut seen = Seen::default();
    let mut wire = Wire::to(&event.url).await.unwrap();
    // What is not answered a while after the last was due is given up.
    let end = began + Duration::from_secs_f64(all as f64 / rate as f64) + Duration::from_secs(60);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let due = began + Duration::from_secs_f64(number as f64 / rate as f64);
        if number >= all || Instant::now() > end {
            return seen;
        }
        tokio::time::sleep_until(due.into()).await;
        let (tail, asked) = (tail(number), Instant::now());
        let digest = noise.digest(&tail);
        let more = "content-type: application/offset+octet-stream\r\n";
        let bytes = [noise.shared.as_slice(), &tail].concat();
        let word = match wire.ask(&creation(&event, &digest, noise.len(), more), &bytes).await {
            Ok(answer) if is_receipt(&answer, &digest) => {
                seen.0.add(due.elapsed());
                seen.1.add(asked.elapsed());
                "receipt".to_owned()
            }
            Ok(answer) => answer.status.to_string(),
            Err(error) => {
                wire = Wire::to(&event.url).await.unwrap();
                error.to_string()
            }
        };
        *seen.2.entry(word).or_default() += 1;
    }
}
