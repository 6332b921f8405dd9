//! The sandbox's number: its token, which may be replaced, and its throughput.

use std::sync::PoisonError;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde_json::{Value, json};

use super::{SandboxState, graph_error};

/// Settings that can be changed while the sandbox runs.
#[derive(Clone, Debug)]
pub(super) struct SandboxNumberSettings {
    /// The accepted token.
    pub token: String,
    /// The previous token, which has expired.
    pub expired: Option<String>,
    /// `STANDARD`, `HIGH` or `NOT_APPLICABLE`.
    pub throughput: String,
    /// It is used with the WhatsApp Business app as well.
    pub on_business_app: bool,
}

/// Meta's error for a request without the right token; `None` if it has it.
pub(super) fn refusal(world: &SandboxState, request: &HttpRequest) -> Option<HttpResponse> {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let number = world.number.lock().unwrap_or_else(PoisonError::into_inner);
    if given == Some(number.token.as_str()) {
        return None;
    }
    if given.is_some() && given == number.expired.as_deref() {
        return Some(HttpResponse::Unauthorized().json(json!({
            "error": {
                "message": "Error validating access token: Session has expired",
                "type": "OAuthException",
                "code": 190,
                "error_subcode": 463,
                "fbtrace_id": "SandboxTrace",
            }
        })));
    }
    Some(graph_error(
        401,
        190,
        "Invalid OAuth access token",
        "The token is not the sandbox's.",
    ))
}

/// `POST /sandbox/number {"token": "…", "throughput": "HIGH", "on_business_app": true}`: sets
/// another token (the previous one expires) or another throughput.
pub(super) async fn change(world: web::Data<SandboxState>, body: web::Json<Value>) -> HttpResponse {
    let mut number = world.number.lock().unwrap_or_else(PoisonError::into_inner);
    let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(token) = text("token") {
        number.expired = Some(std::mem::replace(&mut number.token, token));
    }
    if let Some(throughput) = text("throughput") {
        number.throughput = throughput;
    }
    if let Some(on) = body.get("on_business_app").and_then(Value::as_bool) {
        number.on_business_app = on;
    }
    HttpResponse::Ok().json(json!({ "success": true }))
}

/// `GET /{version}/{phone-number-id}`: the data of the number.
pub(super) fn object(world: &SandboxState) -> HttpResponse {
    let number = world
        .number
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    super::account::number_object(world, &number.throughput, number.on_business_app)
}
