//! Bars on a terminal: one for the whole, one for each photo that is being sent.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::totals::{Totals, time_left};

/// The bars of one run.
#[derive(Debug)]
pub(crate) struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    /// Below, so that a narrow terminal cuts neither: rate and time left, and how long photos take to the guests.
    details: ProgressBar,
    times: ProgressBar,
    files: HashMap<PathBuf, (ProgressBar, Arc<AtomicU64>)>,
}

/// Columns that stay free behind the last bar, with the cursor before them: the terminal writes `^C` there. At the
/// edge it would begin a new line, and the bars would be cleared one line too low.
const ROOM_FOR_ECHO: &str = "    \u{1b}[4D";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

impl Default for Bars {
    fn default() -> Self {
        let all = MultiProgress::new();
        let total = all.add(ProgressBar::new(0).with_style(style("{spinner} {wide_msg}")));
        let details = all.add(ProgressBar::new(0).with_style(style("  {wide_msg}")));
        let times = all.add(ProgressBar::new(0).with_style(style(&format!("  {{wide_msg}}{ROOM_FOR_ECHO}"))));
        total.enable_steady_tick(Duration::from_millis(200));
        Self { all, total, details, times, files: HashMap::new() }
    }
}

impl Bars {
    /// A photo is being sent.
    pub(crate) fn start(&mut self, path: &Path, bytes: u64, sent: Arc<AtomicU64>) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let template = style("  {wide_msg} [{bar:10}] {percent:>3}%");
        let bar = self.all.insert_before(&self.total, ProgressBar::new(bytes).with_style(template));
        bar.set_message(name);
        self.files.insert(path.to_owned(), (bar, sent));
    }

    /// It is not any more.
    pub(crate) fn stop(&mut self, path: &Path) {
        if let Some((bar, _)) = self.files.remove(path) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }

    /// Shows where everything stands. `gone`: bytes that have left so far.
    pub(crate) fn pulse(&mut self, status: String, totals: Totals, gone: u64) {
        for (bar, sent) in self.files.values() {
            bar.set_position(sent.load(Ordering::Relaxed));
        }
        self.total.set_message(status);
        let mut details = Vec::new();
        if totals.on_the_way > 0 {
            self.total.set_length(gone.max(1));
            self.total.set_position(gone);
            let rate = self.total.per_sec();
            if rate > 0.0 {
                details.push(format!("{:.1} MB/s", rate / 1e6));
            }
            details.extend(time_left(totals.bytes_left, rate));
        }
        details.extend(totals.arrived.counts());
        let times = totals.arrived.times().into_iter().next();
        // No empty line in between.
        let mut lines = (!details.is_empty()).then(|| details.join(", ")).into_iter().chain(times);
        self.details.set_message(lines.next().unwrap_or_default());
        self.times.set_message(lines.next().unwrap_or_default());
    }

    /// Takes the bars away; what was printed stays.
    pub(crate) fn finish(&self) {
        self.files.values().for_each(|(bar, _)| bar.finish_and_clear());
        self.total.finish_and_clear();
        self.details.finish_and_clear();
        self.times.finish_and_clear();
    }

    /// A line above the bars.
    pub(crate) fn line(&self, line: &str) {
        // Where the terminal cannot be drawn on, the line still matters.
        if self.all.println(line).is_err() || self.all.is_hidden() {
            println!("{line}");
        }
    }
}
