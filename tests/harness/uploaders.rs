//! findme-watch beside the uploaders that photographers use today, on the same files, on loopback: how long after a photo
//! is closed it is stored whole on the other side; a first run; an outage; a kill at half. In the end everybody's stored
//! files are compared by digest with what was written: what is missing, damaged or stored twice is said.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use findme_common::Digest;

use crate::contenders::{Contender, Tool, immich_packages};
use crate::figures::Times;
use crate::foreign::Foreign;
use crate::support::photos::of_size;
use crate::support::{peak_memory, say};

/// How long anybody is waited for.
const PATIENCE: Duration = Duration::from_secs(150);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(4);

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amounts {
    pub(crate) singles: u64,
    pub(crate) steady: u64,
    pub(crate) burst: u64,
    pub(crate) folder: u64,
    pub(crate) first_run: u64,
    pub(crate) outage: u64,
    /// Bits: which tools take part, in the order of [`Tool::ALL`].
    pub(crate) tools: u64,
}

/// A photo that was written into the watched folder.
struct Written {
    name: String,
    digest: Digest,
    bytes: u64,
    closed: Instant,
}

/// All scenarios, one program after the other.
pub(crate) async fn run(amounts: Amounts) {
    let packages = Tool::Immich.is_installed().then(|| Arc::new(immich_packages()));
    for (at, tool) in Tool::ALL.into_iter().enumerate() {
        if amounts.tools >> at & 1 == 0 {
            continue;
        }
        if !tool.is_installed() {
            say(&format!("!!!! {} is not installed", tool.name()));
            continue;
        }
        latencies(tool, packages.clone(), amounts).await;
        first_run(tool, packages.clone(), amounts.first_run).await;
        if tool != Tool::Restic {
            outage(tool, packages.clone(), amounts.outage).await;
        }
        kill_at_half(tool, packages.clone(), amounts.first_run / 2).await;
    }
}

/// From a photo's close to its being stored whole.
async fn latencies(tool: Tool, packages: Option<Arc<Foreign>>, amounts: Amounts) {
    let mut contender = Contender::new(tool, packages).await;
    contender.begin().await;
    let mut all = Vec::new();
    for (what, folder, count, kilobytes, every) in [
        ("single photos", "", amounts.singles, 2000, None),
        ("one every 5 s", "", amounts.steady, 2000, Some(Duration::from_secs(5))),
        ("burst", "", amounts.burst, 2000, Some(Duration::ZERO)),
        ("new folder", "101CANON/", amounts.folder, 200, Some(Duration::ZERO)),
    ] {
        let first = all.len() as u64;
        let mut watched = Watched::default();
        for number in first..first + count {
            watched.add(write(&contender, &format!("{folder}DSC_{number:05}.jpg"), number, kilobytes));
            match every {
                Some(pause) => watched.look(pause, &contender).await,
                None => watched.look_until_stored(&contender).await,
            }
        }
        watched.look_until_stored(&contender).await;
        say(&format!("{}: {what}: {watched}", tool.name()));
        all.extend(watched.photos);
    }
    judge(&contender, &all, "latencies").await;
}

/// A full folder, from the start of the program until everything is stored.
async fn first_run(tool: Tool, packages: Option<Arc<Foreign>>, count: u64) {
    let mut contender = Contender::new(tool, packages).await;
    let photos: Vec<_> = (0..count).map(|n| write(&contender, &format!("DSC_{n:05}.jpg"), n, 200)).collect();
    let mut watched = Watched::of(photos);
    let began = Instant::now();
    contender.begin_at_once();
    let mut peak = 0;
    while watched.left() > 0 && began.elapsed() < PATIENCE {
        watched.look(Duration::from_millis(50), &contender).await;
        peak = peak.max(contender.pid().and_then(peak_memory).unwrap_or(0));
    }
    let took = began.elapsed().as_secs_f32();
    say(&format!(
        "{}: first run over {count} files: {took:.1} s, {} not stored in time, memory {} MiB",
        tool.name(),
        watched.left(),
        peak >> 20
    ));
    judge(&contender, &watched.photos, "first run").await;
}

/// The other side goes for a while; photos are taken meanwhile.
async fn outage(tool: Tool, packages: Option<Arc<Foreign>>, seconds: u64) {
    let mut contender = Contender::new(tool, packages).await;
    contender.begin().await;
    let mut watched = Watched::of(vec![write(&contender, "before.jpg", 0, 2000)]);
    watched.look_until_stored(&contender).await;
    contender.close();
    for number in 1..=20 {
        watched.add(write(&contender, &format!("DSC_{number:05}.jpg"), number, 2000));
        tokio::time::sleep(Duration::from_secs(seconds) / 20).await;
    }
    contender.open().await;
    let back = Instant::now();
    watched.look_until_stored(&contender).await;
    let by_hand = if watched.left() > 0 {
        let left = watched.left();
        let (took, _) = contender.run_to_end(contender.command_that_ends()).await;
        watched.look_until_stored(&contender).await;
        format!(", {left} of 20 only after it was started again by hand ({:.0} s)", took.as_secs_f32())
    } else {
        String::new()
    };
    say(&format!(
        "{}: server away for {seconds} s, 20 photos meanwhile: all stored {:.1} s after its return{by_hand}, {} never",
        tool.name(),
        (back.elapsed()).as_secs_f32(),
        watched.left()
    ));
    judge(&contender, &watched.photos, "outage").await;
}

/// `kill -9` when half is stored, then the same command again.
async fn kill_at_half(tool: Tool, packages: Option<Arc<Foreign>>, count: u64) {
    let mut contender = Contender::new(tool, packages).await;
    let photos: Vec<_> = (0..count).map(|n| write(&contender, &format!("DSC_{n:05}.jpg"), n, 200)).collect();
    let mut watched = Watched::of(photos);
    contender.begin_at_once();
    let began = Instant::now();
    // restic tells nothing before its end: it is killed after a while.
    let enough = |watched: &Watched| match tool {
        Tool::Restic => began.elapsed() > Duration::from_millis(700),
        _ => watched.left() * 2 <= count as usize,
    };
    while !enough(&watched) && began.elapsed() < PATIENCE {
        watched.look(LOOK, &contender).await;
    }
    contender.kill();
    let left = watched.left();
    let again = Instant::now();
    contender.begin_at_once();
    watched.look_until_stored(&contender).await;
    say(&format!(
        "{}: killed with {left} of {count} left: {:.1} s after its next start all are stored, {} never",
        tool.name(),
        again.elapsed().as_secs_f32(),
        watched.left()
    ));
    judge(&contender, &watched.photos, "kill at half").await;
}

/// Makes a photo and writes it as a camera's program does: in one go.
fn write(contender: &Contender, name: &str, number: u64, kilobytes: usize) -> Written {
    let bytes = of_size(number, kilobytes);
    let digest = Digest::of(&bytes);
    contender.laptop.put(name, &bytes);
    Written { name: name.to_owned(), digest, bytes: bytes.len() as u64, closed: Instant::now() }
}

/// Photos whose storing is waited for.
#[derive(Default)]
struct Watched {
    photos: Vec<Written>,
    times: Vec<Option<Duration>>,
}

impl Watched {
    fn of(photos: Vec<Written>) -> Self {
        Self { times: vec![None; photos.len()], photos }
    }

    fn add(&mut self, photo: Written) {
        self.photos.push(photo);
        self.times.push(None);
    }

    fn left(&self) -> usize {
        self.times.iter().filter(|time| time.is_none()).count()
    }

    /// Looks again and again for so long, and once at least.
    async fn look(&mut self, how_long: Duration, contender: &Contender) {
        let end = Instant::now() + how_long;
        loop {
            for (photo, time) in self.photos.iter().zip(&mut self.times).filter(|(_, time)| time.is_none()) {
                if contender.has_stored(&photo.name, &photo.digest, photo.bytes, photo.closed) {
                    *time = Some(photo.closed.elapsed());
                }
            }
            if Instant::now() >= end || self.left() == 0 && how_long < PATIENCE {
                tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Looks until all are stored or patience ends.
    async fn look_until_stored(&mut self, contender: &Contender) {
        let deadline = Instant::now() + PATIENCE;
        while self.left() > 0 && Instant::now() < deadline {
            self.look(LOOK, contender).await;
        }
    }
}

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut times = Times::default();
        self.times.iter().flatten().for_each(|time| times.add(*time));
        let seconds = |percent| times.percentile(percent).as_secs_f64();
        write!(f, "p50 {:.2} s, p95 {:.2} s, last {:.2} s", seconds(50.0), seconds(95.0), seconds(100.0))?;
        if self.left() > 0 { write!(f, ", {} not within {} s", self.left(), PATIENCE.as_secs()) } else { Ok(()) }
    }
}

/// What is stored in the end, compared with what was written.
async fn judge(contender: &Contender, photos: &[Written], what: &str) {
    let stored = contender.stored().await;
    let written: BTreeMap<Digest, usize> = photos.iter().map(|photo| (photo.digest, 1)).collect();
    let missing = written.keys().filter(|digest| !stored.contains_key(digest)).count();
    let foreign = stored.keys().filter(|digest| !written.contains_key(digest)).count();
    let twice = stored.values().filter(|count| **count > 1).count();
    say(&format!(
        "{}: {what}: {} photos written; {missing} missing, {foreign} that nobody wrote, {twice} twice",
        contender.tool.name(),
        written.len()
    ));
    if matches!(contender.tool, Tool::FindMe | Tool::FindMeTaking) {
        assert_eq!((missing, foreign, twice), (0, 0, 0));
    }
}
