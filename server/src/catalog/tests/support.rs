//! Which database the tests run on: a file, or where `FINDME_TEST_DATABASE` names a server, a database of its own for each
//! folder. The same tests are the promises of both.

use std::path::Path;

use super::*;

/// Whether the tests run on a database server.
pub(crate) fn on_a_server() -> bool {
    cfg!(feature = "postgres") && std::env::var_os("FINDME_TEST_DATABASE").is_some()
}

/// For tests about files: on a server there is none to look at. Says so.
pub(crate) fn needs_a_file() -> bool {
    if on_a_server() {
        eprintln!("skipped: this is about SQLite's files");
    }
    on_a_server()
}

/// The catalogue of a folder; the same one again for the same folder.
pub(crate) async fn catalog(folder: &Path) -> Catalog {
    open(folder).await.unwrap()
}

/// As a new process of this version opens it.
#[cfg(feature = "postgres")]
pub(crate) async fn open(folder: &Path) -> Result<Catalog> {
    match database(folder).await {
        Some(url) => Catalog::open_postgres(&url).await,
        None => Catalog::open(&folder.join("findme.sqlite")).await,
    }
}

/// As a new process of this version opens it.
#[cfg(not(feature = "postgres"))]
pub(crate) async fn open(folder: &Path) -> Result<Catalog> {
    Catalog::open(&folder.join("findme.sqlite")).await
}

impl Catalog {
    /// Changes rows as somebody else would.
    pub(crate) async fn behind_its_back(&self, statements: &str) {
        for statement in statements.split(';').filter(|statement| !statement.trim().is_empty()) {
            query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&self.writer).await.unwrap();
        }
    }
}

/// Where the database of a folder is; made the first time.
#[cfg(feature = "postgres")]
pub(crate) async fn database(folder: &Path) -> Option<String> {
    let server = std::env::var("FINDME_TEST_DATABASE").ok()?;
    let name = format!("t{}", Digest::of(folder.as_os_str().as_encoded_bytes()));
    let name = &name[..24];
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&server).await.unwrap();
    let found = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(name);
    if found.fetch_optional(&mut connection).await.unwrap().is_none() {
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    }
    sqlx::Connection::close(connection).await.unwrap();
    let (before, _) = server.rsplit_once('/').unwrap();
    Some(format!("{before}/{name}"))
}

/// Where the database of a folder is: in it.
#[cfg(not(feature = "postgres"))]
pub(crate) async fn database(_folder: &Path) -> Option<String> {
    None
}
