//! Where the loop stands, in numbers, and what changes there with time alone.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use crate::report::Event;
use crate::totals::Totals;

/// So many files are named of those that are left.
const NAMED: usize = 3;

impl Engine {
    /// Where everything stands.
    pub(crate) fn totals(&self) -> Totals {
        let on_the_way = self.settling.len() + self.unsent() + self.same_image.len();
        let (failed, arrived) = (self.failed.len() as u64, self.arrivals.arrived());
        let (previews, bytes_sent) = (self.originals.len() as u64, self.config.manner.pace.gone());
        Totals { failed, on_the_way: on_the_way as u64, previews, arrived, bytes_sent, ..self.totals }
    }

    fn unsent(&self) -> usize {
        self.queue.len() + self.originals.len() + self.later.len() + self.uploads.len()
    }

    /// Which files have no word yet, by their names, for somebody who ends the program now.
    pub(crate) fn names_left(&self) -> Option<String> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let waiting = self.queue.iter().chain(self.originals.iter()).chain(self.later.iter().map(|(_, job)| job));
        let unsent = waiting.map(|job| name(&job.parcel.path));
        let unfinished = self.settling.keys().map(|path| format!("{} (not finished)", name(path)));
        let named: Vec<_> = unfinished.chain(unsent).take(NAMED).collect();
        let others = (self.totals().on_the_way as usize).saturating_sub(named.len());
        match (named.is_empty(), others) {
            (true, _) => None,
            (false, 0) => Some(format!("left for the next run: {}", named.join(", "))),
            (false, _) => Some(format!("left for the next run: {} and {others} more", named.join(", "))),
        }
    }

    /// Whether every file that was found has its word.
    pub(crate) fn is_done(&self) -> bool {
        self.settling.is_empty() && self.unsent() == 0 && self.same_image.is_empty()
    }

    /// Whether the server is needed for what is left.
    pub(crate) fn needs_server(&self) -> bool {
        self.unsent() > 0
    }

    /// Called often: shows where everything stands, and looks at what changes with time alone.
    pub(crate) fn pulse(&mut self) {
        let (now, gone) = (Instant::now(), self.config.manner.pace.gone());
        let pressed = self.is_waiting() && self.uploads.len() >= self.width.may_run();
        self.line.look(now, gone, pressed);
        self.width.look(now, gone, pressed);
        if let Some(quiet) = self.alarm.as_mut().and_then(|alarm| alarm.rings(now)) {
            let line = format!("NO NEW PHOTO for {}: is the camera still sending?", minutes(quiet));
            self.report.tell(&Event::Alarm(&line));
        }
        let totals = Totals { bytes_left: self.bytes_left(), ..self.totals() };
        self.report.pulse(totals, gone);
    }

    /// Of the photos that were read and wait; those that are being sent count in full.
    fn bytes_left(&self) -> u64 {
        let waiting = self.queue.iter().chain(self.originals.iter()).chain(self.later.iter().map(|(_, job)| job));
        waiting.map(|job| job.parcel.fingerprint.bytes).sum::<u64>() + self.sending_bytes
    }

    /// The camera has put down something new.
    pub(super) fn met_a_new_one(&mut self, now: Instant) {
        if self.alarm.as_mut().is_some_and(|alarm| alarm.met(now)) {
            self.report.tell(&Event::Notice("photos come again"));
        }
    }
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} minutes", seconds / 60),
    }
}
