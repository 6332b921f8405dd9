//! The sandbox as MyOperator: `/chat/messages`, `/chat/templates`, `/chat/phonenumbers`, and callbacks
//! that carry a secret in the URL. The people are the same as at Meta's side.
//!
//! It is as odd as the real one: the scheme `bearer` in small letters is denied, ids are UUIDs, a
//! company without a number is answered like a fault that passes, `myop_ref_id` does not come back,
//! and one name is misspelt.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde_json::{Value, json};

use super::{
    SandboxState,
    people::{self, SandboxPhoneBehaviour},
    unix_micros,
};

/// MyOperator repeats for a day; the sandbox for a little over a minute.
const TRIES: u32 = 8;

/// MyOperator's id of the sandbox's number.
const NUMBER_ID: &str = "5550783882";

/// The company and its number.
#[derive(Clone, Debug)]
pub struct SandboxMyOperatorConfig {
    pub api_key: String,
    pub company_id: String,
    /// In E.164.
    pub number: String,
    /// Address for callbacks; if absent, none are posted.
    pub callback_url: Option<String>,
    /// The secret in their URL.
    pub callback_secret: String,
}

fn refused(status: u16, body: &Value) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status)
        .unwrap_or(actix_web::http::StatusCode::BAD_REQUEST);
    HttpResponse::build(status).json(body)
}

fn error(status: u16, code: &str, message: &str) -> HttpResponse {
    refused(
        status,
        &json!({ "status": "error", "code": code, "message": message }),
    )
}

/// The company of a request, or the answer to one that proves nothing.
fn company<'a>(
    world: &'a SandboxState,
    request: &HttpRequest,
) -> Result<&'a SandboxMyOperatorConfig, Box<HttpResponse>> {
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let Some(company) = &world.config.myoperator else {
        return Err(Box::new(refused(500, &json!({ "message": null }))));
    };
    let given = header(header::AUTHORIZATION.as_str()).unwrap_or_default();
    let Some(key) = given.strip_prefix("Bearer ") else {
        return Err(Box::new(refused(
            403,
            &json!({ "Message": "User is not authorized to access this resource with an explicit deny" }),
        )));
    };
    if key != company.api_key {
        return Err(Box::new(refused(
            401,
            &json!({ "message": "Unauthorized" }),
        )));
    }
    if header("X-MYOP-COMPANY-ID") != Some(&*company.company_id) {
        return Err(Box::new(error(403, "403", "Invalid company ID!")));
    }
    Ok(company)
}

/// `GET /chat/phonenumbers`.
pub(super) async fn numbers(world: web::Data<SandboxState>, request: HttpRequest) -> HttpResponse {
    let company = match company(&world, &request) {
        Ok(company) => company,
        Err(refused) => return *refused,
    };
    HttpResponse::Ok().json(json!({
        "status": "success", "code": "200", "message": "Success",
        "data": { "results": [{ "phone_number_id": NUMBER_ID, "display_phone_number": company.number }] },
    }))
}

/// `GET /chat/templates`: those of the sandbox's account.
pub(super) async fn templates(
    world: web::Data<SandboxState>,
    request: HttpRequest,
) -> HttpResponse {
    if let Err(refused) = company(&world, &request) {
        return *refused;
    }
    let all = super::templates::names(&world);
    let results: Vec<Value> = all
        .into_iter()
        .map(|(name, language, status)| {
            json!({ "template_name": name, "language": language, "waba_template_status": status.to_ascii_lowercase() })
        })
        .collect();
    HttpResponse::Ok().json(json!({
        "status": "success", "code": "200", "data": { "results": results },
    }))
}

/// What is wrong with a message.
fn check(message: &Value) -> Result<(), &'static str> {
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    let digits = |pointer: &str| {
        text(pointer).filter(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
    };
    if text("/phone_number_id") != Some(NUMBER_ID) {
        return Err("phone_number_id is not of this company");
    }
    let country =
        digits("/customer_country_code").ok_or("customer_country_code has digits only")?;
    let number = digits("/customer_number").ok_or("customer_number has digits only")?;
    if number.len() > 10 && number.starts_with(country) {
        return Err("customer_number is without the country code");
    }
    match text("/data/type") {
        Some("template") => {
            if text("/data/context/template_name").is_none_or(str::is_empty) {
                return Err("template_name is missing");
            }
            if text("/data/context/language").is_none_or(str::is_empty) {
                return Err("language is missing");
            }
            match message.pointer("/data/context/body") {
                None => Ok(()),
                Some(Value::Object(body)) if body.values().all(Value::is_string) => Ok(()),
                Some(_) => Err("body is an object of texts"),
            }
        }
        Some("text") if text("/data/context/body").is_some_and(|body| !body.is_empty()) => Ok(()),
        _ => Err("data is a template or a text"),
    }
}

/// `POST /chat/messages`.
pub(super) async fn messages(
    world: web::Data<SandboxState>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let company = match company(&world, &request) {
        Ok(company) => company.clone(),
        Err(refused) => return *refused,
    };
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return error(400, "400", "The body is not JSON.");
    };
    if let Err(wrong) = check(&message) {
        return error(400, "400", wrong);
    }
    let part = |name: &str| {
        message
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let to = format!(
        "{}{}",
        part("customer_country_code"),
        part("customer_number")
    );
    let behaviour = people::behaviour(&to);
    let call = world.count_call(&to);
    match behaviour {
        SandboxPhoneBehaviour::Refuses(status, _) => {
            return error(status, &status.to_string(), "This number refuses.");
        }
        SandboxPhoneBehaviour::RefusesFirst(429, _) if call == 1 => {
            return refused(429, &json!({ "message": "Too Many Requests" }));
        }
        SandboxPhoneBehaviour::RefusesFirst(..) if call == 1 => {
            return HttpResponse::BadGateway().finish();
        }
        SandboxPhoneBehaviour::BreaksDown => return HttpResponse::InternalServerError().finish(),
        _ => {}
    }
    let id = uuid::Uuid::new_v4().to_string();
    let our_id = message.get("myop_ref_id").and_then(Value::as_str);
    world.record(our_id.unwrap_or_default(), &id, Duration::ZERO);
    world.phones.keep("whatsapp", &to, &message);
    let is_text = message.pointer("/data/type").and_then(Value::as_str) == Some("text");
    let behaviour = if is_text && !world.window_is_open(&to) {
        SandboxPhoneBehaviour::Fails(131_047)
    } else {
        behaviour
    };
    message_goes(
        world.clone().into_inner(),
        company,
        to,
        id.clone(),
        behaviour,
    );
    if matches!(
        behaviour,
        SandboxPhoneBehaviour::LosesAnswer | SandboxPhoneBehaviour::Vanishes
    ) {
        let broken = futures_util::stream::once(async {
            Err::<bytes::Bytes, _>(std::io::Error::other("the sandbox loses this answer"))
        });
        return HttpResponse::Ok().streaming(Box::pin(broken));
    }
    HttpResponse::Ok().json(json!({
        "status": "success", "code": "200", "message": "Accepted",
        "data": { "conversation_id": uuid::Uuid::new_v4().to_string(), "message_id": id },
    }))
}

/// A message was accepted: what becomes of it is reported later.
fn message_goes(
    world: Arc<SandboxState>,
    company: SandboxMyOperatorConfig,
    to: String,
    id: String,
    behaviour: SandboxPhoneBehaviour,
) {
    let Some(url) = company.callback_url.clone() else {
        return;
    };
    if behaviour == SandboxPhoneBehaviour::Vanishes {
        return;
    }
    let tasks = world.tasks.clone();
    tasks.spawn(async move {
        let config = &world.config;
        let post = async |status: &str, code: Option<i64>| {
            let mut report = json!({
                "message_id": id, "conversaton_id": id, "myop_ref_id": null, "status": status,
                "timestamp": (unix_micros() / 1_000_000).to_string(),
            });
            if let (Some(code), Some(report)) = (code, report.as_object_mut()) {
                let error = json!({ "code": code.to_string(), "message": "Not delivered" });
                report.insert("error".to_owned(), error);
            }
            send(&world, &url, &company.callback_secret, &report).await;
        };
        tokio::time::sleep(config.sent_after).await;
        match behaviour {
            SandboxPhoneBehaviour::Fails(code) => post("failed", Some(code)).await,
            SandboxPhoneBehaviour::FailsThenArrives => {
                post("failed", Some(131_026)).await;
                tokio::time::sleep(config.delivered_after).await;
                post("delivered", None).await;
            }
            SandboxPhoneBehaviour::Confuses => {
                for status in ["read", "delivered", "sent", "sent", "delivered", "read"] {
                    post(status, None).await;
                }
            }
            _ => {
                post("sent", None).await;
                if behaviour == SandboxPhoneBehaviour::SwitchedOff {
                    return;
                }
                tokio::time::sleep(config.delivered_after).await;
                post("delivered", None).await;
                if behaviour == SandboxPhoneBehaviour::NeverReads {
                    return;
                }
                tokio::time::sleep(config.read_after).await;
                post("read", None).await;
                let answer = match behaviour {
                    SandboxPhoneBehaviour::Replies
                    | SandboxPhoneBehaviour::HidesNumber
                    | SandboxPhoneBehaviour::ChangesId => Some("Thank you!"),
                    SandboxPhoneBehaviour::Taps => Some("Confirm"),
                    _ => None,
                };
                if let Some(text) = answer {
                    person_writes(&world, &to, text, Some(&id)).await;
                }
            }
        }
    });
}

/// A person writes to MyOperator's number, of their own accord or as an answer: a text, as it passes
/// on no buttons and no user ids.
pub(super) async fn person_writes(
    world: &SandboxState,
    from: &str,
    text: &str,
    answers: Option<&str>,
) {
    let seconds = unix_micros() / 1_000_000;
    world.open_window(from, seconds);
    let Some(company) = &world.config.myoperator else {
        return;
    };
    let Some(url) = &company.callback_url else {
        return;
    };
    let report = json!({
        "message_id": uuid::Uuid::new_v4().to_string(), "event": "message.received", "customer_contact": from,
        "data": { "type": "text", "context": { "body": text } }, "reply_to": answers, "timestamp": seconds.to_string(),
    });
    send(world, url, &company.callback_secret, &report).await;
}

/// Posts a callback until it is taken.
async fn send(world: &SandboxState, url: &str, secret: &str, report: &Value) {
    for attempt in 0..TRIES {
        let request = world.http.post(url).query(&[("key", secret)]);
        let sent = request.json(report).send().await;
        if sent.is_ok_and(|response| response.status().as_u16() == 200) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250 << attempt)).await;
    }
    tracing::warn!(
        event = "sandbox.callback_lost",
        "a callback of the sandbox was not taken"
    );
}
