//! What the people have got on their phones: `GET /sandbox/phones` as a page,
//! `GET /sandbox/phones/{address}` as JSON, the newest first.

use std::{
    collections::VecDeque,
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::{SandboxState, unix_micros};

/// Messages that are kept.
const KEPT: usize = 500;

/// A message as its recipient sees it.
struct SandboxPhoneMessage {
    /// Digits, or a user id.
    to: String,
    channel: &'static str,
    /// In microseconds.
    at: i64,
    text: String,
    content: Value,
}

/// The newest messages of everyone.
#[derive(Default)]
pub(super) struct SandboxPhones(Mutex<VecDeque<SandboxPhoneMessage>>);

impl SandboxPhones {
    /// Keeps a message that was accepted.
    pub(super) fn keep(&self, channel: &'static str, to: &str, content: &Value) {
        let message = SandboxPhoneMessage {
            to: to.to_owned(),
            channel,
            at: unix_micros(),
            text: readable(content),
            content: content.clone(),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            all.pop_back();
        }
        all.push_front(message);
    }

    fn list(&self, to: Option<&str>) -> Vec<Value> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = all.iter().filter(|it| to.is_none_or(|to| it.to == to));
        wanted
            .map(|it| {
                let at = chrono::DateTime::from_timestamp_micros(it.at);
                let at = at.map(|at| at.to_rfc3339()).unwrap_or_default();
                json!({ "to": it.to, "channel": it.channel, "at": at, "text": it.text, "content": it.content })
            })
            .collect()
    }
}

/// What a message says, as far as the sandbox knows: of a template its name and its parameters.
fn readable(message: &Value) -> String {
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    if let Some(name) = text("/template/name").or_else(|| text("/data/context/template_name")) {
        let mut filled = Vec::new();
        parameters(message, &mut filled);
        // MyOperator's bodies are objects of texts.
        if let Some(body) = message
            .pointer("/data/context/body")
            .and_then(Value::as_object)
        {
            filled.extend(body.values().filter_map(Value::as_str).map(str::to_owned));
        }
        return format!("[{name}] {}", filled.join(" · "));
    }
    let bodies = [
        "/text/body",
        "/interactive/body/text",
        "/data/context/body",
        "/text",
    ];
    let kind = text("/type").unwrap_or("message");
    bodies
        .iter()
        .find_map(|pointer| text(pointer))
        .map_or_else(|| format!("[{kind}]"), str::to_owned)
}

/// The texts that fill a template, in the order in which they stand there.
fn parameters(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if fields.get("type").and_then(Value::as_str) == Some("text") => {
            let text = fields.get("text").and_then(Value::as_str);
            found.extend(text.map(str::to_owned));
        }
        Value::Object(fields) => fields.values().for_each(|it| parameters(it, found)),
        Value::Array(items) => items.iter().for_each(|it| parameters(it, found)),
        _ => {}
    }
}

/// The messages of one person: digits with or without `+`, a user id, or an e-mail address.
pub(super) async fn one(world: web::Data<SandboxState>, path: web::Path<String>) -> HttpResponse {
    let to = path.trim_start_matches('+');
    HttpResponse::Ok().json(json!({ "messages": world.phones.list(Some(to)) }))
}

/// The messages of everyone, as a page that reloads itself.
pub(super) async fn page(world: web::Data<SandboxState>) -> HttpResponse {
    let mut rows = String::new();
    for message in world.phones.list(None) {
        let cell = |name: &str| escaped(message.get(name).and_then(Value::as_str).unwrap_or(""));
        let _ = write!(
            rows,
            "<tr><td><time>{}</time></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            cell("at"),
            cell("channel"),
            cell("to"),
            cell("text")
        );
    }
    if rows.is_empty() {
        rows.push_str("<tr><td colspan=\"4\">No message has arrived yet.</td></tr>");
    }
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'",
        ))
        .body(PAGE.replace("{rows}", &rows))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const PAGE: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="3"><title>Phones of the sandbox</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid color-mix(in srgb, currentcolor 20%, transparent); overflow-wrap: anywhere; }
time { font-variant-numeric: tabular-nums; }
@media (max-width: 40rem) { thead { display: none; } tr, td { display: block; } td { border: 0; padding: .1rem 0; } tr { border-bottom: 1px solid color-mix(in srgb, currentcolor 20%, transparent); padding: .6rem 0; } }
</style></head><body>
<h1>Phones of the sandbox</h1>
<p>The newest 500 messages that the simulated people have got. The sandbox knows of a template its name and what fills it.</p>
<table><thead><tr><th>Accepted (UTC)</th><th>Channel</th><th>To</th><th>Message</th></tr></thead><tbody>{rows}</tbody></table>
</body></html>
"#;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{SandboxPhones, escaped, readable};

    #[test]
    fn a_template_is_shown_with_what_fills_it_and_a_text_as_it_is() {
        let template = json!({ "type": "template", "template": { "name": "order", "language": { "code": "en" },
            "components": [{ "type": "body", "parameters": [{ "type": "text", "text": "Asha" }, { "type": "text", "text": "A-17" }] }] } });
        assert_eq!(readable(&template), "[order] Asha · A-17");
        assert_eq!(
            readable(&json!({ "type": "text", "text": { "body": "Hello" } })),
            "Hello"
        );
        assert_eq!(
            readable(&json!({ "type": "image", "image": { "id": "1" } })),
            "[image]"
        );
        assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }

    #[test]
    fn the_newest_are_kept() {
        let phones = SandboxPhones::default();
        for number in 0..502 {
            let content = json!({ "type": "text", "text": { "body": number.to_string() } });
            phones.keep("whatsapp", "12025550101", &content);
        }
        let kept = phones.list(Some("12025550101"));
        assert_eq!((kept.len(), &kept[0]["text"]), (500, &json!("501")));
        assert!(phones.list(Some("12025550102")).is_empty());
    }
}
