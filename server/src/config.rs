//! What a server needs to know before it can start.

use std::path::PathBuf;

use crate::face::{Pack, default_pack};
use crate::http::{Network, TlsFiles};
use crate::limits::Limits;
use crate::remote::RemoteTerms;
use crate::roles::Role;

/// What a server needs to know before it can start. `main` fills it from flags, `findme-watch --serve` by itself.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the catalogue, the photos, the staged uploads and the keys. Created when it is not there.
    pub data: PathBuf,
    /// What does not lie in the data folder, where many machines share it.
    pub elsewhere: Elsewhere,
    /// What guests' links begin with, for example `https://photos.example`; `None`: taken from each request's `Host`.
    pub public_url: Option<String>,
    /// Who is responsible for the events, and how to reach them: for the page about privacy.
    pub contact: Option<String>,
    /// Folder with the model files of the face pack, only read; `None`: `models` in the data folder.
    pub models: Option<PathBuf>,
    /// How faces are found.
    pub faces: Faces,
    /// The face pack that is used on this machine.
    pub pack: &'static Pack,
    /// Library file of onnxruntime, to run the models on; `None`: rten, which is built in.
    pub onnxruntime: Option<PathBuf>,
    /// How a face service elsewhere is used.
    pub remote: RemoteTerms,
    /// Photos that are indexed at the same time; `None`: one per core.
    pub workers: Option<usize>,
    /// What this process does: serve, index, or both.
    pub role: Role,
    /// Where pages load pictures from.
    pub photo_urls: PhotoUrls,
    /// All bounds.
    pub limits: Limits,
    /// Proxies that are believed what they say about their clients.
    pub trusted_proxies: Vec<Network>,
    /// Certificate and key; `None`: plain http.
    pub tls: Option<TlsFiles>,
}

impl Config {
    /// Everything as it is by default, in this data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            elsewhere: Elsewhere::default(),
            public_url: None,
            contact: None,
            models: None,
            faces: Faces::default(),
            pack: default_pack(),
            onnxruntime: None,
            remote: RemoteTerms::default(),
            workers: None,
            role: Role::default(),
            photo_urls: PhotoUrls::Streamed,
            limits: Limits::default(),
            trusted_proxies: Vec::new(),
            tls: None,
        }
    }
}

/// What does not lie in the data folder, where many machines share it. `None`: it lies there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// The catalogue: `postgres://user:password@host/database`.
    pub database: Option<String>,
    /// The published photos and derivatives: `s3://bucket/prefix`.
    pub photos: Option<String>,
    /// Folder of the events' keys. Neither the database nor a backup holds them.
    pub keys: Option<PathBuf>,
}

/// Where pages load pictures from. Whoever may not see one is refused before, either way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PhotoUrls {
    /// From this server, which streams them from wherever they are.
    #[default]
    Streamed,
    /// From the object store, at addresses that are signed for some minutes.
    Signed {
        /// Where browsers reach the store; `None`: where this server does.
        store: Option<String>,
    },
}

/// How faces are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Faces {
    /// On this machine.
    #[default]
    Local,
    /// By Amazon Rekognition, which is sent each photo's preview and each selfie (cargo feature `rekognition`). Region,
    /// credentials and address as for every AWS program (`AWS_REGION`, `AWS_ENDPOINT_URL_REKOGNITION` …).
    Rekognition,
    /// Not at all: photos are stored and shown, selfies are refused.
    Off,
}
