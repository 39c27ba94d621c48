//! Whether anything was written, by whichever process.

use sqlx::pool::PoolConnection;
use sqlx::{Row, Sqlite};

use super::db::Pool;
use super::{Catalog, Result};

/// A connection that only looks. Its number of changes counts those of all other connections, also in other processes.
#[derive(Debug)]
pub(crate) struct Changes {
    connection: PoolConnection<Sqlite>,
    last: i64,
}

impl Changes {
    /// Whether something was written since the last look.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn any(&mut self) -> Result<bool> {
        let row = sqlx::query("PRAGMA data_version").fetch_one(&mut *self.connection).await?;
        let now = row.try_get(0)?;
        Ok(std::mem::replace(&mut self.last, now) != now)
    }
}

impl Catalog {
    /// From now on. Holds one reading connection for as long as it lives.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn changes(&self) -> Result<Changes> {
        let Pool::Sqlite(readers) = &self.readers;
        let mut changes = Changes { connection: readers.acquire().await?, last: 0 };
        changes.any().await?;
        Ok(changes)
    }
}
