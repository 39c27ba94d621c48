//! The server: stores an event's photos, finds the faces in them, lets each guest find theirs.

pub mod face;
pub mod gallery;
pub mod picture;

use std::path::PathBuf;

use findme_common::{EventId, JoinCode, PhotographerToken, Secret};
use tokio_util::sync::CancellationToken;

/// What a server needs to know before it can start. `main` fills it from flags, `findme-watch --serve` by itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the catalogue, the photos, the staged uploads and the keys. Created when it is not there.
    pub data: PathBuf,
    /// What guests' links begin with, for example `https://photos.example`; `None`: taken from each request's `Host`.
    pub public_url: Option<String>,
    /// Folder with the model files of the face pack; `None`: faces wait until there is one.
    pub models: Option<PathBuf>,
    /// How faces are found.
    pub faces: Faces,
    /// Photos that are indexed at the same time; `None`: one per core.
    pub workers: Option<usize>,
}

/// How faces are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Faces {
    /// On this machine.
    #[default]
    Local,
    /// Not at all: photos are stored and shown, selfies are refused.
    Off,
}

/// What a new event begins with.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Name that people see.
    pub name: String,
}

/// A new event with its secrets, which are never shown again.
#[derive(Debug)]
pub struct CreatedEvent {
    /// Its id.
    pub id: EventId,
    /// Guests join with it.
    pub join: JoinCode,
    /// A first machine's token.
    pub photographer: PhotographerToken,
}

/// The opened server: catalogue migrated, uploads recovered, models loaded; nothing listens yet.
#[derive(Debug)]
pub struct Server {}

impl Server {
    /// Opens or creates the data folder, takes its lock, migrates the catalogue and recovers what a crash left.
    ///
    /// # Errors
    /// When the folder is in use, unreadable or damaged. Nothing is ever replaced by something empty.
    pub async fn open(_config: Config) -> anyhow::Result<Self> {
        anyhow::bail!("not built yet")
    }

    /// The operator token, only at the very first start of a data folder; afterwards only its hash is known.
    pub fn first_operator_token(&self) -> Option<&Secret> {
        None
    }

    /// Creates an event and a first photographer token for it.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub async fn create_event(&self, _event: NewEvent) -> anyhow::Result<CreatedEvent> {
        anyhow::bail!("not built yet")
    }

    /// A further photographer token, one per machine.
    ///
    /// # Errors
    /// When there is no such event or the catalogue cannot be written.
    pub async fn create_photographer_token(&self, _event: EventId, _label: &str) -> anyhow::Result<PhotographerToken> {
        anyhow::bail!("not built yet")
    }

    /// Name and join code of an event, `None` when there is no such event.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub async fn event(&self, _id: EventId) -> anyhow::Result<Option<(String, JoinCode)>> {
        anyhow::bail!("not built yet")
    }

    /// Why faces are not searchable, in one line with the way out; `None` when they are.
    pub fn faces_problem(&self) -> Option<String> {
        None
    }

    /// Answers requests and indexes photos until `shutdown` is cancelled, then finishes what is in flight (10 s at most).
    ///
    /// # Errors
    /// When a part of the server died.
    pub async fn serve(self, _listener: tokio::net::TcpListener, _shutdown: CancellationToken) -> anyhow::Result<()> {
        anyhow::bail!("not built yet")
    }
}
