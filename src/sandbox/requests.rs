//! `POST /{version}/{phone-number-id}/messages`, checked as Meta checks it.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{World, callbacks, graph_error, people, people::Behaviour};

/// Whether a request carries the sandbox's token.
pub(super) fn is_authorized(world: &World, request: &HttpRequest) -> bool {
    request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        == Some(world.config.access_token.as_str())
}

/// Takes a message.
pub(super) async fn messages(
    world: web::Data<World>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: web::Bytes,
) -> HttpResponse {
    if !is_authorized(&world, &request) {
        return graph_error(
            401,
            190,
            "Invalid OAuth access token",
            "The token is not the sandbox's.",
        );
    }
    let (version, phone_number_id) = path.into_inner();
    if !version.starts_with('v') || phone_number_id != world.config.phone_number_id {
        return graph_error(
            400,
            100,
            "Unsupported post request",
            "There is no such phone number id here.",
        );
    }
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return graph_error(400, 100, "Invalid parameter", "The body is not JSON.");
    };
    if message.get("status").and_then(Value::as_str) == Some("read") {
        let inbound = message.get("message_id").and_then(Value::as_str);
        return if inbound.is_some_and(|id| id.starts_with("wamid.")) {
            HttpResponse::Ok().json(json!({ "success": true }))
        } else {
            graph_error(
                400,
                131_009,
                "Parameter value is not valid",
                "Not a message of a person.",
            )
        };
    }
    if let Err((code, details)) = check(&message) {
        return graph_error(400, code, "Invalid parameter", &details);
    }
    let to = message
        .get("to")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let digits: String = to.chars().filter(char::is_ascii_digit).collect();
    let behaviour = people::behaviour(&digits);
    let call = world.count_call(&digits);
    match behaviour {
        Behaviour::Refuses(status, code) => {
            return graph_error(status, code, "Refused", "This number refuses.");
        }
        Behaviour::RefusesFirst(status, code) if call == 1 => {
            return graph_error(
                status,
                code,
                "Refused",
                "This number refuses the first time.",
            );
        }
        Behaviour::BreaksDown => return HttpResponse::InternalServerError().finish(),
        _ => {}
    }
    let our_id = message
        .get("biz_opaque_callback_data")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let wamid = new_wamid(&digits);
    world.record(our_id.as_deref().unwrap_or_default(), &wamid);
    let is_text = message.get("type").and_then(Value::as_str) == Some("text");
    let behaviour = if is_text && !world.window_is_open(&digits) {
        Behaviour::Fails(131_047)
    } else {
        behaviour
    };
    callbacks::message_goes(
        world.clone().into_inner(),
        digits.clone(),
        wamid.clone(),
        our_id,
        behaviour,
    );
    if matches!(behaviour, Behaviour::LosesAnswer | Behaviour::Vanishes) {
        let broken = futures_util::stream::once(async {
            Err::<bytes::Bytes, _>(std::io::Error::other("the sandbox loses this answer"))
        });
        return HttpResponse::Ok().streaming(Box::pin(broken));
    }
    HttpResponse::Ok().json(json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": to, "wa_id": digits }],
        "messages": [{ "id": wamid, "message_status": "accepted" }],
    }))
}

/// A message id: like Meta's, it gives the number away to whoever decodes it.
fn new_wamid(digits: &str) -> String {
    let mut content = vec![0x1d, 0x18, 0x0b];
    content.extend_from_slice(digits.as_bytes());
    content.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
    format!("wamid.{}", STANDARD.encode(content))
}

fn check(message: &Value) -> Result<(), (i64, String)> {
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    let missing = |what: &str| (131_008, format!("{what} is missing"));
    if text("/messaging_product") != Some("whatsapp") {
        return Err((100, "messaging_product must be whatsapp".to_owned()));
    }
    let to = text("/to").ok_or_else(|| missing("to"))?;
    let digits = to.strip_prefix('+').ok_or((
        131_009,
        "to without + may be read as a local number".to_owned(),
    ))?;
    if !(8..=15).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err((131_009, "to is not a phone number".to_owned()));
    }
    if text("/biz_opaque_callback_data").is_some_and(|data| data.chars().count() > 512) {
        return Err((
            100,
            "biz_opaque_callback_data is longer than 512 characters".to_owned(),
        ));
    }
    match text("/type") {
        Some("text") => {
            let body = text("/text/body").ok_or_else(|| missing("text.body"))?;
            if body.is_empty() || body.chars().count() > 4096 {
                return Err((100, "text.body has 1 to 4096 characters".to_owned()));
            }
            Ok(())
        }
        Some("template") => check_template(message),
        Some(_) => Err((131_051, "this type is not supported".to_owned())),
        None => Err(missing("type")),
    }
}

fn check_template(message: &Value) -> Result<(), (i64, String)> {
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    let name = text("/template/name").unwrap_or_default();
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || !name.bytes().all(valid) {
        return Err((132_001, "the template name does not exist".to_owned()));
    }
    if text("/template/language/code")
        .unwrap_or_default()
        .is_empty()
    {
        return Err((131_008, "template.language.code is missing".to_owned()));
    }
    let components = message
        .pointer("/template/components")
        .and_then(Value::as_array);
    let parameters = components
        .into_iter()
        .flatten()
        .filter_map(|component| component.get("parameters").and_then(Value::as_array))
        .flatten();
    for parameter in parameters {
        let value = parameter
            .get("text")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if value.is_empty() {
            return Err((131_008, "a parameter is empty".to_owned()));
        }
        if value.contains(['\n', '\t']) || value.contains("     ") {
            return Err((
                132_018,
                "a parameter has a newline, a tab or more than four spaces".to_owned(),
            ));
        }
    }
    Ok(())
}
