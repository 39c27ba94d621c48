//! TLS without a proxy in front. Certificates are renewed every few weeks, while the server runs: the files are looked at
//! once a minute and read again when they changed; what cannot be read leaves the old ones in use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The files of a certificate.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate and those that vouch for it, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// The certificate in use.
#[derive(Clone)]
pub(crate) struct Tls {
    files: TlsFiles,
    current: Arc<RwLock<(Written, TlsAcceptor)>>,
}

/// When the two files were written.
type Written = [SystemTime; 2];

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({})", self.files.certificate.display())
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub(crate) fn open(files: TlsFiles) -> anyhow::Result<Self> {
        let current = load(&files)?;
        Ok(Self { files, current: Arc::new(RwLock::new(current)) })
    }

    /// What answers the next handshake.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Reads the files again when they were written since; whether they were.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together; the old ones stay in use.
    fn renew(&self) -> anyhow::Result<bool> {
        let written = written(&self.files)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).0 == written {
            return Ok(false);
        }
        let renewed = load(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(true)
    }

    /// Keeps the certificate current until the server stops.
    pub(crate) async fn keep_current(self, shutdown: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = shutdown.cancelled() => return,
            }
            match self.renew() {
                Ok(false) => {}
                Ok(true) => tracing::info!("the certificate was renewed"),
                Err(error) => tracing::error!("the certificate cannot be renewed; the old one stays in use: {error:#}"),
            }
        }
    }
}

fn written(files: &TlsFiles) -> io::Result<Written> {
    let of = |path: &Path| std::fs::metadata(path)?.modified();
    Ok([of(&files.certificate)?, of(&files.key)?])
}

fn load(files: &TlsFiles) -> anyhow::Result<(Written, TlsAcceptor)> {
    let cannot = |path: &Path| format!("cannot read {}", path.display());
    // Before the content: what changes in between is read again a minute later.
    let written = written(files).with_context(|| cannot(&files.certificate))?;
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| cannot(&files.certificate))?;
    anyhow::ensure!(!chain.is_empty(), "{} holds no certificate", files.certificate.display());
    let key = PrivateKeyDer::from_pem_file(&files.key).with_context(|| cannot(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("certificate and key do not belong together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((written, TlsAcceptor::from(Arc::new(config))))
}
