//! The real server as a process of its own, and an event on it as a photographer's program sees it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use findme_common::protocol::{Counts, Name, NameList, PhotoItem, PhotoList};
use findme_common::{Digest, EventId, PhotoId, PhotographerToken};
use reqwest::StatusCode;
use tempfile::TempDir;

use super::guest::{Guest, client};
use super::{PATIENCE, wait_for, wait_within};

/// A server with a data folder of its own; both end with it.
pub(crate) struct Server {
    folder: TempDir,
    data: PathBuf,
    /// The program that starts it, with its arguments; usually none.
    through: Vec<String>,
    options: Vec<String>,
    child: Option<Child>,
    /// Where catalogue and photos are, when not in the data folder.
    environment: Vec<(String, String)>,
    /// Where it listens, and under which address it is reached from here.
    host: (String, String),
    port: u16,
    starts: u32,
}

impl Server {
    /// One that finds no faces: quick.
    pub(crate) async fn start() -> Self {
        Self::start_with(&["--faces", "off"]).await
    }

    /// One that finds faces with the models of this folder.
    pub(crate) async fn start_with_models(models: &Path) -> Self {
        Self::start_with(&["--models", models.to_str().unwrap()]).await
    }

    pub(crate) async fn start_with(options: &[&str]) -> Self {
        let mut server = Self::idle(options);
        server.run().await;
        server
    }

    /// One that does not run yet.
    pub(crate) fn idle(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let host = ("127.0.0.1".to_owned(), "127.0.0.1".to_owned());
        let environment = elsewhere();
        Self { folder, data, through: Vec::new(), options, child: None, environment, host, port: 0, starts: 0 }
    }

    /// The same with everything in its data folder, whatever the tests are told to run on.
    pub(crate) fn with_everything_here(mut self) -> Self {
        self.environment.clear();
        self
    }

    /// The same, with its data in a folder that outlives it.
    pub(crate) fn with_data(mut self, data: &Path) -> Self {
        data.clone_into(&mut self.data);
        self
    }

    /// The same, started by another program, whose arguments these are.
    pub(crate) fn through(mut self, program: &[&str]) -> Self {
        self.through = program.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The same, listening on an address and reached at another one.
    pub(crate) fn at(mut self, listen: &str, reached: &str) -> Self {
        self.host = (listen.to_owned(), reached.to_owned());
        self
    }

    /// Starts it on the same data, and (from the second time on) on the same port.
    pub(crate) async fn run(&mut self) {
        self.spawn();
        self.listening().await.unwrap_or_else(|why| panic!("{why}"));
    }

    /// Starts it and does not wait until it listens.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        self.starts += 1;
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = command();
        if let Some((program, arguments)) = self.through.split_first() {
            let server = command.get_program().to_owned();
            command = bare(Command::new(program));
            command.args(arguments).arg(server);
        }
        let child = command
            .envs(self.environment.iter().cloned())
            .args(["--listen", &format!("{}:{}", self.host.0, self.port)])
            .args(&self.options)
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(File::create(self.said_file()).unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Waits until it listens; why it ended instead.
    pub(crate) async fn listening(&mut self) -> Result<(), String> {
        let said = self.said_file();
        let port = wait_for("the server to listen", async || {
            let said = std::fs::read_to_string(&said).unwrap();
            let line = said.lines().find_map(|line| line.strip_prefix("listening on http"));
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                return Some(Err(format!("the server ended at its start ({status}):\n{}", self.log())));
            }
            said.ends_with('\n').then_some(())?;
            line?.rsplit(':').next()?.parse::<u16>().ok().map(Ok)
        });
        self.port = port.await?;
        Ok(())
    }

    /// Whether it was started and has not ended.
    pub(crate) fn is_up(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it was started").id()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}:{}", self.host.1, self.port)
    }

    /// Where it listens, without a scheme.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its metrics are, when they have a listener of their own.
    pub(crate) fn metrics_url(&self) -> String {
        let said = std::fs::read_to_string(self.said_file()).unwrap();
        said.lines().find_map(|line| line.strip_prefix("metrics on ")).expect("it has --metrics-listen").to_owned()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    fn said_file(&self) -> PathBuf {
        self.folder.path().join(format!("said-{}", self.starts))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Everything it has logged since its first start.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap()
    }

    /// Whatever clients did: the server itself failed in nothing and panicked nowhere.
    pub(crate) fn assert_no_faults(&self) {
        let log = self.log();
        let faults: Vec<_> = log.lines().filter(|line| line.contains(" ERROR ") || line.contains("panicked")).collect();
        assert!(faults.is_empty(), "the server's log has faults:\n{}", faults.join("\n"));
    }

    /// Files of photos that are on stable storage under their final names, also while the server is dead.
    pub(crate) fn published(&self) -> usize {
        let count = |folder: std::fs::DirEntry| std::fs::read_dir(folder.path()).map_or(0, Iterator::count);
        std::fs::read_dir(self.data().join("photos")).unwrap().map(|event| count(event.unwrap())).sum()
    }

    /// Lengths of the files of uploads that are not finished. What a kill left of a derivative lies beside them for an
    /// hour, since another worker might be writing it.
    pub(crate) fn staged(&self) -> Vec<u64> {
        let files = std::fs::read_dir(self.data().join("staging")).unwrap().map(|file| file.unwrap());
        let uploads = files.filter(|file| file.path().extension().is_none_or(|end| end != "part"));
        uploads.filter_map(|file| Some(file.metadata().ok()?.len())).collect()
    }

    /// What its first start said once.
    pub(crate) fn operator_token(&self) -> String {
        let said = std::fs::read_to_string(self.folder.path().join("said-1")).unwrap();
        let line =
            said.lines().find(|line| line.starts_with("operator token")).expect("it is shown at the first start");
        line.split_whitespace().nth(2).expect("the token follows").to_owned()
    }

    /// Creates an event with the operator's command line.
    pub(crate) fn create_event(&self, name: &str) -> Event {
        let mut command = command();
        command.envs(self.environment.iter().cloned()).args(["event", "create", name, "--data"]).arg(self.data());
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let value = |label: &str| {
            let line = said.lines().find(|line| line.starts_with(label)).unwrap_or_else(|| panic!("{label}: {said}"));
            line.split_whitespace().last().unwrap().to_owned()
        };
        Event::new(self.url(), value("photographer token"), value("join code"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("---- the server's log ends with");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        self.kill();
    }
}

/// A new database and a place in an object store, for servers that are told so by the environment, where the tests are to
/// run on them (`tests/on-postgres`, `tests/on-store`).
fn elsewhere() -> Vec<(String, String)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("e2e_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut environment = Vec::new();
    if let Ok(server) = std::env::var("FINDME_TEST_DATABASE") {
        let made = Command::new("psql").args([&*server, "-qc", &format!("CREATE DATABASE {name}")]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (before, _) = server.rsplit_once('/').unwrap();
        environment.push(("FINDME_DATABASE".to_owned(), format!("{before}/{name}")));
    }
    if let Ok(store) = std::env::var("FINDME_TEST_STORE") {
        environment.push(("FINDME_PHOTOS".to_owned(), format!("{store}/{name}")));
        environment.extend(std::env::vars().filter(|(name, _)| name.starts_with("AWS_")));
    }
    environment
}

/// The server's command line.
pub(crate) fn command() -> Command {
    bare(Command::new(env!("CARGO_BIN_EXE_e2e-server")))
}

/// Nothing of the developer's own settings.
fn bare(mut command: Command) -> Command {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("RUST_BACKTRACE", "1");
    command
}

/// An event, with what its photographer holds.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) url: String,
    pub(crate) id: EventId,
    pub(crate) token: String,
    pub(crate) join: String,
    http: reqwest::Client,
}

impl Event {
    pub(crate) fn new(url: String, token: String, join: String) -> Self {
        let id = token.parse::<PhotographerToken>().unwrap().event;
        Self { url, id, token, join, http: client() }
    }

    /// The same event under another address (a proxy's).
    pub(crate) fn through(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// A request with the photographer's token.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .header("tus-resumable", "1.0.0")
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.request(reqwest::Method::GET, path).send().await.unwrap()
    }

    /// All originals on the server.
    pub(crate) async fn names(&self) -> Vec<Name> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page: NameList = self.get(&format!("/api/names?limit=150{after}")).await.json().await.unwrap();
            all.extend(page.photos);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    }

    /// The photographer's list, all pages.
    pub(crate) async fn photos(&self) -> Vec<PhotoItem> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page: PhotoList = self.get(&format!("/api/all-photos?limit=150{after}")).await.json().await.unwrap();
            all.extend(page.photos);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    }

    pub(crate) async fn counts(&self) -> Counts {
        self.get("/api/all-photos?limit=1").await.json::<PhotoList>().await.unwrap().counts
    }

    /// Waits until no job of the event can run.
    pub(crate) async fn rest(&self) -> Counts {
        // Unoptimised builds take many seconds a photo.
        wait_within(4 * PATIENCE, "the server to have indexed everything", async || {
            let counts = self.counts().await;
            (counts.runnable == 0).then_some(counts)
        })
        .await
    }

    /// Guests see exactly these photos.
    pub(crate) async fn assert_shows_exactly(&self, photos: &[PhotoId]) {
        self.rest().await;
        let seen: BTreeSet<_> = self.guest().await.all_photos().await.into_iter().map(|photo| photo.id).collect();
        assert_eq!(seen, photos.iter().copied().collect::<BTreeSet<_>>());
    }

    /// A guest who joins by the code.
    pub(crate) async fn guest(&self) -> Guest {
        Guest::join(&self.url, &self.join).await
    }

    /// The server has exactly these contents: each once, byte for byte, as its list says and as it gives them back.
    pub(crate) async fn assert_holds_exactly(&self, contents: &[Vec<u8>]) {
        let wanted: BTreeSet<Digest> = contents.iter().map(|bytes| Digest::of(bytes)).collect();
        let names = self.names().await;
        let held: BTreeSet<Digest> = names.iter().map(|name| name.digest).collect();
        assert_eq!(held.len(), names.len(), "a content is there twice");
        assert_eq!(held.difference(&wanted).count(), 0, "something is there that was never in the folder");
        assert_eq!(wanted.difference(&held).count(), 0, "a photo is missing; {} of {}", held.len(), wanted.len());
        for name in &names {
            assert_eq!(name.id, findme_common::PhotoId::of(self.id, &name.digest));
            let answer = self.get(&format!("/api/photo/{}", name.id)).await;
            assert_eq!(answer.status(), StatusCode::OK);
            let bytes = answer.bytes().await.unwrap();
            assert_eq!(bytes.len() as u64, name.bytes);
            assert_eq!(Digest::of(&bytes), name.digest, "{} is damaged", name.name);
        }
        let counts = self.counts().await;
        assert_eq!(counts.received + counts.indexed + counts.failed, names.len() as u64, "{counts:?}");
    }
}
