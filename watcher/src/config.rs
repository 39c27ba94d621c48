//! What the watcher is asked to do: [`Args`] as typed become a [`Config`], resolved and checked.
//!
//! Precedence: flag, environment (`FINDME_*`), config file, default. Nothing inside a watched folder is ever obeyed.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use findme_common::{EventId, PhotographerToken};
use reqwest::Url;
use serde::Deserialize;

use crate::args::{Args, Faces, OrderArg, Output, Place, PreviewArg, SimilarArg};
use crate::events::{self, canonical};
use crate::names::Wanted;
use crate::pace::Pace;
use crate::queue::Order;
use crate::settle::Patience;
use crate::tus::Manner;

const DEFAULT_LISTEN: &str = "0.0.0.0:8420";
const DEFAULT_JOBS: u8 = 8;
const DEFAULT_SETTLE: Duration = Duration::from_millis(400);

/// The config file, `findme/config.toml` in the system's config folder. Every key is a flag's name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ConfigFile {
    server: Option<String>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    hold: Option<bool>,
    min_rating: Option<u8>,
    release_rating: Option<u8>,
    preview: Option<PreviewArg>,
    similar: Option<SimilarArg>,
    limit_rate: Option<u64>,
    give_up: Option<u64>,
    listen: Option<SocketAddr>,
    models: Option<PathBuf>,
    faces: Option<Faces>,
    data: Option<PathBuf>,
    manifest: Option<PathBuf>,
    output: Option<Output>,
    jobs: Option<u8>,
    settle: Option<u64>,
    poll: Option<u64>,
    include: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    raw: Option<bool>,
    order: Option<OrderArg>,
    alarm: Option<f64>,
}

/// Where the photos go.
#[derive(Debug)]
pub(crate) enum Destination {
    /// To a server somewhere.
    Server { url: Url, token: PhotographerToken, authority: Option<PathBuf> },
    /// To a server that this process starts.
    #[cfg_attr(not(feature = "venue"), allow(dead_code))]
    Venue(VenueConfig),
}

/// What the server in this process is to be.
#[derive(Debug)]
#[cfg_attr(not(feature = "venue"), allow(dead_code))]
pub(crate) struct VenueConfig {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) models: Option<PathBuf>,
    pub(crate) faces: Faces,
}

/// What the watcher does, resolved and checked.
#[derive(Debug)]
pub struct Config {
    /// Canonical, none below another.
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) destination: Destination,
    pub(crate) once: bool,
    pub(crate) give_up: Option<Duration>,
    pub(crate) data: PathBuf,
    pub(crate) manifest: Option<PathBuf>,
    pub(crate) output: Output,
    pub(crate) jobs: usize,
    pub(crate) patience: Patience,
    pub(crate) poll: Option<Duration>,
    pub(crate) wanted: Wanted,
    pub(crate) order: Order,
    pub(crate) manner: Manner,
    pub(crate) preview: PreviewArg,
    /// What to do with photos that are nearly the same; `None`: nobody looks.
    pub(crate) similar: Option<SimilarArg>,
    /// Stars that a photo needs to be sent.
    pub(crate) min_rating: Option<u8>,
    /// Stars from which on held photos are released.
    pub(crate) release_rating: Option<u8>,
    pub(crate) dry_run: bool,
    /// How long the camera may be quiet.
    pub(crate) alarm: Option<Duration>,
}

/// Why the options make no sense together.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A folder to watch is not there, or is no folder.
    #[error("{}: {why}", path.display())]
    Folder {
        /// As given.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Neither `--server` nor `--serve`.
    #[error("where to? Give --server URL (or FINDME_SERVER) and a token, or --serve to be the server on this laptop")]
    NoDestination,
    /// The server's address is no URL.
    #[error("--server {text}: {why}")]
    Server {
        /// As given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// No token, or none that can be read.
    #[error("{0}")]
    Token(String),
    /// Folders and events do not fit together.
    #[error("{0}")]
    Map(String),
    /// A pattern is malformed.
    #[error("{0}")]
    Glob(#[from] globset::Error),
    /// The config file cannot be read or understood.
    #[error("{}: {why}", path.display())]
    File {
        /// The config file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system names no folder for a program's data.
    #[error("this system names no data folder; give --data DIR")]
    NoDataFolder,
}

impl Config {
    /// Resolves what was typed with environment and config file; one for each event. `token` is the value of
    /// `FINDME_TOKEN`.
    ///
    /// # Errors
    /// See [`ConfigError`]; all of them are the user's to mend.
    pub fn resolve(args: Args, token: Option<String>) -> Result<Vec<Self>, ConfigError> {
        let folders = directories::ProjectDirs::from("", "", "findme");
        let file = match &folders {
            Some(folders) => read_config_file(&folders.config_dir().join("config.toml"))?,
            None => ConfigFile::default(),
        };
        let data = folders.map(|folders| folders.data_dir().to_owned());
        Self::combine(args, token, file, data)
    }

    /// As if there were neither environment nor config file.
    #[cfg(test)]
    pub(crate) fn for_test(args: Args, token: &str) -> Self {
        let all = Self::combine(args, Some(token.to_owned()), ConfigFile::default(), None);
        all.expect("the test's options are right").remove(0)
    }

    /// The event, where it is known before the run.
    pub(crate) fn event(&self) -> Option<EventId> {
        match &self.destination {
            Destination::Server { token, .. } => Some(token.event),
            Destination::Venue(_) => None,
        }
    }

    fn combine(
        args: Args,
        token: Option<String>,
        file: ConfigFile,
        system_data: Option<PathBuf>,
    ) -> Result<Vec<Self>, ConfigError> {
        let data = args.place.data.or(file.data).or(system_data).ok_or(ConfigError::NoDataFolder)?;
        let homes: Vec<(Destination, Vec<PathBuf>)> = if args.serve {
            let default = DEFAULT_LISTEN.parse().expect("the default address is a literal that parses");
            let venue = VenueConfig {
                data: data.clone(),
                listen: args.listen.or(file.listen).unwrap_or(default),
                models: args.models.or(file.models),
                faces: args.faces.or(file.faces).unwrap_or_default(),
            };
            vec![(Destination::Venue(venue), canonical(&args.folders)?)]
        } else {
            let text = args.place.server.or(file.server).ok_or(ConfigError::NoDestination)?;
            let url = parse_server(&text)?;
            let tokens = find_tokens(args.place.token_file, token, file.token_file)?;
            let authority = args.place.ca.or(file.ca);
            let home = |(token, folders)| {
                (Destination::Server { url: url.clone(), token, authority: authority.clone() }, folders)
            };
            events::homes(&args.folders, &args.map, &tokens)?.into_iter().map(home).collect()
        };
        let manifest = args.place.manifest.or(file.manifest);
        if homes.len() > 1 && manifest.is_some() {
            return Err(ConfigError::Map("--manifest is for one event; --data names a folder for those of all".into()));
        }
        let (hard, busy) = if args.once || args.dry_run { (10, Some(Duration::from_secs(300))) } else { (60, None) };
        let quiet = args.settle.or(file.settle).map_or(DEFAULT_SETTLE, Duration::from_millis);
        let include = if args.include.is_empty() { file.include.unwrap_or_default() } else { args.include };
        let exclude = if args.exclude.is_empty() { file.exclude.unwrap_or_default() } else { args.exclude };
        let give_up = args.give_up.or(file.give_up).or(args.once.then_some(30));
        let wanted = Wanted::new(&include, &exclude, args.raw || file.raw.unwrap_or(false))?;
        let release_rating =
            args.release_rating.or(file.release_rating).filter(|_| args.hold || file.hold == Some(true));
        let (min_rating, preview) = (args.min_rating.or(file.min_rating), args.preview.or(file.preview));
        let similar = args.similar.or(file.similar);
        let manner = Manner {
            hold: args.hold || file.hold.unwrap_or(false),
            release: release_rating,
            raw: wanted.sends_raw(),
            pace: Pace::new(args.limit_rate.or(file.limit_rate)),
            ..Manner::default()
        };
        let alarm = args.alarm.or(file.alarm).and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
        let jobs = usize::from(args.jobs.or(file.jobs).unwrap_or(DEFAULT_JOBS));
        let (events, output) = (homes.len(), args.output.or(file.output).unwrap_or_default());
        let one = |(destination, folders)| Self {
            folders,
            destination,
            once: args.once,
            give_up: give_up.map(Duration::from_secs),
            data: data.clone(),
            manifest: manifest.clone(),
            output,
            jobs: (jobs / events).max(1),
            patience: Patience { quiet, hard: Duration::from_secs(hard).max(quiet), busy },
            poll: args.poll.or(file.poll).map(|seconds| Duration::from_secs(seconds.max(1))),
            wanted: wanted.clone(),
            order: match args.order.or(file.order) {
                Some(OrderArg::Oldest) => Order::Oldest,
                Some(OrderArg::Newest) | None => Order::Newest,
            },
            manner: Manner { pace: manner.pace.counted_apart(), ..manner.clone() },
            preview: preview.unwrap_or_default(),
            similar,
            min_rating,
            release_rating,
            dry_run: args.dry_run,
            alarm: alarm.filter(|_| !args.once && !args.dry_run),
        };
        Ok(homes.into_iter().map(one).collect())
    }
}

impl Config {
    /// Whether a sidecar can change anything.
    pub(crate) fn heeds_ratings(&self) -> bool {
        self.min_rating.is_some() || self.release_rating.is_some()
    }
}

/// One event on one server, for the commands beside watching.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) url: Url,
    pub(crate) token: PhotographerToken,
    pub(crate) snapshot: PathBuf,
    /// A certificate that vouches for the server.
    pub(crate) authority: Option<PathBuf>,
}

impl At {
    /// Resolves what was typed with environment and config file. `token` is the value of `FINDME_TOKEN`.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub(crate) fn resolve(place: Place, token: Option<String>) -> Result<Self, ConfigError> {
        let folders = directories::ProjectDirs::from("", "", "findme");
        let file = match &folders {
            Some(folders) => read_config_file(&folders.config_dir().join("config.toml"))?,
            None => ConfigFile::default(),
        };
        let system = folders.map(|folders| folders.data_dir().to_owned());
        let data = place.data.or(file.data).or(system).ok_or(ConfigError::NoDataFolder)?;
        let url = parse_server(&place.server.or(file.server).ok_or(ConfigError::NoDestination)?)?;
        let mut tokens = find_tokens(place.token_file, token, file.token_file)?;
        let (Some(token), true) = (tokens.pop(), tokens.is_empty()) else {
            return Err(ConfigError::Token("which event? Give a --token-file with its token alone".into()));
        };
        let snapshot = snapshot_of(&data, place.manifest.or(file.manifest).as_deref(), token.event);
        Ok(Self { url, token, snapshot, authority: place.ca.or(file.ca) })
    }
}

/// Where the manifest of an event lies.
pub(crate) fn snapshot_of(data: &Path, manifest: Option<&Path>, event: EventId) -> PathBuf {
    match manifest {
        Some(path) if path.is_dir() => path.join("manifest.json"),
        Some(path) => path.to_owned(),
        None => data.join("events").join(event.to_simple()).join("manifest.json"),
    }
}

fn read_config_file(path: &Path) -> Result<ConfigFile, ConfigError> {
    let problem = |why: String| ConfigError::File { path: path.to_owned(), why };
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| problem(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ConfigFile::default()),
        Err(error) => Err(problem(error.to_string())),
    }
}

pub(crate) fn parse_server(text: &str) -> Result<Url, ConfigError> {
    let problem = |why: &str| ConfigError::Server { text: text.to_owned(), why: why.to_owned() };
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(problem("an address begins with http:// or https://, as in https://photos.example")),
    }
}

/// The tokens, one for each event.
fn find_tokens(
    flag: Option<PathBuf>,
    environment: Option<String>,
    file: Option<PathBuf>,
) -> Result<Vec<PhotographerToken>, ConfigError> {
    let (text, whence) = match (flag, environment, file) {
        (Some(path), _, _) | (None, None, Some(path)) => {
            let text = fs::read_to_string(&path)
                .map_err(|error| ConfigError::Token(format!("token file {}: {error}", path.display())))?;
            (text, format!("token file {}", path.display()))
        }
        (None, Some(text), _) => (text, "FINDME_TOKEN".to_owned()),
        (None, None, None) => {
            let way_out = "no photographer token: give --token-file PATH, or put it into FINDME_TOKEN";
            return Err(ConfigError::Token(way_out.into()));
        }
    };
    let none = || {
        ConfigError::Token(format!("{whence} holds no photographer token (one begins with fmp. and has three parts)"))
    };
    let tokens: Vec<_> =
        text.split_whitespace().map(|word| word.parse().map_err(|_| none())).collect::<Result<_, _>>()?;
    if tokens.is_empty() { Err(none()) } else { Ok(tokens) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const TOKEN: &str = "fmp.00112233445566778899aabbccddeeff.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn resolve(args: &[&str], token: Option<&str>, file: &str) -> Result<Config, ConfigError> {
        let folder = std::env::temp_dir();
        let args =
            ["findme-watch", folder.to_str().unwrap()].into_iter().chain(args.iter().copied()).collect::<Vec<_>>();
        let args = crate::Cli::try_parse_from(args).unwrap().watch;
        let all = Config::combine(args, token.map(str::to_owned), toml::from_str(file).unwrap(), Some("/data".into()));
        all.map(|mut all| all.remove(0))
    }

    fn server(config: &Config) -> &str {
        match &config.destination {
            Destination::Server { url, .. } => url.as_str(),
            Destination::Venue(_) => "venue",
        }
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let file = "server = 'http://file'\njobs = 7\nsettle = 100";
        let config = resolve(&["--server", "http://flag"], Some(TOKEN), file).unwrap();
        assert_eq!((server(&config), config.jobs), ("http://flag/", 7));
        assert_eq!(config.patience.quiet, Duration::from_millis(100));
        let config = resolve(&["--jobs", "2"], Some(TOKEN), file).unwrap();
        assert_eq!((server(&config), config.jobs), ("http://file/", 2));
        let config = resolve(&["--server", "http://flag"], Some(TOKEN), "").unwrap();
        assert_eq!((config.jobs, config.order, config.output), (8, Order::Newest, Output::Auto));
    }

    #[test]
    fn the_token_comes_from_flag_then_environment_then_file() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, byte: char| {
            let path = dir.path().join(name);
            let token = TOKEN.replace("00112233", &byte.to_string().repeat(8));
            fs::write(&path, format!("{token}\n")).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (flag, file) = (write("flag", 'a'), write("file", 'b'));
        let first_byte = |args: &[&str], token| {
            let args = [&["--server", "http://x"], args].concat();
            let config = resolve(&args, token, &format!("token-file = '{file}'")).unwrap();
            let Destination::Server { token, .. } = config.destination else { panic!("no server") };
            token.event.as_bytes()[0]
        };
        assert_eq!(first_byte(&["--token-file", &flag], Some(TOKEN)), 0xaa);
        assert_eq!(first_byte(&[], Some(TOKEN)), 0x00);
        assert_eq!(first_byte(&[], None), 0xbb);
    }

    #[test]
    fn mistakes_have_a_way_out() {
        let message = |args: &[&str], token| resolve(args, token, "").unwrap_err().to_string();
        assert!(message(&[], Some(TOKEN)).contains("--server"));
        assert!(message(&["--server", "photos.example"], Some(TOKEN)).contains("photos.example"));
        assert!(message(&["--server", "ftp://x"], Some(TOKEN)).contains("http://"));
        assert!(message(&["--server", "http://x"], None).contains("FINDME_TOKEN"));
        assert!(message(&["--server", "http://x"], Some("nonsense")).contains("fmp."));
        let secret = message(&["--server", "http://x"], Some("fmp.secret"));
        assert!(!secret.contains("secret"), "a message must not show a token: {secret}");
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused() {
        assert!(toml::from_str::<ConfigFile>("severr = 'http://x'").is_err());
    }
}
