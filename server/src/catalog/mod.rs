//! Every SQL statement of the server, one file per subject. SQLite in WAL mode with `synchronous=FULL`, or PostgreSQL with
//! `synchronous_commit=on`: what a method has committed survives a power cut. One writer in SQLite, one for each event in
//! PostgreSQL; readers never wait for it.
//!
//! The digest is looked up nowhere: photos are found by their id alone.

mod attention;
mod audit;
mod board;
mod changes;
mod copy;
mod curation;
mod db;
mod dropped;
mod events;
mod faces;
mod guests;
mod jobs;
mod live;
pub mod measure;
#[cfg(feature = "postgres")]
mod moving;
mod photos;
mod quota;
mod recent;
mod rematch;
mod remote;
mod reports;
mod retention;
mod returns;
mod schema;
mod standing;
mod suppressions;
mod times;
mod trim;
mod upkeep;
mod uploads;
mod verdicts;
mod versions;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use findme_common::protocol::Counts;
use findme_common::{EventId, GuestId};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

pub(crate) use attention::Requeue;
pub(crate) use audit::Actor;
pub(crate) use board::{BoardFigures, ToGuests};
pub(crate) use changes::Changes;
pub(crate) use copy::{copy_without_faces, forget_in_copies};
pub(crate) use curation::{Decision, Recogniser, SealedFaces};
use db::{Pool, Row, Tx, query};
pub(crate) use events::{Event, Machine, Terms, is_understood};
pub(crate) use faces::{NewFace, SealedFace, StoredFace};
pub(crate) use guests::{Guest, GuestEnrolment, Purpose, SESSION_MS};
pub(crate) use jobs::{Claim, FindUnwanted, Indexed, JobOutcome, Matcher, RENEW_EVERY, Trouble};
pub(crate) use live::{Audience, LiveEntry, LiveTail};
pub(crate) use photos::{Original, Photo, PhotoFilter};
pub(crate) use quota::Quota;
use recent::Recent;
pub(crate) use remote::{Collection, Erasure, Priced, REMOTE_PACK};
pub(crate) use reports::Reported;
pub(crate) use standing::{Listens, Standing};
pub(crate) use suppressions::{Agreed, DueVector, Likeness, Suppressed};
pub(crate) use times::Narrow;
pub(crate) use upkeep::Promised;
pub(crate) use uploads::{Accepted, NewUpload, Node, UploadRow};
use writer::Writer;

/// Why the catalogue could not do it. No variant is the client's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    /// The disk is full; the request may succeed when there is room again.
    #[error("the disk is full")]
    Full,
    /// A row holds what no version of the program writes.
    #[error("the catalogue is damaged: {0}")]
    Damaged(&'static str),
    /// The event was deleted meanwhile.
    #[error("the event is gone")]
    Gone,
    /// The engine refused.
    #[error("catalogue: {0}")]
    Sql(sqlx::Error),
    /// The write was taken back: the transaction that it shared could not be committed.
    #[error("the catalogue could not be written: {0}")]
    NotCommitted(String),
    /// The database server may forget what it has committed.
    #[cfg(feature = "postgres")]
    #[error("the database has {0}=off: what it has committed may be lost; switch it on")]
    Unsafe(&'static str),
    /// A newer version of the program wrote it.
    #[error(
        "the catalogue was written by a newer version of this program (schema {found}, this one knows {known}); use that \
         version, or restore a backup into another folder. Nothing was changed"
    )]
    Newer {
        /// Its schema.
        found: i64,
        /// The newest schema that is known here.
        known: i64,
    },
    /// The schema could not be brought up to date.
    #[error("catalogue schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|e| e.code());
        match code.as_deref() {
            // PostgreSQL's codes have five places: disk_full, foreign_key_violation.
            Some("53100") => return Self::Full,
            Some("23503") => return Self::Gone,
            Some(code) if code.len() == 5 => return Self::Sql(error),
            _ => {}
        }
        // SQLITE_FULL is 13; extended codes keep it in the low byte.
        match code.and_then(|code| code.parse::<u32>().ok()) {
            Some(code) if code & 0xFF == 13 => Self::Full,
            // SQLITE_CONSTRAINT_FOREIGNKEY: every chain of references ends at an event.
            Some(787) => Self::Gone,
            _ => Self::Sql(error),
        }
    }
}

impl CatalogError {
    /// The same error for another of those who shared a commit.
    fn for_another(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            other => Self::NotCommitted(other.to_string()),
        }
    }
}

/// Result of a catalogue method.
pub(crate) type Result<T> = std::result::Result<T, CatalogError>;

/// By event and list: the event's version, and the counts that it had.
type Counted = HashMap<(EventId, PhotoFilter), (i64, Counts)>;

/// What a write may touch. Writes of one scope are carried out one after another, whoever asks for them and wherever: each
/// sees all that the one before has done. SQLite has one writer, so there this costs and means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// One event.
    Event(EventId),
    /// The event of a guest.
    EventOf(GuestId),
    /// All events.
    Everything,
    /// No event: rows that belong together by themselves.
    Nothing,
}

/// The photos, uploads, jobs, faces and guests of all events.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    /// One connection: SQLite has one writer, and waiting for it here is cheaper than in its busy handler.
    writer: Pool,
    /// Shares commits between the writes of the upload path, which come in crowds.
    writer_task: Writer,
    readers: Pool,
    /// Counts of lists, each with the version of its event then.
    counted: Arc<Mutex<Counted>>,
    recent: Recent,
}

impl Catalog {
    /// Opens or creates the database file and brings its schema up to date.
    ///
    /// # Errors
    /// When the file is no database, is damaged, or comes from a newer version. It is never replaced.
    pub(crate) async fn open(file: &Path) -> Result<Self> {
        Self::open_sharing(file, writer::BATCH).await
    }

    /// Like [`Catalog::open`]; at most so many writes share a commit.
    async fn open_sharing(file: &Path, batch: usize) -> Result<Self> {
        Self::before_migrations(file).await?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(20))
            // Erased vectors must not linger in free pages.
            .pragma("secure_delete", "ON")
            .pragma("fullfsync", "ON")
            .pragma("checkpoint_fullfsync", "ON");
        let recent = Recent::new();
        let (opened, released) = (recent.clone(), recent.clone());
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(60))
            // Never exchanged for another: it tells what it writes, and counts what others wrote.
            .max_lifetime(None)
            .idle_timeout(None)
            .after_connect(move |connection, _| {
                let recent = opened.clone();
                Box::pin(async move { recent.listen(connection).await })
            })
            .after_release(move |connection, _| {
                let recent = released.clone();
                Box::pin(async move { is_at_rest(connection, &recent).await })
            })
            .connect_with(options.clone())
            .await?;
        schema::migrations().run(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(5)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        let writer_task = Writer::start(writer.clone(), batch);
        let (writer, readers) = (Pool::Sqlite(writer), Pool::Sqlite(readers));
        Ok(Self { writer, writer_task, readers, counted: Arc::default(), recent })
    }

    /// Opens the catalogue on a database server and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be reached, cannot be trusted with commits, or comes from a newer version.
    #[cfg(feature = "postgres")]
    pub(crate) async fn open_postgres(url: &str) -> Result<Self> {
        let (writer, readers) = db::open_postgres(url).await?;
        writer.migrate(&schema::postgres_migrations()).await?;
        let writer_task = Writer::on_postgres(writer.clone());
        let (writer, readers) = (Pool::Postgres(writer), Pool::Postgres(readers));
        Ok(Self { writer, writer_task, readers, counted: Arc::default(), recent: Recent::new() })
    }

    /// Starts the one write transaction; takes the write lock at once, so that it cannot fail half-way for it.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite has one writer"))]
    async fn begin(&self, scope: Scope) -> Result<Tx> {
        match &self.writer {
            Pool::Sqlite(writer) => Ok(Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?)),
            #[cfg(feature = "postgres")]
            Pool::Postgres(side) => Ok(Tx::Postgres(side.begin(scope).await?)),
        }
    }

    /// A transaction that reads one moment of the catalogue.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    async fn begin_reading(&self) -> Result<Tx> {
        match &self.readers {
            Pool::Sqlite(readers) => Ok(Tx::Sqlite(readers.begin().await?)),
            #[cfg(feature = "postgres")]
            Pool::Postgres(side) => Ok(Tx::Postgres(side.begin_reading().await?)),
        }
    }

    /// Whether writes go through, by one that changes nothing.
    ///
    /// # Errors
    /// When they do not.
    pub(crate) async fn can_be_written(&self) -> Result<()> {
        match &self.writer {
            Pool::Sqlite(_) => self.writer_task.write(Scope::Nothing, |_| Box::pin(async { Ok(()) })).await,
            #[cfg(feature = "postgres")]
            Pool::Postgres(side) => side.can_be_written().await,
        }
    }

    /// Closes all connections, which folds the write-ahead log into the database.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Folds the write-ahead log into the database: what was erased may still stand in the log. Readers that hold it are
    /// waited for (the busy handler's 20 s, twice); then it is said, and the next erasure or the end of the process does it.
    async fn truncate_log(&self) -> Result<()> {
        let Some(writer) = self.writer.sqlite() else { return Ok(()) };
        for _ in 0..2 {
            let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(writer).await?;
            if sqlx::Row::try_get::<i64, _>(&row, 0)? == 0 {
                return Ok(());
            }
        }
        tracing::warn!("readers hold the write-ahead log: what was erased stands in it until the next erasure");
        Ok(())
    }

    /// A setting of the server itself.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn setting(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let row = query("SELECT value FROM settings WHERE key = ?").bind(key).fetch_optional(&self.readers).await?;
        row.map(|row| Ok(row.try_get(0)?)).transpose()
    }

    /// Stores a setting unless there is one; whether it was stored.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn set_once(&self, key: &str, value: &[u8]) -> Result<bool> {
        let done = query("INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(key)
            .bind(value)
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}

/// Whether a connection may be used again. When the disk is full, SQLite ends a transaction by itself; the roll-back that
/// follows fails, and the connection would take itself to be inside a transaction for ever.
async fn is_at_rest(connection: &mut SqliteConnection, recent: &Recent) -> sqlx::Result<bool> {
    // The roll-back of a dropped transaction is only queued yet.
    connection.ping().await?;
    if connection.is_in_transaction() {
        return Ok(false);
    }
    recent.at_rest(connection).await?;
    Ok(true)
}

/// Reads a column that holds 16 raw bytes of an id.
macro_rules! id_column {
    ($row:expr, $column:expr, $id:ty) => {
        <$id>::from_slice(&$row.try_get::<Vec<u8>, _>($column)?)
            .ok_or($crate::catalog::CatalogError::Damaged("an id is not 16 bytes long"))
    };
}
use id_column;

/// Reads a column that holds one of the words of an enum.
fn word<T: FromStr>(row: &Row, column: &str) -> Result<T> {
    row.try_get::<String, _>(column)?.parse().map_err(|_| CatalogError::Damaged("an unknown word in a column"))
}

/// Reads a column that holds 32 raw bytes of a digest or hash.
fn digest(bytes: Vec<u8>) -> Result<findme_common::Digest> {
    let bytes = bytes.try_into().map_err(|_| CatalogError::Damaged("a digest is not 32 bytes long"))?;
    Ok(findme_common::Digest::from_bytes(bytes))
}

#[cfg(test)]
pub(crate) mod tests;
