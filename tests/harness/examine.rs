//! Looks at a data folder after its server died: is everything there that was promised, once and undamaged?

use std::path::Path;

use findme_common::EventId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};

use crate::ledger::{self, Ledger, Verdict};
use crate::support::server::command;
use crate::support::{Server, say};

/// What an examination found. All but `verdict.kept` and `photos` must be nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    pub(crate) photos: i64,
    pub(crate) twice: i64,
    /// What SQLite and `findme-server check` complain of.
    pub(crate) complaints: Vec<String>,
}

impl Finding {
    pub(crate) fn is_clean(&self) -> bool {
        self.verdict.lost == 0 && self.verdict.damaged == 0 && self.twice == 0 && self.complaints.is_empty()
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {} twice; {} photos in the catalogue", self.verdict, self.twice, self.photos)?;
        self.complaints.iter().try_for_each(|complaint| write!(f, "; {complaint}"))
    }
}

/// Examines the folder of a server that does not run: all promises, the catalogue itself, and the server's own check.
pub(crate) async fn folder(data: &Path, event: EventId, ledger: &Ledger) -> Finding {
    let promises = ledger.photos();
    let mut finding = Finding { verdict: ledger::files(data, event, &promises).await, ..Finding::default() };
    let mut catalog = open(data).await;
    for question in ["PRAGMA integrity_check", "PRAGMA foreign_key_check"] {
        let rows = sqlx::query(question).fetch_all(&mut catalog).await.unwrap();
        let answers = rows.iter().map(|row| row.try_get::<String, _>(0).unwrap_or_default());
        finding
            .complaints
            .extend(answers.filter(|answer| answer != "ok").map(|answer| format!("{question}: {answer}")));
    }
    let digests: Vec<Vec<u8>> = sqlx::query("SELECT digest FROM photos WHERE digest IS NOT NULL")
        .fetch_all(&mut catalog)
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let unique: std::collections::BTreeSet<_> = digests.iter().collect();
    finding.photos = digests.len() as i64;
    finding.twice = (digests.len() - unique.len()) as i64;
    let without_row = promises.values().filter(|promise| !unique.contains(&promise.digest.as_bytes().to_vec())).count();
    if without_row > 0 {
        finding.complaints.push(format!("{without_row} promised photos have no row"));
    }
    let indexed_twice: i64 =
        sqlx::query("SELECT count(*) FROM photos WHERE index_runs > 1").fetch_one(&mut catalog).await.unwrap().get(0);
    if indexed_twice > 0 {
        finding.complaints.push(format!("{indexed_twice} photos were indexed twice"));
    }
    // Closed, not dropped: its thread would hold the disk for a while.
    catalog.close().await.unwrap();
    finding.complaints.extend(own_check(data));
    finding
}

/// Runs `findme-server check`, where there is one.
fn own_check(data: &Path) -> Option<String> {
    if !can_check() {
        return None;
    }
    let output = command().arg("check").arg("--data").arg(data).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (!output.status.success()).then(|| format!("check: {}", String::from_utf8_lossy(&said).trim()))
}

fn can_check() -> bool {
    let help = command().arg("--help").output().unwrap();
    String::from_utf8_lossy(&help.stdout).lines().any(|line| line.trim_start().starts_with("check "))
}

async fn open(data: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(data.join("findme.sqlite")).connect().await.unwrap()
}

/// Shows that the examination can fail: in a copy of the folder one promised file is removed and another is damaged.
pub(crate) async fn can_fail(server: &Server, event: EventId, ledger: &Ledger) {
    let copy = tempfile::tempdir().unwrap();
    let folder = copy.path().join("photos").join(event.to_simple());
    std::fs::create_dir_all(&folder).unwrap();
    let promises: std::collections::BTreeMap<_, _> = ledger.photos().into_iter().take(3).collect();
    let original = server.data().join("photos").join(event.to_simple());
    let names: Vec<_> = promises.keys().map(findme_common::PhotoId::to_simple).collect();
    for name in &names[1..] {
        std::fs::copy(original.join(name), folder.join(name)).unwrap();
    }
    let mut bytes = std::fs::read(folder.join(&names[1])).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(folder.join(&names[1]), bytes).unwrap();
    let verdict = ledger::files(copy.path(), event, &promises).await;
    assert_eq!(verdict, Verdict { kept: 1, lost: 1, damaged: 1 }, "the examination cannot fail");
    say("control: a removed and a damaged file are found");
}
