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

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tls").join(name)
    }

    /// Writes a pair, as if that long after the epoch.
    fn put(files: &TlsFiles, certificate: &str, key: &str, at: u64) {
        for (to, from) in [(&files.certificate, certificate), (&files.key, key)] {
            std::fs::copy(fixture(from), to).unwrap();
            let file = std::fs::File::options().write(true).open(to).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(at)).unwrap();
        }
    }

    #[test]
    fn a_changed_certificate_is_read_again_and_a_bad_one_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: folder.path().join("crt"), key: folder.path().join("key") };
        put(&files, "one.crt", "one.key", 1000);
        let tls = Tls::open(files.clone()).unwrap();
        let in_use = || Arc::as_ptr(tls.acceptor().config());
        let first = in_use();
        assert!(!tls.renew().unwrap());
        put(&files, "two.crt", "one.key", 2000);
        assert!(tls.renew().is_err(), "a key of another certificate");
        assert_eq!(in_use(), first, "the old one stays in use");
        put(&files, "two.crt", "two.key", 3000);
        assert!(tls.renew().unwrap());
        assert_ne!(in_use(), first);
        std::fs::write(&files.certificate, "nothing").unwrap();
        assert!(Tls::open(files).is_err());
    }
}
