//! The server as the watcher sees it: an address, a token, and answers that are sorted into decisions.
//!
//! Only an answer that could come from nobody else counts: whatever a captive portal or a proxy says is nobody's.

mod answer;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use findme_common::PhotographerToken;
use findme_common::manifest::FailReason;
use findme_common::protocol::{PROBLEM_JSON, PROTOCOL_VERSION, PhotoList, TUS_VERSION, header, path};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::Notify;

pub(crate) use self::answer::Answer;
use crate::journal::WriteError;

/// A request without a large body is answered within this time or not at all.
const SHORT: Duration = Duration::from_secs(30);
/// A name that is not found within this time is another machine's.
const LOOK_UP: Duration = Duration::from_secs(2);
/// A problem body that is longer is none.
const MOST_PROBLEM_BYTES: usize = 64 * 1024;

/// Why something did not happen, as a decision for the one who asked for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody answered, or somebody else did. Everything waits.
    #[error("{0}")]
    Away(String),
    /// The server asks for patience with everything.
    #[error("the server is busy: {why}")]
    Busy {
        /// What it says.
        why: String,
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// The server's disk is full. Everything waits.
    #[error("the server's disk is full")]
    Full {
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// This one did not work this time; others may. `tries`: how often it may be tried, `None`: for ever.
    #[error("{why}")]
    Again {
        /// What happened.
        why: String,
        /// How often it makes sense.
        tries: Option<u32>,
    },
    /// The token is not valid (any more). Nothing can be done without another one.
    #[error("the server refuses the token: {0}")]
    TokenRefused(String),
    /// The server speaks a later version of the protocol than this program knows. Only another program helps.
    #[error(
        "the server speaks version {0} of the protocol, and this program knows {PROTOCOL_VERSION}: install the newer findme-watch"
    )]
    TooNew(u32),
    /// The server does not take this photo.
    #[error("{}: {why}", reason.words())]
    Refused {
        /// As recorded.
        reason: FailReason,
        /// What it says.
        why: String,
    },
    /// There is no picture that could go ahead of the photo.
    #[error("no preview")]
    NoPreview,
    /// The photographer deleted this photo on the server.
    #[error("deleted on the server")]
    Deleted,
    /// The file is not what was read any more.
    #[error("the file changed while it was sent")]
    Changed,
    /// The file is not there any more.
    #[error("the file vanished before it was sent")]
    Vanished,
    /// The operating system does not give the file.
    #[error("cannot be read: {0}")]
    CannotBeRead(String),
    /// Nothing can be recorded, so nothing may be sent.
    #[error(transparent)]
    Manifest(#[from] WriteError),
}

impl Failure {
    /// Whether it says that the preview cannot be sent, and nothing about the photo. `only`: nothing else is to be sent
    /// of the photo, so that what may work later is tried again.
    pub(crate) fn is_of_preview(&self, only: bool) -> bool {
        match self {
            Self::NoPreview => true,
            Self::Refused { .. } | Self::Again { .. } => !only,
            _ => false,
        }
    }
}

/// When the server was last heard of. Shared by everything that talks with it.
#[derive(Debug, Clone)]
pub(crate) struct LastAnswer {
    began: Instant,
    after_ms: Arc<AtomicU64>,
}

impl LastAnswer {
    fn new() -> Self {
        Self { began: Instant::now(), after_ms: Arc::new(AtomicU64::new(0)) }
    }

    /// It answered, or took bytes, just now.
    pub(crate) fn now(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.after_ms.fetch_max(ms, Ordering::Relaxed);
    }

    /// When it was last heard of; the start of the program when never.
    pub(crate) fn at(&self) -> Instant {
        self.began + Duration::from_millis(self.after_ms.load(Ordering::Relaxed))
    }
}

/// One server and the right to upload to one of its events.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    client: Client,
    /// Certificates that vouch for the server, beside the system's.
    authorities: Vec<Certificate>,
    base: Url,
    authorization: HeaderValue,
    pub(crate) last_answer: LastAnswer,
    /// Told to all requests when the laptop has slept.
    woken: Arc<Notify>,
}

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("the server's address must begin with http:// or https://, as in https://photos.example")]
    NotHttp,
    #[error("--ca {}: {why}", path.display())]
    Authority { path: PathBuf, why: String },
    #[error("no connection can be prepared: {0}")]
    Client(#[from] reqwest::Error),
    #[error("the token has characters that no token has")]
    Token,
}

impl Server {
    /// Prepares connections; nothing is sent yet.
    ///
    /// # Errors
    /// When the address is none, or the operating system gives no certificates.
    pub(crate) fn new(base: Url, token: &PhotographerToken, authority: Option<&Path>) -> Result<Self, BuildError> {
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(BuildError::NotHttp);
        }
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {}", token.reveal())).map_err(|_| BuildError::Token)?;
        authorization.set_sensitive(true);
        let authorities = authority.map_or(Ok(Vec::new()), read_certificates)?;
        let client = connections(&authorities)?;
        Ok(Self { client, authorities, base, authorization, last_answer: LastAnswer::new(), woken: Arc::default() })
    }

    /// From now on uses connections that do not exist yet: after a sleep the old ones may be dead without a word. Requests
    /// that are under way are given up, by all clones.
    pub(crate) fn connect_anew(&mut self) {
        self.woken.notify_waiters();
        match connections(&self.authorities) {
            Ok(client) => self.client = client,
            // The old ones find out by themselves, only later.
            Err(error) => tracing::debug!(%error, "no new connections could be prepared"),
        }
    }

    /// Whether the server is this machine, so that nothing is safe from its loss.
    pub(crate) async fn is_this_machine(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = match host.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) if host == "localhost" => return true,
            Err(_) => match tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host, 0))).await {
                Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
                _ => return false,
            },
        };
        // Only a machine's own addresses can be bound, whatever its interfaces are called.
        addresses.iter().any(|ip| ip.is_loopback() || std::net::UdpSocket::bind((*ip, 0)).is_ok())
    }

    /// The address of a path on the server. What the server itself named may or may not repeat the prefix.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = self.base.path().trim_end_matches('/');
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        if !prefix.is_empty() && !path.starts_with(&format!("{prefix}/")) {
            url.set_path(&format!("{prefix}{path}"));
        } else {
            url.set_path(path);
        }
        url.set_query(query);
        url
    }

    /// Path and query of an upload that the server named, on this server and no other: the token goes nowhere else.
    pub(crate) fn upload_path(&self, location: &str) -> Option<Box<str>> {
        let url = self.base.join(location).ok()?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        (url.path().len() > 1).then(|| format!("{}{query}", url.path()).into())
    }

    /// A request with the token and the protocol's version.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, self.url(path))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(header::TUS_RESUMABLE, TUS_VERSION)
    }

    /// Sends a request without a large body.
    pub(crate) async fn short(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = self.while_awake(request.timeout(SHORT).send()).await?.map_err(|error| away(&error))?;
        self.understood(response).await
    }

    /// Waits for a request, but not beyond a sleep.
    ///
    /// # Errors
    /// [`Failure::Away`] when the laptop has slept meanwhile.
    pub(crate) async fn while_awake<T>(&self, request: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            answer = request => Ok(answer),
            () = self.woken.notified() => Err(Failure::Away("the laptop slept; asking again".into())),
        }
    }

    /// Reads an answer's head, when it is of a version that this program knows.
    pub(crate) async fn understood(&self, response: Response) -> Result<Answer, Failure> {
        let answer = self.read(response).await;
        match speaks_too_new(&answer.headers) {
            Some(version) => Err(Failure::TooNew(version)),
            None => Ok(answer),
        }
    }

    /// Reads an answer's head, and its body where it can be a problem.
    pub(crate) async fn read(&self, mut response: Response) -> Answer {
        let (status, headers) = (response.status(), response.headers().clone());
        let is_problem =
            headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM_JSON.as_bytes()));
        let mut body = Vec::new();
        if is_problem && !status.is_success() {
            while let Ok(Ok(Some(piece))) = tokio::time::timeout(SHORT, response.chunk()).await {
                body.extend_from_slice(&piece);
                if body.len() > MOST_PROBLEM_BYTES {
                    break;
                }
            }
        }
        let answer = Answer { status, headers, problem: serde_json::from_slice(&body).ok() };
        if answer.is_ours() {
            self.last_answer.now();
        }
        answer
    }

    /// Asks whether the server still works on the event's photos.
    pub(crate) async fn rest(&self) -> Result<Rest, Failure> {
        let request = self.request(Method::GET, &format!("{}?limit=1", path::ALL_PHOTOS)).timeout(SHORT);
        let response = request.send().await.map_err(|error| away(&error))?;
        if let Some(version) = speaks_too_new(response.headers()) {
            return Err(Failure::TooNew(version));
        }
        match response.status() {
            StatusCode::OK => {
                let body = response.bytes().await.map_err(|error| away(&error))?;
                let list: PhotoList = serde_json::from_slice(&body).map_err(|_| not_ours("the list is none"))?;
                self.last_answer.now();
                Ok(if list.counts.runnable == 0 { Rest::AtRest } else { Rest::Working(list.counts.runnable) })
            }
            // A server that only knows uploads has nothing to wait for.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                self.last_answer.now();
                Ok(Rest::AtRest)
            }
            _ => Err(self.read(response).await.failure()),
        }
    }
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, BuildError> {
    let unusable = |why: String| BuildError::Authority { path: path.to_owned(), why };
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() { Err(unusable("it holds no certificate".to_owned())) } else { Ok(certificates) }
}

/// Connections to one server: kept while they live, proxied as the environment says (`HTTPS_PROXY` and its like).
fn connections(authorities: &[Certificate]) -> Result<Client, BuildError> {
    let client = Client::builder()
        .tls_certs_merge(authorities.iter().cloned())
        .user_agent(concat!("findme-watch/", env!("CARGO_PKG_VERSION")))
        // A redirect of an upload is a login page, or a mistake that would send the token elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .pool_idle_timeout(Duration::from_secs(20))
        .tcp_keepalive(Duration::from_secs(15))
        .build()?;
    Ok(client)
}

/// Whether the server still works on the event's photos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// No job can run.
    AtRest,
    /// So many jobs can run or are running.
    Working(u64),
}

/// The version of the protocol in an answer, when it is later than what this program knows.
fn speaks_too_new(headers: &HeaderMap) -> Option<u32> {
    let version = headers.get(header::FINDME_PROTOCOL)?.to_str().ok()?.parse().ok()?;
    (version > PROTOCOL_VERSION).then_some(version)
}

/// The request did not come through.
pub(crate) fn away(error: &reqwest::Error) -> Failure {
    // The outermost text repeats the address; the innermost says what happened.
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    // «Connection refused (os error 111)»: the number helps nobody.
    let innermost = innermost.to_string();
    let innermost = innermost.split(" (os error").next().unwrap_or_default();
    let way_out = if error.is_connect() { "; does it run, and is its address right?" } else { "" };
    Failure::Away(format!("no answer from the server ({innermost}{way_out})"))
}

/// Somebody answered who is not the server.
pub(crate) fn not_ours(what: &str) -> Failure {
    Failure::Away(format!(
        "the answer is not a FindMe server's ({what}); is --server right, or is there a Wi-Fi login page in the way?"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_connections_from_before_a_sleep() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", mute.local_addr().unwrap());
        let token = "fmp.00112233445566778899aabbccddeeff.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let mut server = Server::new(url.parse().unwrap(), &token.parse().unwrap(), None).unwrap();
        let before = server.clone();
        let asking = tokio::spawn(async move { before.short(before.request(Method::GET, "/")).await.err() });
        // It takes the request and never says a word.
        let (mut asked, _) = mute.accept().await.unwrap();
        tokio::io::AsyncReadExt::read_exact(&mut asked, &mut [0]).await.unwrap();
        server.connect_anew();
        let failure = asking.await.unwrap();
        assert!(matches!(&failure, Some(Failure::Away(why)) if why.contains("slept")), "{failure:?}");
    }

    #[tokio::test]
    async fn a_server_at_an_address_of_this_machine_is_this_machine() {
        let token = "fmp.00112233445566778899aabbccddeeff.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let server = |url: &str| Server::new(url.parse().unwrap(), &token.parse().unwrap(), None).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        for own in ["http://127.0.0.1:1", "http://localhost", "http://[::1]:1/x", "http://0.0.0.0:8420"] {
            assert!(server(own).is_this_machine().await, "{own}");
        }
        // Addresses that are reserved for documentation are nobody's.
        for other in ["http://192.0.2.1", "https://[2001:db8::1]"] {
            assert!(!server(other).is_this_machine().await, "{other}");
        }
    }
}
