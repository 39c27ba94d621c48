//! How things are said to people: short, the warning first, because a narrow terminal cuts the end off.

use findme_common::manifest::{FailReason, SkipReason};

use super::Event;
use crate::totals::{Totals, number, plural, size};

/// What there is to know for the right words.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Everything is on this laptop only, so nothing is called safe.
    pub(super) this_machine_only: bool,
    pub(super) dry_run: bool,
    /// With `--dry-run`: photos and bytes that would be sent.
    pub(super) would_send: (u64, u64),
}

impl Words {
    /// Takes note of what the summary will name.
    pub(super) fn count(&mut self, event: &Event<'_>) {
        if let Event::WouldSend { bytes, .. } = event {
            self.would_send = (self.would_send.0 + 1, self.would_send.1 + bytes);
        }
    }

    /// «12 on the way, 1,204 safe»
    pub(super) fn status(&self, totals: Totals) -> String {
        let safe = if self.this_machine_only { "copied on this laptop" } else { "safe" };
        let mut line = format!("{} on the way, {} {safe}", number(totals.on_the_way), number(totals.safe()));
        if totals.previews > 0 {
            let (previews, originals) = (number(totals.previews), number(totals.on_the_way));
            line = format!(
                "{previews} previews with guests, {originals} originals on the way, {} {safe}",
                number(totals.safe())
            );
        }
        if totals.failed > 0 {
            // In front, where a narrow terminal does not cut it off.
            line = format!("{} FAILED, {line}", number(totals.failed));
        }
        if totals.skipped > 0 {
            line += &format!(", {} skipped", number(totals.skipped));
        }
        line
    }

    /// One event in words; `None` when it is worth none.
    pub(super) fn of(&self, event: &Event<'_>) -> Option<String> {
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
            Event::Summary { totals, took, .. } => summary(*totals, took.as_secs_f32()),
            Event::Notice(line) | Event::Alarm(line) => (*line).to_owned(),
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
            (0, _) => format!("{failed} FAILED, and no photo is on the server"),
            (_, _) if self.this_machine_only => {
                format!("{failed} FAILED; not a backup: {photos} copied on this laptop only")
            }
            (1, 0) => "the photo is safe on the server; you may close the lid".to_owned(),
            (_, 0) => format!("all {photos} are safe on the server; you may close the lid"),
            (_, _) => format!("{photos} {are} safe on the server, {failed} FAILED and not"),
        }
    }
}

/// The whole run in one line: what there is none of is not named.
fn summary(totals: Totals, seconds: f32) -> String {
    let rate = totals.bytes as f32 / 1e6 / seconds.max(0.001);
    let mut line = format!("{} found: {} sent", number(totals.found()), number(totals.uploaded));
    if totals.uploaded > 0 {
        line += &format!(" ({}, {seconds:.1} s, {rate:.1} MB/s)", size(totals.bytes));
    }
    for (count, word) in [
        (totals.known, "known before"),
        (totals.duplicate, "duplicate"),
        (totals.skipped, "skipped"),
        (totals.failed, "FAILED"),
        (totals.on_the_way, "left"),
    ] {
        if count > 0 {
            line += &format!(", {} {word}", number(count));
        }
    }
    let arrived = totals.arrived.words();
    if arrived.is_empty() { line } else { format!("{line}; {arrived}") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn report(this_machine_only: bool) -> Words {
        Words { this_machine_only, ..Words::default() }
    }

    #[test]
    fn the_lid_may_be_closed_only_when_everything_is_safe_elsewhere() {
        let done = Totals { known: 1000, uploaded: 204, ..Totals::default() };
        let words = |this_machine_only, totals| report(this_machine_only).of(&Event::Idle(totals)).unwrap();
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
        let words = |name: &str, reason| report(false).of(&Event::Skipped { path: Path::new(name), reason, bytes: 1 });
        assert!(words("a.jpg", SkipReason::NotAPhoto).is_some());
        assert!(words("a.txt", SkipReason::NotAPhoto).is_none());
        assert!(words("a.nef", SkipReason::Raw).is_none());
    }

    #[test]
    fn the_summary_names_what_there_is() {
        let some =
            Totals { uploaded: 2, bytes: 3_000_000, skipped: 1, failed: 1, on_the_way: 1204, ..Totals::default() };
        assert_eq!(
            summary(some, 2.0),
            "1,208 found: 2 sent (3.0 MB, 2.0 s, 1.5 MB/s), 1 skipped, 1 FAILED, 1,204 left"
        );
        assert_eq!(summary(Totals { known: 3, ..Totals::default() }, 0.1), "3 found: 0 sent, 3 known before");
    }

    #[test]
    fn numbers_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(n), text);
        }
    }
}
