//! Whether anything was written, by whichever process.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Row, Sqlite};

use super::db::Pool;
use super::{Catalog, Result};

/// How often a file is looked at: a look costs microseconds.
const EVERY: Duration = Duration::from_millis(200);

/// Without news from the database server the tables are looked at all the same: news is only a hint.
#[cfg(feature = "postgres")]
const WITHOUT_NEWS: Duration = Duration::from_secs(2);

/// News of one moment is taken together.
#[cfg(feature = "postgres")]
const TOGETHER: Duration = Duration::from_millis(10);

/// Somebody who waits for changes.
#[derive(Debug)]
pub(crate) enum Changes {
    /// A connection that only looks. Its number of changes counts those of all other connections, also in other processes.
    Sqlite(PoolConnection<Sqlite>, i64),
    /// A connection that is told.
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgListener),
}

impl Changes {
    /// Waits until something was written since the last time, or for a while; whether there is anything to look at.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn wait(&mut self) -> Result<bool> {
        match self {
            Self::Sqlite(connection, last) => {
                tokio::time::sleep(EVERY).await;
                let now = data_version(connection).await?;
                Ok(std::mem::replace(last, now) != now)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(listener) => {
                // `None`: the connection was lost, and news with it; it is made anew.
                if let Ok(heard) = tokio::time::timeout(WITHOUT_NEWS, listener.try_recv()).await {
                    heard?;
                    tokio::time::sleep(TOGETHER).await;
                    while listener.next_buffered().is_some() {}
                }
                Ok(true)
            }
        }
    }
}

async fn data_version(connection: &mut PoolConnection<Sqlite>) -> Result<i64> {
    Ok(sqlx::query("PRAGMA data_version").fetch_one(&mut **connection).await?.try_get(0)?)
}

impl Catalog {
    /// From now on. Holds one connection for as long as it lives.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn changes(&self) -> Result<Changes> {
        match &self.readers {
            Pool::Sqlite(readers) => {
                let mut connection = readers.acquire().await?;
                let last = data_version(&mut connection).await?;
                Ok(Changes::Sqlite(connection, last))
            }
            #[cfg(feature = "postgres")]
            Pool::Postgres(side) => Ok(Changes::Postgres(side.listen().await?)),
        }
    }
}
