//! Rejects NUL (U+0000), which PostgreSQL cannot store, in one place and alike for both databases.

use actix_web::{
    Error, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};
use serde_json::Value;

use super::{MAX_JSON_BYTES, problem::ApiProblem};
use crate::domain::field_error::FieldError;

const RULE: &str = "no text may contain NUL (U+0000)";

/// Most fields named in one response.
const MAX_NAMED: usize = 20;

/// Rejects requests with NUL in the path, the query or the body. Reads the body; later readers get
/// it from memory.
pub async fn refuse<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    match check(&mut request).await {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(problem) => Ok(request
            .into_response(problem.error_response())
            .map_into_right_body()),
    }
}

async fn check(request: &mut ServiceRequest) -> Result<(), ApiProblem> {
    if has_escaped_nul(request.path()) {
        // No stored name contains it.
        return Err(ApiProblem::NotFound);
    }
    if let Some(pair) = request
        .query_string()
        .split('&')
        .find(|pair| has_escaped_nul(pair))
    {
        let name = pair.split('=').next().unwrap_or_default();
        let name = name.replace("%00", "");
        return Err(ApiProblem::Malformed(format!("{name}: {RULE}")));
    }
    let payload = request.extract::<web::Payload>().await;
    let payload = payload.map_err(|_no_payload| ApiProblem::Internal)?;
    let body = payload
        .to_bytes_limited(MAX_JSON_BYTES)
        .await
        .map_err(|_exceeded| ApiProblem::TooLarge)?
        .map_err(|_broken| ApiProblem::Malformed("the body could not be read".to_owned()))?;
    let wrong = wrong_fields(&body);
    request.set_payload(Payload::from(body));
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(ApiProblem::Invalid(wrong))
    }
}

/// Whether the text of an address contains NUL after percent-decoding.
fn has_escaped_nul(text: &str) -> bool {
    text.contains("%00")
}

/// The fields of a JSON document that contain NUL, or have it in their names.
fn wrong_fields(body: &[u8]) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    // JSON contains no unescaped NUL; a body that is not JSON is rejected for that.
    let may_contain = body.windows(6).any(|window| window == b"\\u0000");
    if may_contain && let Ok(document) = serde_json::from_slice::<Value>(body) {
        find(&document, &mut String::new(), &mut wrong);
    }
    wrong
}

fn find(value: &Value, pointer: &mut String, wrong: &mut Vec<FieldError>) {
    if wrong.len() >= MAX_NAMED {
        return;
    }
    let length = pointer.len();
    match value {
        Value::String(text) if text.contains('\0') => note(pointer, wrong),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push('/');
                pointer.push_str(&index.to_string());
                find(item, pointer, wrong);
                pointer.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1").replace('\0', ""));
                if name.contains('\0') {
                    note(pointer, wrong);
                }
                find(field, pointer, wrong);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

fn note(pointer: &str, wrong: &mut Vec<FieldError>) {
    wrong.push(FieldError {
        pointer: pointer.to_owned(),
        rule: RULE.to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::wrong_fields;

    #[test]
    fn the_field_is_named_wherever_it_stands() {
        let named = |body: &str| -> Vec<String> {
            let wrong = wrong_fields(body.as_bytes());
            wrong.into_iter().map(|it| it.pointer).collect()
        };
        assert_eq!(named(r#"{"id": "a\u0000b"}"#), ["/id"]);
        assert_eq!(
            named(r#"{"data": {"list": ["x", "\u0000"], "a/b": {"c\u0000": 1}}}"#),
            ["/data/a~1b/c", "/data/list/1"]
        );
        // An escaped backslash begins no escape.
        assert_eq!(named(r#"{"id": "a\\u0000b"}"#), [""; 0]);
        assert_eq!(named(r#"{"id": "a\u00000b"}"#), ["/id"]);
        assert_eq!(named("not JSON \\u0000"), [""; 0]);
        assert_eq!(named(r#""\u0000""#), [""]);
    }
}
