//! A stand-in of Rekognition: collections in memory, the service's limits and words, every request checked and counted.
//!
//! Who is in a picture it knows by its eyes: coloured stripes for tests of behaviour, the product's own models where
//! pictures of people are compared.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use findme_server::face::{Embedding, Engine, Purpose};
use findme_server::picture::{self, Pixels};
use serde_json::{Value, json};

use super::signature;
use super::stripes;
use crate::support::Random;

pub(super) const KEY: &str = "AKIDFORTESTS";
pub(super) const SECRET: &str = "a secret that only the tests know";

/// Pictures are at most so large, and each side has at least so many pixels.
const MOST_BYTES: usize = 5_242_880;
const FEWEST_PIXELS: u32 = 80;

/// What the service sees of somebody.
#[derive(Debug, Clone)]
enum Looks {
    Stripe(u8),
    Measured(Embedding),
}

/// How the service sees.
pub(super) enum Eyes {
    Stripes,
    /// With the similarities that its own scale gives to these cosines, rising.
    Models {
        engine: Box<Engine>,
        scale: [(f32, f32); 4],
    },
}

#[derive(Debug, Clone)]
struct Kept {
    id: String,
    name: String,
    looks: Looks,
}

/// When the service is too busy.
#[derive(Debug, Clone, Copy)]
pub(super) enum Busy {
    Never,
    /// This share of a hundred calls, by the dice.
    Share(u64),
}

struct Inner {
    eyes: Eyes,
    collections: Mutex<BTreeMap<String, Vec<Kept>>>,
    /// Calls that were carried out.
    calls: Mutex<BTreeMap<String, u64>>,
    /// When each call of an operation came.
    times: Mutex<Vec<(String, Instant)>>,
    throttled: Mutex<u64>,
    problems: Mutex<Vec<String>>,
    busy: Mutex<(Busy, Random)>,
    numbers: Mutex<u64>,
}

/// The running service.
#[derive(Clone)]
pub(super) struct Service {
    inner: Arc<Inner>,
    address: SocketAddr,
}

/// An error in the service's own words.
struct Refusal(&'static str, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = if self.0 == "InternalServerError" { 500 } else { 400 };
        let body = json!({ "__type": self.0, "message": self.1 }).to_string();
        let status = StatusCode::from_u16(status).unwrap();
        (status, [("content-type", "application/x-amz-json-1.1")], body).into_response()
    }
}

impl Service {
    pub(super) async fn start(eyes: Eyes) -> Self {
        let inner = Arc::new(Inner {
            eyes,
            collections: Mutex::default(),
            calls: Mutex::default(),
            times: Mutex::default(),
            throttled: Mutex::default(),
            problems: Mutex::default(),
            busy: Mutex::new((Busy::Never, Random::seeded("rekognition"))),
            numbers: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(answer)).layer(DefaultBodyLimit::disable());
        let served = router.with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, served).await.unwrap() });
        Self { inner, address }
    }

    /// What a process is started through to reach it.
    pub(super) fn environment(&self) -> Vec<String> {
        vec![
            "env".to_owned(),
            "AWS_REGION=eu-west-1".to_owned(),
            format!("AWS_ACCESS_KEY_ID={KEY}"),
            format!("AWS_SECRET_ACCESS_KEY={SECRET}"),
            format!("AWS_ENDPOINT_URL_REKOGNITION=http://{}", self.address),
        ]
    }

    /// How often an operation was carried out.
    pub(super) fn calls(&self, operation: &str) -> u64 {
        self.inner.calls.lock().unwrap().get(operation).copied().unwrap_or_default()
    }

    /// All calls that were carried out.
    pub(super) fn all_calls(&self) -> BTreeMap<String, u64> {
        self.inner.calls.lock().unwrap().clone()
    }

    pub(super) fn throttled(&self) -> u64 {
        *self.inner.throttled.lock().unwrap()
    }

    pub(super) fn is_busy(&self, busy: Busy) {
        self.inner.busy.lock().unwrap().0 = busy;
    }

    /// Names that faces are kept under, over all collections, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let collections = self.inner.collections.lock().unwrap();
        let mut names: Vec<_> = collections.values().flatten().map(|kept| kept.name.clone()).collect();
        names.sort();
        names
    }

    pub(super) fn collections(&self) -> usize {
        self.inner.collections.lock().unwrap().len()
    }

    /// The most calls of an operation that began within a second, among those that came after the first second.
    pub(super) fn most_in_a_second(&self, operation: &str) -> usize {
        let times = self.inner.times.lock().unwrap();
        let times: Vec<Instant> = times.iter().filter(|(of, _)| of == operation).map(|(_, at)| *at).collect();
        let second = Duration::from_secs(1);
        times
            .iter()
            .map(|from| times.iter().filter(|at| **at >= *from && **at < *from + second).count())
            .max()
            .unwrap_or(0)
    }

    /// Nothing that it was asked was wrong.
    pub(super) fn assert_content(&self) {
        let problems = self.inner.problems.lock().unwrap();
        assert!(problems.is_empty(), "the service was asked wrongly: {problems:#?}");
    }
}

async fn answer(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    // Eyes take their time, and others want to be answered meanwhile.
    tokio::task::spawn_blocking(move || match inner.answer(&headers, &body) {
        Ok(value) => ([("content-type", "application/x-amz-json-1.1")], value.to_string()).into_response(),
        Err(refusal) => refusal.into_response(),
    })
    .await
    .unwrap()
}

impl Inner {
    fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
        let wrong = |kind, problem: String| {
            self.problems.lock().unwrap().push(format!("{kind}: {problem}"));
            Refusal(kind, problem)
        };
        signature::check(headers, body, KEY, SECRET).map_err(|problem| wrong("InvalidSignatureException", problem))?;
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let operation = target.strip_prefix("RekognitionService.").unwrap_or_default().to_owned();
        let asked: Value =
            serde_json::from_slice(body).map_err(|error| wrong("SerializationException", error.to_string()))?;
        self.times.lock().unwrap().push((operation.clone(), Instant::now()));
        if self.too_busy() {
            *self.throttled.lock().unwrap() += 1;
            return Err(Refusal("ThrottlingException", "Rate exceeded".to_owned()));
        }
        let done = self.carry_out(&operation, &asked);
        match &done {
            Ok(_) => *self.calls.lock().unwrap().entry(operation).or_default() += 1,
            // What may be known only by asking is no mistake.
            Err(Refusal("ResourceNotFoundException", _)) => {}
            Err(Refusal(kind, problem)) => drop(wrong(kind, format!("{operation}: {problem}"))),
        }
        done
    }

    fn too_busy(&self) -> bool {
        let mut busy = self.busy.lock().unwrap();
        let (Busy::Share(share), random) = &mut *busy else { return false };
        random.between(0, 100) < *share
    }

    fn carry_out(&self, operation: &str, asked: &Value) -> Result<Value, Refusal> {
        let collection = asked["CollectionId"].as_str().unwrap_or_default().to_owned();
        if collection.is_empty() || !collection.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
            return Err(Refusal("ValidationException", format!("collection {collection:?}")));
        }
        let mut collections = self.collections.lock().unwrap();
        if operation == "CreateCollection" {
            if collections.contains_key(&collection) {
                return Err(Refusal("ResourceAlreadyExistsException", collection));
            }
            collections.insert(collection, Vec::new());
            return Ok(json!({ "StatusCode": 200, "FaceModelVersion": "7.0" }));
        }
        let missing = || Refusal("ResourceNotFoundException", "The collection id does not exist".to_owned());
        if operation == "DeleteCollection" {
            return collections.remove(&collection).map(|_| json!({ "StatusCode": 200 })).ok_or_else(missing);
        }
        if operation == "IndexFaces" {
            collections.get(&collection).ok_or_else(missing)?;
            drop(collections); // looking takes long
            return self.index(&collection, asked);
        }
        let faces = collections.get_mut(&collection).ok_or_else(missing)?;
        match operation {
            "SearchFaces" => self.search(faces, asked),
            "DeleteFaces" => delete(faces, asked),
            "ListFaces" => list(faces, asked),
            other => Err(Refusal("UnknownOperationException", other.to_owned())),
        }
    }

    fn index(&self, collection: &str, asked: &Value) -> Result<Value, Refusal> {
        let invalid = |what: &str| Refusal("InvalidParameterException", what.to_owned());
        let name = asked["ExternalImageId"].as_str().unwrap_or_default();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-:".contains(c)) {
            return Err(invalid("ExternalImageId"));
        }
        let most =
            asked["MaxFaces"].as_u64().filter(|most| (1..=100).contains(most)).ok_or_else(|| invalid("MaxFaces"))?;
        let sent = asked["Image"]["Bytes"].as_str().ok_or_else(|| invalid("Image"))?;
        let jpeg = base64::prelude::BASE64_STANDARD.decode(sent).map_err(|_| invalid("Bytes"))?;
        if jpeg.len() > MOST_BYTES {
            return Err(Refusal("ImageTooLargeException", format!("{} bytes", jpeg.len())));
        }
        let seen = picture::from_bytes(&jpeg, &picture::Limits::default());
        let pixels = seen.map_err(|error| Refusal("InvalidImageFormatException", error.to_string()))?.pixels;
        if pixels.width().min(pixels.height()) < FEWEST_PIXELS {
            return Err(invalid("the picture is too small"));
        }
        let (mut records, mut unindexed) = (Vec::new(), Vec::new());
        for (looks, [x, y, width, height]) in self.look(&pixels) {
            let place = json!({ "Left": x, "Top": y, "Width": width, "Height": height });
            let detail = json!({ "BoundingBox": place, "Confidence": 99.5,
                "Pose": { "Yaw": -9.0, "Pitch": 1.0, "Roll": 2.0 }, "Quality": { "Brightness": 80.0, "Sharpness": 90.0 } });
            if matches!(looks, Looks::Stripe(stripes::BLURRED)) || records.len() as u64 == most {
                unindexed.push(json!({ "Reasons": ["LOW_SHARPNESS", "LOW_FACE_QUALITY"], "FaceDetail": detail }));
                continue;
            }
            let mut number = self.numbers.lock().unwrap();
            *number += 1;
            let id = format!("00000000-0000-4000-8000-{:012x}", *number);
            self.collections.lock().unwrap().entry(collection.to_owned()).and_modify(|faces| {
                faces.push(Kept { id: id.clone(), name: name.to_owned(), looks });
            });
            records.push(json!({ "FaceDetail": detail, "Face": { "FaceId": id, "BoundingBox": place,
                "ImageId": "00000000-0000-4000-9000-000000000000", "ExternalImageId": name, "Confidence": 99.5 } }));
        }
        Ok(json!({ "FaceRecords": records, "UnindexedFaces": unindexed, "FaceModelVersion": "7.0" }))
    }

    /// Who is in a picture and where, in fractions of it; the largest first.
    fn look(&self, pixels: &Pixels) -> Vec<(Looks, [f32; 4])> {
        match &self.eyes {
            Eyes::Stripes => stripes::read(pixels).into_iter().map(|(who, area)| (Looks::Stripe(who), area)).collect(),
            Eyes::Models { engine, .. } => {
                let (w, h) = (pixels.width() as f32, pixels.height() as f32);
                let faces = engine.faces(pixels, Purpose::Photo).unwrap().into_iter().map(|face| {
                    let rect = face.detection.rect;
                    (Looks::Measured(face.embedding), [rect.x / w, rect.y / h, rect.width / w, rect.height / h])
                });
                faces.collect()
            }
        }
    }

    /// 0 to 100.
    fn similarity(&self, one: &Looks, other: &Looks) -> f32 {
        match (one, other) {
            (Looks::Stripe(one), Looks::Stripe(other)) => stripes::similarity(*one, *other),
            (Looks::Measured(one), Looks::Measured(other)) => {
                let Eyes::Models { scale, .. } = &self.eyes else { return 0.0 };
                let cosine = one.similarity(other).get();
                let part = scale.windows(2).find(|ends| cosine <= ends[1].0).unwrap_or(&scale[2..]);
                let [(from, low), (to, high)] = [part[0], part[1]];
                (low + (cosine - from) / (to - from) * (high - low)).clamp(0.0, 100.0)
            }
            _ => 0.0,
        }
    }

    fn search(&self, faces: &[Kept], asked: &Value) -> Result<Value, Refusal> {
        let id = asked["FaceId"].as_str().unwrap_or_default();
        let limit = asked["MaxFaces"].as_u64().filter(|most| (1..=4096).contains(most));
        let (limit, threshold) = limit
            .zip(asked["FaceMatchThreshold"].as_f64())
            .ok_or_else(|| Refusal("ValidationException", "MaxFaces or FaceMatchThreshold".to_owned()))?;
        let Some(probe) = faces.iter().find(|face| face.id == id) else {
            return Err(Refusal("InvalidParameterException", format!("faceId {id} was not found in the collection")));
        };
        let others = faces.iter().filter(|face| face.id != id);
        let mut alike: Vec<_> = others.map(|face| (self.similarity(&probe.looks, &face.looks), face)).collect();
        alike.retain(|(similarity, _)| f64::from(*similarity) >= threshold);
        alike.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let found = alike.into_iter().take(limit as usize).map(|(similarity, face)| {
            json!({ "Similarity": similarity, "Face": { "FaceId": face.id, "ExternalImageId": face.name, "Confidence": 99.5 } })
        });
        Ok(json!({ "SearchedFaceId": id, "FaceModelVersion": "7.0", "FaceMatches": found.collect::<Vec<_>>() }))
    }
}

fn delete(faces: &mut Vec<Kept>, asked: &Value) -> Result<Value, Refusal> {
    let ids: Vec<String> = serde_json::from_value(asked["FaceIds"].clone()).unwrap_or_default();
    if ids.is_empty() || ids.len() > 4096 {
        return Err(Refusal("ValidationException", format!("{} faces", ids.len())));
    }
    let known = |id: &String| faces.iter().any(|face| face.id == *id);
    let (there, gone): (Vec<_>, Vec<_>) = ids.into_iter().partition(known);
    faces.retain(|face| !there.contains(&face.id));
    let gone = gone.iter().map(|id| json!({ "FaceId": id, "Reasons": ["FACE_NOT_FOUND"] })).collect::<Vec<_>>();
    Ok(json!({ "DeletedFaces": there, "UnsuccessfulFaceDeletions": gone }))
}

/// Ten a page, so that pages are met.
fn list(faces: &[Kept], asked: &Value) -> Result<Value, Refusal> {
    let from: usize = asked["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
    let page: Vec<_> = faces.iter().skip(from).take(10).collect();
    let next = (from + page.len() < faces.len()).then(|| (from + page.len()).to_string());
    let page = page.iter().map(|face| json!({ "FaceId": face.id, "ExternalImageId": face.name })).collect::<Vec<_>>();
    Ok(json!({ "Faces": page, "NextToken": next, "FaceModelVersion": "7.0" }))
}
