//! What the photographer (or another program) is told. Received, skipped and failed are different words, with counts.
//!
//! JSON: one object a line, with `v` and `type`; nothing else on standard output. Plain: lines for people, at least one
//! in ten seconds while work is going on. Notices go to standard error where standard output is for a program.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use findme_common::manifest::{FailReason, SkipReason};
use findme_common::{Digest, PhotoId};

use crate::args::Output;
use crate::json;
use crate::progress::Bars;
use crate::totals::{Totals, number, plural, size};

/// Longest silence while work is going on.
const SILENCE: Duration = Duration::from_secs(10);

/// What a venue prints first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Serving {
    pub(crate) url: String,
    pub(crate) event: String,
    pub(crate) join: String,
    pub(crate) photographer_token: String,
    pub(crate) operator_token: Option<String>,
    /// For a terminal: a QR code of `join`, and what keeps guests from it.
    pub(crate) poster: String,
    pub(crate) warnings: Vec<String>,
}

/// Something to tell.
#[derive(Debug)]
#[cfg_attr(not(feature = "venue"), allow(dead_code))]
pub(crate) enum Event<'a> {
    Serving(&'a Serving),
    Found {
        path: &'a Path,
        bytes: u64,
    },
    /// With `--dry-run`, in place of sending.
    WouldSend {
        path: &'a Path,
        bytes: u64,
    },
    Uploaded {
        path: &'a Path,
        digest: Digest,
        photo: PhotoId,
        bytes: u64,
        took: Duration,
    },
    Duplicate {
        path: &'a Path,
        digest: Digest,
        photo: Option<PhotoId>,
        bytes: u64,
    },
    Skipped {
        path: &'a Path,
        reason: SkipReason,
        bytes: u64,
    },
    Failed {
        path: &'a Path,
        reason: FailReason,
        detail: &'a str,
        digest: Option<Digest>,
    },
    Idle(Totals),
    Summary {
        totals: Totals,
        exit: u8,
        took: Duration,
    },
    /// One line about the way things go, not about one file.
    Notice(&'a str),
}

enum Style {
    Bars {
        bars: Box<Bars>,
        /// The line at rest, for as long as it is true.
        rest: Option<String>,
    },
    Plain,
    Json,
    Quiet,
}

/// Tells it.
pub(crate) struct Report {
    style: Style,
    /// Everything is on this laptop only, so nothing is called safe.
    this_machine_only: bool,
    dry_run: bool,
    /// With `--dry-run`: photos and bytes that would be sent.
    would_send: (u64, u64),
    last_line: Instant,
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Report")
    }
}

impl Report {
    pub(crate) fn new(output: Output, dry_run: bool) -> Self {
        // Bars go to standard error; lines that somebody collects from standard output must get there.
        let terminal = io::stderr().is_terminal() && io::stdout().is_terminal();
        let style = match output {
            Output::Auto if terminal => Style::Bars { bars: Box::default(), rest: None },
            Output::Progress => Style::Bars { bars: Box::default(), rest: None },
            Output::Auto | Output::Plain => Style::Plain,
            Output::Json => Style::Json,
            Output::Quiet => Style::Quiet,
        };
        Self { style, this_machine_only: false, dry_run, would_send: (0, 0), last_line: Instant::now() }
    }

    /// From now on nothing is called safe.
    pub(crate) fn on_this_machine_only(&mut self) {
        self.this_machine_only = true;
    }

    /// Tells one thing.
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        if let Event::WouldSend { bytes, .. } = event {
            self.would_send = (self.would_send.0 + 1, self.would_send.1 + bytes);
        }
        match &self.style {
            Style::Json => match json::line(event) {
                Some(line) => {
                    print_line(&line);
                    warn_of(event);
                }
                None => self.notice(event),
            },
            Style::Quiet => match event {
                Event::Failed { .. } => self.error_line(event),
                Event::Serving(serving) => {
                    print_line(&format!("guests: {}", serving.join));
                    warn_of(event);
                }
                _ => {}
            },
            Style::Plain => {
                if let Some(line) = self.words(event) {
                    self.line(&line);
                }
            }
            Style::Bars { .. } => self.tell_with_bars(event),
        }
    }

    /// The line at rest stands beside the bars until it is not true any more: one line for each photo would push the
    /// guests' QR code off the screen.
    fn tell_with_bars(&mut self, event: &Event<'_>) {
        let line = self.words(event);
        let Style::Bars { bars, rest } = &mut self.style else { return };
        let before = match event {
            Event::Idle(_) => {
                *rest = line;
                return;
            }
            Event::Summary { .. } => {
                bars.finish();
                rest.take()
            }
            Event::Serving(_) | Event::Notice(_) => None,
            _ => {
                *rest = None;
                None
            }
        };
        for line in before.into_iter().chain(line) {
            self.line(&line);
        }
    }

    /// Gives a sign of life when there was none for a while. Called often.
    pub(crate) fn pulse(&mut self, totals: Totals, sent_bytes: u64) {
        let status = self.status(totals);
        match &mut self.style {
            Style::Bars { bars, rest } if totals.on_the_way == 0 => {
                bars.pulse(rest.clone().unwrap_or(status), totals, sent_bytes);
            }
            Style::Bars { bars, .. } => bars.pulse(status, totals, sent_bytes),
            Style::Plain if totals.on_the_way > 0 && self.last_line.elapsed() >= SILENCE => self.line(&status),
            _ => {}
        }
    }

    /// A file is being sent.
    pub(crate) fn started(&mut self, path: &Path, bytes: u64, sent: std::sync::Arc<std::sync::atomic::AtomicU64>) {
        if let Style::Bars { bars, .. } = &mut self.style {
            bars.start(path, bytes, sent);
        }
    }

    /// A file is not being sent any more.
    pub(crate) fn stopped(&mut self, path: &Path) {
        if let Style::Bars { bars, .. } = &mut self.style {
            bars.stop(path);
        }
    }

    /// «12 on the way, 1,204 safe»
    fn status(&self, totals: Totals) -> String {
        let safe = if self.this_machine_only { "copied on this laptop" } else { "safe" };
        let mut line = format!("{} on the way, {} {safe}", number(totals.on_the_way), number(totals.safe()));
        if totals.failed > 0 {
            // In front, where a narrow terminal does not cut it off.
            line = format!("{} FAILED, {line}", number(totals.failed));
        }
        if totals.skipped > 0 {
            line += &format!(", {} skipped", number(totals.skipped));
        }
        line + &totals.arrived.words()
    }

    fn words(&self, event: &Event<'_>) -> Option<String> {
        Some(match event {
            Event::Serving(serving) => {
                let mut text = format!("Guests of «{}» open {}\n\n{}\n", serving.event, serving.join, serving.poster);
                serving.warnings.iter().for_each(|warning| text += &format!("! {warning}\n"));
                text + &format!("This laptop opens {}. Ctrl-C ends it.", serving.url)
            }
            Event::WouldSend { path, bytes } => format!("would send {} ({})", path.display(), size(*bytes)),
            Event::Duplicate { path, .. } if self.dry_run => format!("known content: {}", path.display()),
            Event::Failed { path, reason: FailReason::Truncated, detail: "", .. } => {
                format!("FAILED {}: its end is missing; copy it again", path.display())
            }
            Event::Failed { path, reason, detail, .. } => match *detail {
                "" => format!("FAILED {}: {}", path.display(), reason.words()),
                detail => format!("FAILED {}: {} ({detail})", path.display(), reason.words()),
            },
            // By their names alone: the summary counts them.
            Event::Skipped { path, reason: reason @ (SkipReason::Empty | SkipReason::DeletedOnServer), .. } => {
                format!("skipped {}: {}", path.display(), reason.words())
            }
            Event::Skipped { path, reason: SkipReason::NotAPhoto, .. }
                if findme_common::media::Media::of_name(path).is_some() =>
            {
                format!("skipped {}: not a photo, whatever its name says", path.display())
            }
            Event::Idle(totals) => self.at_rest(*totals),
            Event::Summary { totals, .. } if self.dry_run => format!(
                "{} would be sent ({}), {} known before, {} duplicate, {} skipped, {} failed",
                plural(self.would_send.0, "photo"),
                size(self.would_send.1),
                number(totals.known),
                number(totals.duplicate),
                number(totals.skipped),
                number(totals.failed),
            ),
            Event::Summary { totals, took, .. } => {
                let took = took.as_secs_f32();
                let rate = totals.bytes as f32 / 1e6 / took.max(0.001);
                format!(
                    "{} found: {} sent ({}, {took:.1} s, {rate:.1} MB/s), {} known before, {} duplicate, {} skipped, \
                     {} failed, {} left{}",
                    number(totals.found()),
                    number(totals.uploaded),
                    size(totals.bytes),
                    number(totals.known),
                    number(totals.duplicate),
                    number(totals.skipped),
                    number(totals.failed),
                    number(totals.on_the_way),
                    totals.arrived.words(),
                )
            }
            Event::Notice(line) => (*line).to_owned(),
            Event::Found { .. } | Event::Uploaded { .. } | Event::Duplicate { .. } | Event::Skipped { .. } => {
                return None;
            }
        })
    }

    fn at_rest(&self, totals: Totals) -> String {
        let photos = plural(totals.safe(), "photo");
        let (are, failed) = (if totals.safe() == 1 { "is" } else { "are" }, number(totals.failed));
        match (totals.safe(), totals.failed) {
            _ if self.dry_run => "nothing was sent or recorded".to_owned(),
            (0, 0) if totals.duplicate == 0 => "no photos here yet".to_owned(),
            (0, 0) => format!("nothing new: {} known from elsewhere", plural(totals.duplicate, "photo")),
            // The warning comes first: a narrow terminal cuts the end off.
            (_, 0) if self.this_machine_only => format!("not a backup: {photos} copied on this laptop only"),
            (_, _) if self.this_machine_only => {
                format!("{failed} FAILED; not a backup: {photos} copied on this laptop only")
            }
            (1, 0) => "the photo is safe on the server; you may close the lid".to_owned(),
            (_, 0) => format!("all {photos} are safe on the server; you may close the lid"),
            (_, _) => format!("{photos} {are} safe on the server, {failed} FAILED and not"),
        }
    }

    fn notice(&self, event: &Event<'_>) {
        if let Event::Notice(line) = event {
            // Nobody may be listening there; that must not end the program.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    fn error_line(&self, event: &Event<'_>) {
        if let Some(line) = self.words(event) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    fn line(&mut self, line: &str) {
        self.last_line = Instant::now();
        match &self.style {
            Style::Bars { bars, .. } => bars.line(line),
            _ => print_line(line),
        }
    }
}

/// Where standard output is for a program, what keeps guests away is told beside it.
fn warn_of(event: &Event<'_>) {
    if let Event::Serving(serving) = event {
        for warning in &serving.warnings {
            let _ = writeln!(io::stderr(), "! {warning}");
        }
    }
}

fn print_line(line: &str) {
    let mut out = io::stdout().lock();
    // The reader may have gone away; the photos matter more.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(this_machine_only: bool) -> Report {
        Report { this_machine_only, ..Report::new(Output::Plain, false) }
    }

    #[test]
    fn the_lid_may_be_closed_only_when_everything_is_safe_elsewhere() {
        let done = Totals { known: 1000, uploaded: 204, ..Totals::default() };
        let words = |this_machine_only, totals| report(this_machine_only).words(&Event::Idle(totals)).unwrap();
        assert_eq!(words(false, done), "all 1,204 photos are safe on the server; you may close the lid");
        for this_machine_only in [false, true] {
            let failed = words(this_machine_only, Totals { failed: 2, ..done });
            assert!(failed.contains("2 FAILED") && !failed.contains("lid"), "{failed}");
            let none = words(this_machine_only, Totals::default());
            assert_eq!(none, "no photos here yet", "nothing is safe where nothing is");
        }
        let local = words(true, done);
        assert!(local.contains("not a backup") && !local.contains("lid") && !local.contains("safe"), "{local}");
        let on_the_way = report(true).status(Totals { on_the_way: 12, ..done });
        assert_eq!(on_the_way, "12 on the way, 1,204 copied on this laptop");
        let failed = report(true).status(Totals { failed: 2, ..done });
        assert!(failed.starts_with("2 FAILED"), "{failed}");
    }

    #[test]
    fn a_skip_is_worth_a_line_only_when_the_name_promised_a_photo() {
        let words =
            |name: &str, reason| report(false).words(&Event::Skipped { path: Path::new(name), reason, bytes: 1 });
        assert!(words("a.jpg", SkipReason::NotAPhoto).is_some());
        assert!(words("a.txt", SkipReason::NotAPhoto).is_none());
        assert!(words("a.nef", SkipReason::Raw).is_none());
    }

    #[test]
    fn numbers_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(n), text);
        }
    }
}
