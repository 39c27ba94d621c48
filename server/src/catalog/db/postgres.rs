//! PostgreSQL: how it is reached, what is demanded of it, and how a statement that was written for both databases is said
//! to it.
//!
//! Many processes write. Writes of one event are carried out one after another, because each locks the row of its event
//! first; those of different events run side by side. A write that fails, also because the connection was lost, has
//! changed nothing, and whoever asked for it asks again.

use std::fmt::Write as _;
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use sqlx::{Postgres, Row, Transaction};
use tokio::sync::mpsc;

use super::super::{CatalogError, Result, Scope};

/// Connections for writing, of one process.
const WRITERS: u32 = 6;

/// Connections for reading, of one process.
const READERS: u32 = 6;

/// How long a database that is away is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Pause before a connection that broke is made again.
const CONNECT_AGAIN: Duration = Duration::from_millis(100);

/// What processes tell each other that something was written. Only a hint: the tables are the truth.
const CHANNEL: &str = "findme";

/// Hints are sent no more often than this: telling takes a lock that all commits of the database share.
const HINT_EVERY: Duration = Duration::from_millis(20);

/// For how long a start waits for other processes' connections from before the newest migration to fall idle.
const LET_GO: Duration = Duration::from_secs(5);

/// What this program's connections are called in the server's own lists.
const PROGRAM: &str = "findme-server";

/// Does again what broke before anything was said, as long as there is patience. (No function: those that take asynchronous
/// closures make futures that no task takes.)
macro_rules! patiently {
    ($begin:expr) => {{
        let mut patience = Patience { deadline: Instant::now() + PATIENCE };
        loop {
            match $begin.await {
                Err(error) if patience.is_left(&error).await => {}
                done => break done,
            }
        }
    }};
}

/// Connections to a PostgreSQL database.
#[derive(Debug, Clone)]
pub(in super::super) struct PgSide {
    pub(super) pool: PgPool,
    /// Told of every write, when this side writes.
    pub(super) news: Option<mpsc::Sender<()>>,
}

/// A running transaction.
#[derive(Debug)]
pub(in super::super) struct PgTx {
    pub(super) tx: Transaction<'static, Postgres>,
    news: Option<mpsc::Sender<()>>,
}

/// Opens the database for writing and for reading, and checks that what it commits is durable.
///
/// # Errors
/// When it cannot be reached, or its settings could lose what it has committed.
pub(in super::super) async fn open(url: &str) -> Result<(PgSide, PgSide)> {
    let options = PgConnectOptions::from_str(url)?.application_name(PROGRAM);
    let pool = |options: PgConnectOptions, most: u32| {
        // Made when it is first asked for: a database that starts at the same moment is waited for.
        PgPoolOptions::new().max_connections(most).acquire_timeout(PATIENCE).connect_lazy_with(options)
    };
    let writing = options.clone().options([
        ("synchronous_commit", "on"),
        ("lock_timeout", "20s"),
        // A process that is cut off must not keep its event locked.
        ("idle_in_transaction_session_timeout", "60s"),
        ("tcp_user_timeout", "20000"),
    ]);
    let writer = pool(writing, WRITERS);
    demand_durability(&writer).await?;
    let reader = pool(options.options([("default_transaction_read_only", "on")]), READERS);
    // Room for one: that something was written is all there is to say.
    let (news, told) = mpsc::channel(1);
    tokio::spawn(tell(writer.clone(), told));
    Ok((PgSide { pool: writer, news: Some(news) }, PgSide { pool: reader, news: None }))
}

/// Refuses a server that answers before its writes are on stable storage. `synchronous_commit` is asked for with every
/// connection, but what stands between may not have passed that on.
async fn demand_durability(pool: &PgPool) -> Result<()> {
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let mut connection = patiently!(pool.acquire())?;
        let row = sqlx::query("SELECT current_setting($1)").bind(setting).fetch_one(&mut *connection).await?;
        if row.try_get::<&str, _>(0)? != "on" {
            return Err(CatalogError::Unsafe(setting));
        }
    }
    Ok(())
}

/// [`open`]'s check alone, with connections that are set like this.
#[cfg(test)]
pub(in super::super) async fn demand_durability_with(url: &str, settings: &[(&str, &str)]) -> Result<()> {
    let options = PgConnectOptions::from_str(url)?.options(settings.iter().copied());
    demand_durability(&PgPoolOptions::new().connect_lazy_with(options)).await
}

/// Sends a hint after writes, for as long as anybody can write.
async fn tell(pool: PgPool, mut news: mpsc::Receiver<()>) {
    while news.recv().await.is_some() && !pool.is_closed() {
        // A hint that is lost is made good: everybody looks by themselves now and then.
        let told = sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(&pool).await;
        if let Err(error) = told {
            tracing::debug!(%error, "other processes are not told");
        }
        tokio::time::sleep(HINT_EVERY).await;
    }
}

impl PgSide {
    /// Something was written.
    pub(super) fn wrote(&self) {
        if let Some(news) = &self.news {
            let _ = news.try_send(()); // full: it is about to be said
        }
    }

    /// For a statement by itself: one that only reads may be said again, one that writes may have been carried out.
    pub(super) fn patience(&self) -> Patience {
        let again = if self.news.is_some() { Duration::ZERO } else { PATIENCE };
        Patience { deadline: Instant::now() + again }
    }

    /// A connection.
    ///
    /// # Errors
    /// When the database cannot be reached for longer.
    pub(super) async fn connection(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        patiently!(self.pool.acquire())
    }

    /// Begins a transaction and takes its turn in what it may touch.
    ///
    /// # Errors
    /// When the database cannot be reached, or the turn does not come.
    pub(in super::super) async fn begin(&self, scope: Scope) -> Result<PgTx> {
        let tx = patiently!(self.begin_in_turn(scope))?;
        Ok(PgTx { tx, news: self.news.clone() })
    }

    async fn begin_in_turn(&self, scope: Scope) -> sqlx::Result<Transaction<'static, Postgres>> {
        let mut tx = self.pool.begin().await?;
        // Rows that refer to the event may be added meanwhile: this lock is not against those.
        let turn = match scope {
            Scope::Nothing => None,
            Scope::Event(event) => Some(
                sqlx::query("SELECT 1 FROM events WHERE id = $1 FOR NO KEY UPDATE").bind(event.as_bytes().to_vec()),
            ),
            Scope::EventOf(guest) => Some(
                sqlx::query(
                    "SELECT 1 FROM events WHERE id = (SELECT event FROM guests WHERE id = $1) FOR NO KEY UPDATE",
                )
                .bind(guest.as_bytes().to_vec()),
            ),
            // In order, so that two of these cannot wait for each other.
            Scope::Everything => Some(sqlx::query("SELECT 1 FROM events ORDER BY id FOR NO KEY UPDATE")),
        };
        if let Some(turn) = turn {
            turn.fetch_all(&mut *tx).await?;
        }
        Ok(tx)
    }

    /// Begins a transaction in which all statements see the same moment.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in super::super) async fn begin_reading(&self) -> Result<PgTx> {
        let tx = patiently!(self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))?;
        Ok(PgTx { tx, news: None })
    }

    /// Whether what is written here counts: not while the server only follows another.
    ///
    /// # Errors
    /// When the database cannot be reached, or takes no writes.
    pub(in super::super) async fn can_be_written(&self) -> Result<()> {
        let row = sqlx::query("SELECT pg_is_in_recovery()").fetch_one(&self.pool).await?;
        if row.try_get(0)? {
            Err(CatalogError::NotCommitted("the database only follows another".to_owned()))
        } else {
            Ok(())
        }
    }

    /// Hears of writes from now on, also of this process's own.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(in super::super) async fn listen(&self) -> Result<PgListener> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }

    /// Brings the schema up to date; of several processes one does it and the others wait.
    ///
    /// # Errors
    /// [`CatalogError::Newer`] when a newer program was here; otherwise when it cannot be done.
    pub(in super::super) async fn migrate(&self, migrator: &sqlx::migrate::Migrator) -> Result<()> {
        let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
        match migrator.run(&self.pool).await {
            Err(sqlx::migrate::MigrateError::VersionMissing(found)) if found > known => {
                Err(CatalogError::Newer { found, known })
            }
            done => {
                done?;
                if let Err(error) = self.end_connections_from_before().await {
                    tracing::warn!(%error, "other processes keep connections from before the migration");
                }
                Ok(())
            }
        }
    }

    /// Ends connections of this program, in all processes, that were made before the newest migration and are idle: the
    /// server refuses what they have prepared where it would answer with other columns now, and a process of the previous
    /// version would go on asking. Each is made anew when it is next needed.
    async fn end_connections_from_before(&self) -> Result<()> {
        // The moment of a migration is that of its beginning.
        let older = "WITH older AS MATERIALIZED (
                 SELECT pid, state FROM pg_stat_activity
                 WHERE datname = current_database() AND usename = current_user AND application_name = $1
                   AND pid <> pg_backend_pid() AND backend_start < (
                     SELECT MAX(installed_on + execution_time / 1000 * interval '1 microsecond') FROM _sqlx_migrations))
             SELECT CASE WHEN state = 'idle' THEN pg_terminate_backend(pid) END FROM older";
        let deadline = Instant::now() + LET_GO;
        while Instant::now() < deadline {
            let mut connection = patiently!(self.pool.acquire())?;
            if sqlx::query(older).bind(PROGRAM).fetch_all(&mut *connection).await?.is_empty() {
                break;
            }
            drop(connection);
            tokio::time::sleep(CONNECT_AGAIN).await;
        }
        Ok(())
    }
}

/// For how long something that failed for the line's sake, or because the server starts, is done again.
#[derive(Debug)]
pub(super) struct Patience {
    deadline: Instant,
}

impl Patience {
    /// Whether it may be done once more, after a pause.
    pub(super) async fn is_left(&mut self, error: &sqlx::Error) -> bool {
        let again = is_passing(error) && Instant::now() < self.deadline;
        if again {
            tokio::time::sleep(CONNECT_AGAIN).await;
        }
        again
    }
}

/// Whether a line broke, or the server is ending or starting: nothing that was asked is to blame.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // admin_shutdown, crash_shutdown, cannot_connect_now.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P0")),
        _ => false,
    }
}

impl PgTx {
    pub(super) async fn commit(self) -> sqlx::Result<()> {
        self.tx.commit().await?;
        if let Some(news) = self.news {
            let _ = news.try_send(());
        }
        Ok(())
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

/// A statement as PostgreSQL wants it: placeholders are `$1`, `$2`, …, and what stands in `/*postgres … */` counts.
pub(super) fn translated(sql: &str) -> String {
    let mut said = String::with_capacity(sql.len() + 16);
    let (mut next, mut rest) = (0, sql);
    while let Some(at) = rest.find(['?', '\'', '/']) {
        said.push_str(&rest[..at]);
        let found = &rest[at..];
        rest = if let Some(text) = found.strip_prefix('\'') {
            // Text that stands in the statement is left as it is.
            let end = text.find('\'').map_or(found.len(), |end| end + 2);
            said.push_str(&found[..end]);
            &found[end..]
        } else if let Some(ours) = found.strip_prefix("/*postgres ") {
            let end = ours.find("*/").unwrap_or(ours.len());
            said.push_str(&ours[..end]);
            ours[end..].strip_prefix("*/").unwrap_or_default()
        } else if let Some(after) = found.strip_prefix('?') {
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            next = after[..digits].parse().unwrap_or(next + 1);
            write!(said, "${next}").expect("writing into memory cannot fail");
            &after[digits..]
        } else {
            said.push('/');
            &found[1..]
        };
    }
    said.push_str(rest);
    said
}

#[cfg(test)]
mod tests {
    use super::translated;

    #[test]
    fn placeholders_are_numbered_and_text_is_left_alone() {
        for (ours, theirs) in [
            ("SELECT a FROM t WHERE b = ? AND c = ?", "SELECT a FROM t WHERE b = $1 AND c = $2"),
            ("WHERE a = ?2 AND b = ?1 AND c = ?12", "WHERE a = $2 AND b = $1 AND c = $12"),
            ("WHERE a = '?' AND b = ? OR c IN ('x''?', ?)", "WHERE a = '?' AND b = $1 OR c IN ('x''?', $2)"),
            ("LIMIT 1 /*postgres FOR UPDATE SKIP LOCKED */)", "LIMIT 1 FOR UPDATE SKIP LOCKED )"),
            ("SELECT 4 / 2, 'it", "SELECT 4 / 2, 'it"),
            ("", ""),
        ] {
            assert_eq!(translated(ours), theirs);
        }
    }
}
