//! The journal beside the snapshot: one line for each change, appended, never rewritten.
//!
//! A line carries its sequence number, the generation of the snapshot that it follows, and a CRC-32 of itself. What was
//! cut off at the end was never promised to anybody and is dropped; anything else that does not add up is damage and is
//! refused. Appending costs the same whatever the manifest holds; syncs are shared by everyone who waits.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use findme_common::manifest;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// How long a line that nobody waits for may stay unsynced.
const LAZY_SYNC: Duration = Duration::from_millis(50);

/// What one line records: the entry as it is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Record {
    Photo(manifest::Photo),
    File(manifest::File),
}

/// `,"crc":"` + 8 digits + `"}`
const CRC_LEN: usize = 8 + 8 + 2;

#[derive(Deserialize)]
struct Line {
    seq: u64,
    #[serde(rename = "gen")]
    generation: u64,
    photo: Option<manifest::Photo>,
    file: Option<manifest::File>,
    #[serde(rename = "crc")]
    _crc: String,
}

/// The line for a record, with its line end.
pub(crate) fn encode(generation: u64, seq: u64, record: &Record) -> Vec<u8> {
    let body = serde_json::to_string(record).expect("records have only text keys and cannot fail to serialise");
    // The record is `{"photo":{…}}`; its member goes into the line's own object.
    let mut line = format!("{{\"seq\":{seq},\"gen\":{generation},{}", &body[1..body.len() - 1]).into_bytes();
    let crc = crc32fast::hash(&line);
    line.extend_from_slice(format!(",\"crc\":\"{crc:08x}\"}}\n").as_bytes());
    line
}

/// Reads one line without its line end; `None` when its checksum or form is wrong.
fn decode(line: &[u8]) -> Option<(u64, u64, Record)> {
    let (body, crc) = line.split_at_checked(line.len().checked_sub(CRC_LEN)?)?;
    if format!(",\"crc\":\"{:08x}\"}}", crc32fast::hash(body)).as_bytes() != crc {
        return None;
    }
    let line: Line = serde_json::from_slice(line).ok()?;
    let record = match (line.photo, line.file) {
        (Some(photo), None) => Record::Photo(photo),
        (None, Some(file)) => Record::File(file),
        _ => return None,
    };
    Some((line.generation, line.seq, record))
}

/// What reading a journal ends in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Replayed {
    /// These many bytes and lines are good and follow the snapshot; what came behind was cut off in writing.
    Good { bytes: u64, lines: u64 },
    /// The journal precedes the snapshot, which contains it already.
    Stale,
    /// A line is damaged although good ones follow it, or the numbers do not add up.
    Damaged { line: u64 },
}

/// Reads the journal that follows the snapshot `generation` and hands over its records in order.
///
/// # Errors
/// When the file cannot be read, or `apply` refuses a record.
pub(crate) fn replay(
    reader: impl io::Read,
    generation: u64,
    mut apply: impl FnMut(Record) -> io::Result<()>,
) -> io::Result<Replayed> {
    let mut reader = BufReader::with_capacity(256 * 1024, reader);
    let (mut bytes, mut lines, mut stale, mut number) = (0, 0, false, 0);
    let mut bad_at = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(if stale { Replayed::Stale } else { Replayed::Good { bytes, lines } });
        }
        number += 1;
        let good = line.strip_suffix(b"\n").and_then(decode);
        match (good, bad_at) {
            (None, None) => bad_at = Some(number),
            (None, Some(_)) => {}
            (Some(_), Some(line)) => return Ok(Replayed::Damaged { line }),
            (Some((of, _, _)), None) if of < generation && lines == 0 => stale = true,
            (Some((of, seq, record)), None) => {
                if stale || of != generation || seq != lines + 1 {
                    return Ok(Replayed::Damaged { line: number });
                }
                apply(record)?;
                lines += 1;
                bytes += read as u64;
            }
        }
    }
}

/// Every line that is good, with the generation that it follows, whatever lies between them.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn salvage(reader: impl io::Read) -> io::Result<Vec<(u64, Record)>> {
    let mut reader = BufReader::with_capacity(256 * 1024, reader);
    let (mut good, mut line) = (Vec::new(), Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        let record = line.strip_suffix(b"\n").and_then(decode);
        good.extend(record.map(|(generation, _, record)| (generation, record)));
        line.clear();
    }
    Ok(good)
}

/// The manifest could not be written; nothing may be promised any more.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the manifest cannot be written: {0}")]
pub(crate) struct WriteError(Arc<io::Error>);

impl WriteError {
    pub(crate) fn new(error: io::Error) -> Self {
        Self(Arc::new(error))
    }
}

/// Resolves when the line is on stable storage.
#[derive(Debug)]
pub(crate) enum Durable {
    /// There is nothing to wait for.
    Done(Result<(), WriteError>),
    /// The writer answers.
    Waiting(oneshot::Receiver<Result<(), WriteError>>),
}

impl Durable {
    /// Waits until the line is on stable storage.
    pub(crate) async fn wait(self) -> Result<(), WriteError> {
        match self {
            Self::Done(result) => result,
            Self::Waiting(answer) => answer.await.unwrap_or_else(|_| Err(ended())),
        }
    }
}

fn ended() -> WriteError {
    WriteError::new(io::Error::other("its writer has ended"))
}

enum Command {
    Append { line: Vec<u8>, done: Option<oneshot::Sender<Result<(), WriteError>>> },
    Reset { done: Sender<Result<(), WriteError>> },
}

/// The journal, open for appending; its own thread writes and syncs.
#[derive(Debug)]
pub(crate) struct Journal {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens the file and cuts it to its good part.
    ///
    /// # Errors
    /// When the file cannot be opened, cut or synced.
    pub(crate) fn open(path: &Path, good_bytes: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() != good_bytes {
            file.set_len(good_bytes)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::Start(good_bytes))?;
        let (commands, received) = channel();
        let thread = std::thread::Builder::new()
            .name("manifest-journal".into())
            .spawn(move || Writer { file, dirty: false, broken: None }.run(&received))?;
        Ok(Self { commands: Some(commands), thread: Some(thread) })
    }

    /// Appends a line that nobody waits for; it is synced soon.
    pub(crate) fn append(&self, line: Vec<u8>) {
        self.send(Command::Append { line, done: None });
    }

    /// Appends a line; the answer resolves when it is on stable storage, and everything before it.
    pub(crate) fn append_durably(&self, line: Vec<u8>) -> Durable {
        let (done, wait) = oneshot::channel();
        self.send(Command::Append { line, done: Some(done) });
        Durable::Waiting(wait)
    }

    /// Empties the journal, after a snapshot that contains it is on stable storage. Blocks.
    pub(crate) fn reset(&self) -> Result<(), WriteError> {
        let (done, answer) = channel();
        self.send(Command::Reset { done });
        answer.recv().unwrap_or_else(|_| Err(ended()))
    }

    fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // A writer that has ended drops the command's `done`, which is how the caller learns of it.
            let _ = commands.send(command);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    file: File,
    dirty: bool,
    /// The first error. After a failed sync the kernel may have dropped the data and would call the next sync a
    /// success, so nothing is written after it.
    broken: Option<WriteError>,
}

impl Writer {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let first = if self.dirty {
                match commands.recv_timeout(LAZY_SYNC) {
                    Ok(command) => command,
                    Err(RecvTimeoutError::Timeout) => {
                        self.sync();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            } else {
                match commands.recv() {
                    Ok(command) => command,
                    Err(_) => break,
                }
            };
            let mut waiting = Vec::new();
            let mut reset = None;
            let mut lines = Vec::new();
            for command in std::iter::once(first).chain(commands.try_iter().take(1024)) {
                match command {
                    Command::Append { line, done } => {
                        lines.extend_from_slice(&line);
                        waiting.extend(done);
                    }
                    Command::Reset { done } => {
                        reset = Some(done);
                        break;
                    }
                }
            }
            self.write(&lines);
            if !waiting.is_empty() || reset.is_some() {
                self.sync();
            }
            for done in waiting {
                let _ = done.send(self.outcome());
            }
            if let Some(done) = reset {
                self.attempt(|file| {
                    file.set_len(0)?;
                    file.seek(SeekFrom::Start(0))?;
                    file.sync_all()
                });
                let _ = done.send(self.outcome());
            }
        }
        self.sync();
    }

    fn write(&mut self, lines: &[u8]) {
        if !lines.is_empty() {
            self.attempt(|file| file.write_all(lines));
            self.dirty = true;
        }
    }

    fn sync(&mut self) {
        if self.dirty {
            self.attempt(|file| file.sync_data());
            self.dirty = false;
        }
    }

    fn attempt(&mut self, what: impl FnOnce(&mut File) -> io::Result<()>) {
        if self.broken.is_none() {
            self.broken = what(&mut self.file).err().map(WriteError::new);
        }
    }

    fn outcome(&self) -> Result<(), WriteError> {
        self.broken.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use findme_common::Digest;
    use findme_common::manifest::{Photo, PhotoState};

    use super::*;

    fn record(n: u64) -> Record {
        let state = PhotoState::Announced { upload: Some(format!("/api/uploads/{n}").into()) };
        Record::Photo(Photo {
            digest: Digest::of(&n.to_le_bytes()),
            bytes: n,
            image: None,
            shot: None,
            replaces: None,
            preview: None,
            look: None,
            state,
        })
    }

    fn lines(generation: u64, count: u64) -> Vec<u8> {
        (1..=count).flat_map(|seq| encode(generation, seq, &record(seq))).collect()
    }

    fn read(bytes: &[u8], generation: u64) -> (Replayed, Vec<Record>) {
        let mut records = Vec::new();
        let result = replay(bytes, generation, |record| {
            records.push(record);
            Ok(())
        });
        (result.unwrap(), records)
    }

    #[test]
    fn every_prefix_opens_with_exactly_its_whole_lines() {
        let bytes = lines(7, 5);
        for cut in 0..=bytes.len() {
            let whole = bytes[..cut].iter().filter(|b| **b == b'\n').count() as u64;
            let (result, records) = read(&bytes[..cut], 7);
            let good = bytes[..cut].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) as u64;
            assert_eq!(result, Replayed::Good { bytes: good, lines: whole }, "cut at {cut}");
            assert_eq!(records, (1..=whole).map(record).collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_single_flipped_bit_goes_unnoticed() {
        let bytes = lines(7, 3);
        let last_line = bytes[..bytes.len() - 1].iter().rposition(|b| *b == b'\n').unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (result, records) = read(&damaged, 7);
            match result {
                // At the end it cannot be told from a cut and is dropped; before it, it is damage.
                Replayed::Good { lines, .. } => {
                    assert!(bit / 8 >= last_line, "bit {bit} was taken for a cut");
                    assert!(lines < 3);
                }
                Replayed::Damaged { .. } => assert!(bit / 8 <= last_line, "bit {bit}"),
                Replayed::Stale => panic!("bit {bit} passed for another generation"),
            }
            for (seq, got) in (1..).zip(records) {
                assert_eq!(got, record(seq), "bit {bit} changed a record");
            }
        }
    }

    #[test]
    fn garbage_of_several_lines_at_the_end_is_a_cut() {
        let mut bytes = lines(1, 2);
        let good = bytes.len() as u64;
        bytes.extend_from_slice(b"\0\0\0\0\n\0\0\0\n");
        assert_eq!(read(&bytes, 1).0, Replayed::Good { bytes: good, lines: 2 });
    }

    #[test]
    fn a_missing_line_is_damage() {
        let mut bytes = encode(1, 1, &record(1));
        bytes.extend(encode(1, 3, &record(3)));
        assert_eq!(read(&bytes, 1).0, Replayed::Damaged { line: 2 });
    }

    #[test]
    fn generations_never_mix() {
        assert_eq!(read(&lines(4, 3), 5), (Replayed::Stale, vec![]));
        assert_eq!(read(&lines(6, 3), 5).0, Replayed::Damaged { line: 1 });
        let mut mixed = lines(4, 1);
        mixed.extend(lines(5, 1));
        assert_eq!(read(&mixed, 5).0, Replayed::Damaged { line: 2 });
    }

    #[tokio::test]
    async fn what_was_waited_for_is_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.journal");
        let journal = Journal::open(&path, 0).unwrap();
        journal.append(encode(1, 1, &record(1)));
        journal.append_durably(encode(1, 2, &record(2))).wait().await.unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(read(&bytes, 1).1, vec![record(1), record(2)]);
    }
}
