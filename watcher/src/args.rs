//! What can be typed: options and commands, as clap reads them. [`crate::config`] makes sense of them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Deserialize;

use crate::events::Mapping;

/// Watch folders and send every finished photo to a FindMe server.
///
/// Nothing is sent twice, and nothing in the folders is ever changed, moved or deleted. A folder that bears a command's
/// name goes after `--`.
#[derive(Debug, Parser)]
#[command(name = "findme-watch", version, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    /// Something else than watching
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Watching
    #[command(flatten)]
    pub watch: Args,
}

/// Which server, which event, which manifest.
#[derive(Debug, Default, clap::Args)]
pub struct Place {
    /// Address of the server, for example https://photos.example (--serve needs none)
    #[arg(long, env = "FINDME_SERVER", value_name = "URL")]
    pub server: Option<String>,

    /// File with the photographer token (or put the token itself into FINDME_TOKEN)
    #[arg(long, env = "FINDME_TOKEN_FILE", value_name = "PATH")]
    pub token_file: Option<PathBuf>,

    /// File with a certificate (PEM) that vouches for the server, beside those of the system
    #[arg(long, env = "FINDME_CA", value_name = "PATH")]
    pub ca: Option<PathBuf>,

    /// Folder for the manifests and, with --serve, for all photos [default: the system's data folder]
    #[arg(long, env = "FINDME_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Where to keep what is known about the event's photos [default: by event in the data folder]
    #[arg(long, env = "FINDME_MANIFEST", value_name = "PATH")]
    pub manifest: Option<PathBuf>,
}

/// What there is beside watching.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Ask for server and token once, and keep them for every later start
    Login {
        /// Address of the server [default: asked for]
        server: Option<String>,
    },
    /// Say how far the event's photos have come, also while a watcher runs
    Status {
        /// Which event.
        #[command(flatten)]
        place: Place,
    },
    /// Prove that every photo of some folders is on the server with the same content
    Verify {
        /// Folders to look through, with everything below them
        #[arg(required = true, value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// Have every photo sent back and compared, byte for byte
        #[arg(long)]
        deep: bool,
        /// Which event.
        #[command(flatten)]
        place: Place,
    },
    /// Look at folders, limits, manifest, server, token and clock before it matters
    Doctor {
        /// Folders that are to be watched
        #[arg(value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// Which event.
        #[command(flatten)]
        place: Place,
    },
    /// Hide the last photos from guests; nothing is deleted
    Withdraw {
        /// How many, newest first
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
        last: u16,
        /// Which event.
        #[command(flatten)]
        place: Place,
    },
    /// Have the server index again what it could not
    Retry {
        /// Which event.
        #[command(flatten)]
        place: Place,
    },
    /// Print what a shell needs to complete this program's options
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Watch from each login on (Linux: a systemd unit of your own)
    Service {
        /// What to do.
        #[command(subcommand)]
        action: ServiceAction,
    },
    /// Print the manual page, or write those of all commands into a folder
    Man {
        /// Where to
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Make a manifest that cannot be read good again; the old files are kept beside it
    Repair {
        /// Which event.
        #[command(flatten)]
        place: Place,
    },
}

/// What to do with the service.
#[derive(Debug, clap::Subcommand)]
pub enum ServiceAction {
    /// Begin now and at each login, with these options
    Install(Box<Args>),
    /// End, and do not begin again
    Remove,
}

/// What watching needs to know.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders to watch, with everything below them
    #[arg(required_unless_present = "map", value_name = "DIR")]
    pub folders: Vec<PathBuf>,

    /// Send this folder's photos to this event (its id or how that begins); its token stands in the token file, one a line
    #[arg(long, value_name = "FOLDER=EVENT", conflicts_with = "serve")]
    pub map: Vec<Mapping>,

    /// Which server, event and manifest
    #[command(flatten)]
    pub place: Place,

    /// Send what is there, wait until the server has indexed it, and end
    #[arg(long)]
    pub once: bool,

    /// End with code 4 when the server gives no answer for so long [with --once: 30]
    #[arg(long, env = "FINDME_GIVE_UP", value_name = "SECONDS")]
    pub give_up: Option<u64>,

    /// Be the server too: everything on this laptop, no internet needed
    #[arg(long)]
    pub serve: bool,

    /// With --serve: where guests reach the server [default: 0.0.0.0:8420]
    #[arg(long, env = "FINDME_LISTEN", value_name = "ADDR")]
    pub listen: Option<SocketAddr>,

    /// With --serve: folder with the face models
    #[arg(long, env = "FINDME_MODELS", value_name = "DIR")]
    pub models: Option<PathBuf>,

    /// With --serve: whether faces are searched
    #[arg(long, env = "FINDME_FACES")]
    pub faces: Option<Faces>,

    /// How to report [default: auto, progress on a terminal and plain lines elsewhere]
    #[arg(long, env = "FINDME_OUTPUT")]
    pub output: Option<Output>,

    /// At most so many photos are sent at the same time; how many are, the line decides [default: 8]
    #[arg(long, env = "FINDME_JOBS", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: Option<u8>,

    /// How long a file must be quiet where the system does not tell when it is finished [default: 400]
    #[arg(long, env = "FINDME_SETTLE", value_name = "MS")]
    pub settle: Option<u64>,

    /// List the folders every so many seconds instead of being notified
    #[arg(long, env = "FINDME_POLL", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub poll: Option<u64>,

    /// Send only files that match (may be given several times)
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,

    /// Do not send files that match (may be given several times)
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Send RAW files too
    #[arg(long)]
    pub raw: bool,

    /// Send only photos with at least so many stars, in the file or in an XMP sidecar beside it; a later rating counts
    #[arg(long, env = "FINDME_MIN_RATING", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub min_rating: Option<u8>,

    /// Send photos hidden: guests see them when they are released
    #[arg(long)]
    pub hold: bool,

    /// With --hold: release photos as soon as they have so many stars
    #[arg(long, env = "FINDME_RELEASE_RATING", value_name = "N", requires = "hold", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub release_rating: Option<u8>,

    /// Send a smaller picture ahead of each photo, for guests; the originals follow [default: auto, where the line is slow]
    #[arg(long, env = "FINDME_PREVIEW", value_name = "WHEN")]
    pub preview: Option<PreviewArg>,

    /// Photos that are nearly the same as one made seconds before (a burst): only tell, or leave them out [default: neither]
    #[arg(long, env = "FINDME_SIMILAR", value_name = "WHAT")]
    pub similar: Option<SimilarArg>,

    /// Send at most so many bytes a second, all photos together (500k, 2m)
    #[arg(long, env = "FINDME_LIMIT_RATE", value_name = "BYTES/S", value_parser = rate)]
    pub limit_rate: Option<u64>,

    /// Which photo goes first [default: newest]
    #[arg(long, env = "FINDME_ORDER")]
    pub order: Option<OrderArg>,

    /// Ring when no new photo has come for so many minutes
    #[arg(long, env = "FINDME_ALARM", value_name = "MINUTES", value_parser = minutes)]
    pub alarm: Option<f64>,

    /// Say what would be sent; send and record nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// How to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Progress on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Bars.
    Progress,
    /// Lines for people.
    Plain,
    /// One JSON object a line.
    Json,
    /// Only what went wrong.
    Quiet,
}

/// Whether faces are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Faces {
    /// On this machine.
    #[default]
    Local,
    /// Not at all.
    Off,
}

/// When previews go ahead of their photos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PreviewArg {
    /// While a photo of the usual size takes more than some seconds.
    #[default]
    Auto,
    /// Of every large photo.
    Always,
    /// Not at all.
    Never,
}

/// What to do with photos that are nearly the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SimilarArg {
    /// Tell, and send them.
    Report,
    /// Tell, and do not send them. The files stay where they are.
    Skip,
}

/// Which photo goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderArg {
    /// What guests are waiting for.
    Newest,
    /// As they were taken.
    Oldest,
}

/// A number of bytes, perhaps in thousands (`k`) or millions (`m`).
fn rate(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.filter(|bytes| *bytes >= 1_000).ok_or_else(|| "at least 1k, as in 500k or 2m".to_owned())
}

/// Minutes, also parts of one; a day at most.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| *minutes > 0.0 && *minutes <= 1440.0);
    minutes.ok_or_else(|| "minutes, as in 10".to_owned())
}
