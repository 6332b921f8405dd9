//! Writes a message as Meta's request body (Meta, "Messages"; `POST /{phone-number-id}/messages`).

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        content::{
            self, InteractiveContent, InteractiveHeader, InteractiveListSection, MediaContent,
            MediaKind, MediaSource,
        },
        phone,
        recipient::MessageAddress,
        template::layout::{
            FilledTemplate, FilledTemplateButton, FilledTemplateButtonValue, FilledTemplateHeader,
            FilledTemplateParameter,
        },
    },
    providers::{OutgoingContent, OutgoingMessage},
};

/// The request body.
pub fn request_body(message: &OutgoingMessage) -> Value {
    let mut body = Map::new();
    body.insert("messaging_product".to_owned(), json!("whatsapp"));
    body.insert("recipient_type".to_owned(), json!("individual"));
    match &message.to {
        MessageAddress::Phone(phone) => body.insert("to".to_owned(), json!(phone.e164())),
        MessageAddress::UserId(user_id) => {
            body.insert("recipient".to_owned(), json!(user_id.as_str()))
        }
        // It is refused before anything is sent.
        MessageAddress::Email(_) => None,
    };
    if let Some(answered) = &message.reply_to {
        body.insert("context".to_owned(), json!({ "message_id": answered }));
    }
    body.insert(
        "biz_opaque_callback_data".to_owned(),
        json!(message.our_id.to_string()),
    );
    let (kind, content) = match &message.content {
        OutgoingContent::Template {
            name,
            language,
            filled,
        } => ("template", template(name, language, filled)),
        OutgoingContent::Free(content) => free(content),
        OutgoingContent::Email(email) => ("text", json!({ "body": email.text })),
    };
    body.insert("type".to_owned(), json!(kind));
    body.insert(kind.to_owned(), content);
    Value::Object(body)
}

/// The request as it is stored: the recipient masked, and without secret parameters.
pub fn redacted(message: &OutgoingMessage) -> Value {
    let mut body = request_body(message);
    if let Some(object) = body.as_object_mut() {
        match &message.to {
            MessageAddress::Phone(phone) => {
                object.insert("to".to_owned(), json!(phone::mask(phone.e164())));
            }
            MessageAddress::UserId(user_id) => {
                let country: String = user_id.as_str().chars().take(3).collect();
                object.insert("recipient".to_owned(), json!(format!("{country}***")));
            }
            MessageAddress::Email(_) => {}
        }
        if message.sensitive {
            for key in ["template", "text"] {
                if let Some(content) = object.get_mut(key) {
                    *content = json!("not kept: it holds a code");
                }
            }
        }
    }
    body
}

fn text_parameter(parameter: &FilledTemplateParameter) -> Value {
    match &parameter.name {
        Some(name) => json!({ "type": "text", "parameter_name": name, "text": parameter.text }),
        None => json!({ "type": "text", "text": parameter.text }),
    }
}

fn template(name: &str, language: &str, filled: &FilledTemplate) -> Value {
    let mut components = Vec::new();
    if let Some(header) = &filled.header {
        components.push(json!({ "type": "header", "parameters": [header_parameter(header)] }));
    }
    if !filled.body.is_empty() {
        let parameters: Vec<Value> = filled.body.iter().map(text_parameter).collect();
        components.push(json!({ "type": "body", "parameters": parameters }));
    }
    components.extend(filled.buttons.iter().map(button));
    let mut template = json!({ "name": name, "language": { "code": language } });
    if !components.is_empty()
        && let Some(template) = template.as_object_mut()
    {
        template.insert("components".to_owned(), json!(components));
    }
    template
}

fn header_parameter(header: &FilledTemplateHeader) -> Value {
    match header {
        FilledTemplateHeader::Text(parameter) => text_parameter(parameter),
        FilledTemplateHeader::Media {
            kind,
            source,
            filename,
        } => {
            let name = filename.as_deref().filter(|_| *kind == MediaKind::Document);
            json!({ "type": kind.name(), kind.name(): file(source, None, name) })
        }
        FilledTemplateHeader::Location {
            latitude,
            longitude,
            name,
            address,
        } => json!({
            "type": "location",
            "location": { "latitude": latitude, "longitude": longitude, "name": name, "address": address },
        }),
    }
}

fn button(button: &FilledTemplateButton) -> Value {
    let (sub_type, parameter) = match &button.value {
        FilledTemplateButtonValue::UrlEnd(text) => ("url", json!({ "type": "text", "text": text })),
        FilledTemplateButtonValue::Payload(payload) => (
            "quick_reply",
            json!({ "type": "payload", "payload": payload }),
        ),
        FilledTemplateButtonValue::CouponCode(code) => (
            "copy_code",
            json!({ "type": "coupon_code", "coupon_code": code }),
        ),
    };
    json!({
        "type": "button",
        "sub_type": sub_type,
        "index": button.index.to_string(),
        "parameters": [parameter],
    })
}

fn file(source: &MediaSource, caption: Option<&str>, filename: Option<&str>) -> Value {
    let mut file = Map::new();
    match source {
        MediaSource::Id(id) => file.insert("id".to_owned(), json!(id)),
        MediaSource::Link(link) => file.insert("link".to_owned(), json!(link)),
    };
    for (key, value) in [("caption", caption), ("filename", filename)] {
        if let Some(value) = value {
            file.insert(key.to_owned(), json!(value));
        }
    }
    Value::Object(file)
}

fn media(media: &MediaContent) -> Value {
    let source = media
        .source()
        .unwrap_or_else(|| MediaSource::Id(String::new()));
    file(&source, media.caption.as_deref(), media.filename.as_deref())
}

fn free(content: &content::FreeFormMessageContent) -> (&'static str, Value) {
    match content {
        content::FreeFormMessageContent::Text(text) => (
            "text",
            json!({ "body": text.body, "preview_url": text.preview_url }),
        ),
        content::FreeFormMessageContent::Media(file) => (file.kind.name(), media(file)),
        content::FreeFormMessageContent::Interactive(tapped) => {
            ("interactive", interactive(tapped))
        }
    }
}

fn interactive(tapped: &InteractiveContent) -> Value {
    let (kind, header, footer, action) = match tapped {
        InteractiveContent::Buttons {
            header,
            footer,
            buttons,
            ..
        } => {
            let buttons: Vec<Value> = buttons
                .iter()
                .map(|button| json!({ "type": "reply", "reply": { "id": button.id, "title": button.title } }))
                .collect();
            (
                "button",
                header.as_ref().map(header_of),
                footer.as_ref(),
                json!({ "buttons": buttons }),
            )
        }
        InteractiveContent::List {
            header,
            footer,
            button,
            sections,
            ..
        } => {
            let sections: Vec<Value> = sections.iter().map(section).collect();
            (
                "list",
                header
                    .as_ref()
                    .map(|text| json!({ "type": "text", "text": text })),
                footer.as_ref(),
                json!({ "button": button, "sections": sections }),
            )
        }
        InteractiveContent::Link {
            header,
            footer,
            text,
            url,
            ..
        } => (
            "cta_url",
            header.as_ref().map(header_of),
            footer.as_ref(),
            json!({ "name": "cta_url", "parameters": { "display_text": text, "url": url } }),
        ),
        InteractiveContent::LocationRequest { .. } => (
            "location_request_message",
            None,
            None,
            json!({ "name": "send_location" }),
        ),
        InteractiveContent::ContactRequest { .. } => (
            "request_contact_info",
            None,
            None,
            json!({ "name": "request_contact_info" }),
        ),
    };
    let mut interactive = Map::new();
    interactive.insert("type".to_owned(), json!(kind));
    if let Some(header) = header {
        interactive.insert("header".to_owned(), header);
    }
    interactive.insert("body".to_owned(), json!({ "text": tapped.body() }));
    if let Some(footer) = footer {
        interactive.insert("footer".to_owned(), json!({ "text": footer }));
    }
    interactive.insert("action".to_owned(), action);
    Value::Object(interactive)
}

fn header_of(header: &InteractiveHeader) -> Value {
    match header {
        InteractiveHeader::Text(text) => json!({ "type": "text", "text": text }),
        InteractiveHeader::Media(file) => {
            json!({ "type": file.kind.name(), file.kind.name(): media(file) })
        }
    }
}

fn section(section: &InteractiveListSection) -> Value {
    let rows: Vec<Value> = section
        .rows
        .iter()
        .map(|row| {
            let mut described = json!({ "id": row.id, "title": row.title });
            if let (Some(object), Some(description)) = (described.as_object_mut(), &row.description)
            {
                object.insert("description".to_owned(), json!(description));
            }
            described
        })
        .collect();
    let mut described = json!({ "rows": rows });
    if let (Some(object), Some(title)) = (described.as_object_mut(), &section.title) {
        object.insert("title".to_owned(), json!(title));
    }
    described
}
