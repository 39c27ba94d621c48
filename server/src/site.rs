//! A site: one data folder with its catalogue, its photos and its keys, wherever each of them lies. Enough to manage
//! events, beside a running server or in it.
//!
//! Invariant: nothing that is missing or damaged is ever replaced by something empty.

use std::path::Path;

use anyhow::Context;
use findme_common::protocol::Policy;
use findme_common::{EventId, JoinCode, OperatorToken, PhotographerToken, Secret};

use crate::catalog::{self, Catalog, Quota};
use crate::config::Elsewhere;
use crate::limits::Limits;
use crate::store::PhotoStore;
use crate::vault::Vault;
use crate::{clock, retention, roles};

/// What a new event begins with.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Name that people see.
    pub name: String,
    /// Whether faces are looked for. `Attested`: whoever creates the event states that everyone was told.
    pub policy: Policy,
    /// After how many days the faces are erased; 0: not before the event is deleted.
    pub faces_days: u32,
    /// After how many days the event is deleted; 0: never by itself.
    pub photos_days: u32,
}

impl NewEvent {
    /// With this name and everything else as it is by default.
    pub fn new(name: impl Into<String>) -> Self {
        let (faces_days, photos_days) = (retention::FACES_DAYS, retention::PHOTOS_DAYS);
        Self { name: name.into(), policy: Policy::default(), faces_days, photos_days }
    }

    fn terms(&self) -> catalog::Terms {
        let until = |days: u32| (days > 0).then(|| clock::now_ms() + i64::from(days) * clock::DAY_MS);
        catalog::Terms {
            policy: self.policy,
            attested: (self.policy == Policy::Attested).then_some(retention::ATTESTED_VERSION),
            faces_until: until(self.faces_days),
            photos_until: until(self.photos_days),
        }
    }
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

/// A data folder with its catalogue: enough to manage events beside a running server.
#[derive(Debug, Clone)]
pub struct Site {
    pub(crate) catalog: Catalog,
    pub(crate) store: PhotoStore,
    pub(crate) vault: Vault,
    /// Of new photographer tokens.
    pub(crate) quota: Quota,
    pub(crate) first_operator_token: Option<OperatorToken>,
}

/// Key of the setting that holds the operator token's hash.
pub(crate) const OPERATOR: &str = "operator-token-hash";

impl Site {
    /// Opens or creates a data folder and migrates its catalogue.
    ///
    /// # Errors
    /// When it is unreadable or damaged. Nothing is ever replaced by something empty.
    pub async fn open(data: &Path) -> anyhow::Result<Self> {
        Self::open_with(data, &Elsewhere::default()).await
    }

    /// [`Site::open`] of a site that does not have everything in its data folder.
    ///
    /// # Errors
    /// As there, and when what lies elsewhere cannot be reached.
    pub async fn open_with(data: &Path, elsewhere: &Elsewhere) -> anyhow::Result<Self> {
        let cannot = || format!("cannot use the data folder {}", data.display());
        let store = match &elsewhere.photos {
            Some(url) => {
                PhotoStore::open(data)?.with_files_at(url).await.with_context(|| format!("cannot use {url}"))?
            }
            None => PhotoStore::open(data).with_context(cannot)?,
        };
        let vault = Vault::open(&elsewhere.keys.clone().unwrap_or_else(|| data.join("keys"))).with_context(cannot)?;
        let _opening = roles::opening(data).await?;
        let catalog = match &elsewhere.database {
            Some(url) => open_database(url).await?,
            None => Self::open_file(data, &vault, &store).await?,
        };
        let token = OperatorToken(Secret::random()?);
        let first = catalog.set_once(OPERATOR, token.0.hash().as_bytes()).await?;
        let quota = Quota::of(&Limits::default());
        Ok(Self { catalog, store, vault, quota, first_operator_token: first.then_some(token) })
    }

    /// The catalogue in the data folder.
    async fn open_file(data: &Path, vault: &Vault, store: &PhotoStore) -> anyhow::Result<Catalog> {
        let cannot = || format!("cannot use the data folder {}", data.display());
        let file = data.join("findme.sqlite");
        if is_absent(&file).with_context(cannot)?
            && (vault.knows_events()? || store.knows_events().with_context(cannot)?)
        {
            anyhow::bail!(
                "the catalogue {} is missing or empty, but there are events in this folder. Nothing was changed. Put \
                 the catalogue back, or name another folder with --data",
                file.display()
            );
        }
        Catalog::open(&file).await.with_context(|| format!("cannot open {}", file.display()))
    }

    /// Creates an event and a first photographer token for it.
    ///
    /// # Errors
    /// When key, folder or row cannot be written.
    pub async fn create_event(&self, event: NewEvent) -> anyhow::Result<CreatedEvent> {
        let (id, join) = (EventId::random()?, JoinCode::random()?);
        // Key and folders first: a row promises both.
        self.vault.create(id)?;
        self.store.create_event(id)?;
        self.catalog.create_event_under(id, &event.name, &join, &event.terms()).await?;
        let photographer = self.create_photographer_token(id, "first").await?;
        Ok(CreatedEvent { id, join, photographer })
    }

    /// A further photographer token, one per machine.
    ///
    /// # Errors
    /// When there is no such event or the catalogue cannot be written.
    pub async fn create_photographer_token(&self, event: EventId, label: &str) -> anyhow::Result<PhotographerToken> {
        self.catalog.event(event).await?.with_context(|| format!("there is no event {event}"))?;
        let secret = Secret::random()?;
        self.catalog.create_token(event, &secret.hash(), label, self.quota).await?;
        Ok(PhotographerToken { event, secret })
    }

    /// Events with name and join code, newest first.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub async fn events(&self) -> anyhow::Result<Vec<(EventId, String, JoinCode)>> {
        Ok(self.catalog.events().await?.into_iter().map(|event| (event.id, event.name, event.join)).collect())
    }

    /// Copies the key of every event that has one to another site; how many.
    #[cfg(feature = "postgres")]
    pub(crate) async fn take_keys_to(&self, other: &Self) -> anyhow::Result<usize> {
        let mut copied = 0;
        for event in self.catalog.events().await? {
            copied += usize::from(self.vault.copy_to(&other.vault, event.id)?);
        }
        Ok(copied)
    }

    /// Takes over all rows of another site's catalogue; how many.
    #[cfg(feature = "postgres")]
    pub(crate) async fn take_over(&self, other: &Self) -> anyhow::Result<u64> {
        anyhow::ensure!(self.catalog.is_on_a_server(), "the rows can only go to a database server");
        Ok(self.catalog.take_over(&other.catalog).await?)
    }

    /// Folds the write-ahead log into the database and closes it.
    pub async fn close(self) {
        self.catalog.close().await;
    }
}

/// The catalogue on a database server.
#[cfg(feature = "postgres")]
async fn open_database(url: &str) -> anyhow::Result<Catalog> {
    Catalog::open_postgres(url).await.context("cannot use the database server")
}

/// The catalogue on a database server, which this program knows nothing of.
#[cfg(not(feature = "postgres"))]
async fn open_database(_url: &str) -> anyhow::Result<Catalog> {
    anyhow::bail!("this program was built without database servers; build it with `--features postgres`")
}

/// Whether there is no file, or one without content: SQLite would begin anew in either.
pub(crate) fn is_absent(file: &Path) -> std::io::Result<bool> {
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        other => Ok(other?.len() == 0),
    }
}
