//! One way to say a statement to either database. The SQL of the domain is written once, in what SQLite and PostgreSQL
//! have in common: quoted where a name is a word of one of them, with a comment `/*postgres … */` for the few words that
//! only the other understands. This is the only place that knows which of them listens.
//!
//! An enum below one catalogue, not a catalogue behind a trait with two implementations: every rule of the domain would
//! stand twice, and a suite could only show that the two agree where it looks. Here it stands once, and the whole suite of
//! the catalogue and of what stands on it runs on both databases (`tests/on-postgres`).
//!
//! Invariant: a [`Tx`] that is dropped without [`Tx::commit`] has changed nothing.

mod column;
#[cfg(feature = "postgres")]
mod postgres;
mod value;

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{SqlSafeStr, SqlStr, Sqlite, Transaction};

pub(super) use column::{Column, Place};
#[cfg(all(test, feature = "postgres"))]
pub(super) use postgres::demand_durability_with;
#[cfg(feature = "postgres")]
pub(super) use postgres::{PgSide, PgTx, open as open_postgres};
pub(super) use value::Value;

/// Connections to the database.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    /// A file of this machine.
    Sqlite(SqlitePool),
    /// Of a database server.
    #[cfg(feature = "postgres")]
    Postgres(PgSide),
}

/// A running transaction.
#[derive(Debug)]
pub(super) enum Tx {
    /// Of a file of this machine.
    Sqlite(Transaction<'static, Sqlite>),
    /// Of a database server.
    #[cfg(feature = "postgres")]
    Postgres(PgTx),
}

/// One row of an answer.
#[derive(Debug)]
pub(super) enum Row {
    /// Of a file of this machine.
    Sqlite(SqliteRow),
    /// Of a database server.
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
}

/// What a statement did that answers no rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done(u64);

impl Done {
    /// Rows that were inserted, changed or deleted.
    pub(super) const fn rows_affected(self) -> u64 {
        self.0
    }
}

/// Where a statement runs.
#[derive(Debug)]
pub(super) enum At<'a> {
    /// On any connection, by itself.
    Pool(&'a Pool),
    /// In a transaction.
    Tx(&'a mut Tx),
}

impl<'a> From<&'a Pool> for At<'a> {
    fn from(pool: &'a Pool) -> Self {
        Self::Pool(pool)
    }
}

impl<'a> From<&'a mut Tx> for At<'a> {
    fn from(tx: &'a mut Tx) -> Self {
        Self::Tx(tx)
    }
}

impl Pool {
    /// Closes all connections.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(side) => side.pool.close().await,
        }
    }

    /// The file's connections, where it is a file.
    pub(super) const fn sqlite(&self) -> Option<&SqlitePool> {
        match self {
            Self::Sqlite(pool) => Some(pool),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => None,
        }
    }
}

impl Tx {
    /// Makes everything durable that was said in it.
    ///
    /// # Errors
    /// When that is not so; then nothing was changed.
    pub(super) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => tx.commit().await,
        }
    }
}

impl Row {
    /// The value of a column, by its name or its place.
    ///
    /// # Errors
    /// When there is no such column or its value is of another kind.
    pub(super) fn try_get<'r, T: Column<'r>, I: Place>(&'r self, column: I) -> sqlx::Result<T> {
        match self {
            Self::Sqlite(row) => T::of_sqlite(row, column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => T::of_postgres(row, column),
        }
    }
}

/// A statement with the values of its placeholders.
#[derive(Debug, Clone)]
#[must_use]
pub(super) struct Query {
    sql: SqlStr,
    values: Vec<Value>,
}

/// A statement; its placeholders are `?` in order, or `?1`, `?2`, …
pub(super) fn query(sql: impl SqlSafeStr) -> Query {
    Query { sql: sql.into_sql_str(), values: Vec::new() }
}

/// Runs a statement on the connection or pool that `at` names.
macro_rules! run {
    ($query:expr, $at:expr, $how:ident, $sqlite:expr, $postgres:expr) => {
        match $at.into() {
            At::Pool(Pool::Sqlite(pool)) => $query.for_sqlite().$how(pool).await.map($sqlite),
            At::Tx(Tx::Sqlite(tx)) => $query.for_sqlite().$how(&mut **tx).await.map($sqlite),
            #[cfg(feature = "postgres")]
            At::Pool(Pool::Postgres(side)) => {
                let mut patience = side.patience();
                let done = loop {
                    let mut connection = side.connection().await?;
                    match $query.clone().for_postgres().$how(&mut *connection).await {
                        Err(error) if patience.is_left(&error).await => {}
                        done => break done.map($postgres),
                    }
                };
                side.wrote();
                done
            }
            #[cfg(feature = "postgres")]
            At::Tx(Tx::Postgres(tx)) => $query.for_postgres().$how(tx.connection()).await.map($postgres),
        }
    };
}

impl Query {
    /// Adds the value of the next placeholder.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    fn for_sqlite(self) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
        self.values.into_iter().fold(sqlx::query(self.sql), |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Real(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }

    #[cfg(feature = "postgres")]
    fn for_postgres(self) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
        let sql = postgres::translated(self.sql.as_str());
        // Not prepared for good: when another node's migration adds a column, the server refuses what was prepared before.
        let lasting = !sql.contains(" *");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(lasting);
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Real(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        })
    }

    /// Runs it for what it changes.
    ///
    /// # Errors
    /// When it fails; in a transaction the transaction is then to be dropped.
    pub(super) async fn execute<'a>(self, at: impl Into<At<'a>>) -> sqlx::Result<Done> {
        run!(self, at, execute, |done| Done(done.rows_affected()), |done| Done(done.rows_affected()))
    }

    /// All rows of its answer.
    ///
    /// # Errors
    /// As [`Query::execute`].
    pub(super) async fn fetch_all<'a>(self, at: impl Into<At<'a>>) -> sqlx::Result<Vec<Row>> {
        run!(self, at, fetch_all, |rows| rows.into_iter().map(Row::Sqlite).collect(), |rows| rows
            .into_iter()
            .map(Row::Postgres)
            .collect())
    }

    /// The first row of its answer, if there is one.
    ///
    /// # Errors
    /// As [`Query::execute`].
    pub(super) async fn fetch_optional<'a>(self, at: impl Into<At<'a>>) -> sqlx::Result<Option<Row>> {
        run!(self, at, fetch_optional, |row| row.map(Row::Sqlite), |row| row.map(Row::Postgres))
    }

    /// The first row of its answer.
    ///
    /// # Errors
    /// As [`Query::execute`], and when there is none.
    pub(super) async fn fetch_one<'a>(self, at: impl Into<At<'a>>) -> sqlx::Result<Row> {
        self.fetch_optional(at).await?.ok_or(sqlx::Error::RowNotFound)
    }
}
