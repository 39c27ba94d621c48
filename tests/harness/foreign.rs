//! Programs of others that are compared with or listened to: installed from their registries into a temporary folder at
//! run time, never part of this repository.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::disks::shell;
use crate::support::workspace;

/// A folder with packages and our drivers for them.
pub(crate) struct Foreign(TempDir);

impl Foreign {
    /// Packages of the npm registry, with the drivers in `tests/peers`.
    pub(crate) fn node(packages: &[&str]) -> Self {
        let folder = Self::with_drivers();
        let prefix = folder.path("");
        let install = ["install", "--silent", "--no-audit", "--no-fund", "--prefix", prefix.to_str().unwrap()];
        shell("npm", &[&install, packages].concat());
        folder
    }

    /// Packages of PyPI.
    pub(crate) fn python(packages: &[&str]) -> Self {
        let folder = Self::with_drivers();
        shell("python3", &["-m", "venv", folder.path("venv").to_str().unwrap()]);
        shell(folder.path("venv/bin/pip").to_str().unwrap(), &[&["install", "--quiet"], packages].concat());
        folder
    }

    fn with_drivers() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Copied, so that they find their packages beside them.
        for file in std::fs::read_dir(workspace().join("tests/peers")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A driver's command line.
    pub(crate) fn driver(&self, script: &str) -> Command {
        let python = self.path("venv/bin/python");
        let mut command = if script.ends_with(".py") { Command::new(python) } else { Command::new("node") };
        command.arg(self.path(script)).current_dir(self.0.path());
        command
    }
}

/// A foreign server of ours; it ends with this.
pub(crate) struct Peer {
    child: Child,
    /// What it said first.
    pub(crate) first_line: String,
}

impl Peer {
    /// Starts it and waits for its first line.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut first_line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first_line).unwrap();
        Self { child, first_line: first_line.trim().to_owned() }
    }

    /// Starts one that says nothing, and waits until it answers at `address`.
    pub(crate) async fn start_silent(command: &mut Command, address: &str) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut peer = Self { child, first_line: String::new() };
        crate::support::wait_for("a peer to listen", async || {
            if let Some(status) = peer.child.try_wait().unwrap() {
                panic!("a peer ended at its start: {status}");
            }
            tokio::net::TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
        peer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of loopback that was free a moment ago, for programs that cannot choose one themselves.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs a driver to its end; the last line that it printed.
pub(crate) async fn output(mut command: Command) -> serde_json::Value {
    let output = tokio::task::spawn_blocking(move || command.stderr(Stdio::inherit()).output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "a driver failed: {said}");
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap()
}

/// Whether a program is installed.
pub(crate) fn installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).chain([PathBuf::from("/usr/sbin")]).any(|folder| folder.join(program).is_file())
}

/// Files of a folder as arguments.
pub(crate) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}
