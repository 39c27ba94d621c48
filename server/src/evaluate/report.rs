//! The figures of a run: kept as JSON beside the data, so that pages can show them, and told as a table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::score::{self, Banded, Galleries, Hit, Point};
use super::{FLOOR, Measured, Plan, plot};
use crate::clock::{now_ms, rfc3339};
use crate::face::{Bands, Pack};

/// Version of the file's form.
const VERSION: u32 = 1;

/// The most recall at a stated precision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    /// Of the photos that the searchers are in, those shown.
    pub(crate) recall: f64,
    /// From this similarity on.
    pub(crate) threshold: f32,
}

/// Rates of one set of searches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What sets it apart.
    pub(crate) what: String,
    /// Searches by people who are in the gallery.
    pub(crate) mated: usize,
    /// Searches by people who are not.
    pub(crate) strangers: usize,
    /// Where «maybe you?» began.
    pub(crate) maybe_from: f32,
    /// What guests saw.
    pub(crate) bands: Banded,
    /// Where 99 of 100 photos shown are right.
    pub(crate) at_99: Option<Best>,
}

impl Row {
    pub(super) fn of(what: String, galleries: &Galleries, bands: Bands) -> Self {
        let searches = || galleries.iter().flat_map(|(searches, _)| searches);
        let mated = searches().filter(|search| !search.mates.is_empty()).count();
        let curve = curve(galleries);
        let at_99 = score::recall_at(&curve, 0.99).map(|(recall, threshold)| Best { recall, threshold });
        let strangers = searches().count() - mated;
        Self { what, mated, strangers, maybe_from: bands.maybe.get(), bands: score::banded(galleries, bands), at_99 }
    }
}

fn curve(galleries: &Galleries) -> Vec<Point> {
    score::curve(galleries, (FLOOR * 100.0).ceil() as u8, 80)
}

/// How many photos of a kind are shown to whom they show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Which.
    pub(crate) what: String,
    /// Searchers in photos of this kind, each photo once a searcher.
    pub(crate) appearances: usize,
    /// Shown as «you».
    pub(crate) you: usize,
    /// Shown in either band.
    pub(crate) both: usize,
}

impl Part {
    pub(super) fn new(what: &str) -> Self {
        Self { what: what.to_owned(), appearances: 0, you: 0, both: 0 }
    }

    pub(super) fn count(&mut self, hit: Option<&Hit>, bands: Bands) {
        self.appearances += 1;
        self.you += usize::from(hit.is_some_and(|hit| hit.you));
        self.both += usize::from(hit.is_some_and(|hit| hit.you || hit.similarity >= bands.maybe.get()));
    }
}

/// Everything that a run found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Version of this form.
    pub(crate) v: u32,
    /// When, RFC 3339 in UTC.
    pub(crate) made_at: String,
    /// Version of the program.
    pub(crate) program: String,
    /// The face pack.
    pub(crate) pack: String,
    /// What ran its networks.
    pub(crate) engine: String,
    /// Name of the photos' folder.
    pub(crate) set: String,
    pub(crate) photos: usize,
    /// Photos that could not be indexed.
    pub(crate) failed: u64,
    pub(crate) faces: usize,
    pub(crate) people: usize,
    /// Where «you» begins.
    pub(crate) you_from: f32,
    /// Selfies that were refused, by the reason; they count as searches that found nothing.
    pub(crate) refused: BTreeMap<String, usize>,
    /// The whole set.
    pub(crate) all: Row,
    pub(crate) curve: Vec<Point>,
    pub(crate) by_gallery: Vec<Row>,
    pub(crate) by_height: Vec<Part>,
    pub(crate) by_pose: Vec<Part>,
    pub(crate) degraded: Vec<Row>,
}

impl Figures {
    pub(super) fn of(plan: &Plan, measured: &Measured, pack: &Pack, runtime: &str) -> Self {
        let galleries = [(measured.searches.clone(), plan.photos.len())];
        let bands = pack.thresholds.bands(measured.count_faces());
        Self {
            v: VERSION,
            made_at: rfc3339(now_ms()),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            pack: pack.name.clone(),
            engine: runtime.to_owned(),
            set: plan.name.clone(),
            photos: plan.photos.len(),
            failed: measured.failed,
            faces: measured.count_faces(),
            people: plan.people,
            you_from: bands.you.get(),
            refused: measured.refused.clone(),
            all: Row::of("all".to_owned(), &galleries, bands),
            curve: curve(&galleries),
            by_gallery: Vec::new(),
            by_height: Vec::new(),
            by_pose: Vec::new(),
            degraded: Vec::new(),
        }
    }

    /// Where the figures of the last run are kept.
    pub(crate) fn file_in(data: &Path) -> PathBuf {
        data.join("evaluation.json")
    }

    /// The figures of the last run on this data folder; `None` when there was none, or when they are another version's.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn last(data: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(Self::file_in(data)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => Ok(serde_json::from_slice(&read?).ok().filter(|figures: &Self| figures.v == VERSION)),
        }
    }

    /// Writes the figures as JSON, the table as text and the plot as SVG.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(Self::file_in(folder), serde_json::to_vec_pretty(self)?)?;
        std::fs::write(folder.join("evaluation.txt"), self.table())?;
        std::fs::write(folder.join("evaluation.svg"), plot::svg(self))
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.tell(&mut out);
        out
    }

    fn tell(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "{}: {} photos, {} faces, {} people; {} searches by them, {} by strangers",
            self.set, self.photos, self.faces, self.people, self.all.mated, self.all.strangers
        )?;
        writeln!(
            out,
            "pack {}, engine {}, «you» from {:.2}, «maybe you?» from {:.3}",
            self.pack, self.engine, self.you_from, self.all.maybe_from
        )?;
        if self.failed > 0 {
            writeln!(out, "{} photos could not be indexed", self.failed)?;
        }
        for (code, count) in &self.refused {
            writeln!(out, "{count} selfies were refused: {code}")?;
        }
        writeln!(
            out,
            "\n{:<34}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}{:>16}",
            "", "you", "you", "both", "maybe", "strangers", "searches", "recall where"
        )?;
        writeln!(
            out,
            "{:<34}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}{:>16}",
            "", "precis.", "recall", "recall", "precis.", "in «you»", "w/o photo", "precision ≥ .99"
        )?;
        for row in std::iter::once(&self.all).chain(&self.by_gallery).chain(&self.degraded) {
            let (you, both) = (&row.bands.you, &row.bands.both);
            let at_99 =
                row.at_99.map_or("–".to_owned(), |best| format!("{:.3} at {:.2}", best.recall, best.threshold));
            writeln!(
                out,
                "{:<34}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}{:>16}",
                row.what,
                rate(you.precision),
                rate(you.recall),
                rate(both.recall),
                rate(row.bands.maybe_precision),
                rate(you.fpir),
                rate(both.fnir),
                at_99
            )?;
        }
        for (title, parts) in [("height of the face", &self.by_height), ("pose", &self.by_pose)] {
            if !parts.is_empty() {
                writeln!(out, "\n{title:<34}{:>11}{:>9}{:>9}", "appearances", "you", "both")?;
            }
            for part in parts {
                let of = |count: usize| rate(Some(count as f64 / part.appearances.max(1) as f64));
                writeln!(out, "{:<34}{:>11}{:>9}{:>9}", part.what, part.appearances, of(part.you), of(part.both))?;
            }
        }
        writeln!(
            out,
            "\n{:<10}{:>9}{:>9}{:>9}{:>9}{:>9}{:>12}",
            "threshold", "precis.", "recall", "F1", "FNIR", "FPIR", "false match"
        )?;
        for point in self.curve.iter().filter(|point| ((point.threshold * 100.0).round() as u32).is_multiple_of(2)) {
            let false_match = point.false_match.map_or("–".to_owned(), |rate| format!("{rate:.1e}"));
            writeln!(
                out,
                "{:<10.2}{:>9}{:>9}{:>9}{:>9}{:>9}{:>12}",
                point.threshold,
                rate(point.precision),
                rate(point.recall),
                rate(point.f1),
                rate(point.fnir),
                rate(point.fpir),
                false_match
            )?;
        }
        Ok(())
    }
}

fn rate(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.3}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::score::Search;
    use super::*;

    pub(crate) fn figures() -> Figures {
        let plan = Plan { name: "set".to_owned(), people: 2, ..Plan::default() };
        let hit = |&(photo, similarity): &(usize, f32)| Hit { photo, similarity, you: similarity >= 0.54 };
        let search = |mates: &[usize], hits: &[(usize, f32)]| Search {
            mates: mates.to_vec(),
            hits: hits.iter().map(hit).collect(),
        };
        let searches = vec![search(&[0], &[(0, 0.8), (1, 0.3)]), search(&[1], &[(1, 0.5)]), search(&[], &[(0, 0.2)])];
        let measured =
            Measured { searches, refused: BTreeMap::from([("no-face".to_owned(), 1)]), failed: 1, faces: Vec::new() };
        let plan = Plan {
            photos: vec![super::super::plan::Shot { path: PathBuf::new(), people: vec![0], portrait: true }; 2],
            ..plan
        };
        Figures::of(&plan, &measured, crate::face::default_pack(), "rten")
    }

    #[test]
    fn figures_are_kept_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Figures::last(folder.path()).unwrap().is_none());
        let figures = figures();
        figures.write(folder.path()).unwrap();
        let read = Figures::last(folder.path()).unwrap().unwrap();
        assert_eq!((read.set, read.all.mated, read.all.strangers), ("set".to_owned(), 2, 1));
        assert!(folder.path().join("evaluation.svg").exists());
        std::fs::write(Figures::file_in(folder.path()), br#"{"v":99}"#).unwrap();
        assert!(Figures::last(folder.path()).unwrap().is_none(), "another version's figures are none");
    }

    #[test]
    fn the_table_names_the_set_and_what_was_refused() {
        let table = figures().table();
        for part in ["set: 2 photos", "1 selfies were refused: no-face", "FPIR", "could not be indexed"] {
            assert!(table.contains(part), "{part} in {table}");
        }
    }
}
