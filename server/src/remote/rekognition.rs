//! Amazon Rekognition: a collection per event, the photo's or guest's id as the name of its faces.
//!
//! Tries, rates and prices are [`super::Remote`]'s; this is one request and its answer each. No region, credentials or
//! addresses of our own: they come from where every AWS program takes them.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_rekognition::Client;
use aws_sdk_rekognition::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_rekognition::primitives::Blob;
use aws_sdk_rekognition::types::{Attribute, BoundingBox, FaceMatch, FaceRecord, Image, QualityFilter, Reason};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::Bytes;
use findme_common::EventId;
use findme_common::protocol::FaceBox;

use super::{Answer, FaceRef, FaceService, MAYBE, RemoteFace, ServiceError};
use crate::face::Similarity;

/// Faces of one picture that the service keeps at most.
const MOST_FACES: i32 = 100;

/// Matches of one search at most, by the service's limits: nobody is crowded out by those who are in more photos.
const MOST_MATCHES: i32 = 4096;

/// For a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// For an answer, with the picture on its way.
const ANSWER: Duration = Duration::from_secs(30);

/// The service, reached with the credentials of the environment.
#[derive(Debug)]
pub(super) struct Rekognition(Client);

impl Rekognition {
    /// As the environment, the files of the AWS programs or the machine's role say.
    ///
    /// # Errors
    /// When none of them names a region.
    pub(super) async fn from_environment() -> Result<Self, String> {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ANSWER).build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .load()
            .await;
        if config.region().is_none() {
            return Err("no region is named; set AWS_REGION".to_owned());
        }
        Ok(Self(Client::new(&config)))
    }
}

/// The collection of an event.
fn collection(event: EventId) -> String {
    format!("findme-{}", event.to_simple())
}

/// What a failed request means.
fn problem<E>(error: SdkError<E>) -> ServiceError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.code().map(str::to_owned);
    let text = match (&code, error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.clone(),
        (None, _) => DisplayErrorContext(&error).to_string(),
    };
    match code.as_deref() {
        Some("ResourceNotFoundException") => ServiceError::NotThere(text),
        Some("ImageTooLargeException" | "InvalidImageFormatException") => ServiceError::Picture(text),
        Some("ThrottlingException" | "ProvisionedThroughputExceededException" | "InternalServerError") => {
            ServiceError::Passing(text)
        }
        // Without a code there was no answer of the service; credentials that cannot be had may be had later.
        None => ServiceError::Passing(text),
        Some(_) if error.raw_response().is_some_and(|response| response.status().is_server_error()) => {
            ServiceError::Passing(text)
        }
        Some(_) => ServiceError::Refused(text),
    }
}

fn area(found: &BoundingBox) -> Option<FaceBox> {
    let (x, y) = (found.left()?, found.top()?);
    Some(FaceBox { x, y, width: found.width()?, height: found.height()? })
}

fn face(event: EventId, record: &FaceRecord) -> Option<RemoteFace> {
    let face = record.face()?;
    let yaw = record.face_detail().and_then(|detail| detail.pose()?.yaw()).unwrap_or_default();
    Some(RemoteFace {
        reference: FaceRef { event, name: face.face_id()?.to_owned() },
        area: area(face.bounding_box()?)?,
        score: face.confidence().unwrap_or_default() / 100.0,
        turned: (yaw.abs() / 90.0).min(1.0),
    })
}

fn alike(event: EventId, found: &FaceMatch) -> Option<(FaceRef, Similarity)> {
    let name = found.face()?.face_id()?.to_owned();
    Some((FaceRef { event, name }, Similarity::new(found.similarity()? / 100.0)))
}

/// Why a face is not kept, in words for the metrics.
const fn reason(reason: &Reason) -> &'static str {
    match reason {
        Reason::ExceedsMaxFaces => "unindexed-exceeds-max-faces",
        Reason::ExtremePose => "unindexed-extreme-pose",
        Reason::LowBrightness => "unindexed-low-brightness",
        Reason::LowConfidence => "unindexed-low-confidence",
        Reason::LowFaceQuality => "unindexed-low-face-quality",
        Reason::LowSharpness => "unindexed-low-sharpness",
        Reason::SmallBoundingBox => "unindexed-small-bounding-box",
        _ => "unindexed-other",
    }
}

impl FaceService for Rekognition {
    fn create(&self, event: EventId) -> Answer<'_, ()> {
        Box::pin(async move {
            match self.0.create_collection().collection_id(collection(event)).send().await {
                Err(error) if error.code() == Some("ResourceAlreadyExistsException") => Ok(()),
                done => done.map(drop).map_err(problem),
            }
        })
    }

    fn index<'a>(&'a self, event: EventId, name: &'a str, jpeg: Bytes) -> Answer<'a, Vec<RemoteFace>> {
        Box::pin(async move {
            let request = self.0.index_faces().collection_id(collection(event)).external_image_id(name);
            let request = request.image(Image::builder().bytes(Blob::new(jpeg)).build());
            let request = request.detection_attributes(Attribute::Default).max_faces(MOST_FACES);
            let found = request.quality_filter(QualityFilter::Auto).send().await.map_err(problem)?;
            for unindexed in found.unindexed_faces() {
                unindexed.reasons().iter().for_each(|why| crate::metrics::get().faces(reason(why), 1));
            }
            if !found.unindexed_faces().is_empty() {
                let reasons: Vec<_> =
                    found.unindexed_faces().iter().flat_map(|face| face.reasons()).map(Reason::as_str).collect();
                tracing::info!(faces = found.unindexed_faces().len(), ?reasons, "faces were found and not kept");
            }
            Ok(found.face_records().iter().filter_map(|record| face(event, record)).collect())
        })
    }

    fn search<'a>(&'a self, face: &'a FaceRef) -> Answer<'a, Vec<(FaceRef, Similarity)>> {
        Box::pin(async move {
            let request = self.0.search_faces().collection_id(collection(face.event)).face_id(&face.name);
            let request = request.max_faces(MOST_MATCHES).face_match_threshold(MAYBE.get() * 100.0);
            match request.send().await {
                Ok(found) => Ok(found.face_matches().iter().filter_map(|found| alike(face.event, found)).collect()),
                // So it says of a face that is gone.
                Err(error) if error.code() == Some("InvalidParameterException") => {
                    Err(ServiceError::NotThere(error.message().unwrap_or_default().to_owned()))
                }
                Err(error) => Err(problem(error)),
            }
        })
    }

    fn list(&self, event: EventId) -> Answer<'_, Vec<(FaceRef, String)>> {
        Box::pin(async move {
            let (mut all, mut next) = (Vec::new(), None);
            loop {
                let request = self.0.list_faces().collection_id(collection(event)).max_results(MOST_MATCHES);
                let page = request.set_next_token(next).send().await.map_err(problem)?;
                all.extend(page.faces().iter().filter_map(|face| {
                    let name = face.face_id()?.to_owned();
                    Some((FaceRef { event, name }, face.external_image_id()?.to_owned()))
                }));
                next = page.next_token().map(str::to_owned);
                if next.is_none() {
                    return Ok(all);
                }
            }
        })
    }

    fn delete_faces<'a>(&'a self, event: EventId, faces: &'a [FaceRef]) -> Answer<'a, ()> {
        Box::pin(async move {
            let names = faces.iter().map(|face| face.name.clone()).collect();
            let request = self.0.delete_faces().collection_id(collection(event)).set_face_ids(Some(names));
            let done = request.send().await.map_err(problem)?;
            // Of one that is gone already it says so here.
            for left in done.unsuccessful_face_deletions() {
                tracing::debug!(reasons = ?left.reasons(), "a face was not erased");
            }
            Ok(())
        })
    }

    fn delete(&self, event: EventId) -> Answer<'_, ()> {
        Box::pin(async move {
            let done = self.0.delete_collection().collection_id(collection(event)).send().await;
            done.map(drop).map_err(problem)
        })
    }
}
