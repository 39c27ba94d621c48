//! Copies of the catalogue that hold no face: for backups, and before the schema is changed. What was erased in the
//! original afterwards cannot come back from them: vectors, matches and unfinished uploads are not in them at all.

use std::path::Path;

use findme_common::EventId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection, Row};

use super::{Catalog, CatalogError, Result};
use crate::store::{private_dir, sync_dir};

/// Rows that no copy keeps. A copy may be of an older schema that lacks some of these tables.
const DROPPED: [(&str, &str); 10] = [
    ("faces", "DELETE FROM faces"),
    ("enrolments", "DELETE FROM enrolments"),
    ("suppression_vectors", "DELETE FROM suppression_vectors"),
    // Where faces were dropped is no measurement: by it they are dropped again. One that knows no place knows nothing
    // more; those of the schemas before had a vector each.
    ("suppressions", "DELETE FROM suppressions WHERE id NOT IN (SELECT suppression FROM suppressed_faces)"),
    ("verdicts", "DELETE FROM verdicts"),
    ("live", "DELETE FROM live WHERE guest IS NOT NULL"),
    ("uploads", "DELETE FROM uploads WHERE complete = 0"),
    // A copy is not to erase elsewhere what its original still uses.
    ("remote_open", "DELETE FROM remote_open"),
    ("remote_collections", "DELETE FROM remote_collections"),
    ("remote_erasures", "DELETE FROM remote_erasures"),
];

/// Writes a consistent copy of the database `from` to the new file `to`, without faces, on stable storage. Others may
/// write to `from` meanwhile.
///
/// # Errors
/// When `from` cannot be read or `to` exists or cannot be written.
pub(crate) async fn copy_without_faces(from: &Path, to: &Path) -> Result<()> {
    let options =
        |file: &Path| SqliteConnectOptions::new().filename(file).busy_timeout(std::time::Duration::from_secs(20));
    let mut source = options(from).connect().await?;
    let name = to.to_str().ok_or(CatalogError::NotCommitted("the path of the copy is no text".to_owned()))?;
    sqlx::query("VACUUM INTO ?").bind(name).execute(&mut source).await?;
    source.close().await?;
    let mut copy = options(to).journal_mode(SqliteJournalMode::Delete).pragma("secure_delete", "ON").connect().await?;
    let knows_places = has_table(&mut copy, "suppressed_faces").await?;
    for (table, sql) in DROPPED {
        let sql = if table == "suppressions" && !knows_places { "DELETE FROM suppressions" } else { sql };
        if has_table(&mut copy, table).await? {
            sqlx::query(sql).execute(&mut copy).await?;
        }
    }
    sqlx::query("VACUUM").execute(&mut copy).await?;
    copy.close().await?;
    let on_disk = std::fs::File::open(to).and_then(|file| file.sync_all());
    on_disk.and_then(|()| to.parent().map_or(Ok(()), sync_dir)).map_err(|error| CatalogError::Sql(error.into()))
}

/// Takes an event out of the copies from before migrations that lie in `folder`: what is deleted must not live on in them.
/// A copy that cannot be changed is removed; the others keep what they are for.
///
/// # Errors
/// When a copy can neither be changed nor removed.
pub(crate) async fn forget_in_copies(folder: &Path, event: EventId) -> Result<()> {
    let io = |error: std::io::Error| CatalogError::Sql(error.into());
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io)?,
    };
    for entry in entries {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("before-") || !name.ends_with(".sqlite") {
            continue;
        }
        if let Err(error) = forget_in(&entry.path(), event).await {
            tracing::warn!(%error, copy = name, "a copy of the catalogue cannot be cleared and is removed");
            std::fs::remove_file(entry.path()).map_err(io)?;
        }
    }
    sync_dir(folder).map_err(io)
}

async fn forget_in(copy: &Path, event: EventId) -> Result<()> {
    let options = SqliteConnectOptions::new().filename(copy).foreign_keys(true).pragma("secure_delete", "ON");
    let mut db = options.connect().await?;
    let gone =
        sqlx::query("DELETE FROM events WHERE id = ?").bind(event.as_bytes().as_slice()).execute(&mut db).await?;
    if gone.rows_affected() > 0 {
        sqlx::query("VACUUM").execute(&mut db).await?;
    }
    Ok(db.close().await?)
}

async fn has_table(db: &mut SqliteConnection, table: &str) -> Result<bool> {
    let query = sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").bind(table);
    Ok(query.fetch_optional(db).await?.is_some())
}

impl Catalog {
    /// Looks at a database before its schema is brought up to date: one of a newer program is refused, one of an older
    /// one is copied to `backups/before-<first new version>.sqlite` beside it.
    pub(super) async fn before_migrations(file: &Path) -> Result<()> {
        if !std::fs::metadata(file).is_ok_and(|found| found.len() > 0) {
            return Ok(());
        }
        let known = super::schema::migrations().iter().map(|migration| migration.version).max().unwrap_or(0);
        let mut db = SqliteConnectOptions::new().filename(file).connect().await?;
        let found = if has_table(&mut db, "_sqlx_migrations").await? {
            sqlx::query("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(&mut db).await?.try_get(0)?
        } else {
            None::<i64>
        };
        db.close().await?;
        match found {
            Some(found) if found > known => Err(CatalogError::Newer { found, known }),
            Some(found) if found < known => keep_a_copy(file, found + 1).await,
            _ => Ok(()),
        }
    }
}

async fn keep_a_copy(file: &Path, version: i64) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new(".")).join("backups");
    let io = |error: std::io::Error| CatalogError::Sql(error.into());
    private_dir(&folder).map_err(io)?;
    let (copy, part) = (folder.join(format!("before-{version}.sqlite")), folder.join("part.sqlite"));
    if copy.exists() {
        return Ok(()); // an earlier start made it, and died before the migration was committed
    }
    if part.exists() {
        std::fs::remove_file(&part).map_err(io)?;
    }
    copy_without_faces(file, &part).await?;
    std::fs::rename(&part, &copy).and_then(|()| sync_dir(&folder)).map_err(io)?;
    tracing::info!(copy = %copy.display(), "kept a copy of the catalogue before bringing its schema up to date");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use findme_common::JoinCode;

    /// A database as the first release left it: one event with a guest, their enrolment, and a photo.
    async fn first_schema(file: &Path) -> EventId {
        let mut db = SqliteConnectOptions::new().filename(file).create_if_missing(true).connect().await.unwrap();
        let all = super::super::schema::migrations();
        let first = sqlx::migrate::Migrator::with_migrations(all.iter().take(1).cloned().collect());
        first.run(&mut db).await.unwrap();
        let event = EventId::random().unwrap();
        for sql in [
            "INSERT INTO events (id, name, join_code, created_at) VALUES (?1, 'party', ?2, 5)",
            "INSERT INTO photos (event, id, name, accepted_at, digest, bytes, hidden) VALUES (?1, x'00112233445566778899aabbccddeeff', 'a.jpg', 7, zeroblob(32), 9, 1)",
            "INSERT INTO guests (id, event, session, created_at) VALUES (zeroblob(16), ?1, zeroblob(32), 6)",
            "INSERT INTO enrolments (guest, pack, vector, created_at) VALUES (zeroblob(16), 'p', CAST('a sealed vector' AS BLOB), 6)",
        ] {
            let query = sqlx::query(sql).bind(event.as_bytes().as_slice());
            let query =
                if sql.contains("?2") { query.bind(JoinCode::random().unwrap().as_str().to_owned()) } else { query };
            query.execute(&mut db).await.unwrap();
        }
        db.close().await.unwrap();
        event
    }

    #[tokio::test]
    async fn a_database_of_the_first_release_is_brought_forward_and_a_copy_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("findme.sqlite");
        let event = first_schema(&file).await;
        let catalog = Catalog::open(&file).await.unwrap();
        assert_eq!(catalog.event(event).await.unwrap().unwrap().name, "party");
        let promised = catalog.promises(0, 10).await.unwrap();
        assert_eq!(promised.len(), 1);
        assert_eq!(promised[0].original.map(|(_, bytes)| bytes), Some(9));
        let row = super::super::query("SELECT visibility, (SELECT COUNT(*) FROM enrolments) AS n FROM photos");
        let row = row.fetch_one(&catalog.readers).await.unwrap();
        assert_eq!(row.try_get::<String, _>("visibility").unwrap(), "hidden", "hidden photos stay hidden");
        assert_eq!(row.try_get::<i64, _>("n").unwrap(), 1, "enrolments live on");
        assert_eq!(catalog.damages().await.unwrap(), Vec::<String>::new());
        catalog.close().await;
        let copy = dir.path().join("backups/before-2.sqlite");
        let bytes = std::fs::read(&copy).unwrap();
        assert!(!bytes.windows(15).any(|window| window == b"a sealed vector"), "a vector is in the copy");
        let mut db = SqliteConnectOptions::new().filename(&copy).connect().await.unwrap();
        let row =
            sqlx::query("SELECT (SELECT COUNT(*) FROM photos) AS photos, (SELECT COUNT(*) FROM enrolments) AS faces");
        let row = row.fetch_one(&mut db).await.unwrap();
        assert_eq!(row.try_get::<i64, _>("photos").unwrap(), 1);
        assert_eq!(row.try_get::<i64, _>("faces").unwrap(), 0);
        db.close().await.unwrap();
        // A deleted event leaves it as well; what is no database any more goes as a whole.
        let holds = |what: &[u8]| std::fs::read(&copy).unwrap().windows(what.len()).any(|window| window == what);
        assert!(holds(b"party") && holds(b"a.jpg"));
        let broken = dir.path().join("backups/before-1.sqlite");
        std::fs::write(&broken, b"party, and no database".repeat(100)).unwrap();
        forget_in_copies(&dir.path().join("backups"), EventId::random().unwrap()).await.unwrap();
        assert!(holds(b"party") && !broken.exists(), "another event's stays");
        forget_in_copies(&dir.path().join("backups"), event).await.unwrap();
        assert!(!holds(b"party") && !holds(b"a.jpg"));
        // Nothing is copied when nothing changes.
        std::fs::remove_file(&copy).unwrap();
        Catalog::open(&file).await.unwrap().close().await;
        assert!(!copy.exists());
    }

    #[tokio::test]
    async fn a_database_of_a_newer_program_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("findme.sqlite");
        Catalog::open(&file).await.unwrap().close().await;
        let mut db = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
        sqlx::query("UPDATE _sqlx_migrations SET version = 99 WHERE version = 2").execute(&mut db).await.unwrap();
        db.close().await.unwrap();
        let before = std::fs::read(&file).unwrap();
        let refused = Catalog::open(&file).await.map(drop).unwrap_err();
        assert!(matches!(refused, CatalogError::Newer { found: 99, .. }), "{refused}");
        assert_eq!(std::fs::read(&file).unwrap(), before);
        assert!(!dir.path().join("backups").exists());
    }
}
