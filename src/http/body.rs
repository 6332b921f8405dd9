//! JSON bodies of the API: objects, parsed strictly. Errors name the field, never its value.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use super::{MAX_JSON_BYTES, problem::ApiProblem};
use crate::domain::strict::StrictDeserializer;

/// A parsed body.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for JsonBody<T> {
    type Error = ApiProblem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiProblem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = web::Payload::from_request(request, payload);
        Box::pin(async move {
            let payload = payload.await.map_err(|_no_payload| ApiProblem::Internal)?;
            let body = payload
                .to_bytes_limited(MAX_JSON_BYTES)
                .await
                .map_err(|_exceeded| ApiProblem::TooLarge)?
                .map_err(|_broken| {
                    ApiProblem::Malformed("the body could not be read".to_owned())
                })?;
            read(&body).map(Self)
        })
    }
}

/// Parses a document.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiProblem> {
    let mut document = serde_json::Deserializer::from_slice(body);
    let read =
        serde_path_to_error::deserialize(StrictDeserializer(&mut document)).map_err(|error| {
            let pointer = pointer(error.path());
            let rule = readable(error.inner());
            ApiProblem::Malformed(if pointer.is_empty() {
                rule
            } else {
                format!("{pointer}: {rule}")
            })
        })?;
    document
        .end()
        .map_err(|error| ApiProblem::Malformed(readable(&error)))?;
    Ok(read)
}

/// A path as a JSON pointer.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            // Not in the document.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// What is wrong with a document, and where; quoted values are left out.
fn readable(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let hides_value = text.starts_with("invalid type") || text.starts_with("invalid value");
    if hides_value {
        let expected = text.split("expected").nth(1).unwrap_or_default();
        format!("expected{expected}")
    } else if text.starts_with("unknown variant") {
        let expected = text.split(", expected").nth(1).unwrap_or_default();
        format!("expected{expected}")
    } else {
        text
    }
}
