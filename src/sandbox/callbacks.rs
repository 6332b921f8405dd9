//! The sandbox's callbacks: signed, posted over HTTP, and repeated until accepted.

use std::{sync::Arc, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    SandboxState,
    names::{SandboxPersonIds, ascii},
    people::SandboxPhoneBehaviour,
    unix_micros,
};

/// Meta repeats for seven days; the sandbox for a little over a minute.
const TRIES: u32 = 8;

/// A message was accepted: its recipient reacts later.
pub(super) fn message_goes(
    world: Arc<SandboxState>,
    to: String,
    wamid: String,
    our_id: Option<String>,
    behaviour: SandboxPhoneBehaviour,
) {
    if world.config.callback_url.is_none() || behaviour == SandboxPhoneBehaviour::Vanishes {
        return;
    }
    let tasks = world.tasks.clone();
    tasks.spawn(async move {
        let whom = world.whom(&to);
        let status =
            |name: &str, code: Option<i64>| status(&whom, &wamid, our_id.as_deref(), name, code);
        // A failed status has no contacts beside it.
        let status_of =
            |name: &str| json!({ "contacts": [whom.contact()], "statuses": [status(name, None)] });
        let config = &world.config;
        match behaviour {
            SandboxPhoneBehaviour::Fails(code) => {
                tokio::time::sleep(config.sent_after).await;
                world
                    .post_value(json!({ "statuses": [status("failed", Some(code))] }))
                    .await;
            }
            SandboxPhoneBehaviour::FailsThenArrives => {
                tokio::time::sleep(config.sent_after).await;
                world
                    .post_value(json!({ "statuses": [status("failed", Some(131_026))] }))
                    .await;
                tokio::time::sleep(config.delivered_after).await;
                world.post_value(status_of("delivered")).await;
            }
            SandboxPhoneBehaviour::Confuses => {
                tokio::time::sleep(config.sent_after).await;
                let all: Vec<Value> = ["sent", "delivered", "read"]
                    .map(|name| status(name, None))
                    .to_vec();
                // The second copies have fewer fields, as Meta's do.
                let bare: Vec<Value> = all
                    .iter()
                    .cloned()
                    .map(|mut one| {
                        if let Some(object) = one.as_object_mut() {
                            object.remove("pricing");
                        }
                        one
                    })
                    .collect();
                // Several in one callback, newest first, and once more one by one.
                let reversed: Vec<&Value> = all.iter().rev().chain(&bare).collect();
                world
                    .post_value(json!({ "contacts": [whom.contact()], "statuses": reversed }))
                    .await;
                world.post_entries(&world.mixed(&all)).await;
                // The very same bytes twice: a redelivery.
                for one in all.iter().chain(&all) {
                    world.post_value(json!({ "statuses": [one] })).await;
                }
            }
            _ => {
                tokio::time::sleep(config.sent_after).await;
                world.post_value(status_of("sent")).await;
                if behaviour == SandboxPhoneBehaviour::SwitchedOff {
                    return;
                }
                tokio::time::sleep(config.delivered_after).await;
                world.post_value(status_of("delivered")).await;
                if behaviour == SandboxPhoneBehaviour::NeverReads {
                    return;
                }
                tokio::time::sleep(config.read_after).await;
                world.post_value(status_of("read")).await;
                answer(world, to, wamid, behaviour).await;
            }
        }
    });
}

/// The reaction of a person who has read a message.
async fn answer(
    world: Arc<SandboxState>,
    to: String,
    wamid: String,
    behaviour: SandboxPhoneBehaviour,
) {
    let thanks = json!({ "type": "text", "text": { "body": "Thank you!" } });
    let content = match behaviour {
        SandboxPhoneBehaviour::Replies | SandboxPhoneBehaviour::HidesNumber => thanks,
        SandboxPhoneBehaviour::Taps => {
            json!({ "type": "button", "button": { "payload": "CONFIRM", "text": "Confirm" } })
        }
        SandboxPhoneBehaviour::Reacts => {
            let reaction = json!({ "type": "reaction", "reaction": { "message_id": wamid, "emoji": "\u{1f44d}" } });
            person_writes(world, to, reaction, None).await;
            return;
        }
        SandboxPhoneBehaviour::ChangesId => {
            let (old, new) = world.rotate(&to);
            person_writes(Arc::clone(&world), to, thanks, Some(wamid)).await;
            let seconds = (unix_micros() / 1_000_000).to_string();
            let change = json!({
                "id": inbound_id(), "timestamp": seconds, "type": "system",
                "system": { "type": "user_changed_user_id", "user_id": new,
                            "body": format!("User changed from {old} to {new}") },
            });
            world.post_value(json!({ "messages": [change] })).await;
            return;
        }
        SandboxPhoneBehaviour::LeavesVoicemail => {
            voicemail(&world, &to).await;
            return;
        }
        _ => return,
    };
    person_writes(world, to, content, Some(wamid)).await;
}

/// A call that is not answered, and the recording that follows it under the same id.
async fn voicemail(world: &SandboxState, from: &str) {
    let whom = world.whom(from);
    let id = format!("wacid.{}", uuid::Uuid::new_v4().simple());
    let seconds = (unix_micros() / 1_000_000).to_string();
    let named = |mut value: Value| {
        whom.name_author(&mut value);
        value
    };
    for call in [
        json!({ "id": id, "event": "connect", "direction": "USER_INITIATED", "timestamp": seconds, "to": "15550783881" }),
        json!({ "id": id, "event": "terminate", "direction": "USER_INITIATED", "timestamp": seconds, "to": "15550783881",
                "status": "FAILED" }),
    ] {
        let value = json!({ "messaging_product": "whatsapp", "contacts": [whom.contact()], "calls": [named(call)],
            "metadata": { "display_phone_number": "15550783881", "phone_number_id": world.config.phone_number_id } });
        world.post_change("calls", value).await;
    }
    let message = named(json!({ "id": id, "timestamp": seconds, "type": "audio",
        "audio": { "id": "1003383421387256", "mime_type": "audio/ogg; codecs=opus", "voice": true } }));
    world
        .post_value(json!({ "contacts": [whom.contact()], "messages": [message] }))
        .await;
}

fn inbound_id() -> String {
    format!("wamid.in{}", uuid::Uuid::new_v4().simple())
}

/// A person writes, perhaps in answer to a message.
pub(super) async fn person_writes(
    world: Arc<SandboxState>,
    from: String,
    content: Value,
    answers: Option<String>,
) {
    let seconds = unix_micros() / 1_000_000;
    world.open_window(&from, seconds);
    let whom = world.whom(&from);
    let mut message = content;
    whom.name_author(&mut message);
    if let Some(object) = message.as_object_mut() {
        object.insert("id".to_owned(), json!(inbound_id()));
        object.insert("timestamp".to_owned(), json!(seconds.to_string()));
        if let Some(wamid) = answers {
            object.insert(
                "context".to_owned(),
                json!({ "from": "15550783881", "id": wamid }),
            );
        }
    }
    world
        .post_value(json!({ "contacts": [whom.contact()], "messages": [message] }))
        .await;
}

fn status(
    whom: &SandboxPersonIds,
    wamid: &str,
    our_id: Option<&str>,
    name: &str,
    code: Option<i64>,
) -> Value {
    let mut status = json!({
        "id": wamid,
        "status": name,
        "timestamp": (unix_micros() / 1_000_000).to_string(),
    });
    whom.name_recipient(&mut status);
    if let Some(object) = status.as_object_mut() {
        if let Some(our_id) = our_id {
            object.insert("biz_opaque_callback_data".to_owned(), json!(our_id));
        }
        if let Some(code) = code {
            object.insert(
                "errors".to_owned(),
                json!([{ "code": code, "title": "Message undeliverable", "message": "Message undeliverable",
                         "error_data": { "details": "The sandbox plays this failure." } }]),
            );
        } else if name != "read" {
            object.insert(
                "pricing".to_owned(),
                json!({ "billable": true, "pricing_model": "PMP", "type": "regular", "category": "utility" }),
            );
        }
    }
    status
}

impl SandboxState {
    /// Posts one change, signed, until it is answered 200.
    async fn post_value(&self, value: Value) {
        self.post_change("messages", self.of_number(value)).await;
    }

    /// Wraps a value of the field `messages` with its metadata.
    fn of_number(&self, mut value: Value) -> Value {
        if let Some(object) = value.as_object_mut() {
            object.insert("messaging_product".to_owned(), json!("whatsapp"));
            object.insert(
                "metadata".to_owned(),
                json!({ "display_phone_number": "15550783881", "phone_number_id": self.config.phone_number_id }),
            );
        }
        value
    }

    /// Statuses in several entries and changes, with other updates between them.
    fn mixed(&self, statuses: &[Value]) -> Value {
        let change = |statuses: &[&Value]| json!({ "field": "messages", "value": self.of_number(json!({ "statuses": statuses })) });
        let news = json!({ "field": "flows", "value": {
            "event": "FLOW_STATUS_CHANGE", "message": "Flow was published", "flow_id": "6627390910605886",
            "old_status": "DRAFT", "new_status": "PUBLISHED" } });
        let (first, others): (Vec<&Value>, Vec<&Value>) = (
            statuses.iter().take(1).collect(),
            statuses.iter().skip(1).collect(),
        );
        json!([
            entry(&json!([change(&others), news])),
            entry(&json!([news, change(&first), change(&others)]))
        ])
    }

    /// Like `post_value`, for any field.
    pub(super) async fn post_change(&self, field: &str, value: Value) {
        let changes = json!([{ "field": field, "value": value }]);
        self.post_entries(&json!([entry(&changes)])).await;
    }

    async fn post_entries(&self, entries: &Value) {
        let Some(url) = &self.config.callback_url else {
            return;
        };
        let body = json!({ "object": "whatsapp_business_account", "entry": entries });
        // The signature covers the bytes, escapes included.
        let body = ascii(&body.to_string());
        let Some(signature) = sign(&self.config.app_secret, body.as_bytes()) else {
            return;
        };
        let mut pause = Duration::from_millis(250);
        for _ in 0..TRIES {
            let answer = self
                .http
                .post(url)
                .header("Content-Type", "application/json")
                .header("X-Hub-Signature-256", &signature)
                .body(body.clone())
                .send()
                .await;
            if answer.is_ok_and(|answer| answer.status().as_u16() == 200) {
                return;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        tracing::warn!(
            event = "sandbox.callback_lost",
            "the sandbox gave up sending a callback: it was never answered 200"
        );
    }
}

fn entry(changes: &Value) -> Value {
    let seconds = unix_micros() / 1_000_000;
    json!({ "id": "102290129340398", "time": seconds, "changes": changes })
}

fn sign(secret: &str, body: &[u8]) -> Option<String> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(body);
    Some(format!(
        "sha256={}",
        hex::encode(mac.finalize().into_bytes())
    ))
}
