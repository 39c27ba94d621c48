//! Addresses at the object store that show one file to whoever has them, for a short time (`--photo-urls signed`): pages
//! then load pictures from the store, and the server sends no bytes of them.
//!
//! Nothing here asks who is looking: that is checked before an address is given away. For some minutes everybody who may
//! look is given the same one, so that browsers keep the picture that they have.

#[cfg(feature = "s3")]
use std::collections::HashMap;
use std::io;
#[cfg(feature = "s3")]
use std::sync::{Arc, Mutex, PoisonError};
#[cfg(feature = "s3")]
use std::time::{Duration, SystemTime};

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

/// For how long an address works: a page asks for one each time it shows a picture, so it need not be long.
#[cfg(feature = "s3")]
const VALID: Duration = Duration::from_secs(300);

/// For how long the same address is given: whoever comes last has the rest of [`VALID`] to use it.
#[cfg(feature = "s3")]
const SAME: Duration = Duration::from_secs(150);

/// Addresses that are remembered at most, of about 1 KiB each; then all are signed anew.
#[cfg(feature = "s3")]
const MOST: usize = 16_384;

/// What signs addresses.
#[cfg(feature = "s3")]
#[derive(Debug, Clone)]
pub(super) struct Signing {
    store: Arc<AmazonS3>,
    prefix: Path,
    /// Scheme, host and port of all addresses.
    origin: String,
    given: Arc<Mutex<Given>>,
}

/// What an address was asked for: key, media type and `Content-Disposition`.
#[cfg(feature = "s3")]
type Asked = (String, String, Option<String>);

/// Addresses that were given away and are given again. They are forgotten together, at the latest [`SAME`] after the
/// first of them was signed.
#[cfg(feature = "s3")]
#[derive(Debug)]
struct Given {
    since: SystemTime,
    urls: HashMap<Asked, String>,
}

#[cfg(feature = "s3")]
impl Given {
    fn new() -> Self {
        Self { since: SystemTime::UNIX_EPOCH, urls: HashMap::new() }
    }

    /// The address that is given for this `now`.
    fn known(&self, asked: &Asked, now: SystemTime) -> Option<String> {
        // By the clock of the signatures, which may be set back.
        let fresh = now.duration_since(self.since).is_ok_and(|age| age < SAME);
        self.urls.get(asked).filter(|_| fresh).cloned()
    }

    /// Remembers an address that was signed at `now`; the one to give, which is another's where that was faster.
    fn keep(&mut self, asked: Asked, url: String, now: SystemTime) -> String {
        if self.urls.len() >= MOST || !now.duration_since(self.since).is_ok_and(|age| age < SAME) {
            *self = Self { since: now, urls: HashMap::new() };
        }
        self.urls.entry(asked).or_insert(url).clone()
    }
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
        let asked = (key.to_owned(), presented.kind.to_owned(), presented.disposition.map(str::to_owned));
        // Before it is signed: an address is never older than it is taken for.
        let now = SystemTime::now();
        if let Some(url) = self.given().known(&asked, now) {
            return Ok(url);
        }
        let answer = [
            ("response-content-type", Some(presented.kind)),
            ("response-content-disposition", presented.disposition),
            ("response-cache-control", Some("private, max-age=31536000, immutable")),
        ];
        let query = answer.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let options = SignedUrlOptions::new().with_query(query);
        let url = self.store.signed_url_opts(Method::GET, &below(&self.prefix, key), VALID, &options).await;
        Ok(self.given().keep(asked, url.map_err(as_io)?.into(), now))
    }

    fn given(&self) -> std::sync::MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
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
        Ok(Self {
            signing: Some(Signing {
                store: Arc::new(store),
                prefix,
                origin,
                given: Arc::new(Mutex::new(Given::new())),
            }),
            ..self
        })
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

#[cfg(all(test, feature = "s3"))]
mod tests {
    use super::*;

    fn asked(key: impl Into<String>) -> Asked {
        (key.into(), "image/jpeg".to_owned(), None)
    }

    #[test]
    fn an_address_is_given_again_for_half_of_its_life_and_never_longer() {
        let (mut given, start) = (Given::new(), SystemTime::now());
        assert_eq!(given.known(&asked("a"), start), None);
        assert_eq!(given.keep(asked("a"), "first".into(), start), "first");
        let late = start + SAME - Duration::from_secs(1);
        assert_eq!(given.keep(asked("a"), "second".into(), late), "first", "whoever was slower gives the same");
        assert_eq!(given.keep(asked("b"), "other".into(), late), "other");
        assert_eq!(given.known(&asked("a"), late).as_deref(), Some("first"));
        assert_eq!(given.known(&(asked("a").0, "image/png".into(), None), late), None, "presented differently");
        // What was signed late is forgotten with what was signed first.
        for key in ["a", "b"] {
            assert_eq!(given.known(&asked(key), start + SAME), None);
        }
        assert_eq!(given.keep(asked("a"), "third".into(), start + SAME), "third");
        assert_eq!(given.known(&asked("b"), start + SAME), None);
        // A clock that was set back: nobody knows how old it is.
        assert_eq!(given.known(&asked("a"), start), None);
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let (mut given, now) = (Given::new(), SystemTime::now());
        for n in 0..=MOST {
            given.keep(asked(n.to_string()), String::new(), now);
            assert!(given.urls.len() <= MOST);
        }
        assert_eq!(given.urls.len(), 1, "all were forgotten at once");
    }
}
