//! What the people have got on their phones and in their mailboxes: `GET /sandbox/phones` as a page,
//! `GET /sandbox/phones/{address}` as JSON, the newest first; `GET /sandbox/mails/{number}` is the HTML
//! of a mail.

use std::{
    collections::VecDeque,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::{SandboxState, unix_micros};

/// Messages that are kept.
const KEPT: usize = 500;

/// A message as its recipient sees it.
struct SandboxPhoneMessage {
    number: u64,
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
pub(super) struct SandboxPhones {
    all: Mutex<VecDeque<SandboxPhoneMessage>>,
    last: AtomicU64,
}

impl SandboxPhones {
    /// Keeps a message that was accepted.
    pub(super) fn keep(&self, channel: &'static str, to: &str, content: &Value) {
        let message = SandboxPhoneMessage {
            number: 1 + self.last.fetch_add(1, Ordering::Relaxed),
            to: to.to_owned(),
            channel,
            at: unix_micros(),
            text: readable(content),
            content: content.clone(),
        };
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            all.pop_back();
        }
        all.push_front(message);
    }

    fn list(&self, to: Option<&str>) -> Vec<Value> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = all.iter().filter(|it| to.is_none_or(|to| it.to == to));
        wanted
            .map(|it| {
                let at = chrono::DateTime::from_timestamp_micros(it.at);
                let at = at.map(|at| at.to_rfc3339()).unwrap_or_default();
                json!({ "number": it.number, "to": it.to, "channel": it.channel, "at": at, "text": it.text, "content": it.content })
            })
            .collect()
    }

    /// The HTML of a mail.
    fn html(&self, number: u64) -> Option<String> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mail = all.iter().find(|it| it.number == number)?;
        let html = mail.content.get("html").and_then(Value::as_str);
        html.map(str::to_owned)
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
        let at = cell("at");
        let (date, time) = at.split_once('T').unwrap_or((&at, ""));
        let _ = write!(
            rows,
            "<tr><td><time datetime=\"{at}\">{date} {}</time></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            time.get(..8).unwrap_or(time),
            cell("channel"),
            cell("to"),
            shown(&message)
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

/// What a message says, as HTML: of a mail its subject, and links to its other half and to where one
/// unsubscribes.
fn shown(message: &Value) -> String {
    let of = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    let mut html = String::new();
    if let Some(subject) = of("/content/subject") {
        let _ = write!(html, "<strong>{}</strong><br>", escaped(subject));
    }
    let _ = write!(
        html,
        "<span class=\"text\">{}</span>",
        escaped(of("/text").unwrap_or_default().trim())
    );
    if of("/content/html").is_some()
        && let Some(number) = message.get("number")
    {
        let _ = write!(html, "<br><a href=\"/sandbox/mails/{number}\">As HTML</a>");
    }
    let link = of("/content/unsubscribe").filter(|link| link.starts_with("http"));
    if let Some(link) = link {
        let _ = write!(html, "<br><a href=\"{}\">Unsubscribe</a>", escaped(link));
    }
    html
}

/// The HTML of a mail, which may run nothing.
pub(super) async fn html(world: web::Data<SandboxState>, path: web::Path<u64>) -> HttpResponse {
    match world.phones.html(*path) {
        None => HttpResponse::NotFound().body("there is no such mail, or it has no HTML"),
        Some(html) => HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((
                "Content-Security-Policy",
                "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data: https:",
            ))
            .body(html),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const PAGE: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="3"><title>Phones and mailboxes of the sandbox</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid color-mix(in srgb, currentcolor 20%, transparent); }
th { white-space: nowrap; }
td:nth-child(3) { min-width: 12rem; }
td:nth-child(n+3) { overflow-wrap: anywhere; }
time { font-variant-numeric: tabular-nums; white-space: nowrap; }
.text { white-space: pre-line; }
@media (max-width: 40rem) { thead { display: none; } tr, td { display: block; } td { border: 0; padding: .1rem 0; } tr { border-bottom: 1px solid color-mix(in srgb, currentcolor 20%, transparent); padding: .6rem 0; } }
</style></head><body>
<h1>Phones and mailboxes of the sandbox</h1>
<p>The newest 500 messages that the simulated people have got. Of a WhatsApp template the sandbox knows the name and what fills it.</p>
<table><thead><tr><th>Accepted (UTC)</th><th>Channel</th><th>To</th><th>Message</th></tr></thead><tbody>{rows}</tbody></table>
</body></html>
"#;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{SandboxPhones, escaped, readable, shown};

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
    fn a_mail_is_shown_with_its_subject_and_its_links() {
        let phones = SandboxPhones::default();
        let mail = json!({ "type": "email", "subject": "Order <A-17>", "text": "It is\r\non its way.\r\n",
            "html": "<p>It is on its way.</p>", "unsubscribe": "http://127.0.0.1:8080/unsubscribe/x\"y" });
        phones.keep("email", "asha@example.com", &mail);
        let listed = phones.list(Some("asha@example.com"));
        assert_eq!(
            shown(&listed[0]),
            "<strong>Order &lt;A-17&gt;</strong><br><span class=\"text\">It is\r\non its way.</span>\
             <br><a href=\"/sandbox/mails/1\">As HTML</a>\
             <br><a href=\"http://127.0.0.1:8080/unsubscribe/x&quot;y\">Unsubscribe</a>"
        );
        assert_eq!(phones.html(1).unwrap(), "<p>It is on its way.</p>");
        assert_eq!(phones.html(2), None);
        let script = json!({ "type": "email", "text": "", "unsubscribe": "javascript:alert(1)" });
        phones.keep("email", "asha@example.com", &script);
        assert!(!shown(&phones.list(None)[0]).contains("javascript"));
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
