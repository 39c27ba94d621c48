//! The whole watcher against a server that names every upload at random: whatever is cut, lost, renamed or killed, each
//! content is there once, and each file has its word.

mod answers;
mod folders;
mod sending;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Parser;
use findme_common::Digest;
use findme_common::manifest::{self as published, FileState};

use super::*;
use crate::format::tests::jpeg;
use crate::stand_in::StandIn;

const TOKEN: &str = "fmp.00112233445566778899aabbccddeeff.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A folder to watch, a data folder, and a server.
struct Scene {
    server: StandIn,
    folder: tempfile::TempDir,
    data: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { server: StandIn::start().await, folder, data: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// Writes a file that was finished long ago.
    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    }

    fn config(&self, more: &[&str]) -> Config {
        let server = format!("http://{}", self.server.address);
        let folder = self.folder.path().to_str().unwrap();
        let mut args = vec!["findme-watch", folder, "--output", "quiet", "--settle", "20", "--server", &server];
        args.extend(["--data", self.data.path().to_str().unwrap()]);
        args.extend(more);
        let mut config = Config::for_test(crate::Cli::try_parse_from(args).unwrap().watch, TOKEN);
        config.patience.hard = config.patience.hard.min(Duration::from_secs(1));
        config
    }

    async fn once(&self, more: &[&str]) -> Result<Exit, (Exit, String)> {
        let (_wish, shutdown) = watch::channel(Shutdown::Run);
        let config = self.config(&[&["--once"], more].concat());
        run(vec![config], shutdown).await
    }

    fn manifest(&self) -> published::Manifest {
        let path = self.data.path().join("events/00112233445566778899aabbccddeeff/manifest.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn state(&self, name: &str) -> FileState {
        let path = self.path(name);
        let files = self.manifest().files;
        files.iter().find(|file| file.to_path().unwrap() == path).unwrap_or_else(|| panic!("{name}: no entry")).state
    }
}

/// Different photos of a few hundred kilobytes.
fn photo(n: u8) -> Vec<u8> {
    let mut bytes = jpeg(300_000 + usize::from(n));
    bytes.extend([n; 5]);
    bytes
}

fn sent(n: u8, duplicate: bool) -> FileState {
    FileState::Photo { digest: Digest::of(&photo(n)), duplicate }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen: {what}");
}
