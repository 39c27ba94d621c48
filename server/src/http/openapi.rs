//! The description of the API (OpenAPI 3.1), gathered from the handlers themselves. What is served is the committed file;
//! a test fails while it differs from the handlers, so that every change of the API is seen in a review.

use axum::http::header;
use axum::response::IntoResponse;
use findme_common::protocol::{self, Problem, path};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Content, Ref, Response, ResponseBuilder};

use super::auth::COOKIE;

/// The committed description.
const TEXT: &str = include_str!("../../openapi.json");

/// The description of this API.
#[utoipa::path(
    get, path = path::OPENAPI, tag = "health", operation_id = "openapi",
    responses((status = 200, description = "This document", body = Object)),
)]
pub(crate) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], TEXT)
}

#[derive(OpenApi)]
#[openapi(
    info(title = "FindMe", description = "Photos of an event: photographers upload, guests find themselves."),
    components(schemas(Problem)),
    tags(
        (name = "uploads", description = "tus 1.0: resumable uploads"),
        (name = "photos", description = "For everybody who may look at an event's photos"),
        (name = "guests", description = "Join, be found, be forgotten"),
        (name = "photographer", description = "For the machines that upload"),
        (name = "operator", description = "For whoever runs the server"),
        (name = "live", description = "What happens, as it happens"),
        (name = "health", description = "Is it well, and what is it"),
    ),
)]
struct Introduction;

/// What the routes are added to: title, tags, and who may prove to be whom by what.
pub(super) fn introduction() -> utoipa::openapi::OpenApi {
    let mut document = Introduction::openapi();
    let bearer = |what: &str| {
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(what)).build())
    };
    let cookie = ApiKeyValue::with_description(COOKIE, "A guest's session, from joining");
    let components = ComponentsBuilder::from(document.components.take().unwrap_or_default())
        .security_scheme("photographer", bearer("fmp.…: a machine that uploads to one event"))
        .security_scheme("operator", bearer("fmo.…: shown once, at the first start"))
        .security_scheme("guest", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))
        .response("Problem", problem())
        .build();
    document.components = Some(components);
    document
}

fn problem() -> Response {
    let body = Content::builder().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description("What went wrong (RFC 9457)").content(protocol::PROBLEM_JSON, body).build()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Every operation of the API: method and path.
    pub(in super::super) fn operations() -> Vec<(String, String)> {
        let document = gathered();
        let paths = document["paths"].as_object().unwrap().iter();
        let each = paths.flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |m| (m, path)));
        each.map(|(method, path)| (method.to_uppercase(), path.clone())).collect()
    }

    /// The description as the handlers give it; every operation may also fail, and always in the same form.
    fn gathered() -> Value {
        let mut document =
            serde_json::to_value(super::super::api(&crate::limits::Limits::default()).into_openapi()).unwrap();
        for item in document["paths"].as_object_mut().unwrap().values_mut() {
            for operation in item.as_object_mut().unwrap().values_mut() {
                let responses = operation["responses"].as_object_mut().unwrap();
                responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
            }
        }
        say_bytes(&mut document);
        document
    }

    /// The generator takes bytes for a JSON array of small numbers.
    fn say_bytes(value: &mut Value) {
        let array = json!({ "type": "array", "items": { "type": "integer", "format": "int32", "minimum": 0 } });
        if *value == array {
            *value = json!({ "type": "string", "format": "binary" });
        }
        match value {
            Value::Object(members) => members.values_mut().for_each(say_bytes),
            Value::Array(items) => items.iter_mut().for_each(say_bytes),
            _ => {}
        }
    }

    #[test]
    fn the_committed_description_is_what_the_handlers_say() {
        let text = format!("{:#}\n", gathered());
        if std::env::var_os("FINDME_WRITE_OPENAPI").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &text).unwrap();
            return;
        }
        assert!(
            text == TEXT,
            "server/openapi.json is out of date: run this test with FINDME_WRITE_OPENAPI=1 and commit"
        );
    }

    #[test]
    fn every_operation_has_its_own_name_and_says_who_may_use_it() {
        let document = gathered();
        let mut names = std::collections::HashSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{name} is there twice");
                assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{method} {path}");
                let open = [
                    "join",
                    "come_back",
                    "sign_out",
                    "livez",
                    "readyz",
                    "openapi",
                    "tus_options",
                    "tus_options_of_upload",
                ];
                assert_eq!(operation.get("security").is_none(), open.contains(&name), "{method} {path}");
            }
        }
    }
}
