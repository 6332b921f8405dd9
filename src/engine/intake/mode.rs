//! Decides the form of a message: its template or, while the service window is open, free text.

use std::collections::HashSet;

use serde_json::json;
use uuid::Uuid;

use super::{IntakeRowCache, MessageDraft, targets::ResolvedRecipient};
use crate::{
    domain::{
        category::MessageCategory,
        content::{FreeFormMessageContent, TextContent},
        template::{layout::TemplateLayout, one_line},
        time::Timestamp,
    },
    engine::Engine,
    store::{
        DatabaseTransaction, StoreError, conversation,
        notification::{FallbackTemplate, NewNotification},
    },
};

/// The requested form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageContentMode {
    #[default]
    Template,
    /// Free text while the window is open, which costs nothing; otherwise a template.
    Auto,
    /// Free text; outside the window its fallback template, or nothing.
    Text,
}

impl MessageContentMode {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "template" => Some(Self::Template),
            "auto" => Some(Self::Auto),
            "text" => Some(Self::Text),
            _ => None,
        }
    }
}

/// The contacts among these whose service window is open when the message is sent.
pub(super) async fn open_windows(
    tx: &DatabaseTransaction,
    reading: &mut IntakeRowCache,
    draft: &MessageDraft,
    targets: &[ResolvedRecipient],
    now: Timestamp,
) -> Result<HashSet<Uuid>, StoreError> {
    if draft.mode == MessageContentMode::Template {
        return Ok(HashSet::new());
    }
    let sender = match draft.sender_id {
        Some(sender) => Some(sender),
        None => reading.default_sender(tx).await?,
    };
    let contacts: Vec<Uuid> = targets.iter().filter_map(|it| it.contact_id).collect();
    match sender {
        Some(sender) => {
            conversation::open_at(tx, sender, &contacts, draft.send_at.unwrap_or(now)).await
        }
        None => Ok(HashSet::new()),
    }
}

/// Converts a message that was composed as a template to the form of its mode. A template with
/// buttons, a file or a secret value stays a template in every mode but `text`, where the message
/// is skipped with the reason.
pub(super) async fn apply(
    engine: &Engine,
    tx: &DatabaseTransaction,
    reading: &mut IntakeRowCache,
    draft: &MessageDraft,
    layout: &TemplateLayout,
    is_open: bool,
    mut new: NewNotification,
) -> Result<NewNotification, StoreError> {
    if draft.mode == MessageContentMode::Template || new.skipped.is_some() {
        return Ok(new);
    }
    let text = layout
        .plain_text(&new.params)
        .filter(|_| new.sealed.is_none());
    let Some(text) = text else {
        if draft.mode == MessageContentMode::Text {
            let reason = "the template has buttons, a file or a secret: it cannot be sent as text";
            new.skipped = Some(reason.to_owned());
        }
        return Ok(new);
    };
    let named = named_fallback(engine, tx, reading, draft, &new, &text).await?;
    let fallback = named.or_else(|| {
        (draft.mode == MessageContentMode::Auto).then(|| FallbackTemplate {
            template: new.template.clone(),
            language: new.language.clone().unwrap_or_default(),
            category: new.category,
            params: new.params.clone(),
            body: new.body.clone(),
        })
    });
    match fallback {
        Some(fallback) if !is_open => {
            if fallback.template != new.template {
                new.made_with = Some(new.template);
            }
            new.template = fallback.template;
            new.language = Some(fallback.language);
            new.category = fallback.category;
            new.params = fallback.params;
            new.body = fallback.body;
        }
        fallback => {
            let content = FreeFormMessageContent::Text(TextContent {
                body: text.clone(),
                preview_url: false,
            });
            new.kind = content.kind();
            new.params = json!(content);
            new.body = Some(text);
            new.fallback = fallback;
        }
    }
    Ok(new)
}

/// The named fallback template for a closed window, filled with the message's parameters and with
/// its text as `message`; `None` if it cannot be filled.
async fn named_fallback(
    engine: &Engine,
    tx: &DatabaseTransaction,
    reading: &mut IntakeRowCache,
    draft: &MessageDraft,
    new: &NewNotification,
    text: &str,
) -> Result<Option<FallbackTemplate>, StoreError> {
    let Some(name) = &draft.fallback_template else {
        return Ok(None);
    };
    let language = new.language.as_deref();
    let Some(template) = reading
        .template(engine, tx, name, language.as_slice())
        .await?
    else {
        return Ok(None);
    };
    let mut params = new.params.clone();
    // Its secret values would be stored beside the text: such a template cannot be a fallback.
    let holds_secrets = template
        .layout
        .as_ref()
        .is_ok_and(|layout| !layout.take_secrets(&mut params.clone()).is_empty());
    if holds_secrets {
        return Ok(None);
    }
    if let Some(params) = params.as_object_mut() {
        params.insert("message".to_owned(), json!(one_line(text)));
    }
    let filled = template
        .layout
        .as_ref()
        .ok()
        .and_then(|layout| Some(layout.masked_text(&layout.fill(&params).ok()?.body)));
    Ok(filled.map(|body| FallbackTemplate {
        template: name.clone(),
        language: template.row.language.clone(),
        category: MessageCategory::counted_as(&template.row.category),
        params,
        body: Some(body),
    }))
}
