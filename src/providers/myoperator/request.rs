//! Writes a message as MyOperator's request body: `POST /chat/messages`.

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        content::{FreeFormMessageContent, MediaSource},
        failure::{DeliveryFailure, FailureClass},
        phone,
        recipient::MessageAddress,
        template::layout::{
            FilledTemplate, FilledTemplateButton, FilledTemplateButtonValue, FilledTemplateHeader,
        },
    },
    providers::{OutgoingContent, OutgoingMessage},
};

/// The request body, or why MyOperator's API cannot carry the message.
pub(super) fn body(
    message: &OutgoingMessage,
    phone_number_id: &str,
    account_id: Option<&str>,
) -> Result<Value, MyOperatorLimit> {
    let MessageAddress::Phone(phone) = &message.to else {
        return Err(MyOperatorLimit("MyOperator sends to phone numbers only."));
    };
    let (country, national) = phone.country_and_national();
    let data = match &message.content {
        OutgoingContent::Template {
            name,
            language,
            filled,
        } => {
            json!({ "type": "template", "context": template(name, language, filled, message.sensitive)? })
        }
        OutgoingContent::Free(FreeFormMessageContent::Text(text)) => json!({
            "type": "text",
            "context": { "body": text.body, "preview_url": text.preview_url },
        }),
        OutgoingContent::Free(_) | OutgoingContent::Email(_) => {
            return Err(MyOperatorLimit(
                "Herald sends templates and texts through MyOperator, no files and no buttons.",
            ));
        }
    };
    let mut body = json!({
        "phone_number_id": phone_number_id,
        "customer_country_code": country,
        "customer_number": national,
        "data": data,
        "reply_to": message.reply_to,
        "myop_ref_id": message.our_id.to_string(),
    });
    if let (Some(account), Some(body)) = (account_id, body.as_object_mut()) {
        body.insert("waba_id".to_owned(), json!(account));
    }
    Ok(body)
}

/// The request as it is stored: the recipient masked, and without secret parameters.
pub(super) fn redacted(mut body: Value, sensitive: bool) -> Value {
    if let Some(number) = body.get_mut("customer_number") {
        let text = number.as_str().unwrap_or_default();
        *number = json!(phone::mask(text).trim_start_matches('+'));
    }
    if sensitive && let Some(data) = body.get_mut("data") {
        *data = json!("not kept: it holds a code");
    }
    body
}

/// What MyOperator's API cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MyOperatorLimit(&'static str);

impl MyOperatorLimit {
    /// The failure of a message that needs it.
    pub(super) fn failure(self) -> DeliveryFailure {
        DeliveryFailure {
            class: FailureClass::FixRequest,
            ..DeliveryFailure::ours(
                "not_possible_here",
                self.0,
                "Send it with another sender, or use another template.",
            )
        }
    }
}

/// `body` is an object: positional parameters are named by their positions.
fn template(
    name: &str,
    language: &str,
    filled: &FilledTemplate,
    is_code: bool,
) -> Result<Value, MyOperatorLimit> {
    let mut context = Map::new();
    context.insert("template_name".to_owned(), json!(name));
    context.insert("language".to_owned(), json!(language));
    let body: Map<String, Value> = filled
        .body
        .iter()
        .enumerate()
        .map(|(position, parameter)| {
            let name = parameter.name.clone();
            let name = name.unwrap_or_else(|| (position + 1).to_string());
            (name, json!(parameter.text))
        })
        .collect();
    if !body.is_empty() {
        context.insert("body".to_owned(), Value::Object(body));
    }
    match &filled.header {
        None => {}
        Some(FilledTemplateHeader::Media {
            source: MediaSource::Link(link),
            ..
        }) => {
            context.insert("header".to_owned(), json!({ "media_url": link }));
        }
        Some(FilledTemplateHeader::Media { .. }) => {
            return Err(MyOperatorLimit(
                "The header is a file that was uploaded to another provider: give a link.",
            ));
        }
        Some(FilledTemplateHeader::Text(_) | FilledTemplateHeader::Location { .. }) => {
            return Err(MyOperatorLimit(
                "MyOperator's API fills no parameters of a header but the link to a file.",
            ));
        }
    }
    let buttons = filled.buttons.iter().map(|it| button(it, is_code));
    let buttons = buttons.collect::<Result<Vec<Value>, _>>()?;
    if !buttons.is_empty() {
        context.insert("buttons".to_owned(), json!(buttons));
    }
    Ok(Value::Object(context))
}

fn button(button: &FilledTemplateButton, is_code: bool) -> Result<Value, MyOperatorLimit> {
    match &button.value {
        FilledTemplateButtonValue::UrlEnd(code) if is_code => {
            Ok(json!({ "index": button.index, "otp": code }))
        }
        FilledTemplateButtonValue::Payload(payload) => {
            Ok(json!({ "index": button.index, "id": payload }))
        }
        FilledTemplateButtonValue::UrlEnd(_) | FilledTemplateButtonValue::CouponCode(_) => {
            Err(MyOperatorLimit(
                "MyOperator's API fills no buttons but quick replies and one-time passwords.",
            ))
        }
    }
}
