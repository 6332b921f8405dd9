//! A claimed notification becomes a message, judged at the moment of sending.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::{
        content,
        failure::{Failure, FailureClass},
        recipient::Address,
        template::layout::Layout,
        time::Timestamp,
        window,
    },
    engine::{accept::NEEDS_PHONE, catalogue::layout},
    providers::{Content, Message},
    store::{DatabaseTransaction, StoreError, catalogue, conversation, notification::Claimed},
};

/// Template bodies, read and taken apart once in a claim.
#[derive(Default)]
pub(super) struct Templates {
    known: Vec<(String, Option<String>, Option<Arc<Prepared>>)>,
}

struct Prepared {
    language: String,
    layout: Result<Layout, String>,
}

impl Templates {
    async fn get(
        &mut self,
        tx: &DatabaseTransaction,
        name: &str,
        language: Option<&str>,
    ) -> Result<Option<Arc<Prepared>>, StoreError> {
        if let Some((_, _, known)) = self
            .known
            .iter()
            .find(|(known, in_language, _)| known == name && in_language.as_deref() == language)
        {
            return Ok(known.clone());
        }
        let prepared = catalogue::template(tx, name, language).await?.map(|row| {
            Arc::new(Prepared {
                layout: layout(&row),
                language: row.language,
            })
        });
        self.known.push((
            name.to_owned(),
            language.map(str::to_owned),
            prepared.clone(),
        ));
        Ok(prepared)
    }
}

/// Writes the message at the moment of sending: the window and the template are
/// judged now, not when it was queued.
pub(super) async fn compose(
    tx: &DatabaseTransaction,
    templates: &mut Templates,
    sender: Uuid,
    claimed: &Claimed,
    attempt_id: Uuid,
    now: Timestamp,
) -> Result<Result<Message, Failure>, StoreError> {
    let fix = |title: &str, meaning: &str, remedy: &str| Failure {
        class: FailureClass::FixRequest,
        ..Failure::ours(title, meaning, remedy)
    };
    let Some(to) = claimed.address.as_deref().and_then(Address::parse) else {
        return Ok(Err(fix(
            "no_address",
            "The recipient has no usable phone number.",
            "Give the contact a number in E.164.",
        )));
    };
    let sensitive = claimed.category == "authentication";
    if sensitive && matches!(to, Address::UserId(_)) {
        return Ok(Err(fix(
            "needs_phone",
            NEEDS_PHONE,
            "Ask the person for their number, then send it anew.",
        )));
    }
    let params: Value = serde_json::from_str(&claimed.params).unwrap_or(Value::Null);
    if claimed.kind != "template" {
        let until = match claimed.contact_id {
            Some(contact) => conversation::window_until(tx, sender, contact).await?,
            None => None,
        };
        if !window::is_open(until, now) {
            return Ok(Err(Failure {
                class: FailureClass::NeedsTemplate,
                ..Failure::ours(
                    "window_closed",
                    "The person has not written in the last 24 hours: free text may not be sent.",
                    "Send a template, or wait until the person writes.",
                )
            }));
        }
        // What was queued by an older version has its text only.
        let content = serde_json::from_value(params).unwrap_or_else(|_older| {
            content::Content::Text(content::Text {
                body: claimed.body.clone().unwrap_or_default(),
                preview_url: false,
            })
        });
        return Ok(Ok(Message {
            attempt_id,
            to,
            content: Content::Free(content),
            reply_to: claimed.reply_to.clone(),
            sensitive,
        }));
    }
    let Some(prepared) = templates
        .get(tx, &claimed.template, claimed.language.as_deref())
        .await?
    else {
        return Ok(Err(fix(
            "template_unknown",
            "The catalogue has no template of this name any more.",
            "Apply the catalogue that has it, then retry.",
        )));
    };
    let layout = match &prepared.layout {
        Ok(layout) => layout,
        Err(error) => {
            return Ok(Err(fix(
                "template_unreadable",
                error,
                "Mend the template in its catalogue, then retry.",
            )));
        }
    };
    match layout.fill(&params) {
        Ok(filled) => Ok(Ok(Message {
            attempt_id,
            to,
            content: Content::Template {
                name: claimed.template.clone(),
                language: prepared.language.clone(),
                filled,
            },
            reply_to: claimed.reply_to.clone(),
            sensitive,
        })),
        Err(error) => Ok(Err(fix(
            "parameters",
            &format!("The template cannot be filled: {error}."),
            "Mend the parameters, then send it anew.",
        ))),
    }
}
