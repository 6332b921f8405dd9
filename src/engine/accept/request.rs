//! Direct requests: checked completely before anything is stored.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Draft, NEEDS_PHONE, compose, named_sender, unique};
use crate::engine::{
    Engine,
    catalogue::layout,
    dispatch::{Sendable, sendable},
    routing::{self, Target},
    transition::{self, Report},
};
use crate::{
    domain::{
        content::{Broken, Content},
        recipient::{RecipientSpec, UserId},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError, catalogue,
        event::{self, Used},
        new_id,
        notification::{self, Fallback, NewNotification},
        sender, template_sync,
    },
};

/// A message asked for directly.
#[derive(Clone, Debug)]
pub struct Request {
    pub to: Vec<String>,
    pub about: Option<String>,
    /// The name or id of a sender; none: the default.
    pub sender: Option<String>,
    pub content: RequestContent,
    pub reference: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub priority: i64,
    pub expires_after_seconds: Option<i64>,
    /// Not before then.
    pub send_at: Option<Timestamp>,
    /// The provider's id of the message that it answers.
    pub reply_to: Option<String>,
}

/// What a direct request wants to say.
#[derive(Clone, Debug)]
pub enum RequestContent {
    Template(TemplateUse),
    /// What arrives only while the window is open, and the template that takes its
    /// place, once, when it is not.
    Free {
        content: Content,
        fallback: Option<TemplateUse>,
    },
}

/// A template with its parameters.
#[derive(Clone, Debug)]
pub struct TemplateUse {
    pub name: String,
    pub language: Option<String>,
    pub params: serde_json::Map<String, Value>,
}

/// A field of a request and the rule it breaks. Never the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer into the request.
    pub pointer: String,
    pub rule: String,
}

impl From<Broken> for FieldError {
    fn from(broken: Broken) -> Self {
        Self {
            pointer: broken.pointer,
            rule: broken.rule,
        }
    }
}

/// Why a direct request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Fields(Vec<FieldError>),
    /// The idempotency key was used for another body.
    KeyReused,
}

/// Members of groups that a direct request may reach; larger fan-outs are events.
const MAX_DIRECT_TARGETS: usize = 1000;

/// Checks a direct request completely, then stores it. Gives back its notifications.
pub async fn request(
    engine: &Engine,
    client: &str,
    key: Option<&str>,
    fingerprint: Vec<u8>,
    request: &Request,
    now: Timestamp,
) -> Result<Result<Vec<Uuid>, Refusal>, StoreError> {
    let mut refusal = None;
    let stored = engine
        .store
        .write(async |tx| {
            match request_in(engine, tx, client, key, &fingerprint, request, now).await? {
                (Ok(ids), report) => Ok((ids, report)),
                // Nothing of a refused request may stay, its idempotency key included.
                (Err(refused), _) => {
                    refusal = Some(refused);
                    Err(StoreError::RolledBack)
                }
            }
        })
        .await;
    match (stored, refusal) {
        (Err(StoreError::RolledBack), Some(refused)) => Ok(Err(refused)),
        (stored, _) => {
            let (ids, report) = stored?;
            report.publish(engine);
            Ok(Ok(ids))
        }
    }
}

async fn request_in(
    engine: &Engine,
    tx: &DatabaseTransaction,
    client: &str,
    key: Option<&str>,
    fingerprint: &[u8],
    request: &Request,
    now: Timestamp,
) -> Result<(Result<Vec<Uuid>, Refusal>, Report), StoreError> {
    let batch = new_id(now);
    if let Some(key) = key {
        let used = Used {
            fingerprint: fingerprint.to_vec(),
            resource_id: batch,
            answer: None,
        };
        let before =
            event::take_idempotency_key(tx, client, key, "POST /api/v1/notifications", &used, now)
                .await?;
        if let Some(before) = before {
            if before.fingerprint != fingerprint {
                return Ok((Err(Refusal::KeyReused), Report::default()));
            }
            return Ok((
                Ok(notification::of_request(tx, before.resource_id).await?),
                Report::default(),
            ));
        }
    }
    let mut wrong = Vec::new();
    let targets = direct_targets(tx, request, &mut wrong, now).await?;
    let about = match &request.about {
        None => None,
        Some(about) => match RecipientSpec::parse(about) {
            Ok(spec) => match routing::resolve(tx, &spec, None, None, now).await? {
                Ok(page) => page.targets.first().and_then(|target| target.contact_id),
                Err(unknown) => {
                    wrong.push(FieldError {
                        pointer: "/about".to_owned(),
                        rule: unknown.0,
                    });
                    None
                }
            },
            Err(error) => {
                wrong.push(FieldError {
                    pointer: "/about".to_owned(),
                    rule: error.to_string(),
                });
                None
            }
        },
    };
    let from = match &request.sender {
        None => None,
        Some(named) => {
            let found = named_sender(tx, named).await?;
            if found.is_none() {
                wrong.push(FieldError {
                    pointer: "/sender".to_owned(),
                    rule: "no sender has this name".to_owned(),
                });
            }
            found
        }
    };
    let draft = Draft {
        event_id: None,
        route: None,
        event_type: None,
        follow_up_id: None,
        parent_id: None,
        rule: None,
        depth: 0,
        channel: "whatsapp".to_owned(),
        sender_id: from.as_ref().map(|row| row.id),
        template: String::new(),
        language: None,
        params: json!({}),
        subject_contact_id: about,
        reference: request.reference.clone(),
        labels: request.labels.clone(),
        priority: request.priority,
        expires_after_seconds: request.expires_after_seconds,
        send_at: request.send_at,
        reply_to: request.reply_to.clone(),
    };
    let new = match &request.content {
        RequestContent::Template(template) => {
            let made = templated(engine, tx, &draft, template, "", targets, now).await?;
            made.unwrap_or_else(|broken| {
                wrong.extend(broken);
                Vec::new()
            })
        }
        RequestContent::Free { content, fallback } => {
            wrong.extend(content.check().into_iter().map(FieldError::from));
            let mut fallbacks = Vec::new();
            if let Some(template) = fallback {
                let targets = targets.clone();
                match templated(engine, tx, &draft, template, "/fallback", targets, now).await? {
                    Ok(made) => fallbacks = made,
                    Err(broken) => wrong.extend(broken),
                }
            }
            let mut fallbacks = fallbacks.into_iter();
            targets
                .into_iter()
                .map(|target| {
                    let fallback = fallbacks.next().and_then(fallback_of);
                    free(engine, &draft, target, content, fallback, now)
                })
                .collect()
        }
    };
    if !wrong.is_empty() {
        return Ok((Err(Refusal::Fields(wrong)), Report::default()));
    }
    let new: Vec<NewNotification> = new
        .into_iter()
        .map(|new| NewNotification {
            parent_id: None,
            event_id: Some(batch),
            ..new
        })
        .collect();
    let (inserted, report) = transition::introduce(engine, tx, &new, now).await?;
    Ok((Ok(inserted), report))
}

/// Notifications of a template, or what is wrong with its use; pointers begin with `at`.
async fn templated(
    engine: &Engine,
    tx: &DatabaseTransaction,
    draft: &Draft,
    template: &TemplateUse,
    at: &str,
    targets: Vec<Target>,
    now: Timestamp,
) -> Result<Result<Vec<NewNotification>, Vec<FieldError>>, StoreError> {
    let mut wrong = Vec::new();
    let category = check_template(tx, draft.sender_id, template, at, &mut wrong).await?;
    let needs_phone = category.as_deref() == Some("authentication")
        && targets.iter().any(|target| {
            target
                .address
                .as_deref()
                .is_some_and(|address| UserId::parse(address).is_some())
        });
    if needs_phone {
        wrong.push(FieldError {
            pointer: "/to".to_owned(),
            rule: NEEDS_PHONE.to_owned(),
        });
    }
    if !wrong.is_empty() {
        return Ok(Err(wrong));
    }
    let draft = Draft {
        template: template.name.clone(),
        language: template.language.clone(),
        params: Value::Object(template.params.clone()),
        ..draft.clone()
    };
    let made = compose(engine, tx, &draft, targets, now).await?;
    Ok(made.map_err(|reason| {
        vec![FieldError {
            pointer: format!("{at}/template"),
            rule: reason,
        }]
    }))
}

/// What takes the place of a message whose window is closed. One that cannot be
/// filled in for this person takes none.
fn fallback_of(new: NewNotification) -> Option<Fallback> {
    if new.skipped.is_some() {
        return None;
    }
    Some(Fallback {
        template: new.template,
        language: new.language.unwrap_or_default(),
        category: new.category,
        params: new.params,
        body: new.body,
    })
}

fn free(
    engine: &Engine,
    draft: &Draft,
    target: Target,
    content: &Content,
    fallback: Option<Fallback>,
    now: Timestamp,
) -> NewNotification {
    let lifetime = draft
        .expires_after_seconds
        .unwrap_or(engine.settings.expires_after_seconds);
    NewNotification {
        id: new_id(now),
        event_id: None,
        route: None,
        event_type: None,
        follow_up_id: None,
        parent_id: None,
        rule: None,
        depth: 0,
        sender_id: draft.sender_id,
        channel: draft.channel.clone(),
        contact_id: target.contact_id,
        recipient: target.recipient,
        address: target.address,
        subject_contact_id: draft.subject_contact_id,
        kind: content.kind(),
        template: String::new(),
        language: None,
        category: "service".to_owned(),
        params: json!(content),
        body: content.readable().map(str::to_owned),
        reference: draft.reference.clone(),
        labels: draft.labels.clone(),
        priority: draft.priority,
        skipped: target.skipped,
        expires_at: Some(draft.send_at.unwrap_or(now).plus_seconds(lifetime)),
        send_at: draft.send_at,
        reply_to: draft.reply_to.clone(),
        fallback,
    }
}

async fn direct_targets(
    tx: &DatabaseTransaction,
    request: &Request,
    wrong: &mut Vec<FieldError>,
    now: Timestamp,
) -> Result<Vec<Target>, StoreError> {
    let mut targets = Vec::new();
    if request.to.is_empty() {
        wrong.push(FieldError {
            pointer: "/to".to_owned(),
            rule: "at least one recipient".to_owned(),
        });
    }
    for (index, entry) in request.to.iter().enumerate() {
        let mut refuse = |rule: String| {
            wrong.push(FieldError {
                pointer: format!("/to/{index}"),
                rule,
            });
        };
        let spec = match RecipientSpec::parse(entry) {
            Ok(spec) => spec,
            Err(error) => {
                refuse(error.to_string());
                continue;
            }
        };
        let mut after = None;
        loop {
            match routing::resolve(tx, &spec, None, after, now).await? {
                Ok(page) => {
                    targets.extend(page.targets);
                    after = page.next;
                }
                Err(unknown) => {
                    refuse(unknown.0);
                    break;
                }
            }
            if targets.len() > MAX_DIRECT_TARGETS {
                refuse(format!(
                    "more than {MAX_DIRECT_TARGETS} people: post an event instead"
                ));
                break;
            }
            if after.is_none() {
                break;
            }
        }
    }
    Ok(unique(targets))
}

/// Checks a template and its parameters. Gives back its category, if there is one
/// of this name.
async fn check_template(
    tx: &DatabaseTransaction,
    sender_id: Option<Uuid>,
    template: &TemplateUse,
    at: &str,
    wrong: &mut Vec<FieldError>,
) -> Result<Option<String>, StoreError> {
    let mut refuse = |pointer: String, rule: String| {
        wrong.push(FieldError {
            pointer: format!("{at}{pointer}"),
            rule,
        });
    };
    let (name, language) = (&template.name, template.language.as_deref());
    let Some(found) = catalogue::template(tx, name, language).await? else {
        refuse(
            "/template".to_owned(),
            "there is no template of this name".to_owned(),
        );
        return Ok(None);
    };
    if language.is_some_and(|language| language != found.language) {
        refuse(
            "/language".to_owned(),
            format!("the template exists in {} only", found.language),
        );
    }
    // What waits for approval waits in the queue; what is refused for good is refused here.
    let from = match sender_id {
        Some(id) => sender::find(tx, id).await?,
        None => sender::default_one(tx).await?,
    };
    let account = from.and_then(|row| row.waba_id);
    let standing = template_sync::standing(tx, account.as_deref(), name, &found.language).await?;
    if let Sendable::Never(reason) = sendable(name, standing.as_ref()) {
        refuse("/template".to_owned(), reason);
    }
    let Ok(layout) = layout(&found) else {
        refuse(
            "/template".to_owned(),
            "the template cannot be read".to_owned(),
        );
        return Ok(Some(found.category));
    };
    let declared = layout.variables();
    for variable in &declared {
        let provided = ["contact", "about", "related_contact_name"].contains(&variable.as_str());
        match template.params.get(variable) {
            None if !provided => refuse(format!("/params/{variable}"), "missing".to_owned()),
            Some(Value::String(text)) if text.trim().is_empty() => {
                refuse(
                    format!("/params/{variable}"),
                    "empty: Meta refuses empty parameters".to_owned(),
                );
            }
            Some(Value::Null) => refuse(
                format!("/params/{variable}"),
                "empty: Meta refuses empty parameters".to_owned(),
            ),
            _ => {}
        }
    }
    for extra in template
        .params
        .keys()
        .filter(|key| !declared.contains(*key))
    {
        refuse(
            format!("/params/{extra}"),
            "the template has no such parameter".to_owned(),
        );
    }
    Ok(Some(found.category))
}
