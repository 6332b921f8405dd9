//! The sandbox's account: its state, and how to break it with `POST /sandbox/account` and any of
//! the keys of [`healthy`].

use std::sync::PoisonError;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde_json::{Value, json};

use super::{SandboxState, graph_error, number};

/// Meta's documented sample id of a business account.
pub const ACCOUNT_ID: &str = "102290129340398";

/// The app that signs the sandbox's callbacks.
pub const APP_ID: &str = "111222333444555";

/// The templates of the demo catalogue, which the account has.
const DEMO: [&str; 6] = [
    "results_update",
    "jaspers_market_plain_text_v1",
    "order_confirmation",
    "order_reminder",
    "hanna_message_send_failure",
    "sign_in_code",
];

/// A healthy account. `callback_of_number` and `callback_of_account` are overrides; `clock_seconds`
/// is by how much its clock is ahead; `error` is an obstacle to sending: `{"entity", "code",
/// "description"}`.
pub(super) fn healthy(callback_url: Option<&str>) -> Value {
    json!({
        "scopes": ["whatsapp_business_messaging", "whatsapp_business_management"],
        "expires_at": 0,
        "subscribed": true,
        "callback_of_number": null,
        "callback_of_account": null,
        "callback_of_app": callback_url,
        "fields": [
            "messages", "message_template_status_update", "template_category_update",
            "phone_number_quality_update", "account_update",
        ],
        "active": true,
        "number_status": "CONNECTED",
        "quality": "GREEN",
        "can_send": "AVAILABLE",
        "error": null,
        "templates": DEMO.iter().map(|name| ((*name).to_owned(), json!("APPROVED")))
            .collect::<serde_json::Map<_, _>>(),
        // Review decisions by template name: see `templates`.
        "reviews": {},
        // Names that are left out of the list, as if created after it was read.
        "hidden": [],
        "clock_seconds": 0,
    })
}

/// Changes the state of the account.
pub(super) async fn change(world: web::Data<SandboxState>, body: web::Json<Value>) -> HttpResponse {
    let mut account = world.account.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(known), Some(given)) = (account.as_object_mut(), body.as_object()) else {
        return HttpResponse::BadRequest().json(json!({ "error": "an object" }));
    };
    for (key, value) in given {
        if !known.contains_key(key) {
            return HttpResponse::BadRequest()
                .json(json!({ "error": format!("{key} is not known") }));
        }
        match (known.get_mut(key).and_then(Value::as_object_mut), value) {
            // Templates are set one by one; `null` removes one.
            (Some(all), Value::Object(some)) => all.extend(some.clone()),
            _ => drop(known.insert(key.clone(), value.clone())),
        }
    }
    HttpResponse::Ok().json(json!({ "success": true }))
}

pub(super) fn said(world: &SandboxState, key: &str) -> Value {
    let account = world.account.lock().unwrap_or_else(PoisonError::into_inner);
    account.get(key).cloned().unwrap_or(Value::Null)
}

/// A response with the sandbox's clock in its header.
pub(super) fn answer(world: &SandboxState, body: &Value) -> HttpResponse {
    let seconds =
        super::unix_micros() / 1_000_000 + said(world, "clock_seconds").as_i64().unwrap_or(0);
    let date = chrono::DateTime::from_timestamp(seconds, 0)
        .map(|date| date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    let mut response = HttpResponse::Ok();
    if let Some(date) = date {
        response.insert_header((header::DATE, date));
    }
    response.json(body)
}

/// `GET /{version}/debug_token`
pub(super) async fn debug_token(
    world: web::Data<SandboxState>,
    request: HttpRequest,
) -> HttpResponse {
    if let Some(refused) = number::refusal(&world, &request) {
        return refused;
    }
    let body = json!({ "data": {
        "app_id": APP_ID, "type": "SYSTEM_USER", "is_valid": true, "issued_at": 1_750_030_073,
        "expires_at": said(&world, "expires_at"), "scopes": said(&world, "scopes"),
    } });
    answer(&world, &body)
}

/// `GET /{version}/{phone-number-id}`
pub(super) fn number_object(
    world: &SandboxState,
    throughput: &str,
    on_business_app: bool,
) -> HttpResponse {
    let mut errors = Vec::new();
    let error = said(world, "error");
    if error.is_object() {
        errors.push(json!({
            "error_code": error.get("code"),
            "error_description": error.get("description"),
            "possible_solution": "See the account in Meta's Business Manager.",
        }));
    }
    let body = json!({
        "id": world.config.phone_number_id,
        "status": said(world, "number_status"),
        "quality_rating": said(world, "quality"),
        "name_status": "APPROVED",
        "throughput": { "level": throughput },
        "is_on_biz_app": on_business_app,
        "webhook_configuration": {
            "phone_number": said(world, "callback_of_number"),
            "whatsapp_business_account": said(world, "callback_of_account"),
            "application": said(world, "callback_of_app"),
        },
        "health_status": {
            "can_send_message": said(world, "can_send"),
            "entities": [{
                "entity_type": error.get("entity").cloned().unwrap_or(json!("WABA")),
                "id": ACCOUNT_ID, "can_send_message": said(world, "can_send"), "errors": errors,
            }],
        },
    });
    answer(world, &body)
}

/// `GET /{version}/{id}/subscribed_apps`
pub(super) async fn subscribed_apps(
    world: web::Data<SandboxState>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> HttpResponse {
    if let Some(refused) = number::refusal(&world, &request) {
        return refused;
    }
    if path.1 != ACCOUNT_ID {
        return nothing();
    }
    let mut app = json!({ "whatsapp_business_api_data": {
        "id": if said(&world, "subscribed") == json!(true) { APP_ID } else { "111111111111111" },
        "name": "Sandbox", "link": "https://example.org/",
    } });
    let url = said(&world, "callback_of_account");
    if let (Some(object), false) = (app.as_object_mut(), url.is_null()) {
        object.insert("override_callback_uri".to_owned(), url);
    }
    answer(&world, &json!({ "data": [app] }))
}

/// `GET /{version}/{id}/subscriptions`, with the app's own token.
pub(super) async fn subscriptions(
    world: web::Data<SandboxState>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> HttpResponse {
    if path.1 != APP_ID {
        return nothing();
    }
    let right = format!("Bearer {APP_ID}|{}", world.config.app_secret);
    let given = request.headers().get(header::AUTHORIZATION);
    if given.is_none_or(|given| given.as_bytes() != right.as_bytes()) {
        return graph_error(
            400,
            1,
            "Error validating client secret.",
            "The secret is not this app's.",
        );
    }
    let fields: Vec<Value> = said(&world, "fields")
        .as_array()
        .into_iter()
        .flatten()
        .map(|name| json!({ "name": name, "version": "v26.0" }))
        .collect();
    let body = json!({ "data": [{
        "object": "whatsapp_business_account", "callback_url": said(&world, "callback_of_app"),
        "active": said(&world, "active"), "fields": fields,
    }] });
    answer(&world, &body)
}

fn nothing() -> HttpResponse {
    graph_error(
        400,
        100,
        "Unsupported get request",
        "There is no such object here.",
    )
}
