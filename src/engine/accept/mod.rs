//! Events and requests become notifications.

mod event;
mod expand;
mod request;

pub use event::{Accepted, Conflict, Duplicate, NewEvent, RouteResult, event, raise};
pub use expand::expand_turn;
pub use request::{FieldError, Refusal, Request, RequestContent, request};

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Engine, routing::Target};
use crate::{
    domain::{template::Body, time::Timestamp},
    store::{
        DatabaseTransaction, StoreError, catalogue, new_id, notification::NewNotification, people,
    },
};

/// Everything about a message but whom it is for.
#[derive(Clone, Debug)]
pub struct Draft {
    pub event_id: Option<Uuid>,
    pub route: Option<String>,
    pub event_type: Option<String>,
    pub follow_up_id: Option<Uuid>,
    pub parent_id: Option<Uuid>,
    pub rule: Option<String>,
    pub depth: i64,
    pub channel: String,
    pub template: String,
    pub language: Option<String>,
    pub params: Value,
    pub subject_contact_id: Option<Uuid>,
    pub reference: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub priority: i64,
    pub expires_after_seconds: Option<i64>,
}

/// Lanes of the queue: a lower number goes first.
pub fn priority(name: &str) -> Option<i64> {
    match name {
        "otp" => Some(0),
        "high" => Some(1),
        "normal" => Some(2),
        "bulk" => Some(3),
        _ => None,
    }
}

/// One target a person, however many groups they are in.
pub fn unique(targets: Vec<Target>) -> Vec<Target> {
    let mut seen = BTreeSet::new();
    targets
        .into_iter()
        .filter(|target| seen.insert(target.key()))
        .collect()
}

/// Renders a draft for each target.
pub async fn compose(
    engine: &Engine,
    tx: &DatabaseTransaction,
    draft: &Draft,
    targets: Vec<Target>,
    now: Timestamp,
) -> Result<Result<Vec<NewNotification>, String>, StoreError> {
    let Some(found) = catalogue::template(tx, &draft.template, draft.language.as_deref()).await?
    else {
        return Ok(Err(format!("there is no template {}", draft.template)));
    };
    let body = match Body::parse(&found.body) {
        Ok(body) => body,
        Err(error) => return Ok(Err(format!("the template {}: {error}", draft.template))),
    };
    let about = match draft.subject_contact_id {
        Some(contact) => people::contact(tx, contact).await?,
        None => None,
    };
    let authentication = found.category == "authentication";
    let lifetime = draft.expires_after_seconds.unwrap_or(if authentication {
        engine.settings.authentication_expires_after_seconds
    } else {
        engine.settings.expires_after_seconds
    });
    let mut new = Vec::with_capacity(targets.len());
    for target in targets {
        let mut params = draft.params.clone();
        if let Some(object) = params.as_object_mut() {
            object
                .entry("contact")
                .or_insert(json!({ "name": target.name }));
            if let Some(about) = &about {
                let name = about.name.clone().or_else(|| about.phone.clone());
                object.entry("about").or_insert(json!({ "name": name }));
                object.entry("related_contact_name").or_insert(json!(name));
            }
        }
        // One person without a name must not keep the others from hearing.
        let (rendered, unusable) = match body.parameters(&params) {
            Ok(values) => (Some(body.fill(&values)), None),
            Err(error) => (
                None,
                Some(format!(
                    "the template {} cannot be filled: {error}",
                    draft.template
                )),
            ),
        };
        new.push(NewNotification {
            id: new_id(now),
            event_id: draft.event_id,
            route: draft.route.clone(),
            event_type: draft.event_type.clone(),
            follow_up_id: draft.follow_up_id,
            parent_id: draft.parent_id,
            rule: draft.rule.clone(),
            depth: draft.depth,
            sender_id: None,
            channel: draft.channel.clone(),
            contact_id: target.contact_id,
            recipient: target.recipient,
            address: target.address,
            subject_contact_id: draft.subject_contact_id,
            kind: "template",
            template: draft.template.clone(),
            language: Some(found.language.clone()),
            category: found.category.clone(),
            params,
            body: rendered.filter(|_| !authentication),
            reference: draft.reference.clone(),
            labels: draft.labels.clone(),
            priority: if authentication { 0 } else { draft.priority },
            skipped: target.skipped.or(unusable),
            expires_at: Some(now.plus_seconds(lifetime)),
        });
    }
    Ok(Ok(new))
}
