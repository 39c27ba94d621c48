//! Group commit. Writes queue for one task; it takes what is there, runs each in a savepoint of one transaction, commits
//! once, and only then answers them all. A commit costs one sync of the write-ahead log whatever is in it, so that many
//! writers at once cost little more than one.
//!
//! Order: every write's statements → `COMMIT` (append to the log, `fdatasync` of it; `synchronous=FULL`) → answers. A write
//! that fails takes back its own statements only. A commit that fails takes back all of them and every writer is told; it
//! is never tried again here: after a failed sync the kernel may have dropped the pages, and SQLite writes them anew with
//! the next transaction.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::sqlite::SqlitePool;
use tokio::sync::{mpsc, oneshot};

use super::db::{Tx, query};
use super::{CatalogError, Result, Scope};

/// Writes of one commit at most: bounds how long the first one waits for the others.
pub(super) const BATCH: usize = 64;

/// Writes that may queue; more wait to get in.
const QUEUE: usize = 1024;

/// The way in.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    way: Way,
    commits: Arc<AtomicU64>,
}

/// How writes come to be committed.
#[derive(Debug, Clone)]
enum Way {
    /// Through the queue of the one writer.
    Queue(mpsc::Sender<Box<dyn Write>>),
    /// Each by itself: the database server lets commits that come together share a sync.
    #[cfg(feature = "postgres")]
    Postgres(super::db::PgSide),
}

/// One write in the queue.
trait Write: Send {
    /// Runs its statements; whether they succeeded.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool>;

    /// Tells whoever waits. `Err`: nothing was committed.
    fn answer(self: Box<Self>, committed: std::result::Result<(), CatalogError>);
}

struct Queued<T, F> {
    work: Option<F>,
    result: Option<Result<T>>,
    waiting: oneshot::Sender<Result<T>>,
}

impl<T, F> Write for Queued<T, F>
where
    T: Send,
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send,
{
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return false };
            // A panic in one write must not end the others, nor the task.
            let result = AssertUnwindSafe(async { work(tx).await }).catch_unwind().await;
            let result = result.unwrap_or(Err(CatalogError::NotCommitted("a write panicked".to_owned())));
            let succeeded = result.is_ok();
            self.result = Some(result);
            succeeded
        })
    }

    fn answer(self: Box<Self>, committed: std::result::Result<(), CatalogError>) {
        let result = match (self.result, committed) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(failed)) => Err(failed),
            (Some(done), Ok(())) => done,
            (None, Ok(())) => Err(CatalogError::NotCommitted("it never ran".to_owned())),
        };
        // Whoever went away meanwhile does not hear it; what was committed stays.
        let _ = self.waiting.send(result);
    }
}

impl Writer {
    /// Starts the task, which ends with the last clone of this. `batch` writes at most share a commit.
    pub(super) fn start(pool: SqlitePool, batch: usize) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        tokio::spawn(run(pool, waiting, batch, commits.clone()));
        Self { way: Way::Queue(queue), commits }
    }

    /// Runs a write and waits until it is on stable storage. It is done also when the caller goes away meanwhile.
    ///
    /// # Errors
    /// The write's own error, or that of the commit; then nothing of it was written.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite has one writer"))]
    pub(super) async fn write<T, F>(&self, scope: Scope, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        match &self.way {
            Way::Queue(queue) => {
                let (waiting, answer) = oneshot::channel();
                let gone = || CatalogError::NotCommitted("the writer has ended".to_owned());
                queue.send(Box::new(Queued { work: Some(work), result: None, waiting })).await.map_err(|_| gone())?;
                answer.await.unwrap_or_else(|_| Err(gone()))
            }
            #[cfg(feature = "postgres")]
            Way::Postgres(side) => write_alone(side.clone(), self.commits.clone(), scope, work).await,
        }
    }

    /// Without a queue.
    #[cfg(feature = "postgres")]
    pub(super) fn on_postgres(side: super::db::PgSide) -> Self {
        Self { way: Way::Postgres(side), commits: Arc::default() }
    }

    /// Commits so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

/// Runs a write in a transaction of its own, on a task of its own: it is done also when the caller goes away meanwhile.
#[cfg(feature = "postgres")]
async fn write_alone<T, F>(side: super::db::PgSide, commits: Arc<AtomicU64>, scope: Scope, work: F) -> Result<T>
where
    T: Send + 'static,
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
{
    let done = tokio::spawn(async move {
        let mut tx = Tx::Postgres(side.begin(scope).await?);
        let result = work(&mut tx).await?;
        tx.commit().await?;
        commits.fetch_add(1, Ordering::Relaxed);
        Ok(result)
    });
    done.await.unwrap_or_else(|died| Err(CatalogError::NotCommitted(died.to_string())))
}

async fn run(pool: SqlitePool, mut queue: mpsc::Receiver<Box<dyn Write>>, batch: usize, commits: Arc<AtomicU64>) {
    let mut writes = Vec::with_capacity(batch);
    // No artificial wait: what queued during the last commit shares the next one.
    while queue.recv_many(&mut writes, batch).await > 0 {
        let outcome = commit(&pool, &mut writes).await;
        if outcome.is_ok() {
            commits.fetch_add(1, Ordering::Relaxed);
        }
        for write in writes.drain(..) {
            write.answer(outcome.as_ref().copied().map_err(CatalogError::for_another));
        }
    }
}

async fn commit(pool: &SqlitePool, writes: &mut [Box<dyn Write>]) -> Result<()> {
    let mut tx = Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?);
    for write in writes {
        query("SAVEPOINT one").execute(&mut tx).await?;
        if !write.run(&mut tx).await {
            // Fails when SQLite has ended the transaction by itself (a full disk): then everything is taken back.
            query("ROLLBACK TO one").execute(&mut tx).await?;
        }
        query("RELEASE one").execute(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Catalog;
    use super::*;

    async fn set(catalog: &Catalog, key: &'static str, fail: bool) -> Result<()> {
        catalog
            .writer_task
            .write(Scope::Nothing, move |tx| {
                Box::pin(async move {
                    query("INSERT INTO settings (key, value) VALUES (?, x'')").bind(key).execute(&mut *tx).await?;
                    assert!(key != "panics", "as it should");
                    if fail { Err(CatalogError::Damaged("as it should")) } else { Ok(()) }
                })
            })
            .await
    }

    #[tokio::test]
    async fn one_that_fails_takes_back_only_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("findme.sqlite")).await.unwrap();
        // Queued while another transaction holds the writer, so that they share a commit.
        let hold = catalog.begin(Scope::Everything).await.unwrap();
        let before = catalog.writer_task.commits();
        let all = async {
            tokio::join!(
                set(&catalog, "first", false),
                set(&catalog, "second", true),
                set(&catalog, "panics", false),
                set(&catalog, "last", false),
            )
        };
        let (_, (first, second, panicked, last)) = tokio::join!(async { drop(hold) }, all);
        assert!(first.is_ok() && last.is_ok());
        assert!(matches!(second, Err(CatalogError::Damaged(_))), "{second:?}");
        assert!(matches!(panicked, Err(CatalogError::NotCommitted(_))), "{panicked:?}");
        assert!(catalog.writer_task.commits() - before <= 2, "they did not share commits");
        for (key, there) in [("first", true), ("second", false), ("panics", false), ("last", true)] {
            assert_eq!(catalog.setting(key).await.unwrap().is_some(), there, "{key}");
        }
    }

    #[tokio::test]
    async fn a_commit_that_fails_is_told_to_all() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("findme.sqlite")).await.unwrap();
        // A foreign key that is looked at only by the commit.
        let broken = catalog.writer_task.write(Scope::Nothing, |tx| {
            Box::pin(async move {
                query("PRAGMA defer_foreign_keys = ON").execute(&mut *tx).await?;
                query("INSERT INTO tombstones (event, photo, deleted_at) VALUES (x'00', x'00', 0)")
                    .execute(&mut *tx)
                    .await?;
                Ok(())
            })
        });
        let hold = catalog.begin(Scope::Everything).await.unwrap();
        let (_, good, broken) = tokio::join!(async { drop(hold) }, set(&catalog, "innocent", false), broken);
        assert!(broken.is_err());
        // It shared the commit, or came before it.
        assert_eq!(catalog.setting("innocent").await.unwrap().is_some(), good.is_ok());
        set(&catalog, "afterwards", false).await.unwrap();
    }
}
