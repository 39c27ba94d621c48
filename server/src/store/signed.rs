//! Addresses at the object store that show one file to whoever has them, for a short time (`--photo-urls signed`): pages
//! then load pictures from the store, and the server sends no bytes of them.
//!
//! Nothing here asks who is looking: that is checked before an address is given away.

use std::io;
#[cfg(feature = "s3")]
use std::sync::Arc;
#[cfg(feature = "s3")]
use std::time::Duration;

use findme_common::{EventId, PhotoId};
#[cfg(feature = "s3")]
use object_store::aws::{AmazonS3, AmazonS3Builder};
#[cfg(feature = "s3")]
use object_store::path::Path;
#[cfg(feature = "s3")]
use object_store::signer::{Method, SignedUrlOptions, Signer};

#[cfg(feature = "s3")]
use super::bucket::{as_io, below, client};
use super::{PhotoStore, Rendition};

/// For how long an address works: a page asks for a new one each time it shows a picture, so it need not be long.
#[cfg(feature = "s3")]
const VALID: Duration = Duration::from_secs(300);

/// What signs addresses.
#[cfg(feature = "s3")]
#[derive(Debug, Clone)]
pub(super) struct Signing {
    store: Arc<AmazonS3>,
    prefix: Path,
    /// Scheme, host and port of all addresses.
    origin: String,
}

/// How the store presents a file to a browser.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "s3"), expect(dead_code, reason = "nobody else presents files"))]
pub(crate) struct Presented<'a> {
    /// Its media type.
    pub kind: &'a str,
    /// `Content-Disposition`, where it has a name.
    pub disposition: Option<&'a str>,
}

#[cfg(feature = "s3")]
impl Signing {
    async fn of(&self, key: &str, presented: Presented<'_>) -> io::Result<String> {
        let answer = [
            ("response-content-type", Some(presented.kind)),
            ("response-content-disposition", presented.disposition),
            ("response-cache-control", Some("private, max-age=31536000, immutable")),
        ];
        let query = answer.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let options = SignedUrlOptions::new().with_query(query);
        let url = self.store.signed_url_opts(Method::GET, &below(&self.prefix, key), VALID, &options).await;
        Ok(url.map_err(as_io)?.into())
    }
}

impl PhotoStore {
    /// The store, from which pages load pictures at addresses of the object store `url`. `reached`: where browsers reach
    /// it, when that is not where this server does.
    ///
    /// # Errors
    /// When the photos are in no object store, or what it takes to sign is missing.
    #[cfg(feature = "s3")]
    pub(crate) async fn with_signed_urls(self, url: Option<&str>, reached: Option<&str>) -> io::Result<Self> {
        let Some(url) = url else { return Err(no_store()) };
        let builder = AmazonS3Builder::from_env();
        let builder = match reached {
            Some(reached) => builder.with_endpoint(reached),
            None => builder,
        };
        let (store, prefix) = client(builder, url, VALID)?;
        let any = store.signed_url(Method::GET, &below(&prefix, "any"), VALID).await.map_err(as_io)?;
        let origin = any.origin().ascii_serialization();
        Ok(Self { signing: Some(Signing { store: Arc::new(store), prefix, origin }), ..self })
    }

    /// The store, which this program knows not to sign for.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "s3"))]
    pub(crate) async fn with_signed_urls(self, _url: Option<&str>, _reached: Option<&str>) -> io::Result<Self> {
        Err(no_store())
    }

    /// Where a page may load a file itself; `None`: only from this server.
    ///
    /// # Errors
    /// When the address cannot be signed.
    #[cfg(feature = "s3")]
    pub(crate) async fn signed_url(
        &self,
        (event, photo, rendition): (EventId, PhotoId, Rendition),
        presented: Presented<'_>,
    ) -> io::Result<Option<String>> {
        match &self.signing {
            Some(signing) => Ok(Some(signing.of(&super::key(event, photo, rendition), presented).await?)),
            None => Ok(None),
        }
    }

    /// Where a page may load a file itself: nowhere.
    ///
    /// # Errors
    /// Never.
    #[cfg(not(feature = "s3"))]
    pub(crate) async fn signed_url(
        &self,
        _file: (EventId, PhotoId, Rendition),
        _presented: Presented<'_>,
    ) -> io::Result<Option<String>> {
        Ok(None)
    }

    /// What pages load pictures from beside this server, as `https://host`.
    pub(crate) fn pictures_from(&self) -> Option<&str> {
        #[cfg(feature = "s3")]
        return self.signing.as_ref().map(|signing| &*signing.origin);
        #[cfg(not(feature = "s3"))]
        None
    }
}

fn no_store() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "signed addresses need photos in an object store (--photos s3://…)")
}
