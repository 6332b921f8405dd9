//! Expands an event: evaluates its routes and makes notifications, one chunk of recipients at a
//! time.

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    DraftComposeError, DuplicateNotification, EventRouteResult, IntakeRowCache, MessageContentMode,
    MessageDraft,
    channel_sender::{self, NoChannelSender},
    compose,
    fallback::{self, FallbackPlan},
    route::{RouteEvaluation, RouteRecipientEntry, plan},
    targets::{self, RecipientCursor, RecipientResolveError, ResolvedRecipient, UnknownRecipient},
    unique,
};
use crate::{
    domain::{
        access::AccessBounds,
        channel::MessageChannel,
        horizon,
        own_event::SOURCE,
        priority::MessagePriority,
        recipient::{RecipientParseError, RecipientSpec, is_expression, is_staff},
        route::RouteOutcome,
        status::{NotificationStatus, StatusGroup},
        time::Timestamp,
    },
    engine::{
        Engine,
        lifecycle::{self, NotificationLifecycleReport},
        runtime::{access, turn::TransactionContext, vault::of_event},
    },
    store::{
        DatabaseTransaction, StoreError, access as rows,
        catalogue::{self, StoredRoute},
        dedupe::{self, DedupeClaim},
        dialect::HexUuid,
        event,
        notification::{self, NewNotification},
        sender,
    },
};

/// Most duplicates listed in an answer.
const MAX_DUPLICATES: usize = 20;

/// Progress of an expansion.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct EventRoutingCursor {
    /// Routes before this name are finished.
    route: String,
    /// Position among the route's recipients.
    #[serde(flatten)]
    place: RecipientCursor,
    /// Routes that had fired before the event was replayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    done: Vec<String>,
}

impl EventRoutingCursor {
    /// The start, without the routes that have fired already.
    pub(super) fn without(done: Vec<String>) -> Self {
        Self {
            done,
            ..Self::default()
        }
    }

    /// Whether nothing has been made of the event, nor of an earlier run.
    const fn is_fresh(&self) -> bool {
        self.route.is_empty()
    }

    /// Whether a route has still to run.
    fn wants(&self, route: &StoredRoute) -> bool {
        route.name >= self.route && !self.done.contains(&route.name)
    }

    /// The start of another route.
    fn at(self, route: String) -> Self {
        Self {
            route,
            place: RecipientCursor::default(),
            done: self.done,
        }
    }
}

/// Expands one more chunk of one unfinished event. Returns whether there was one.
pub async fn expand_turn(engine: &Engine, now: Timestamp) -> Result<bool, StoreError> {
    if !event::any_unexpanded(&engine.store).await? {
        return Ok(false);
    }
    // They wait while sending is on hold: their recipients may have been reached before.
    if engine.refresh_hold().await?.is_some() {
        return Ok(false);
    }
    let mut tried = None;
    let expanded = engine
        .store
        .write(async |tx| match event::next_unexpanded(tx).await? {
            Some(row) => {
                tried = Some(row.id);
                Ok((true, expand(engine, tx, row, now).await?))
            }
            None => Ok((false, NotificationLifecycleReport::default())),
        })
        .await;
    match (expanded, tried) {
        (Ok((found, report)), _) => {
            report.publish(engine);
            Ok(found)
        }
        // An event that the database refuses must not hold up the others.
        (Err(error), Some(id)) if !error.is_transient() => {
            tracing::error!(event = "event.refused", event.id = %id, %error, "the database refused the remaining messages of this event: they are given up (`herald events show` has the reason)");
            engine
                .store
                .write(async |tx| refuse(tx, id, &error.to_string()).await)
                .await?;
            Ok(true)
        }
        (Err(error), _) => Err(error),
    }
}

/// Ends the expansion of the events received by then. Returns the number.
pub(in crate::engine) async fn end_expansion(
    engine: &Engine,
    before: Timestamp,
    reason: &str,
) -> Result<u64, StoreError> {
    let mut ended = 0;
    loop {
        let ids = event::unexpanded_before(&engine.store, before).await?;
        if ids.is_empty() {
            return Ok(ended);
        }
        for id in ids {
            engine
                .store
                .write(async |tx| refuse(tx, id, reason).await)
                .await?;
            ended += 1;
        }
    }
}

/// Ends the expansion of an event that cannot continue, and records the reason on the event.
async fn refuse(tx: &DatabaseTransaction, id: Uuid, reason: &str) -> Result<(), StoreError> {
    let Some(row) = event::find(tx, id).await? else {
        return Ok(());
    };
    let (mut results, cursor) = progress(&row);
    let bounds = access::bounds_of_key(tx, row.key_id, row.product.as_deref()).await?;
    let routes = catalogue::routes(tx, &bounds, &row.event_type).await?;
    if let Some(route) = routes.iter().find(|route| cursor.wants(route)) {
        let result = of_route(&mut results, &route.name);
        result.outcome = RouteOutcome::Error;
        result.reason = Some(format!("not every recipient was reached: {reason}"));
    }
    event::set_progress(tx, id, "refused", row.cursor_at, json!(results).to_string()).await
}

/// Results and cursor of an event.
fn progress(row: &entity::event::Model) -> (Vec<EventRouteResult>, EventRoutingCursor) {
    let results = serde_json::from_str(&row.routes).unwrap_or_default();
    let cursor = row
        .cursor_at
        .as_deref()
        .and_then(|cursor| serde_json::from_str(cursor).ok())
        .unwrap_or_default();
    (results, cursor)
}

/// The result of a route, created if absent.
fn of_route<'a>(results: &'a mut Vec<EventRouteResult>, route: &str) -> &'a mut EventRouteResult {
    let place = results.iter().position(|result| result.route == route);
    let result = match place {
        Some(place) => results.remove(place),
        None => EventRouteResult {
            route: route.to_owned(),
            outcome: RouteOutcome::Fired,
            reason: None,
            notifications: 0,
            skipped: 0,
            duplicates: Vec::new(),
        },
    };
    // The route in progress is the last.
    results.push_mut(result)
}

pub(super) async fn expand(
    engine: &Engine,
    tx: &DatabaseTransaction,
    row: entity::event::Model,
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    let bounds = access::bounds_of_key(tx, row.key_id, row.product.as_deref()).await?;
    let routes = catalogue::routes(tx, &bounds, &row.event_type).await?;
    let (mut results, mut cursor) = progress(&row);
    let mut refused = Vec::new();
    let data = data_of(engine, &row);
    let context = json!({
        "data": data.as_ref().unwrap_or(&Value::Null),
        "event": { "id": row.external_id, "source": row.source, "type": row.event_type, "subject": row.subject },
    });
    let mut report = NotificationLifecycleReport::default();
    if cursor.is_fresh() {
        let unknown = unknown_names(tx, &bounds, &routes, &cursor, &context).await?;
        // An unknown name in the event itself stops all of it; an unknown name in a route stops
        // only that route.
        let chosen = unknown.iter().find(|unknown| unknown.is_chosen);
        let all = chosen.map(|unknown| (unknown.route.clone(), unknown.reason.clone()));
        for route in routes.iter().filter(|route| cursor.wants(route)) {
            let own = unknown.iter().find(|unknown| unknown.route == route.name);
            let reason = match (own, &all) {
                (Some(own), _) => format!("{}: nothing of it was sent", own.reason),
                (None, Some((of, reason))) => {
                    format!("no message of the event was sent, because of the route {of}: {reason}")
                }
                (None, None) => continue,
            };
            let result = of_route(&mut results, &route.name);
            result.outcome = RouteOutcome::Error;
            result.reason = Some(reason);
            refused.push(route.name.clone());
        }
        cursor.done.append(&mut refused);
    }
    let most = targets::recipients_at_once(tx);
    let mut expanded = 0;
    // By name: a catalogue may be applied while a large event is being expanded.
    while let Some(route) = routes.iter().find(|route| cursor.wants(route)) {
        if expanded >= most {
            break;
        }
        if route.name != cursor.route {
            cursor = cursor.at(route.name.clone());
        }
        let result = of_route(&mut results, &route.name);
        let plan = match &data {
            Some(_) => plan(&route.route, &context),
            None => Err((RouteOutcome::Error, UNREADABLE.to_owned())),
        };
        let done = match plan {
            Err((outcome, reason)) => {
                result.outcome = outcome;
                result.reason = Some(reason);
                true
            }
            Ok(plan) => match plan.recipients.get(cursor.place.recipient) {
                None => {
                    if result.is_empty() {
                        result.reason = Some(NO_RECIPIENT.to_owned());
                    }
                    true
                }
                Some(entry) => {
                    let step = EventRoutingContext {
                        engine,
                        tx,
                        row: &row,
                        bounds: &bounds,
                        route,
                        plan: &plan,
                        now,
                    };
                    match step
                        .recipient(entry, cursor.place.after, result, &mut report)
                        .await
                    {
                        Ok((count, next)) => {
                            expanded += count.max(1);
                            cursor.place.pass(next);
                        }
                        Err(RouteRecipientError::Store(error)) => return Err(error),
                        Err(refused) => {
                            // One unknown group must not keep the others from being notified.
                            result.outcome = RouteOutcome::Error;
                            result.reason = Some(refused.to_string());
                            cursor.place.pass(None);
                        }
                    }
                    false
                }
            },
        };
        if done {
            // The smallest name after this one.
            cursor = cursor.at(format!("{}\u{1}", route.name));
        }
    }
    let finished = !routes.iter().any(|route| cursor.wants(route));
    report.wake_expansion = !finished;
    let state = if finished { "expanded" } else { "expanding" };
    let at = if finished {
        None
    } else {
        Some(json!(cursor).to_string())
    };
    event::set_progress(tx, row.id, state, at, json!(results).to_string()).await?;
    Ok(report)
}

/// A name in `to` that does not exist.
struct UnknownRouteRecipient {
    route: String,
    reason: String,
    /// The event named it, not the route.
    is_chosen: bool,
}

/// Finds unknown groups, staff members and contacts before anything is made: half of an event must
/// not go out before the mistake is found.
async fn unknown_names(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    routes: &[StoredRoute],
    cursor: &EventRoutingCursor,
    context: &Value,
) -> Result<Vec<UnknownRouteRecipient>, StoreError> {
    let mut unknown = Vec::new();
    for route in routes.iter().filter(|route| cursor.wants(route)) {
        let Ok(plan) = plan(&route.route, context) else {
            continue;
        };
        for planned in &plan.recipients {
            let Ok(spec) = RecipientSpec::parse(&planned.entry) else {
                continue;
            };
            let bounds = nameable(planned.is_chosen, bounds);
            if let Some(reason) = targets::find_unknown(tx, bounds, &spec).await? {
                unknown.push(UnknownRouteRecipient {
                    route: route.name.clone(),
                    reason: reason.0,
                    is_chosen: planned.is_chosen,
                });
                break;
            }
        }
    }
    Ok(unknown)
}

/// The bounds of an entry: a catalogue's own entries may name anyone.
const fn nameable(is_chosen: bool, bounds: &AccessBounds) -> &AccessBounds {
    if is_chosen {
        bounds
    } else {
        &AccessBounds::All
    }
}

const NO_RECIPIENT: &str = "it reached no one: its groups are empty, or all had the message before";

const UNREADABLE: &str =
    "the event's data have been wiped, or are sealed with another HERALD_SECRET_KEY";

/// The event's data; `None` if they are sealed and cannot be opened.
fn data_of(engine: &Engine, row: &entity::event::Model) -> Option<Value> {
    if row.data.is_empty() {
        return None;
    }
    if !row.sealed {
        return Some(serde_json::from_str(&row.data).unwrap_or(Value::Null));
    }
    let opened = engine.vault()?.open(&of_event(row.id), &row.data)?;
    serde_json::from_str(opened.expose_secret()).ok()
}

/// Why nothing is made of an entry of a route.
#[derive(Debug, thiserror::Error)]
enum RouteRecipientError {
    #[error(transparent)]
    Unreadable(#[from] RecipientParseError),
    #[error(transparent)]
    Unknown(#[from] UnknownRecipient),
    #[error("the key that the event was posted with may not send with {0}")]
    ForeignSender(String),
    #[error("there is no sender named {0}")]
    NoSender(String),
    #[error(transparent)]
    NoChannelSender(#[from] NoChannelSender),
    #[error(transparent)]
    Compose(DraftComposeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RecipientResolveError> for RouteRecipientError {
    fn from(error: RecipientResolveError) -> Self {
        match error {
            RecipientResolveError::Unknown(unknown) => Self::Unknown(unknown),
            RecipientResolveError::Store(error) => Self::Store(error),
        }
    }
}

impl From<DraftComposeError> for RouteRecipientError {
    fn from(error: DraftComposeError) -> Self {
        match error {
            DraftComposeError::Store(error) => Self::Store(error),
            refused => Self::Compose(refused),
        }
    }
}

/// One step of an expansion.
struct EventRoutingContext<'a> {
    engine: &'a Engine,
    tx: &'a DatabaseTransaction,
    row: &'a entity::event::Model,
    /// Bounds of the API key that posted the event.
    bounds: &'a AccessBounds,
    route: &'a StoredRoute,
    plan: &'a RouteEvaluation,
    now: Timestamp,
}

impl EventRoutingContext<'_> {
    /// Makes the notifications of one entry of `to`. Returns their number, and where to continue.
    async fn recipient(
        &self,
        planned: &RouteRecipientEntry,
        after: Option<Uuid>,
        result: &mut EventRouteResult,
        report: &mut NotificationLifecycleReport,
    ) -> Result<(usize, Option<Uuid>), RouteRecipientError> {
        let entry = planned.entry.as_str();
        let (mut targets, next) = if entry.trim().is_empty() {
            let nobody = ResolvedRecipient {
                skipped: Some("the recipient has no phone number".to_owned()),
                ..ResolvedRecipient::default()
            };
            (vec![nobody], None)
        } else {
            match RecipientSpec::parse(entry) {
                Err(error) => {
                    let skipped = ResolvedRecipient {
                        skipped: Some(format!("the recipient cannot be used: {error}")),
                        ..ResolvedRecipient::default()
                    };
                    (vec![skipped], None)
                }
                Ok(spec) => {
                    let bounds = nameable(planned.is_chosen, self.bounds);
                    let page =
                        targets::resolve(self.tx, bounds, &spec, None, after, self.now).await?;
                    (unique(page.targets), page.next)
                }
            }
        };
        let contacts: Vec<Uuid> = targets
            .iter()
            .filter_map(|target| target.contact_id)
            .collect();
        let reached =
            event::reached_already(self.tx, self.row.id, &self.route.name, &contacts).await?;
        // A number whose former contact was deleted has a new contact that has had this message.
        // For an event dated in the future, age says nothing.
        let is_ahead = horizon::is_ahead(Timestamp::from_micros(self.row.created_at), self.now);
        let fresh: Vec<&str> = targets
            .iter()
            .filter(|target| {
                target
                    .contact_id
                    .is_some_and(|id| is_ahead || id > self.row.id)
            })
            .filter_map(|target| target.address.as_deref())
            .collect();
        let of_deleted =
            event::reached_as_deleted(self.tx, self.row.id, &self.route.name, &fresh).await?;
        let unknown: Vec<&str> = targets
            .iter()
            .filter(|target| target.contact_id.is_none())
            .map(|target| target.recipient.as_str())
            .collect();
        let named = event::named_already(self.tx, self.row.id, &self.route.name, &unknown).await?;
        targets.retain(|target| match target.contact_id {
            Some(contact) => {
                let is_at = |address: &String| target.address.as_ref() == Some(address);
                !reached.contains(&contact) && !of_deleted.iter().any(is_at)
            }
            None => !named.contains(&target.recipient),
        });
        let about = match self.about().await {
            Ok(about) => about,
            Err(error @ RouteRecipientError::Store(_)) => return Err(error),
            // The recipient must be notified even if the subject no longer exists.
            Err(unknown) => {
                result.reason = Some(format!("its subject: {unknown}"));
                None
            }
        };
        let reading = &mut IntakeRowCache::default();
        let from = match &self.route.route.sender {
            None => reading.own_sender(self.tx, self.bounds).await?,
            Some(named) => match sender::named(self.tx, named).await? {
                Some(row) if self.bounds.has_sender(row.id) => Some(row.id),
                Some(_) => return Err(RouteRecipientError::ForeignSender(named.clone())),
                None => return Err(RouteRecipientError::NoSender(named.clone())),
            },
        };
        let channel = MessageChannel::parse(&self.route.route.channel).unwrap_or_default();
        let from = channel_sender::serving(self.engine, self.bounds.senders(), channel, from)?;
        let product = self.product().await?;
        let draft = MessageDraft {
            event_id: Some(self.row.id),
            route: Some(self.route.name.clone()),
            event_type: Some(self.row.event_type.clone()),
            follow_up_id: None,
            parent_id: None,
            rule: None,
            depth: 0,
            channel: self.route.route.channel.clone(),
            sender_id: from,
            template: self.route.route.template.clone(),
            language: None,
            default_language: self.route.route.language.clone(),
            params: self.plan.params.clone(),
            subject_contact_id: about.as_ref().and_then(|about| about.contact_id),
            subject_address: about
                .and_then(|about| about.address)
                .filter(|_| product.is_some()),
            reference: self.plan.reference.clone(),
            labels: self.plan.labels.clone(),
            priority: MessagePriority::parse(&self.route.route.priority).unwrap_or_default(),
            expires_after_seconds: self.route.route.expires_after_seconds,
            send_at: None,
            reply_to: None,
            message_kind: self.route.route.message_kind.clone(),
            mode: MessageContentMode::parse(&self.route.route.mode).unwrap_or_default(),
            fallback_template: self.route.route.fallback_template.clone(),
            product,
            unread: self.plan.unread.clone(),
        };
        let turn = TransactionContext {
            engine: self.engine,
            tx: self.tx,
            now: self.now,
        };
        let made = compose(turn, reading, &draft, targets).await?;
        // The producer has been answered already: the event records what is wrong with its data.
        let unfilled = made.iter().find(|made| made.unfilled.is_some());
        if let Some(reason) = unfilled.and_then(|made| made.new.skipped.clone()) {
            result.reason.get_or_insert(reason);
        }
        let mut new: Vec<NewNotification> = made.into_iter().map(|made| made.new).collect();
        self.drop_duplicates(draft.product.as_deref(), &mut new, result)
            .await?;
        let rules = reading.catalogue_snapshot(self.engine, self.tx).await?;
        let (inserted, made) =
            lifecycle::introduce(self.engine, self.tx, &rules, &new, self.now).await?;
        report.add(made);
        let turn = TransactionContext {
            engine: self.engine,
            tx: self.tx,
            now: self.now,
        };
        let new_ones: Vec<&NewNotification> = new
            .iter()
            .filter(|new| inserted.contains(&new.id))
            .collect();
        // A reply to a customer is no alert, although an event of Herald's own has made it.
        let (alerts, others): (Vec<_>, Vec<_>) = new_ones
            .into_iter()
            .partition(|new| self.row.source == SOURCE && is_staff(&new.recipient));
        let next_channels = FallbackPlan::of_route(&self.route.route);
        fallback::plan(turn, &others, &next_channels).await?;
        if !alerts.is_empty() {
            let next_channels = next_channels.of_alert(turn, channel, from).await?;
            fallback::plan(turn, &alerts, &next_channels).await?;
        }
        result.notifications += inserted.len();
        result.skipped += new.iter().filter(|new| new.skipped.is_some()).count();
        Ok((new.len(), next))
    }

    /// The product of the route's messages: the event's; for one of Herald's own events, that of
    /// the route's catalogue.
    async fn product(&self) -> Result<Option<String>, StoreError> {
        match (&self.row.product, &self.route.catalogue) {
            (None, Some(catalogue)) if self.row.source == SOURCE => {
                rows::product_of_catalogue(self.tx, catalogue).await
            }
            (product, _) => Ok(product.clone()),
        }
    }

    /// The subject of the route's messages, or why there is none.
    async fn about(&self) -> Result<Option<ResolvedRecipient>, RouteRecipientError> {
        let entry = self.plan.about.as_deref().unwrap_or_default();
        if entry.trim().is_empty() {
            return Ok(None);
        }
        let spec = RecipientSpec::parse(entry)?;
        let is_chosen = self.route.route.about.as_deref().is_some_and(is_expression);
        let bounds = nameable(is_chosen, self.bounds);
        let page = targets::resolve(self.tx, bounds, &spec, None, None, self.now).await?;
        Ok(page.targets.into_iter().next())
    }

    /// Drops targets whose deduplication key is taken; the ledger is asked for every notification
    /// that would be sent.
    async fn drop_duplicates(
        &self,
        product: Option<&str>,
        new: &mut Vec<NewNotification>,
        result: &mut EventRouteResult,
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
                notification_id: HexUuid(new.id),
            })
            .collect();
        claims.sort_by(|one, other| one.recipient.cmp(&other.recipient));
        let taken = dedupe::claim(
            self.tx,
            product,
            &self.route.name,
            &self.route.route.channel,
            &claims,
            self.now,
        )
        .await?;
        for (recipient, of) in taken {
            new.retain(|new| who(new) != recipient);
            // A contact in two groups is one duplicate.
            let is_known = result.duplicates.iter().any(|known| known.of == of);
            if is_known || result.duplicates.len() >= MAX_DUPLICATES {
                continue;
            }
            let status = notification::in_transaction(self.tx, of)
                .await?
                .map_or(NotificationStatus::Unknown, |row| {
                    crate::store::convert::status(row.status)
                });
            let hint = format!("duplicate of {of}, {}", status.name());
            let hint = match status.group() {
                StatusGroup::Failed => format!("{hint}: retry it"),
                StatusGroup::Pending | StatusGroup::Sent | StatusGroup::NotSent => hint,
            };
            result
                .duplicates
                .push(DuplicateNotification { of, status, hint });
        }
        Ok(())
    }
}
