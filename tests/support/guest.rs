//! A guest's phone.

use std::sync::Once;

use findme_common::protocol::{Held, PhotoItem, PhotoList, Problem, SelfieResult};
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::json;

/// A client as every test uses it: it follows nothing and uses no proxy of the machine.
pub(crate) fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    client.read_timeout(super::PATIENCE).build().unwrap()
}

/// Somebody who joined an event.
#[derive(Debug)]
pub(crate) struct Guest {
    url: String,
    cookie: String,
    http: Client,
}

impl Guest {
    pub(crate) async fn join(url: &str, code: &str) -> Self {
        let http = client();
        let body = json!({ "code": code }).to_string();
        let answer = http.post(format!("{url}/api/join")).header(CONTENT_TYPE, "application/json").body(body);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "joining by the code");
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        for flag in ["HttpOnly", "SameSite=Lax"] {
            assert!(cookie.contains(flag), "{cookie}");
        }
        Self { url: url.to_owned(), cookie: cookie.split(';').next().unwrap().to_owned(), http }
    }

    /// What it sends with each request: `name=value`.
    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The same phone, when the server has moved to another address.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), cookie: self.cookie.clone(), http: self.http.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).header(COOKIE, self.cookie())
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// Agrees, and searches with a selfie; the problem when there is one.
    pub(crate) async fn selfie(&self, picture: Vec<u8>) -> Result<SelfieResult, Problem> {
        let request = self.request(Method::POST, "/api/selfie?consent=yes").header(CONTENT_TYPE, "image/jpeg");
        let answer = request.body(picture).send().await.unwrap();
        match answer.status() {
            StatusCode::OK => Ok(answer.json().await.unwrap()),
            _ => Err(answer.json().await.unwrap()),
        }
    }

    /// The photos of the event that guests see.
    pub(crate) async fn all_photos(&self) -> Vec<PhotoItem> {
        self.get("/api/all-photos?limit=1000").await.json::<PhotoList>().await.unwrap().photos
    }

    pub(crate) async fn held(&self) -> Held {
        self.get("/api/me").await.json().await.unwrap()
    }
}
