//! Published files in an object store (S3 and compatible), shared by all nodes. What a method has answered is confirmed by
//! the store. An original is created once: whoever comes second finds the same bytes there, or is told.
//!
//! Credentials, region and endpoint come from the environment that every S3 client knows (`AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`).

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use findme_common::Digest;
use findme_common::digest::Hasher;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    RetryConfig,
};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// What goes in one piece; larger files go in pieces of this. S3 wants 5 MiB at least, and each is in memory once.
const PIECE: usize = 8 * 1024 * 1024;

/// Files on their way to the store at the same time: bounds the memory for their pieces.
const AT_ONCE: usize = 8;

/// Failed requests are tried again for this long; then whoever asked is told, and asks again.
const PATIENCE: Duration = Duration::from_secs(20);

/// A place in an object store.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    runtime: Handle,
    room: Arc<Semaphore>,
}

/// The store that `s3://bucket/prefix` is in, and the prefix.
///
/// # Errors
/// When the address is none, or the environment lacks what it takes.
pub(super) fn client(builder: AmazonS3Builder, url: &str, patience: Duration) -> io::Result<(AmazonS3, Path)> {
    let no_address =
        || io::Error::new(io::ErrorKind::InvalidInput, format!("{url} is not of the form s3://bucket/prefix"));
    let rest = url.strip_prefix("s3://").ok_or_else(no_address)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(no_address());
    }
    // Whoever installed one before has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig { max_retries: 8, retry_timeout: patience, backoff: BackoffConfig::default() };
    let client =
        ClientOptions::new().with_connect_timeout(Duration::from_secs(5)).with_timeout(Duration::from_secs(60));
    let store = builder
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(client.with_allow_http(std::env::var("AWS_ALLOW_HTTP").is_ok_and(|yes| yes == "true")))
        .with_retry(retry)
        .build()
        .map_err(as_io)?;
    Ok((store, Path::from(prefix)))
}

/// A key below a prefix.
pub(super) fn below(prefix: &Path, key: &str) -> Path {
    key.split('/').fold(prefix.clone(), |path, part| path.join(part))
}

impl Bucket {
    /// The place that `s3://bucket/prefix` names. Nothing is asked of it yet.
    ///
    /// # Errors
    /// When the address is none, or the environment lacks what it takes.
    pub(super) fn open(url: &str) -> io::Result<Self> {
        Self::with(AmazonS3Builder::from_env(), url, PATIENCE)
    }

    /// The same, reached as the builder says, and with so much patience for a store that fails.
    ///
    /// # Errors
    /// As [`Bucket::open`].
    pub(super) fn with(builder: AmazonS3Builder, url: &str, patience: Duration) -> io::Result<Self> {
        let (store, prefix) = client(builder, url, patience)?;
        let room = Arc::new(Semaphore::new(AT_ONCE));
        Ok(Self { store: Arc::new(store), prefix, runtime: Handle::current(), room })
    }

    /// Waits for an answer of the store; never from a task.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn at(&self, key: &str) -> Path {
        below(&self.prefix, key)
    }

    /// Publishes a file under a key, once. One that is there already and holds the same stays; one that holds something
    /// else is what an upload left that was never acknowledged, and is replaced.
    ///
    /// # Errors
    /// When the file cannot be read, or the store has not confirmed it.
    pub(super) async fn publish(&self, key: &str, file: &FilePath) -> io::Result<()> {
        let _room = self.room.acquire().await.map_err(io::Error::other)?;
        let at = self.at(key);
        let length = tokio::fs::metadata(file).await?.len();
        if length <= PIECE as u64 {
            let bytes = Bytes::from(tokio::fs::read(file).await?);
            match self.store.put_opts(&at, bytes.clone().into(), PutMode::Create.into()).await {
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
                done => return done.map(drop).map_err(as_io),
            }
            if self.digest(key).await? == Some((Digest::of(&bytes), length)) {
                return Ok(());
            }
            return self.store.put(&at, bytes.into()).await.map(drop).map_err(as_io);
        }
        let path = file.to_owned();
        let digest = crate::uploads::blocking(move || digest_of(File::open(path)?)).await?;
        if self.digest(key).await? == Some((digest, length)) {
            return Ok(());
        }
        self.put_in_pieces(&at, file).await
    }

    async fn put_in_pieces(&self, at: &Path, file: &FilePath) -> io::Result<()> {
        let mut upload = self.store.put_multipart(at).await.map_err(as_io)?;
        let mut file = File::open(file)?;
        let sent = async {
            loop {
                let (back, piece) = crate::uploads::blocking(move || {
                    let mut piece = Vec::with_capacity(PIECE);
                    (&mut file).take(PIECE as u64).read_to_end(&mut piece)?;
                    Ok((file, piece))
                })
                .await?;
                file = back;
                if piece.is_empty() {
                    return upload.complete().await.map(drop).map_err(as_io);
                }
                upload.put_part(PutPayload::from(piece)).await.map_err(as_io)?;
            }
        }
        .await;
        if sent.is_err() {
            // What is left of it costs room until the bucket's own rule for unfinished uploads clears it.
            let _ = upload.abort().await;
        }
        sent
    }

    /// Puts small bytes under a key, in the place of what is there.
    ///
    /// # Errors
    /// When the store has not confirmed it.
    pub(super) async fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let bytes = Bytes::copy_from_slice(bytes);
        self.store.put(&self.at(key), bytes.into()).await.map(drop).map_err(as_io)
    }

    /// Bytes under a key.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is none; otherwise when the store does not answer.
    pub(crate) async fn length(&self, key: &str) -> io::Result<u64> {
        Ok(self.store.head(&self.at(key)).await.map_err(as_io)?.size)
    }

    /// A part of what is under a key, as it arrives.
    ///
    /// # Errors
    /// As [`Bucket::length`].
    pub(crate) async fn read(&self, key: &str, range: Range<u64>) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let answer = self.store.get_opts(&self.at(key), options).await.map_err(as_io)?;
        Ok(answer.into_stream().map_err(as_io).boxed())
    }

    /// Digest and length of what is under a key; `None` when nothing is.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn digest(&self, key: &str) -> io::Result<Option<(Digest, u64)>> {
        let answer = match self.store.get(&self.at(key)).await.map_err(as_io) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let (mut hasher, mut length, mut pieces) = (Hasher::new(), 0, answer.into_stream());
        while let Some(piece) = pieces.try_next().await.map_err(as_io)? {
            hasher.update(&piece);
            length += piece.len() as u64;
        }
        Ok(Some((hasher.finish(), length)))
    }

    /// Writes what is under a key into a file.
    ///
    /// # Errors
    /// As [`Bucket::length`], and when the file cannot be written.
    pub(super) async fn fetch(&self, key: &str, file: &mut File) -> io::Result<()> {
        let mut pieces = self.store.get(&self.at(key)).await.map_err(as_io)?.into_stream();
        while let Some(piece) = pieces.try_next().await.map_err(as_io)? {
            io::Write::write_all(file, &piece)?;
        }
        Ok(())
    }

    /// Removes what is under a key; nothing there is no error.
    ///
    /// # Errors
    /// When the store does not confirm it.
    pub(super) async fn remove(&self, key: &str) -> io::Result<()> {
        match self.store.delete(&self.at(key)).await {
            Err(Error::NotFound { .. }) => Ok(()),
            done => done.map_err(as_io),
        }
    }

    /// Removes everything whose key begins with a folder.
    ///
    /// # Errors
    /// When the store does not confirm it.
    pub(super) async fn remove_folder(&self, folder: &str) -> io::Result<()> {
        let mut found = self.store.list(Some(&self.at(folder)));
        while let Some(object) = found.try_next().await.map_err(as_io)? {
            match self.store.delete(&object.location).await {
                Err(Error::NotFound { .. }) => {}
                done => done.map_err(as_io)?,
            }
        }
        Ok(())
    }

    /// Every key that begins with a folder, without the prefix.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn keys(&self, folder: &str) -> io::Result<Vec<String>> {
        let below = |location: &Path| {
            let parts = location.prefix_match(&self.prefix)?;
            Some(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
        };
        let found = self.store.list(Some(&self.at(folder)));
        found.map_err(as_io).try_filter_map(async |object| Ok(below(&object.location))).try_collect().await
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// When it does not, or not to us.
    pub(super) async fn answers(&self) -> io::Result<()> {
        match self.length("is-there").await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn digest_of(mut file: File) -> io::Result<Digest> {
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; super::PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&piece[..read]),
        }
    }
}

pub(super) fn as_io(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
