//! The sandbox's templates: created over the API, reviewed a moment later, changed by hand.
//!
//! A review ends with approval unless `POST /sandbox/account {"reviews": {"NAME": "…"}}` says
//! otherwise: `REJECTED:INVALID_FORMAT`, `PENDING` (it never ends), or `MARKETING` (approved, in
//! another category).

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::{ACCOUNT_ID, SandboxState, account::said, graph_error, number};

/// A template created here.
#[derive(Clone, Debug)]
pub(super) struct SandboxTemplate {
    id: String,
    name: String,
    language: String,
    category: String,
    status: String,
    rejected_reason: Option<String>,
    parameter_format: String,
    components: Value,
}

/// Name, language and status of each template of the account.
pub(super) fn names(world: &SandboxState) -> Vec<(String, String, String)> {
    let all = world
        .templates
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    all.iter()
        .map(|it| (it.name.clone(), it.language.clone(), it.status.clone()))
        .collect()
}

impl SandboxTemplate {
    fn shown(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "language": self.language, "status": self.status,
            "category": self.category, "components": self.components,
            "parameter_format": self.parameter_format,
            "rejected_reason": self.rejected_reason.clone().unwrap_or_else(|| "NONE".to_owned()),
            "quality_score": { "score": "UNKNOWN" },
        })
    }
}

fn refused(subcode: i64, message: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({ "error": {
        "message": format!("(#100) {message}"), "type": "OAuthException", "code": 100,
        "error_subcode": subcode, "fbtrace_id": "SandboxTrace",
    } }))
}

/// Meta's error for invalid components (Meta, "Template components").
fn wrong(components: &Value) -> Option<HttpResponse> {
    let parts: Vec<&Value> = components.as_array().into_iter().flatten().collect();
    let body = parts
        .iter()
        .find(|it| it.get("type") == Some(&json!("BODY")));
    let Some(body) = body else {
        return Some(refused(2_388_043, "The body is missing"));
    };
    let has_file = |it: &&Value| {
        let format = it.get("format").and_then(Value::as_str);
        format.is_some_and(|it| ["IMAGE", "VIDEO", "DOCUMENT"].contains(&it))
    };
    if let Some(header) = parts.iter().copied().find(|it| has_file(it)) {
        let sample = header.pointer("/example/header_handle/0");
        let sample = sample.and_then(Value::as_str);
        if !sample.is_some_and(|it| it.starts_with(HANDLE)) {
            return Some(refused(2_388_273, "The sample of the header is missing"));
        }
    }
    let text = body.get("text").and_then(Value::as_str)?;
    let trimmed = text.trim();
    if trimmed.starts_with("{{") || trimmed.ends_with("}}") {
        return Some(refused(
            2_388_299,
            "Variables can't be at the start or end of the template",
        ));
    }
    if text.contains("{{") && body.get("example").is_none() {
        return Some(refused(2_388_043, "The example of the body is missing"));
    }
    None
}

/// Prefix of the handle of an uploaded file.
const HANDLE: &str = "4::sandbox:";

/// Prefix of an upload session.
const SESSION: &str = "upload:sandbox-";

/// `POST /{version}/{app}/uploads?file_length=…`: announces a file.
pub(super) async fn begin_upload(
    world: web::Data<SandboxState>,
    request: HttpRequest,
) -> HttpResponse {
    if let Some(refused) = number::refusal(&world, &request) {
        return refused;
    }
    let query = web::Query::<HashMap<String, String>>::from_query(request.query_string()).ok();
    let length = query.and_then(|it| it.get("file_length")?.parse::<usize>().ok());
    match length {
        Some(length) => HttpResponse::Ok().json(json!({ "id": format!("{SESSION}{length}") })),
        None => graph_error(400, 100, "Invalid parameter", "file_length is missing."),
    }
}

/// The bytes of an announced file: all of them, in one piece.
fn take_upload(request: &HttpRequest, session: &str, bytes: &[u8]) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).and_then(|it| it.to_str().ok());
    let announced = session.parse::<usize>().ok();
    let is_whole = announced == Some(bytes.len()) && header("file_offset") == Some("0");
    let is_authorized = header("Authorization").is_some_and(|it| it.starts_with("OAuth "));
    if is_whole && is_authorized {
        HttpResponse::Ok().json(json!({ "h": format!("{HANDLE}{session}") }))
    } else {
        graph_error(400, 100, "Invalid parameter", "The upload is not whole.")
    }
}

/// `POST /{version}/{account}/message_templates`
pub(super) async fn make(
    world: web::Data<SandboxState>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: web::Json<Value>,
) -> HttpResponse {
    if let Some(refused) = number::refusal(&world, &request) {
        return refused;
    }
    if path.1 != ACCOUNT_ID {
        return graph_error(
            400,
            100,
            "Unsupported post request",
            "There is no such account.",
        );
    }
    let text = |key: &str| {
        let found = body.get(key).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let components = body.get("components").cloned().unwrap_or(Value::Null);
    if let Some(refused) = wrong(&components) {
        return refused;
    }
    let (name, language) = (text("name"), text("language"));
    let seeded = said(&world, "templates")
        .get(&name)
        .is_some_and(Value::is_string);
    let kept = SandboxTemplate {
        id: (900_000_000_000 + super::unix_micros() % 1_000_000_000).to_string(),
        name: name.clone(),
        language: language.clone(),
        category: text("category"),
        status: "PENDING".to_owned(),
        rejected_reason: None,
        parameter_format: match text("parameter_format").as_str() {
            "NAMED" => "NAMED".to_owned(),
            _ => "POSITIONAL".to_owned(),
        },
        components,
    };
    {
        let mut all = world
            .templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let taken = all
            .iter()
            .any(|it| it.name == name && it.language == language);
        if taken || (seeded && language == "en_US") {
            return refused(2_388_024, "Content in this language already exists");
        }
        all.push(kept.clone());
    }
    review(Arc::clone(&world), kept.id.clone()).await;
    HttpResponse::Ok().json(json!({
        "id": kept.id, "status": kept.status, "category": kept.category,
    }))
}

/// `POST /{version}/{template}`: other components; or `/{upload}`: a file.
pub(super) async fn change(
    world: web::Data<SandboxState>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    bytes: web::Bytes,
) -> HttpResponse {
    if let Some(session) = path.1.strip_prefix(SESSION) {
        return take_upload(&request, session, &bytes);
    }
    if let Some(refused) = number::refusal(&world, &request) {
        return refused;
    }
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let components = body.get("components").cloned().unwrap_or(Value::Null);
    if let Some(refused) = wrong(&components) {
        return refused;
    }
    {
        let mut all = world
            .templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = all.iter_mut().find(|it| it.id == path.1) else {
            return graph_error(
                400,
                100,
                "Unsupported post request",
                "There is no such object here.",
            );
        };
        if !["APPROVED", "REJECTED", "PAUSED"].contains(&kept.status.as_str()) {
            return refused(2_388_003, "The template cannot be edited now");
        }
        kept.components = components;
        "PENDING".clone_into(&mut kept.status);
        kept.rejected_reason = None;
    }
    review(Arc::clone(&world), path.1.clone()).await;
    HttpResponse::Ok().json(json!({ "success": true }))
}

/// The review ends a moment later, and is reported; at once, where nothing takes time.
async fn review(world: Arc<SandboxState>, id: String) {
    let pause = world.config.sent_after;
    if pause.is_zero() {
        end_review(&world, &id).await;
        return;
    }
    let tasks = world.tasks.clone();
    tasks.spawn(async move {
        tokio::time::sleep(pause).await;
        end_review(&world, &id).await;
    });
}

async fn end_review(world: &SandboxState, id: &str) {
    let name = {
        let all = world
            .templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|it| it.id == id).map(|it| it.name.clone())
    };
    let Some(name) = name else { return };
    let decision = said(world, "reviews")
        .get(&name)
        .and_then(Value::as_str)
        .unwrap_or("APPROVED")
        .to_owned();
    decide(world, id, &decision).await;
}

async fn decide(world: &SandboxState, id: &str, decision: &str) {
    let (verdict, reason) = match decision.split_once(':') {
        Some((verdict, reason)) => (verdict, Some(reason.to_owned())),
        None => (decision, None),
    };
    if verdict == "PENDING" {
        return;
    }
    let is_category = ["MARKETING", "UTILITY"].contains(&verdict);
    let decided = {
        let mut all = world
            .templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = all.iter_mut().find(|it| it.id == id) else {
            return;
        };
        if is_category {
            verdict.clone_into(&mut kept.category);
            "APPROVED".clone_into(&mut kept.status);
        } else {
            verdict.clone_into(&mut kept.status);
        }
        kept.rejected_reason.clone_from(&reason);
        kept.clone()
    };
    let value = json!({
        "event": decided.status, "message_template_id": decided.id.parse::<i64>().unwrap_or(0),
        "message_template_name": decided.name, "message_template_language": decided.language,
        "reason": reason.unwrap_or_else(|| "NONE".to_owned()),
        "message_template_category": decided.category,
    });
    world
        .post_change("message_template_status_update", value)
        .await;
}

/// `POST /sandbox/templates/{name} {"decision": "PAUSED"}`: decides about a created template.
pub(super) async fn by_hand(
    world: web::Data<SandboxState>,
    path: web::Path<String>,
    body: web::Json<Value>,
) -> HttpResponse {
    let id = {
        let all = world
            .templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .find(|it| it.name == *path)
            .map(|it| it.id.clone())
    };
    let (Some(id), Some(decision)) = (id, body.get("decision").and_then(Value::as_str)) else {
        return HttpResponse::BadRequest().json(json!({ "error": "a template, and a decision" }));
    };
    decide(&world, &id, decision).await;
    HttpResponse::Ok().json(json!({ "success": true }))
}

/// `GET /{version}/{account}/message_templates`
pub(super) async fn list(
    world: web::Data<SandboxState>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> HttpResponse {
    if let Some(refused) = number::refusal(&world, &request) {
        return refused;
    }
    if path.1 != ACCOUNT_ID {
        return graph_error(
            400,
            100,
            "Unsupported get request",
            "There is no such object here.",
        );
    }
    let asked = web::Query::<HashMap<String, String>>::from_query(request.query_string())
        .map_or_else(|_unreadable| HashMap::new(), web::Query::into_inner);
    let named = asked.get("name").cloned();
    let mut data: Vec<Value> = said(&world, "templates")
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, status)| status.is_string())
        .map(|(name, status)| json!({ "name": name, "language": "en_US", "status": status }))
        .collect();
    {
        let all = world
            .templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let hidden = said(&world, "hidden");
        let is_hidden = |name: &String| {
            let all = hidden.as_array();
            all.is_some_and(|all| all.iter().any(|it| it == name))
        };
        // A query by name also finds what was created after the list was read.
        let shown = |it: &&SandboxTemplate| named.is_some() || !is_hidden(&it.name);
        data.extend(all.iter().filter(shown).map(SandboxTemplate::shown));
    }
    if let Some(named) = &named {
        data.retain(|it| it.get("name").and_then(Value::as_str) == Some(named));
    }
    // In pages of two, whatever was requested: clients must follow the pages.
    let after: usize = asked
        .get("after")
        .and_then(|after| after.parse().ok())
        .unwrap_or(0);
    let page: Vec<&Value> = data.iter().skip(after).take(2).collect();
    let mut body =
        json!({ "data": page, "paging": { "cursors": { "after": (after + 2).to_string() } } });
    if after + 2 < data.len()
        && let Some(paging) = body.get_mut("paging").and_then(Value::as_object_mut)
    {
        paging.insert("next".to_owned(), json!("https://example.org/next"));
    }
    super::account::answer(&world, &body)
}
