//! Events and requests become notifications.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Engine,
    routing::{self, Target},
    transition::{self, Report},
};
use crate::{
    domain::{
        recipient::RecipientSpec,
        template::{self, Body},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError, catalogue,
        dialect::Id,
        event::{self, DedupeClaim, Used},
        new_id,
        notification::{self, NewNotification},
        people,
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
        let rendered = match body.parameters(&params) {
            Ok(values) => body.fill(&values),
            Err(error) => return Ok(Err(format!("the template {}: {error}", draft.template))),
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
            body: (!authentication).then_some(rendered),
            reference: draft.reference.clone(),
            labels: draft.labels.clone(),
            priority: if authentication { 0 } else { draft.priority },
            skipped: target.skipped,
            expires_at: Some(now.plus_seconds(lifetime)),
        });
    }
    Ok(Ok(new))
}

/// An event as a product posts it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub id: String,
    pub source: String,
    pub event_type: String,
    pub subject: Option<String>,
    pub time: Option<Timestamp>,
    pub data: Value,
}

/// What a route did with an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteResult {
    pub route: String,
    /// `fired`, `did_not_fire` or `error`.
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many notifications it made, skipped ones included.
    #[serde(default)]
    pub notifications: usize,
    #[serde(default)]
    pub skipped: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<Duplicate>,
}

/// A notification that was not made, because its key was used before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    pub of: Uuid,
    pub status: String,
    pub hint: String,
}

/// No list of duplicates in an answer is longer.
const MAX_DUPLICATES: usize = 20;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub id: Uuid,
    pub duplicate: bool,
    /// More recipients are being worked through.
    pub expanding: bool,
    pub routes: Vec<RouteResult>,
}

/// An event whose (source, id) is taken by another content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

/// Where the expansion of an event stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Routes before this one are done.
    route: usize,
    /// Recipients of the route before this one are done.
    recipient: usize,
    /// Members of the group up to this one are done.
    after: Option<Uuid>,
}

fn digest(new: &NewEvent) -> Vec<u8> {
    let content = json!([
        new.event_type,
        new.subject,
        new.time.map(Timestamp::micros),
        new.data
    ]);
    Sha256::digest(content.to_string().as_bytes()).to_vec()
}

/// Stores an event and expands its first recipients, in one transaction.
/// Nothing here waits for a provider, and no route's trouble fails the producer.
pub async fn event(
    engine: &Engine,
    new: &NewEvent,
    now: Timestamp,
) -> Result<Result<Accepted, Conflict>, StoreError> {
    let digest = digest(new);
    let (result, report) = engine
        .store
        .write(async |tx| {
            let stored = event::New {
                id: new_id(now),
                source: &new.source,
                external_id: &new.id,
                event_type: &new.event_type,
                subject: new.subject.as_deref(),
                occurred_at: new.time,
                data: &new.data.to_string(),
                digest: digest.clone(),
            };
            let fresh = event::insert(tx, stored, now).await?;
            let Some(row) = event::by_external_id(tx, &new.source, &new.id).await? else {
                return Err(StoreError::Corrupt {
                    table: "event",
                    row: new.id.clone(),
                    column: "external_id",
                });
            };
            if !fresh {
                if row.digest != digest {
                    return Ok((Err(Conflict), Report::default()));
                }
                return Ok((Ok(accepted(&row, true)), Report::default()));
            }
            let report = expand(engine, tx, row.clone(), now).await?;
            let row = event::find(tx, row.id).await?.unwrap_or(row);
            Ok((Ok(accepted(&row, false)), report))
        })
        .await?;
    report.publish(engine);
    if let Ok(accepted) = &result
        && !accepted.duplicate
    {
        tracing::info!(event = "event.accepted", event.id = %accepted.id, event.kind = new.event_type, routes = accepted.routes.len(), "an event was accepted");
    }
    Ok(result)
}

fn accepted(row: &entity::event::Model, duplicate: bool) -> Accepted {
    Accepted {
        id: row.id,
        duplicate,
        expanding: row.state == "expanding",
        routes: serde_json::from_str(&row.routes).unwrap_or_default(),
    }
}

/// Works through one more chunk of one event that is not finished. Says whether there was one.
pub async fn expand_turn(engine: &Engine, now: Timestamp) -> Result<bool, StoreError> {
    if !event::any_unexpanded(&engine.store).await? {
        return Ok(false);
    }
    let (found, report) = engine
        .store
        .write(async |tx| match event::next_unexpanded(tx).await? {
            Some(row) => Ok((true, expand(engine, tx, row, now).await?)),
            None => Ok((false, Report::default())),
        })
        .await?;
    report.publish(engine);
    Ok(found)
}

/// Recipients that one transaction expands, at least: a chunk ends with the
/// group page that reaches it.
const EXPANDED_AT_ONCE: usize = 200;

async fn expand(
    engine: &Engine,
    tx: &DatabaseTransaction,
    row: entity::event::Model,
    now: Timestamp,
) -> Result<Report, StoreError> {
    let routes = catalogue::routes(tx, &row.event_type).await?;
    let mut results: Vec<RouteResult> = serde_json::from_str(&row.routes).unwrap_or_default();
    let mut cursor: Cursor = row
        .cursor_at
        .as_deref()
        .and_then(|cursor| serde_json::from_str(cursor).ok())
        .unwrap_or_default();
    let context = json!({
        "data": serde_json::from_str::<Value>(&row.data).unwrap_or(Value::Null),
        "event": { "id": row.external_id, "source": row.source, "type": row.event_type, "subject": row.subject },
    });
    let mut report = Report::default();
    let mut expanded = 0;
    while let Some(route) = routes.get(cursor.route) {
        if expanded >= EXPANDED_AT_ONCE {
            break;
        }
        if results.len() <= cursor.route {
            results.push(RouteResult {
                route: route.name.clone(),
                outcome: "fired".to_owned(),
                reason: None,
                notifications: 0,
                skipped: 0,
                duplicates: Vec::new(),
            });
        }
        let Some(result) = results.get_mut(cursor.route) else {
            break;
        };
        let done = match plan(route, &context) {
            Err((outcome, reason)) => {
                outcome.clone_into(&mut result.outcome);
                result.reason = Some(reason);
                true
            }
            Ok(plan) => match plan.recipients.get(cursor.recipient) {
                None => true,
                Some(entry) => {
                    let step = Expansion {
                        engine,
                        tx,
                        row: &row,
                        route,
                        plan: &plan,
                        now,
                    };
                    match step
                        .recipient(entry, cursor.after, result, &mut report)
                        .await?
                    {
                        Ok((count, next)) => {
                            expanded += count.max(1);
                            cursor.after = next;
                            if next.is_none() {
                                cursor.recipient += 1;
                            }
                        }
                        Err(reason) => {
                            // One unknown group must not keep the others from hearing.
                            "error".clone_into(&mut result.outcome);
                            result.reason = Some(reason);
                            cursor.recipient += 1;
                            cursor.after = None;
                        }
                    }
                    false
                }
            },
        };
        if done {
            cursor = Cursor {
                route: cursor.route + 1,
                ..Cursor::default()
            };
        }
    }
    let finished = cursor.route >= routes.len();
    let state = if finished { "expanded" } else { "expanding" };
    let at = if finished {
        None
    } else {
        Some(json!(cursor).to_string())
    };
    event::set_progress(tx, row.id, state, at, json!(results).to_string()).await?;
    Ok(report)
}

/// A route, evaluated for one event.
struct Plan {
    recipients: Vec<String>,
    about: Option<String>,
    params: Value,
    labels: BTreeMap<String, String>,
    reference: Option<String>,
    dedupe_key: Option<String>,
}

/// Evaluates a route. The error is (outcome, reason).
fn plan(route: &entity::route::Model, context: &Value) -> Result<Plan, (&'static str, String)> {
    let error = |what: &str, error: &template::TemplateError| ("error", format!("{what}: {error}"));
    if let Some(condition) = &route.condition {
        match template::holds(condition, context) {
            Ok(true) => {}
            Ok(false) => {
                return Err((
                    "did_not_fire",
                    format!("its condition does not hold: {condition}"),
                ));
            }
            Err(problem) => return Err(error("its condition", &problem)),
        }
    }
    let render = |what: &str, source: &str| {
        template::render_text(source, context).map_err(|problem| error(what, &problem))
    };
    let map = |what: &str,
               stored: &str|
     -> Result<BTreeMap<String, String>, (&'static str, String)> {
        let sources: BTreeMap<String, String> = serde_json::from_str(stored).unwrap_or_default();
        sources
            .into_iter()
            .map(|(name, source)| Ok((name.clone(), render(&format!("{what} {name}"), &source)?)))
            .collect()
    };
    let optional = |what: &str, source: &Option<String>| {
        source
            .as_deref()
            .map(|source| render(what, source))
            .transpose()
    };
    let recipients: Vec<String> = serde_json::from_str(&route.recipients).unwrap_or_default();
    Ok(Plan {
        recipients: recipients
            .iter()
            .map(|entry| render("its recipient", entry))
            .collect::<Result<_, _>>()?,
        about: optional("whom it is about", &route.about)?,
        params: json!(map("its parameter", &route.params)?),
        labels: map("its label", &route.labels)?,
        reference: optional("its reference", &route.reference)?,
        dedupe_key: optional("its dedupe key", &route.dedupe_key)?,
    })
}

/// One step of an expansion.
struct Expansion<'a> {
    engine: &'a Engine,
    tx: &'a DatabaseTransaction,
    row: &'a entity::event::Model,
    route: &'a entity::route::Model,
    plan: &'a Plan,
    now: Timestamp,
}

impl Expansion<'_> {
    /// Makes the notifications of one entry of `to`. Gives back how many, and where to go on.
    async fn recipient(
        &self,
        entry: &str,
        after: Option<Uuid>,
        result: &mut RouteResult,
        report: &mut Report,
    ) -> Result<Result<(usize, Option<Uuid>), String>, StoreError> {
        let (mut targets, next) = if entry.trim().is_empty() {
            let nobody = Target {
                recipient: String::new(),
                contact_id: None,
                address: None,
                name: None,
                skipped: Some("the recipient has no phone number".to_owned()),
            };
            (vec![nobody], None)
        } else {
            match RecipientSpec::parse(entry) {
                Err(error) => {
                    let skipped = Target {
                        recipient: String::new(),
                        contact_id: None,
                        address: None,
                        name: None,
                        skipped: Some(format!("the recipient cannot be used: {error}")),
                    };
                    (vec![skipped], None)
                }
                Ok(spec) => match routing::resolve(self.tx, &spec, None, after, self.now).await? {
                    Ok(page) => (unique(page.targets), page.next),
                    Err(unknown) => return Ok(Err(unknown.0)),
                },
            }
        };
        let contacts: Vec<Uuid> = targets
            .iter()
            .filter_map(|target| target.contact_id)
            .collect();
        let reached =
            event::reached_already(self.tx, self.row.id, &self.route.name, &contacts).await?;
        targets.retain(|target| {
            !target
                .contact_id
                .is_some_and(|contact| reached.contains(&contact))
        });
        let about = match &self.plan.about {
            Some(about) if !about.trim().is_empty() => match RecipientSpec::parse(about) {
                Ok(spec) => match routing::resolve(self.tx, &spec, None, None, self.now).await? {
                    Ok(page) => page.targets.first().and_then(|target| target.contact_id),
                    Err(unknown) => return Ok(Err(format!("whom it is about: {}", unknown.0))),
                },
                Err(error) => return Ok(Err(format!("whom it is about: {error}"))),
            },
            _ => None,
        };
        let draft = Draft {
            event_id: Some(self.row.id),
            route: Some(self.route.name.clone()),
            event_type: Some(self.row.event_type.clone()),
            follow_up_id: None,
            parent_id: None,
            rule: None,
            depth: 0,
            channel: self.route.channel.clone(),
            template: self.route.template.clone(),
            language: self.route.language.clone(),
            params: self.plan.params.clone(),
            subject_contact_id: about,
            reference: self.plan.reference.clone(),
            labels: self.plan.labels.clone(),
            priority: priority(&self.route.priority).unwrap_or(2),
            expires_after_seconds: self.route.expires_after_seconds,
        };
        let mut new = match compose(self.engine, self.tx, &draft, targets, self.now).await? {
            Ok(new) => new,
            Err(reason) => return Ok(Err(reason)),
        };
        self.drop_duplicates(&mut new, result).await?;
        let (inserted, made) = transition::introduce(self.engine, self.tx, &new, self.now).await?;
        report.wake_sender |= made.wake_sender;
        report.wake_timers |= made.wake_timers;
        for (trigger, count) in made.triggered {
            *report.triggered.entry(trigger).or_default() += count;
        }
        result.notifications += inserted.len();
        result.skipped += new.iter().filter(|new| new.skipped.is_some()).count();
        Ok(Ok((new.len(), next)))
    }

    /// The ledger is asked for every row that is to be sent; a taken key makes none.
    async fn drop_duplicates(
        &self,
        new: &mut Vec<NewNotification>,
        result: &mut RouteResult,
    ) -> Result<(), StoreError> {
        let Some(key) = &self.plan.dedupe_key else {
            return Ok(());
        };
        let who = |new: &NewNotification| {
            new.contact_id.map_or_else(
                || new.recipient.clone(),
                |contact| contact.simple().to_string(),
            )
        };
        let mut claims: Vec<DedupeClaim> = new
            .iter()
            .filter(|new| new.skipped.is_none())
            .map(|new| DedupeClaim {
                dedupe_key: key.clone(),
                recipient: who(new),
                notification_id: Id(new.id),
            })
            .collect();
        claims.sort_by(|one, other| one.recipient.cmp(&other.recipient));
        let taken = event::claim_dedupe(
            self.tx,
            &self.route.name,
            &self.route.channel,
            &claims,
            self.now,
        )
        .await?;
        for (recipient, of) in taken {
            new.retain(|new| who(new) != recipient);
            if result.duplicates.len() >= MAX_DUPLICATES {
                continue;
            }
            let status = notification::in_transaction(self.tx, of)
                .await?
                .map_or("unknown", |row| {
                    crate::store::convert::status(row.status).name()
                });
            let hint = if matches!(status, "failed" | "expired" | "gave_up") {
                format!("duplicate of {of}, {status}: retry it")
            } else {
                format!("duplicate of {of}, {status}")
            };
            result.duplicates.push(Duplicate {
                of,
                status: status.to_owned(),
                hint,
            });
        }
        Ok(())
    }
}

/// A message asked for directly.
#[derive(Clone, Debug)]
pub struct Request {
    pub to: Vec<String>,
    pub about: Option<String>,
    pub content: RequestContent,
    pub reference: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub priority: i64,
    pub expires_after_seconds: Option<i64>,
}

/// What a direct request wants to say.
#[derive(Clone, Debug)]
pub enum RequestContent {
    Template {
        name: String,
        language: Option<String>,
        params: serde_json::Map<String, Value>,
    },
    Text(String),
}

/// A field of a request and the rule it breaks. Never the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer into the request.
    pub pointer: String,
    pub rule: String,
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
    let mut draft = Draft {
        event_id: None,
        route: None,
        event_type: None,
        follow_up_id: None,
        parent_id: None,
        rule: None,
        depth: 0,
        channel: "whatsapp".to_owned(),
        template: String::new(),
        language: None,
        params: json!({}),
        subject_contact_id: about,
        reference: request.reference.clone(),
        labels: request.labels.clone(),
        priority: request.priority,
        expires_after_seconds: request.expires_after_seconds,
    };
    let new = match &request.content {
        RequestContent::Template {
            name,
            language,
            params,
        } => {
            check_template(tx, name, language.as_deref(), params, &mut wrong).await?;
            draft.template.clone_from(name);
            draft.language.clone_from(language);
            draft.params = Value::Object(params.clone());
            if wrong.is_empty() {
                match compose(engine, tx, &draft, targets, now).await? {
                    Ok(new) => new,
                    Err(reason) => {
                        wrong.push(FieldError {
                            pointer: "/template".to_owned(),
                            rule: reason,
                        });
                        Vec::new()
                    }
                }
            } else {
                Vec::new()
            }
        }
        RequestContent::Text(text) => {
            if text.trim().is_empty() || text.chars().count() > MAX_TEXT_CHARACTERS {
                wrong.push(FieldError {
                    pointer: "/text".to_owned(),
                    rule: "1 to 4,096 characters".to_owned(),
                });
            }
            targets
                .into_iter()
                .map(|target| text_notification(engine, &draft, target, text, now))
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

/// Meta, "Text messages".
const MAX_TEXT_CHARACTERS: usize = 4096;

fn text_notification(
    engine: &Engine,
    draft: &Draft,
    target: Target,
    text: &str,
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
        sender_id: None,
        channel: draft.channel.clone(),
        contact_id: target.contact_id,
        recipient: target.recipient,
        address: target.address,
        subject_contact_id: draft.subject_contact_id,
        kind: "text",
        template: String::new(),
        language: None,
        category: "service".to_owned(),
        params: json!({}),
        body: Some(text.to_owned()),
        reference: draft.reference.clone(),
        labels: draft.labels.clone(),
        priority: draft.priority,
        skipped: target.skipped,
        expires_at: Some(now.plus_seconds(lifetime)),
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

async fn check_template(
    tx: &DatabaseTransaction,
    name: &str,
    language: Option<&str>,
    params: &serde_json::Map<String, Value>,
    wrong: &mut Vec<FieldError>,
) -> Result<(), StoreError> {
    let mut refuse = |pointer: String, rule: String| wrong.push(FieldError { pointer, rule });
    let Some(found) = catalogue::template(tx, name, language).await? else {
        refuse(
            "/template".to_owned(),
            "there is no template of this name".to_owned(),
        );
        return Ok(());
    };
    if language.is_some_and(|language| language != found.language) {
        refuse(
            "/language".to_owned(),
            format!("the template exists in {} only", found.language),
        );
    }
    if matches!(found.status.as_deref(), Some("REJECTED" | "DISABLED")) {
        refuse(
            "/template".to_owned(),
            "the template is rejected or disabled at Meta".to_owned(),
        );
    }
    let Ok(body) = Body::parse(&found.body) else {
        refuse(
            "/template".to_owned(),
            "the template cannot be read".to_owned(),
        );
        return Ok(());
    };
    let declared = body.variables();
    for variable in &declared {
        let provided = ["contact", "about", "related_contact_name"].contains(&variable.as_str());
        match params.get(variable) {
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
    for extra in params.keys().filter(|key| !declared.contains(*key)) {
        refuse(
            format!("/params/{extra}"),
            "the template has no such parameter".to_owned(),
        );
    }
    Ok(())
}
