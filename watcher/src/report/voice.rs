//! Says it: bars on a terminal, lines for people, or lines for programs.
//!
//! JSON: one object a line, with `v` and `type`; nothing else on standard output. Plain: lines for people, at least one
//! in ten seconds while work is going on. Notices go to standard error where standard output is for a program.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use findme_common::EventId;

use super::Event;
use super::words::Words;
use crate::args::Output;
use crate::json;
use crate::progress::Bars;
use crate::terminal::fitted;
use crate::totals::Totals;

/// Longest silence while work is going on.
const SILENCE: Duration = Duration::from_secs(10);

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

/// The program's one voice.
pub(super) struct Voice {
    style: Style,
    words: Words,
    last_line: Instant,
}

impl std::fmt::Debug for Voice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Voice")
    }
}

impl Voice {
    pub(super) fn new(output: Output, dry_run: bool) -> Self {
        // Bars go to standard error; lines that somebody collects from standard output must get there.
        let terminal = io::stderr().is_terminal() && io::stdout().is_terminal();
        let style = match output {
            Output::Auto if terminal => Style::Bars { bars: Box::default(), rest: None },
            Output::Progress => Style::Bars { bars: Box::default(), rest: None },
            Output::Auto | Output::Plain => Style::Plain,
            Output::Json => Style::Json,
            Output::Quiet => Style::Quiet,
        };
        Self { style, words: Words { dry_run, ..Words::default() }, last_line: Instant::now() }
    }

    pub(super) fn on_this_machine_only(&mut self) {
        self.words.this_machine_only = true;
    }

    /// Tells one thing; `of`: whose it is, where there are several events.
    pub(super) fn tell(&mut self, event: &Event<'_>, of: Option<EventId>) {
        self.words.count(event);
        match &self.style {
            Style::Json => match json::line(event, of) {
                Some(line) => {
                    print_line(&line);
                    warn_of(event);
                }
                None => self.aside(event),
            },
            Style::Quiet => match event {
                Event::Failed { .. } | Event::Alarm(_) => self.aside(event),
                Event::Serving(serving) => {
                    print_line(&format!("guests: {}", serving.join));
                    warn_of(event);
                }
                _ => {}
            },
            Style::Plain => {
                if let Some(line) = self.words.of(event) {
                    self.line(&line);
                }
            }
            Style::Bars { .. } => self.tell_with_bars(event),
        }
    }

    /// The line at rest stands beside the bars until it is not true any more: one line for each photo would push the
    /// guests' QR code off the screen.
    fn tell_with_bars(&mut self, event: &Event<'_>) {
        let line = self.words.of(event);
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
            // Heard by somebody who looks at the bride.
            Event::Alarm(_) => Some("\u{7}".to_owned()),
            _ => {
                *rest = None;
                None
            }
        };
        match event {
            Event::Alarm(_) => self.line(&fitted(&before.into_iter().chain(line).collect::<String>())),
            _ => before.into_iter().chain(line).for_each(|line| self.line(&fitted(&line))),
        }
    }

    pub(super) fn pulse(&mut self, totals: Totals, gone: u64) {
        let status = self.words.status(totals);
        match &mut self.style {
            Style::Bars { bars, rest } if totals.on_the_way == 0 => {
                bars.pulse(rest.clone().unwrap_or(status), totals, gone);
            }
            Style::Bars { bars, .. } => bars.pulse(status, totals, gone),
            Style::Plain if totals.on_the_way > 0 && self.last_line.elapsed() >= SILENCE => {
                let details = totals.arrived.words();
                self.line(&if details.is_empty() { status } else { format!("{status}; {details}") });
            }
            _ => {}
        }
    }

    pub(super) fn started(&mut self, path: &Path, bytes: u64, sent: Arc<AtomicU64>) {
        if let Style::Bars { bars, .. } = &mut self.style {
            bars.start(path, bytes, sent);
        }
    }

    pub(super) fn stopped(&mut self, path: &Path) {
        if let Style::Bars { bars, .. } = &mut self.style {
            bars.stop(path);
        }
    }

    /// On standard error; nobody may be listening there, which must not end the program.
    fn aside(&self, event: &Event<'_>) {
        if let Some(line) = self.words.of(event) {
            let _ = writeln!(io::stderr(), "{}", fitted(&line));
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
