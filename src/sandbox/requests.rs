//! `POST /{version}/{phone-number-id}/messages`, checked as Meta checks it.

use actix_web::{HttpRequest, HttpResponse, web};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use std::sync::atomic::Ordering;

use super::{
    SandboxState, callbacks,
    chaos::{self, SandboxCallOutcome},
    check, graph_error, names, number, people,
    people::SandboxPhoneBehaviour,
};

/// Accepts or refuses a message.
pub(super) async fn messages(
    world: web::Data<SandboxState>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: web::Bytes,
) -> HttpResponse {
    if let Some(refused) = number::refusal(&world, &request) {
        return refused;
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
    if let Err((code, details)) = check::check(&message) {
        return graph_error(400, code, "Invalid parameter", &details);
    }
    let given = |key: &str| message.get(key).and_then(Value::as_str).map(str::to_owned);
    // The number has precedence if both are present.
    let (to, user_id) = match (given("to"), given("recipient")) {
        (Some(to), _) => (to, None),
        (None, user_id) => (user_id.clone().unwrap_or_default(), user_id),
    };
    let digits: String = match &user_id {
        Some(user_id) => user_id.clone(),
        None => to.chars().filter(char::is_ascii_digit).collect(),
    };
    // A user id behaves as its number does.
    let number = world.whom(&digits).number.unwrap_or_else(|| digits.clone());
    let behaviour = people::behaviour(&number);
    let call = world.count_call(&digits);
    match behaviour {
        SandboxPhoneBehaviour::Refuses(status, code) => {
            return graph_error(status, code, "Refused", "This number refuses.");
        }
        SandboxPhoneBehaviour::RefusesFirst(status, code) if call == 1 => {
            return graph_error(
                status,
                code,
                "Refused",
                "This number refuses the first time.",
            );
        }
        SandboxPhoneBehaviour::BreaksDown => return HttpResponse::InternalServerError().finish(),
        _ => {}
    }
    let took = world.takes();
    if !took.is_zero() {
        tokio::time::sleep(took).await;
    }
    let day = world
        .config
        .chaos
        .map(|seed| chaos::day(seed, world.total.fetch_add(1, Ordering::Relaxed)));
    if let Some(day) = day {
        tokio::time::sleep(day.takes).await;
        if let SandboxCallOutcome::Refused(status, code) = day.fate {
            return graph_error(status, code, "Refused", "It is a bad day.");
        }
    }
    let behaviour = day.map_or(behaviour, |day| day.callbacks);
    let our_id = message
        .get("biz_opaque_callback_data")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let wamid = new_wamid(&digits);
    world.record(our_id.as_deref().unwrap_or_default(), &wamid, took);
    world.phones.keep("whatsapp", &digits, &message);
    let is_template = message.get("type").and_then(Value::as_str) == Some("template");
    let behaviour = if !is_template && !world.window_is_open(&digits) {
        SandboxPhoneBehaviour::Fails(131_047)
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
    let lost = day.is_some_and(|day| day.fate == SandboxCallOutcome::AnswerLost);
    if lost
        || matches!(
            behaviour,
            SandboxPhoneBehaviour::LosesAnswer | SandboxPhoneBehaviour::Vanishes
        )
    {
        let broken = futures_util::stream::once(async {
            Err::<bytes::Bytes, _>(std::io::Error::other("the sandbox loses this answer"))
        });
        return HttpResponse::Ok().streaming(Box::pin(broken));
    }
    HttpResponse::Ok().json(json!({
        "messaging_product": "whatsapp",
        "contacts": [match user_id {
            Some(user_id) => json!({ "input": to, "user_id": user_id }),
            None => json!({ "input": to, "wa_id": names::wa_id(&digits), "user_id": world.whom(&digits).user_id }),
        }],
        "messages": [{ "id": wamid, "message_status": "accepted" }],
    }))
}

/// A message id: like Meta's, it contains the number in encoded form.
fn new_wamid(digits: &str) -> String {
    let mut content = vec![0x1d, 0x18, 0x0b];
    content.extend_from_slice(digits.as_bytes());
    content.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
    format!("wamid.{}", STANDARD.encode(content))
}
