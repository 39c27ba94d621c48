//! What the tests share: waiting for conditions, shared assets, and the two programs as objects.

pub(crate) mod chaos;
pub(crate) mod guest;
pub(crate) mod live;
pub(crate) mod networks;
pub(crate) mod photos;
pub(crate) mod server;
pub(crate) mod stand_in;
pub(crate) mod watch;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use guest::Guest;
pub(crate) use server::{Event, Server};
pub(crate) use watch::{Laptop, Watch};

/// Longest wait for anything that should happen soon; long, because machines that test are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long to look away between two looks at a condition.
const LOOK: Duration = Duration::from_millis(15);

/// Waits until the condition gives something; fails when it does not within [`PATIENCE`].
pub(crate) async fn wait_for<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, condition).await
}

/// Waits until the condition gives something; fails when it does not in time.
pub(crate) async fn wait_within<T>(patience: Duration, what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests' package lies inside the workspace")
}

/// A file or folder of the shared assets (models, photos of people: never part of this repository). `None`, said
/// loudly, when it is not on this machine; a failure when `FINDME_REQUIRE_ASSETS=1`.
pub(crate) fn asset(path: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("FINDME_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let wanted = shared.join(path);
    if wanted.exists() {
        return Some(wanted.canonicalize().unwrap());
    }
    not_tested(&format!("{} is not there (FINDME_SHARED names the folder of assets)", wanted.display()));
    None
}

/// Says loudly that something is not tested on this machine; fails when everything must be.
pub(crate) fn not_tested(why: &str) {
    assert!(std::env::var("FINDME_REQUIRE_ASSETS").as_deref() != Ok("1"), "cannot test: {why}");
    say(&format!("!!!! SKIPPED, NOT TESTED: {why}"));
}

/// Says something that is read also when the test passes: the test harness holds back what goes through `eprintln!`.
pub(crate) fn say(line: &str) {
    let mut standard_error = std::io::stderr();
    let _ = standard_error.write_all(format!("\n{line}\n").as_bytes());
}

/// A number from the environment, or its default.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Randomness that a seed repeats (xorshift64*).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        random.next();
        random
    }

    /// From `FINDME_SEED`, or from the clock; printed, so that a failure can be repeated.
    pub(crate) fn seeded(what: &str) -> Self {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = number("FINDME_SEED", clock.as_millis() as u64 % 1_000_000);
        say(&format!("{what}: FINDME_SEED={seed}"));
        Self::new(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number in `from..to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }
}

/// Peak resident memory of a process, in bytes; `None` where the system does not say.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Sends a signal to a process that the test started; by the shell, because not every system has `kill` as a program.
pub(crate) fn signal(name: &str, pid: u32) {
    let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(sent.unwrap().success(), "kill -{name} {pid}");
}
