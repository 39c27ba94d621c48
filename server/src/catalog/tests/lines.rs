//! The line to a database server: broken, refused, or to a server that cannot be trusted.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;

/// A line that can be broken.
struct Line {
    port: u16,
    open: Arc<AtomicBool>,
    live: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, live) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
        let line = Self { port, open: Arc::clone(&open), live: Arc::clone(&live) };
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                if !open.load(Ordering::SeqCst) {
                    continue; // broken while it was being made
                }
                let far = TcpStream::connect(&target).unwrap();
                for (one, other) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (one.try_clone().unwrap(), other.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let mut piece = [0; 8192];
                        while let Ok(n @ 1..) = from.read(&mut piece) {
                            if to.write_all(&piece[..n]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                live.lock().unwrap().extend([near, far]);
            }
        });
        line
    }

    /// Breaks what goes through it; new connections break too until it is mended.
    fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::SeqCst);
        for stream in self.live.lock().unwrap().drain(..).filter(|_| !open) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// `postgres://user@host:port/name` in parts: before the host, host and port, after it.
fn parts(url: &str) -> (&str, &str, &str) {
    let (before, rest) = url.split_once('@').unwrap();
    let (place, name) = rest.split_once('/').unwrap();
    (before, place, name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_is_waited_for_and_nobody_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let Some(url) = support::database(folder.path()).await else {
        eprintln!("skipped: FINDME_TEST_DATABASE names no server");
        return;
    };
    let (before, place, name) = parts(&url);
    let line = Line::to(place.to_owned());
    let through = format!("{before}@127.0.0.1:{}/{name}", line.port);
    let world = World::with(Catalog::open_postgres(&through).await.unwrap()).await;
    world.receive("before", None).await;
    line.set_open(false);
    let ask = async {
        // A read, a write through the queue of writes, and a claim: each has lost its connections.
        let (counts, _, claim) = tokio::join!(
            world.catalog.counts(world.event, PhotoFilter::All),
            world.receive("meanwhile", None),
            world.claim()
        );
        (counts.unwrap().runnable, claim.is_some())
    };
    let mend = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        line.set_open(true);
    };
    let ((runnable, claimed), ()) = tokio::join!(ask, mend);
    assert!(runnable >= 1 && claimed);
    assert_eq!(world.catalog.counts(world.event, PhotoFilter::All).await.unwrap().runnable, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_wait_for_the_disk_whatever_the_database_is_set_to() {
    let folder = tempfile::tempdir().unwrap();
    let Some(url) = support::database(folder.path()).await else {
        eprintln!("skipped: FINDME_TEST_DATABASE names no server");
        return;
    };
    let catalog = Catalog::open_postgres(&url).await.unwrap();
    let (_, _, name) = parts(&url);
    let setting = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    query(sqlx::AssertSqlSafe(setting)).execute(&catalog.writer).await.unwrap();
    catalog.close().await;
    let catalog = Catalog::open_postgres(&url).await.unwrap();
    let row = query("SELECT current_setting('synchronous_commit')").fetch_one(&catalog.writer).await.unwrap();
    assert_eq!(row.try_get::<String, _>(0).unwrap(), "on");
    // Where what stands between does not pass that on, it is refused: as this session, which is set otherwise.
    let refused = db::demand_durability_with(&url, &[("synchronous_commit", "off")]).await.unwrap_err();
    assert!(matches!(refused, CatalogError::Unsafe("synchronous_commit")), "{refused}");
    db::demand_durability_with(&url, &[("synchronous_commit", "on")]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_process_goes_on_when_another_adds_columns() {
    let folder = tempfile::tempdir().unwrap();
    if support::database(folder.path()).await.is_none() {
        eprintln!("skipped: FINDME_TEST_DATABASE names no server");
        return;
    }
    let world = World::with(support::open(folder.path()).await.unwrap()).await;
    let everything = async |name: &'static str| {
        // Twice: what is asked again is what was prepared.
        for n in ["1", "2"] {
            let photo = world.receive(&format!("{name}{n}"), None).await;
            world.index_all().await;
            assert_eq!(world.state_of(photo).await.0, PhotoState::Indexed);
            assert!(world.shown().await.contains(&photo));
            assert!(world.catalog.photo(world.event, photo).await.unwrap().is_some());
            assert!(world.catalog.event(world.event).await.unwrap().is_some());
            assert!(!world.catalog.events().await.unwrap().is_empty());
        }
    };
    everything("before").await;
    for table in ["events", "photos", "uploads", "jobs", "faces", "live", "guests", "photographer_tokens"] {
        let statement = format!("ALTER TABLE {table} ADD COLUMN of_the_next_version BIGINT NOT NULL DEFAULT 0");
        query(sqlx::AssertSqlSafe(statement)).execute(&world.catalog.writer).await.unwrap();
    }
    everything("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_from_before_a_migration_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    if support::database(folder.path()).await.is_none() {
        eprintln!("skipped: FINDME_TEST_DATABASE names no server");
        return;
    }
    let world = World::with(support::open(folder.path()).await.unwrap()).await;
    world.receive("before", None).await;
    world.shown().await;
    let of_the_program =
        "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'findme-server'
         AND backend_start < (SELECT MAX(installed_on) FROM _sqlx_migrations)";
    let older = query(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) {of_the_program}")));
    let older = async || older.clone().fetch_one(&world.catalog.readers).await.unwrap().try_get::<i64, _>(0).unwrap();
    // As if another had migrated now.
    world
        .sql("UPDATE _sqlx_migrations SET installed_on = clock_timestamp(), execution_time = 0 WHERE version = 8")
        .await;
    assert!(older().await >= 2, "one that wrote and one that read");
    let other = support::open(folder.path()).await.unwrap();
    let none_left = async {
        while older().await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), none_left).await.expect("they are ended when the other has started");
    // Nobody was told.
    world.receive("after", None).await;
    world.index_all().await;
    assert_eq!(world.shown().await.len(), 2);
    other.close().await;
}
