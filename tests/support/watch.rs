//! The real watcher on a photographer's laptop: a home of its own, a folder of photos, and what it says line by line.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use findme_common::manifest::{Manifest, PathText};
use serde_json::Value;
use tempfile::TempDir;

use super::{Event, PATIENCE, signal, wait_for, workspace};

/// One object of `--output json`.
pub(crate) type Line = Value;

/// One photographer's machine.
pub(crate) struct Laptop {
    folder: TempDir,
    runs: AtomicU32,
}

impl Laptop {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home", "photos"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder, runs: AtomicU32::new(0) }
    }

    /// The folder that the camera fills.
    pub(crate) fn photos(&self) -> PathBuf {
        self.folder.path().join("photos")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A further place on its disk, outside of the photos.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file into the folder, with the folders above it.
    pub(crate) fn put(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> PathBuf {
        let path = self.photos().join(name.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The watcher with this laptop's home, and nothing of the developer's own settings.
    pub(crate) fn command(&self, program: &[&str]) -> Command {
        let watcher = env!("CARGO_BIN_EXE_e2e-watch");
        let mut command = match program {
            [] => Command::new(watcher),
            [wrapper, options @ ..] => {
                let mut command = Command::new(wrapper);
                command.args(options).arg(watcher);
                command
            }
        };
        let home = self.home();
        command.env_clear().env("HOME", &home).env("RUST_BACKTRACE", "1").stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (name, folder) in [
            ("XDG_DATA_HOME", "data"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CACHE_HOME", "cache"),
        ] {
            command.env(name, home.join(folder));
        }
        command
    }

    /// The watcher on the photos' folder, for an event.
    pub(crate) fn for_event(&self, event: &Event) -> Command {
        let mut command = self.command(&[]);
        self.add_event(&mut command, event);
        command
    }

    pub(crate) fn add_event(&self, command: &mut Command, event: &Event) {
        command.env("FINDME_TOKEN", &event.token).args(["--server", &event.url, "--output", "json"]).arg(self.photos());
    }

    /// Starts a prepared watcher.
    pub(crate) fn start(&self, mut command: Command) -> Watch {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.place(&format!("out-{run}")), self.place(&format!("err-{run}")));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Watch { child: command.spawn().unwrap(), out, err }
    }

    /// Runs a watcher that has nothing to say on standard output.
    pub(crate) async fn start_and_end_silently(&self, command: Command) -> Run {
        let mut watch = self.start(command);
        watch.out = self.place("nothing");
        File::create(&watch.out).unwrap();
        watch.end().await
    }

    /// Sends what is there and waits for the end.
    pub(crate) async fn once(&self, event: &Event) -> Run {
        let mut command = self.for_event(event);
        command.arg("--once");
        self.start(command).end().await
    }

    /// Where the manifest of the event is.
    pub(crate) fn manifest_file(&self, event: &Event) -> PathBuf {
        let name = event.id.to_simple();
        let all = files_named(&self.home().join("data"), OsStr::new("manifest.json"));
        let of_event: Vec<_> = all.into_iter().filter(|path| path.to_string_lossy().contains(&name)).collect();
        let [manifest] = of_event.as_slice() else { panic!("one manifest for the event: {of_event:?}") };
        manifest.clone()
    }

    /// The manifest, after an independent reader has checked it against the published schema.
    pub(crate) fn manifest(&self, event: &Event) -> Manifest {
        read_manifest(&self.manifest_file(event))
    }
}

/// Reads a manifest with an independent reader of the published schema, then with our types.
pub(crate) fn read_manifest(path: &Path) -> Manifest {
    let schema: Value = serde_json::from_slice(&fs::read(workspace().join("manifest-schema.json")).unwrap()).unwrap();
    let manifest: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&manifest).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{} does not validate:\n{}", path.display(), errors.join("\n"));
    serde_json::from_value(manifest).unwrap()
}

fn files_named(folder: &Path, name: &OsStr) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_named(&path, name));
        } else if path.file_name() == Some(name) {
            found.push(path);
        }
    }
    found
}

/// A running watcher; it ends with this.
pub(crate) struct Watch {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Watch {
    /// Whole lines that it has said so far; each must be an object of version 1.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let said = fs::read_to_string(&self.out).unwrap();
        let whole = said.rfind('\n').map_or("", |end| &said[..end]);
        let parse = |line: &str| -> Line {
            let line: Line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
            assert_eq!(line["v"], 1, "{line}");
            assert!(line["type"].is_string(), "{line}");
            line
        };
        whole.lines().map(parse).collect()
    }

    pub(crate) fn said(&self, kind: &str) -> usize {
        self.lines().iter().filter(|line| line["type"] == kind).count()
    }

    /// Waits until it has said so many lines of this type; the last of them.
    pub(crate) async fn wait_for(&mut self, kind: &str, count: usize) -> Line {
        wait_for(&format!("{count} × {kind}"), async || {
            let found: Vec<_> = self.lines().into_iter().filter(|line| line["type"] == kind).collect();
            if found.len() < count
                && let Some(status) = self.child.try_wait().unwrap()
            {
                panic!("the watcher ended ({status}) before {count} × {kind}: {}", self.complaints());
            }
            found.into_iter().nth(count - 1)
        })
        .await
    }

    /// What it wrote to standard error.
    pub(crate) fn complaints(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        signal("INT", self.pid());
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Run {
        // It ends when the server has indexed everything, which takes unoptimised builds long.
        let deadline = Instant::now() + 4 * PATIENCE;
        let exit = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status.code().expect("nobody killed it"),
                None if Instant::now() > deadline => {
                    panic!("the watcher does not end: {:#?}\n{}", self.lines().last(), self.complaints())
                }
                None => tokio::time::sleep(super::LOOK).await,
            }
        };
        Run { exit, lines: self.lines(), complaints: self.complaints() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "---- the watcher said {} lines, and to standard error:\n{}",
                self.lines().len(),
                self.complaints()
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A watcher's run from start to end.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) exit: i32,
    pub(crate) lines: Vec<Line>,
    pub(crate) complaints: String,
}

impl Run {
    pub(crate) fn said(&self, kind: &str) -> usize {
        self.lines.iter().filter(|line| line["type"] == kind).count()
    }

    /// The last word about each path: `uploaded`, `duplicate`, `skipped:<reason>`, `failed:<reason>`.
    pub(crate) fn words(&self) -> BTreeMap<String, String> {
        let mut words = BTreeMap::new();
        for line in &self.lines {
            let Some(path) = path_of(line).map(key) else { continue };
            let kind = line["type"].as_str().unwrap();
            if kind == "found" {
                continue;
            }
            let word = line["reason"].as_str().map_or_else(|| kind.to_owned(), |reason| format!("{kind}:{reason}"));
            words.insert(path, word);
        }
        words
    }

    /// The last word about one path.
    pub(crate) fn word(&self, path: &Path) -> String {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let words = self.words();
        words.get(&key(PathText::of(&path))).cloned().unwrap_or_else(|| panic!("no word about {path:?} in {words:#?}"))
    }

    /// A number of the summary, which is the last line.
    pub(crate) fn total(&self, key: &str) -> u64 {
        let last = self.lines.last().unwrap_or_else(|| panic!("it said nothing: {}", self.complaints));
        assert_eq!(last["type"], "summary", "{last}");
        last[key].as_u64().unwrap_or_else(|| panic!("{key} in {last}"))
    }

    /// It ended with this code, and its summary says the same.
    pub(crate) fn assert_exit(&self, code: i32) {
        assert_eq!(self.exit, code, "{:#?}\n{}", self.lines.last(), self.complaints);
        if let Some(summary) = self.lines.last().filter(|line| line["type"] == "summary") {
            assert_eq!(summary["exit"], code, "{summary}");
        }
    }
}

fn key(path: PathText) -> String {
    match path {
        PathText::Unicode(text) => text,
        PathText::Base64(text) => format!("base64:{text}"),
    }
}

/// Which path a line is about.
pub(crate) fn path_of(line: &Line) -> Option<PathText> {
    match (line["path"].as_str(), line["path_b64"].as_str()) {
        (Some(text), None) => Some(PathText::Unicode(text.to_owned())),
        (None, Some(text)) => Some(PathText::Base64(text.to_owned())),
        (None, None) => None,
        both => panic!("two paths: {both:?}"),
    }
}
