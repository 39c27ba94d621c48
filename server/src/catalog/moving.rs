//! Moves a catalogue from SQLite's file to a database server: every row of every table, in one transaction, counted.

use futures_util::TryStreamExt;
use sqlx::{Column, Row as _, TypeInfo, ValueRef};

use super::db::{Pool, Value, query};
use super::{Catalog, CatalogError, Result, Scope};

/// Rows that are written with one statement; PostgreSQL takes 65,535 values, and no table has more than 50 columns.
const TOGETHER: usize = 200;

/// Tables that are not copied: they are made with the schema.
const MADE: &str = "name NOT LIKE 'sqlite%' AND name NOT LIKE '_sqlx%' AND name <> 'standing'";

impl Catalog {
    /// Takes all rows of `from` over, and answers how many. Unfinished uploads are left: their clients begin them again.
    ///
    /// # Errors
    /// When there are events here already, or either cannot be read or written; then nothing was changed.
    pub(crate) async fn take_over(&self, from: &Self) -> Result<u64> {
        let Some(source) = from.readers.sqlite() else {
            return Err(CatalogError::NotCommitted("only a file can be moved".to_owned()));
        };
        if query("SELECT 1 FROM events LIMIT 1").fetch_optional(&self.readers).await?.is_some() {
            return Err(CatalogError::NotCommitted("there are events in the database already".to_owned()));
        }
        let sql = format!("SELECT name FROM sqlite_schema WHERE type = 'table' AND {MADE} ORDER BY rowid");
        // In the order of their making: no table refers to a later one.
        let tables = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(source).await?;
        let mut tx = self.begin(Scope::Nothing).await?;
        // The settings of the file count, its operator's token among them.
        query("DELETE FROM settings").execute(&mut tx).await?;
        let mut moved = 0;
        for table in &tables {
            let table: &str = table.try_get(0)?;
            let which = if table == "uploads" { " WHERE complete = 1" } else { "" };
            let all = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT * FROM {table}{which}")));
            // Some rows at a time: a large event's faces are not all in memory.
            let mut rows = all.fetch(source).try_chunks(TOGETHER);
            loop {
                let some = match rows.try_next().await {
                    Ok(some) => some.unwrap_or_default(),
                    Err(broken) => return Err(broken.1.into()),
                };
                let Some(first) = some.first() else { break };
                let names: Vec<String> =
                    first.columns().iter().map(|column| format!("\"{}\"", column.name())).collect();
                let places = format!("({})", vec!["?"; names.len()].join(", "));
                let places = vec![places; some.len()].join(", ");
                let insert =
                    query(sqlx::AssertSqlSafe(format!("INSERT INTO {table} ({}) VALUES {places}", names.join(", "))));
                let values = some.iter().flat_map(|row| (0..names.len()).map(move |at| value(row, at)));
                let values = values.collect::<Result<Vec<_>>>()?;
                values.into_iter().fold(insert, |insert, value| insert.bind(value)).execute(&mut tx).await?;
                moved += some.len() as u64;
            }
        }
        continue_numbers(&mut tx).await?;
        // What the node that had it staged is no more.
        query("UPDATE uploads SET node = NULL").execute(&mut tx).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// Whether the catalogue is on a database server.
    pub(crate) const fn is_on_a_server(&self) -> bool {
        matches!(self.writer, Pool::Postgres(_))
    }
}

/// A column's value, and of «nothing» its kind.
fn value(row: &sqlx::sqlite::SqliteRow, at: usize) -> Result<Value> {
    let raw = row.try_get_raw(at)?;
    let kind =
        if raw.is_null() { row.column(at).type_info().name().to_owned() } else { raw.type_info().name().to_owned() };
    Ok(match kind.as_str() {
        "INTEGER" | "BOOLEAN" => Value::Int(row.try_get(at)?),
        "REAL" => Value::Real(row.try_get(at)?),
        "TEXT" => Value::Text(row.try_get(at)?),
        "BLOB" => Value::Bytes(row.try_get(at)?),
        _ => return Err(CatalogError::Damaged("a column of no kind that the catalogue has")),
    })
}

/// Generated numbers go on behind those that were taken over.
async fn continue_numbers(tx: &mut super::Tx) -> Result<()> {
    let generated = "SELECT table_name::text AS t, column_name::text AS c FROM information_schema.columns
                     WHERE table_schema = current_schema() AND is_identity = 'YES'";
    for row in query(generated).fetch_all(&mut *tx).await? {
        let (table, column): (String, String) = (row.try_get("t")?, row.try_get("c")?);
        let next = format!(
            "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), GREATEST((SELECT MAX({column}) FROM {table}), 1))"
        );
        query(sqlx::AssertSqlSafe(next)).fetch_all(&mut *tx).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{World, support};
    use super::*;

    #[tokio::test]
    async fn everything_is_taken_over_and_numbers_go_on() {
        if !support::on_a_server() {
            eprintln!("skipped: FINDME_TEST_DATABASE names no server");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = Catalog::open(&folder.path().join("findme.sqlite")).await.unwrap();
        let small = World::with(file.clone()).await;
        for n in 0..5 {
            small.receive(&format!("photo {n}"), None).await;
        }
        small.index_all().await;
        let cluster = support::catalog(folder.path()).await;
        assert!(cluster.take_over(&file).await.unwrap() > 10);
        let (mine, theirs) = (file.facts().await.unwrap(), cluster.facts().await.unwrap());
        assert_eq!(serde_json::to_string(&mine.0).unwrap(), serde_json::to_string(&theirs.0).unwrap());
        assert_eq!(file.promises(0, 100).await.unwrap(), cluster.promises(0, 100).await.unwrap());
        assert!(cluster.take_over(&file).await.is_err(), "a second time would double it");
        let large = World { catalog: cluster, ..small };
        large.receive("one more", None).await;
        large.index_all().await;
        assert_eq!(large.shown().await.len(), 6);
    }
}
