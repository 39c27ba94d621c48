//! Random histories: operations, cuts, take-overs and crashes in any order.

use proptest::prelude::*;

use super::*;

/// One thing that happens to the upload. Fractions are of what is still missing, 0 to 1.
#[derive(Debug, Clone)]
enum Op {
    Create,
    Append {
        part: f64,
        size: usize,
    },
    /// A part with its checksum, right, wrong, or right and cut off before its end.
    Checked {
        part: f64,
        size: usize,
        how: Checked,
    },
    /// The connection breaks after this part.
    Cut {
        part: f64,
        size: usize,
    },
    /// A request stalls after the first part; a second one goes on with the second part.
    TakeOver {
        first: f64,
        second: f64,
    },
    /// One byte of this part is wrong.
    Garble {
        part: f64,
    },
    Stand,
    WrongOffset {
        by: u64,
    },
    TooLong,
    Terminate,
    Crash(Crash),
}

/// How a request with a checksum goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    Right,
    Wrong,
    CutOff,
}

/// Where the process dies, as seen on the disk afterwards.
#[derive(Debug, Clone, Copy)]
enum Crash {
    /// Between two requests.
    AtRest,
    /// Bytes were written and not recorded yet; some of them may be rubbish.
    UnrecordedTail,
    /// All bytes are there, the last of them not recorded; nothing was renamed.
    BeforeRename,
    /// Renamed into place; neither offset nor photo nor job were committed.
    AfterRename,
    /// All bytes are there and recorded, because the request that brought the last ones broke; nothing was renamed.
    AllRecorded,
    /// A staged file whose row was never committed.
    Orphan,
}

fn op() -> impl Strategy<Value = Op> {
    let part = || prop_oneof![3 => 0.0..1.0, 1 => Just(1.0), 1 => Just(0.0)];
    let size = || prop_oneof![1_usize..64, Just(5000), Just(300_000)];
    prop_oneof![
        2 => Just(Op::Create),
        4 => (part(), size()).prop_map(|(part, size)| Op::Append { part, size }),
        3 => (part(), size(), prop_oneof![Just(Checked::Right), Just(Checked::Wrong), Just(Checked::CutOff)])
            .prop_map(|(part, size, how)| Op::Checked { part, size, how }),
        3 => (part(), size()).prop_map(|(part, size)| Op::Cut { part, size }),
        2 => (part(), part()).prop_map(|(first, second)| Op::TakeOver { first, second }),
        1 => part().prop_map(|part| Op::Garble { part }),
        2 => Just(Op::Stand),
        1 => (1_u64..1000).prop_map(|by| Op::WrongOffset { by }),
        1 => Just(Op::TooLong),
        1 => Just(Op::Terminate),
        3 => prop_oneof![
            Just(Crash::AtRest),
            Just(Crash::UnrecordedTail),
            Just(Crash::BeforeRename),
            Just(Crash::AfterRename),
            Just(Crash::AllRecorded),
            Just(Crash::Orphan)
        ]
        .prop_map(Op::Crash),
    ]
}

/// The client's view while operations run.
struct Client {
    world: World,
    bytes: Vec<u8>,
    id: Option<UploadId>,
    /// The last offset that was reported; it must never decrease, except after a digest mismatch.
    reported: u64,
    complete: bool,
    /// Wrong bytes were sent: the upload may start over when they are found out.
    garbled: bool,
}

impl Client {
    fn saw(&mut self, standing: &Standing) {
        if self.garbled && standing.offset == 0 {
            self.started_over();
        }
        assert!(standing.offset >= self.reported, "offset fell from {} to {}", self.reported, standing.offset);
        assert_eq!(standing.length, self.bytes.len() as u64);
        self.reported = standing.offset;
        match standing.receipt {
            Some(receipt) => {
                assert_eq!(receipt.digest, Digest::of(&self.bytes), "a receipt for other bytes");
                assert_eq!(standing.offset, standing.length);
                self.complete = true;
            }
            None => {
                assert!(!self.complete, "a receipt was taken back");
                assert!(standing.offset < standing.length, "all bytes are here and there is no receipt");
            }
        }
    }

    fn started_over(&mut self) {
        (self.reported, self.complete, self.garbled) = (0, false, false);
    }

    async fn create(&mut self) {
        let standing = self.world.create(&self.bytes).await;
        if self.id != Some(standing.id) {
            self.id = Some(standing.id);
            self.started_over();
        }
        self.saw(&standing);
    }

    /// As a client does after any trouble: ask, and believe the answer.
    async fn stand(&mut self) {
        let Some(id) = self.id else { return };
        match self.world.uploads.stand(self.world.event, id).await {
            Ok(standing) => self.saw(&standing),
            Err(UploadError::NotFound) => self.id = None,
            Err(other) => panic!("{other}"),
        }
    }

    /// After an append: whatever it said, the truth is what `stand` says then.
    async fn after(&mut self, result: Result<Standing, UploadError>) {
        match result {
            Ok(standing) => self.saw(&standing),
            Err(UploadError::DigestMismatch) => self.started_over(),
            Err(UploadError::NotFound) => self.id = None,
            Err(
                UploadError::Cut
                | UploadError::TakenOver
                | UploadError::TooLong
                | UploadError::OffsetMismatch { .. }
                | UploadError::ChecksumMismatch { .. },
            ) => {}
            Err(other) => panic!("{other}"),
        }
        self.stand().await;
    }

    fn next_part(&self, part: f64) -> std::ops::Range<usize> {
        let start = self.reported as usize;
        let left = self.bytes.len() - start;
        start..start + ((left as f64 * part).round() as usize).min(left)
    }

    async fn run(&mut self, op: &Op) {
        let Some(id) = self.id else { return self.create().await };
        let (event, uploads) = (self.world.event, self.world.uploads.clone());
        match op {
            Op::Create => self.create().await,
            Op::Stand => self.stand().await,
            Op::Append { part, size } => {
                let range = self.next_part(*part);
                let result = uploads.append(event, id, self.reported, whole(&self.bytes[range.clone()], *size)).await;
                if let Ok(standing) = &result {
                    assert_eq!(standing.offset, range.end as u64, "everything that was sent counts");
                }
                self.after(result).await;
            }
            Op::Cut { part, size } => {
                let range = self.next_part(*part);
                let at = self.reported;
                let result = uploads.append(event, id, at, cut(&self.bytes[range.clone()], *size)).await;
                if !self.complete {
                    assert!(matches!(result, Err(UploadError::Cut)), "a broken stream passed for an end: {result:?}");
                }
                self.after(result).await;
                assert!(
                    self.id.is_none() || self.reported >= range.end as u64 || self.reported < at,
                    "bytes were dropped"
                );
            }
            Op::Checked { part, size, how } => self.checked(id, *part, *size, *how).await,
            Op::TakeOver { first, second } => self.take_over(id, *first, *second).await,
            Op::Garble { part } => {
                let range = self.next_part(*part);
                let mut bytes = self.bytes[range].to_vec();
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                    self.garbled = true;
                }
                let result = uploads.append(event, id, self.reported, whole(&bytes, 4096)).await;
                self.garbled(result).await;
            }
            Op::WrongOffset { by } => {
                let wrong = self.reported + by;
                match self.world.append(id, wrong, b"x").await {
                    Err(UploadError::OffsetMismatch { expected }) => assert_eq!(expected, self.reported),
                    Err(UploadError::NotFound) => self.id = None,
                    other => panic!("{other:?}"),
                }
            }
            Op::TooLong => {
                let surplus = [&self.bytes[self.reported as usize..], b"surplus"].concat();
                let result = self.world.append(id, self.reported, &surplus).await;
                assert!(matches!(result, Err(UploadError::TooLong)), "{result:?}");
                self.after(result).await;
            }
            Op::Terminate => match uploads.terminate(event, id).await {
                Ok(()) | Err(UploadError::NotFound) => self.id = None,
                Err(other) => panic!("{other}"),
            },
            Op::Crash(crash) => self.crash(id, *crash).await,
        }
    }

    /// Wrong bytes may lie anywhere before the end; they are found out when the last one has come.
    async fn garbled(&mut self, result: Result<Standing, UploadError>) {
        if let Ok(standing) = &result {
            assert!(standing.receipt.is_none() || self.complete || standing.length == 0, "wrong bytes got a receipt");
        }
        self.after(result).await;
    }

    /// A request with a checksum counts whole, or not at all and the next one finds what was there before.
    async fn checked(&mut self, id: UploadId, part: f64, size: usize, how: Checked) {
        let (range, at) = (self.next_part(part), self.reported);
        let bytes = self.bytes[range.clone()].to_vec();
        let checksum = match how {
            Checked::Wrong => sha1_of(b"other bytes"),
            _ => sha1_of(&bytes),
        };
        let end = if how == Checked::CutOff { Some(Err("reset")) } else { None };
        let body = futures_util::stream::iter(pieces(&bytes, size).into_iter().chain(end));
        let result = self.world.uploads.append_checked(self.world.event, id, at, body, Some(checksum)).await;
        match &result {
            Ok(standing) => {
                assert!(how == Checked::Right || self.complete, "{how:?} was taken");
                assert_eq!(standing.offset, range.end as u64);
            }
            Err(UploadError::ChecksumMismatch { offset }) => {
                assert_eq!((how, *offset), (Checked::Wrong, at), "none of its bytes counts");
            }
            Err(UploadError::Cut) => assert_eq!(how, Checked::CutOff),
            _ => {}
        }
        let refused = matches!(result, Err(UploadError::ChecksumMismatch { .. } | UploadError::Cut));
        self.after(result).await;
        if refused && self.id.is_some() {
            assert_eq!(self.reported, at, "bytes without their checksum were counted");
        }
    }

    async fn take_over(&mut self, id: UploadId, first: f64, second: f64) {
        if self.complete {
            return;
        }
        let (event, uploads) = (self.world.event, self.world.uploads.clone());
        let range = self.next_part(first);
        let at = self.reported;
        let (stalled, taken) = stalling(&self.bytes[range.clone()], 1000);
        let before = tokio::spawn({
            let uploads = uploads.clone();
            async move { uploads.append(event, id, at, stalled).await }
        });
        if taken.await.is_err() {
            // It never began to read: the upload had gone.
            let result = before.await.unwrap();
            return self.after(result).await;
        }
        let left = self.bytes.len() - range.end;
        let end = range.end + (left as f64 * second).round() as usize;
        let result = uploads.append(event, id, range.end as u64, whole(&self.bytes[range.end..end], 900)).await;
        let stopped = before.await.unwrap();
        assert!(matches!(stopped, Err(UploadError::TakenOver)), "{stopped:?}");
        // What the stalled request had sent is durable before the second one begins.
        if !matches!(result, Err(UploadError::DigestMismatch)) {
            assert_eq!(result.as_ref().unwrap().offset, end as u64);
        }
        self.after(result).await;
    }

    /// Dies as if at that point: what the disk would hold is made, then a new process recovers.
    async fn crash(&mut self, id: UploadId, crash: Crash) {
        let (staged, published) = (self.world.staged(id), self.world.published(&self.bytes));
        match crash {
            Crash::AtRest => {}
            Crash::UnrecordedTail if staged.exists() => {
                use std::io::Write;
                let mut file = std::fs::File::options().append(true).open(&staged).unwrap();
                file.write_all(b"never recorded").unwrap();
            }
            // Only right while the client was not told of its receipt: an answer comes after the commit.
            Crash::BeforeRename | Crash::AfterRename | Crash::AllRecorded if !self.complete => {
                let at = self.reported;
                let result = self.world.append(id, at, &self.bytes[at as usize..]).await;
                if result.is_ok() {
                    if !matches!(crash, Crash::AfterRename) {
                        std::fs::rename(&published, &staged).unwrap();
                    }
                    let at = if matches!(crash, Crash::AllRecorded) { self.bytes.len() as u64 } else { at };
                    let uncommitted = format!("UPDATE uploads SET complete = 0, \"offset\" = {at}");
                    self.world.sql(&format!("DELETE FROM jobs; DELETE FROM photos; {uncommitted}")).await;
                } else {
                    self.started_over();
                }
            }
            Crash::Orphan => {
                let orphan = self.world.staged(UploadId::random().unwrap());
                std::fs::write(orphan, b"orphan").unwrap();
            }
            Crash::UnrecordedTail | Crash::BeforeRename | Crash::AfterRename | Crash::AllRecorded => {}
        }
        self.world.reopen().await;
        self.stand().await;
    }

    /// No more trouble: the client sends until it has its receipt.
    async fn quiet_run(&mut self) {
        for _ in 0..4 {
            self.create().await;
            let id = self.id.unwrap();
            let missing = self.bytes[self.reported as usize..].to_vec();
            match self.world.append(id, self.reported, &missing).await {
                Ok(standing) => return self.saw(&standing),
                // Bytes that an earlier request garbled are found out only now.
                Err(UploadError::DigestMismatch) => self.started_over(),
                Err(other) => panic!("{other}"),
            }
        }
        panic!("a quiet run did not end");
    }
}

/// Each case syncs a database many times, so there are fewer than proptest's 256; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 40 };
    ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_ends_in_the_bytes_once(
        length in prop_oneof![Just(0_usize), Just(1), 2_usize..5000, Just(700_000)],
        seed in any::<u64>(),
        ops in proptest::collection::vec(op(), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut client =
                Client { world, bytes: content(length, seed), id: None, reported: 0, complete: false, garbled: false };
            for op in &ops {
                client.run(op).await;
            }
            client.quiet_run().await;
            client.world.assert_one_photo(&client.bytes).await;
            client.world.reopen().await;
            client.quiet_run().await;
            client.world.assert_one_photo(&client.bytes).await;
        });
    }
}
