//! What the server has promised: every photo whose receipt was read, every offset that was answered. Whatever happens
//! to the server afterwards is compared with this.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use findme_common::{Digest, EventId, PhotoId};
use tokio::io::AsyncReadExt;

/// One photo of which a receipt was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promise {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

#[derive(Debug, Default)]
struct Book {
    photos: BTreeMap<PhotoId, Promise>,
    /// Unfinished uploads (their paths) by the highest offset that was answered.
    offsets: BTreeMap<String, u64>,
    /// Answers by status; 0: the connection broke first.
    answers: BTreeMap<u16, u64>,
    /// What must never be: one line each.
    faults: Vec<String>,
}

/// Shared by all who upload.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

impl Ledger {
    /// Only these promises.
    pub(crate) fn of(photos: &BTreeMap<PhotoId, Promise>) -> Self {
        Self(Arc::new(Mutex::new(Book { photos: photos.clone(), ..Book::default() })))
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().expect("whoever holds it cannot panic")
    }

    pub(crate) fn receipt(&self, photo: PhotoId, promise: Promise, upload: &str) {
        let mut book = self.book();
        book.offsets.remove(upload);
        book.photos.insert(photo, promise);
    }

    /// An offset was answered; one that is less than was promised before is a fault.
    pub(crate) fn offset(&self, upload: &str, offset: u64) {
        let mut book = self.book();
        let known = book.offsets.entry(upload.to_owned()).or_default();
        let before = std::mem::replace(known, offset.max(*known));
        if offset < before {
            book.faults.push(format!("{upload} stood at {before} and stands at {offset}"));
        }
    }

    /// An upload is not known any more: a fault when bytes were promised.
    pub(crate) fn gone(&self, upload: &str) {
        let mut book = self.book();
        match book.offsets.remove(upload) {
            Some(promised) if promised > 0 => book.faults.push(format!("{upload} stood at {promised} and is gone")),
            _ => {}
        }
    }

    pub(crate) fn answered(&self, status: u16) {
        *self.book().answers.entry(status).or_default() += 1;
    }

    pub(crate) fn fault(&self, what: String) {
        self.book().faults.push(what);
    }

    pub(crate) fn photos(&self) -> BTreeMap<PhotoId, Promise> {
        self.book().photos.clone()
    }

    pub(crate) fn offsets(&self) -> BTreeMap<String, u64> {
        self.book().offsets.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.book().photos.len()
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.book().faults.clone()
    }

    pub(crate) fn answers_of(&self, status: u16) -> u64 {
        self.book().answers.get(&status).copied().unwrap_or(0)
    }

    /// Answers by status, in words.
    pub(crate) fn answers(&self) -> String {
        let words: Vec<_> = self.book().answers.iter().map(|(status, count)| format!("{status}×{count}")).collect();
        words.join(" ")
    }
}

/// What became of promises.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kept: u64,
    pub(crate) lost: u64,
    pub(crate) damaged: u64,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} kept, {} lost, {} damaged", self.kept, self.lost, self.damaged)
    }
}

/// Reads the files of promised photos in a data folder and compares their digests.
pub(crate) async fn files(data: &Path, event: EventId, promises: &BTreeMap<PhotoId, Promise>) -> Verdict {
    let mut verdict = Verdict::default();
    let folder = data.join("photos").join(event.to_simple());
    for (photo, promise) in promises {
        match digest_of(&folder.join(photo.to_simple())).await {
            None => verdict.lost += 1,
            Some(found) if found == (promise.digest, promise.bytes) => verdict.kept += 1,
            Some(_) => verdict.damaged += 1,
        }
    }
    verdict
}

async fn digest_of(path: &Path) -> Option<(Digest, u64)> {
    let mut file = tokio::fs::File::open(path).await.ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await.ok()?;
    Some((Digest::of(&bytes), bytes.len() as u64))
}
