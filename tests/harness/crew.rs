//! Photographers' machines that upload without end over bad connections: every upload goes on until its receipt is
//! read, whatever happens meanwhile. Some connections are cut in the middle of a body, and some uploads are written by
//! two at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use findme_common::{Digest, EventId, PhotoId};
use tokio::task::JoinSet;

use crate::ledger::{Ledger, Promise};
use crate::support::photos::of_size;
use crate::support::{Event, Random};
use crate::wire::{Answer, Wire, head};

/// How long one upload may take before something is wrong that no patience helps.
const PATIENCE: Duration = Duration::from_secs(300);

/// How the crew behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// Machines at once.
    pub(crate) machines: u64,
    /// Largest usual photo, in kilobytes; one in sixteen is eight times as large.
    pub(crate) kilobytes: u64,
    /// One request in so many is cut off; 0: none.
    pub(crate) cut_one_in: u64,
    /// One request in so many is sent twice at once; 0: none.
    pub(crate) race_one_in: u64,
    /// One request in so many takes its time; 0: none.
    pub(crate) slow_one_in: u64,
}

impl Habits {
    pub(crate) const ROUGH: Self = Self { machines: 6, kilobytes: 300, cut_one_in: 6, race_one_in: 10, slow_one_in: 8 };
}

/// The machines at work.
pub(crate) struct Crew {
    pub(crate) ledger: Ledger,
    stop: Arc<AtomicBool>,
    pub(crate) cuts: Arc<AtomicU64>,
    pub(crate) races: Arc<AtomicU64>,
    at_work: JoinSet<()>,
}

impl Crew {
    /// Begins to upload to the event.
    pub(crate) fn begin(event: &Event, habits: Habits, random: &mut Random) -> Self {
        let mut crew = Self {
            ledger: Ledger::default(),
            stop: Arc::default(),
            cuts: Arc::default(),
            races: Arc::default(),
            at_work: JoinSet::new(),
        };
        for number in 0..habits.machines {
            let machine = Machine {
                address: event.url.clone(),
                token: event.token.clone(),
                event: event.id,
                habits,
                ledger: crew.ledger.clone(),
                random: Random::new(random.next()),
                cuts: crew.cuts.clone(),
                races: crew.races.clone(),
            };
            let stop = crew.stop.clone();
            crew.at_work.spawn(machine.work(number << 32, stop));
        }
        crew
    }

    /// Lets everybody finish the upload that they have.
    pub(crate) async fn finish(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.at_work.join_next().await {
            ended.unwrap();
        }
    }
}

struct Machine {
    address: String,
    token: String,
    event: EventId,
    habits: Habits,
    ledger: Ledger,
    random: Random,
    cuts: Arc<AtomicU64>,
    races: Arc<AtomicU64>,
}

/// One photo on its way.
struct Sending {
    bytes: Vec<u8>,
    digest: Digest,
    photo: PhotoId,
    upload: Option<String>,
    offset: u64,
    /// Whether `offset` is what the server said last.
    sure: bool,
}

impl Machine {
    async fn work(mut self, first: u64, stop: Arc<AtomicBool>) {
        for number in first.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let most = self.habits.kilobytes * if self.one_in(16) { 8 } else { 1 };
            let kilobytes = self.random.between(8, most);
            let bytes = of_size(number, kilobytes as usize);
            self.upload(bytes).await;
        }
    }

    fn one_in(&mut self, of: u64) -> bool {
        of > 0 && self.random.between(0, of) == 0
    }

    async fn upload(&mut self, bytes: Vec<u8>) {
        let digest = Digest::of(&bytes);
        let photo = PhotoId::of(self.event, &digest);
        let mut sending = Sending { bytes, digest, photo, upload: None, offset: 0, sure: false };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(mut wire) = Wire::to(&self.address).await
                && let Ok(true) = self.on_one_connection(&mut wire, &mut sending).await
            {
                return;
            }
            if Instant::now() > deadline {
                self.ledger.fault(format!("{photo} does not arrive"));
                return;
            }
            self.ledger.answered(0);
            sending.sure = false;
            tokio::time::sleep(Duration::from_millis(self.random.between(2, 30))).await;
        }
    }

    /// Goes on until the receipt (`true`) or the end of the connection.
    async fn on_one_connection(&mut self, wire: &mut Wire, sending: &mut Sending) -> io::Result<bool> {
        loop {
            let Some(upload) = sending.upload.clone() else {
                let answer = self.create(wire, sending).await?;
                if self.take_in(&answer, sending) {
                    return Ok(true);
                }
                self.breathe(&answer).await?;
                continue;
            };
            let answer = if sending.sure {
                self.patch(wire, &upload, sending).await?
            } else {
                wire.ask(&head("HEAD", &upload, &self.token, ""), b"").await?
            };
            if self.take_in(&answer, sending) {
                return Ok(true);
            }
            self.breathe(&answer).await?;
        }
    }

    /// A server in need gets a pause; a connection that ends is left.
    async fn breathe(&self, answer: &Answer) -> io::Result<()> {
        if answer.status >= 500 {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        if answer.closes() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    async fn create(&mut self, wire: &mut Wire, sending: &Sending) -> io::Result<Answer> {
        let metadata = [
            ("filename", "DSC_1.JPG".to_owned()),
            ("digest", sending.digest.to_string()),
            ("photo", sending.photo.to_string()),
        ]
        .map(|(key, value)| format!("{key} {}", STANDARD.encode(value)))
        .join(",");
        let more = format!("upload-length: {}\r\nupload-metadata: {metadata}\r\n", sending.bytes.len());
        wire.ask(&head("POST", "/api/uploads", &self.token, &more), b"").await
    }

    async fn patch(&mut self, wire: &mut Wire, upload: &str, sending: &Sending) -> io::Result<Answer> {
        let rest = &sending.bytes[sending.offset as usize..];
        // Usually the rest at once, sometimes in pieces.
        let piece = if self.one_in(3) { &rest[..self.random.between(0, rest.len() as u64 + 1) as usize] } else { rest };
        let more = format!("content-type: application/offset+octet-stream\r\nupload-offset: {}\r\n", sending.offset);
        let head = head("PATCH", upload, &self.token, &more);
        if self.one_in(self.habits.cut_one_in) {
            self.cuts.fetch_add(1, Ordering::Relaxed);
            let sent = self.random.between(0, piece.len() as u64 + 1) as usize;
            wire.send(&head, piece.len(), &piece[..sent]).await?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if self.one_in(self.habits.race_one_in) {
            self.races.fetch_add(1, Ordering::Relaxed);
            return self.race(wire, &head, piece, sending).await;
        }
        if self.one_in(self.habits.slow_one_in) {
            wire.send(&head, piece.len(), b"").await?;
            for part in piece.chunks(piece.len() / 20 + 1) {
                wire.raw(part).await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            return wire.answer(false).await;
        }
        wire.ask(&head, piece).await
    }

    /// The same bytes at the same place, twice at once: only one may be told that it added them.
    async fn race(&mut self, wire: &mut Wire, head: &str, piece: &[u8], sending: &Sending) -> io::Result<Answer> {
        let mut rival = Wire::to(&self.address).await?;
        let (mine, other) = tokio::join!(wire.ask(head, piece), rival.ask(head, piece));
        if let (Ok(mine), Ok(other)) = (&mine, &other)
            && (mine.status, other.status) == (204, 204)
            && !piece.is_empty()
        {
            self.ledger.fault(format!("{} grew twice at {}", sending.photo, sending.offset));
        }
        match (mine, other) {
            (Ok(mine), Ok(other)) if other.status == 204 && mine.status != 204 => Ok(other),
            (mine, _) => mine,
        }
    }

    /// Believes an answer; `true` when it is the receipt.
    fn take_in(&mut self, answer: &Answer, sending: &mut Sending) -> bool {
        self.ledger.answered(answer.status);
        sending.sure = false;
        match answer.status {
            200 | 201 | 204 => {
                if answer.status == 201 {
                    sending.upload = answer.header("location").map(str::to_owned);
                }
                let Some(upload) = sending.upload.clone() else { return false };
                let Some(offset) = answer.number("upload-offset") else {
                    self.ledger.fault(format!("{} without an offset for {upload}", answer.status));
                    return false;
                };
                if let Some(receipt) = answer.header("repr-digest") {
                    if receipt != sending.digest.to_repr_digest() || offset != sending.bytes.len() as u64 {
                        self.ledger.fault(format!("a wrong receipt for {}: {receipt} at {offset}", sending.photo));
                    }
                    let promise = Promise { digest: sending.digest, bytes: offset };
                    self.ledger.receipt(sending.photo, promise, &upload);
                    return true;
                }
                self.ledger.offset(&upload, offset);
                (sending.offset, sending.sure) = (offset, true);
            }
            404 | 410 => {
                if let Some(upload) = sending.upload.take() {
                    self.ledger.gone(&upload);
                }
            }
            460 => self.ledger.fault(format!("{}: 460 for bytes that were right", sending.photo)),
            400..500 if answer.status != 409 => {
                // A body that broke off may be answered before the break is noticed; anything else is a fault.
                let said = String::from_utf8_lossy(&answer.body).into_owned();
                if !said.contains("broke off") {
                    self.ledger.fault(format!("{}: {} {said}", sending.photo, answer.status));
                }
            }
            _ => {}
        }
        false
    }
}

/// One small photo; panics unless there is a receipt.
pub(crate) async fn upload(wire: &mut Wire, event: &Event, bytes: &[u8]) -> PhotoId {
    let digest = Digest::of(bytes);
    let metadata = format!("digest {}", STANDARD.encode(digest.to_string()));
    let more = format!(
        "upload-length: {}\r\nupload-metadata: {metadata}\r\ncontent-type: application/offset+octet-stream\r\n",
        bytes.len()
    );
    loop {
        let answer: Answer = wire.ask(&head("POST", "/api/uploads", &event.token, &more), bytes).await.unwrap();
        if answer.status == 429 {
            tokio::time::sleep(Duration::from_secs(answer.number("retry-after").unwrap_or(1))).await;
            continue;
        }
        let receipt = answer.header("repr-digest") == Some(digest.to_repr_digest().as_str());
        assert!(receipt, "{} {}", answer.status, String::from_utf8_lossy(&answer.body));
        return PhotoId::of(event.id, &digest);
    }
}
