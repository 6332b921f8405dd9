//! Moves notifications from state to state: loads them under lock, applies changes, saves them, and
//! writes what follows (timeline, follow-ups, counters, events) in the same transaction. A batch
//! costs a handful of statements.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Engine, runtime::catalogue_cache::CatalogueSnapshot};
use crate::{
    domain::{
        country,
        follow_up::{OVERTAKEN, PlannedFollowUp, PlannedFollowUpState},
        latency,
        notification::{
            NotificationChange, NotificationChangeEffect, NotificationState, TransitionOccurrence,
        },
        own_event::{
            HeraldEvent,
            payload::{NotificationChangeData, NotificationFailureData},
        },
        preference,
        rule::FollowUpRuleBlock,
        template,
        time::Timestamp,
        timeline::{TimelineEntry, TimelineEntryKind},
        transition::{NotificationTransition, NotificationTransitionSet},
    },
    store::{
        DatabaseTransaction, StoreError, attempt,
        catalogue::StoredRule,
        context, counter,
        dialect::HexUuid,
        follow_up, new_id, notification,
        notification::{LoadedNotification, NotificationFacets},
        people, preferences, timeline,
    },
};

/// One change of one notification, and its origin.
#[derive(Clone, Debug)]
pub struct NotificationLifecycleChange {
    pub notification_id: Uuid,
    pub change: NotificationChange,
    pub attempt_id: Option<Uuid>,
    pub callback_id: Option<Uuid>,
    /// For a reply that names the message it answers: the inbound message.
    pub occurrence: Option<String>,
    /// When it happened by the provider's clock.
    pub provider_at: Option<Timestamp>,
    /// Details for the timeline.
    pub detail: Option<Value>,
}

impl NotificationLifecycleChange {
    pub const fn new(notification_id: Uuid, change: NotificationChange) -> Self {
        Self {
            notification_id,
            change,
            attempt_id: None,
            callback_id: None,
            occurrence: None,
            provider_at: None,
            detail: None,
        }
    }
}

/// Result of a batch.
#[derive(Debug, Default)]
pub struct NotificationLifecycleReport {
    pub applied: u64,
    pub ignored: u64,
    pub triggered: BTreeMap<NotificationTransition, u64>,
    /// States that notifications have reached, for the log.
    pub reached: Vec<(Uuid, NotificationTransition)>,
    /// Messages from people: the callback each came in, and its kind.
    pub received: Vec<(Uuid, String)>,
    /// The effect of each step, in order; absent if there is no such notification.
    pub effects: Vec<Option<NotificationChangeEffect>>,
    /// Notifications that got their first update from the provider, or a failure.
    pub heard: BTreeMap<Uuid, ProviderUpdatedNotification>,
    /// Something may be due at once.
    pub wake_sender: bool,
    pub wake_timers: bool,
    /// An event has more recipients than were made at once.
    pub wake_expansion: bool,
}

/// A notification that received a provider update.
#[derive(Clone, Debug)]
pub struct ProviderUpdatedNotification {
    /// This was the first update: the names it reports for the person are new.
    pub first: bool,
    pub facets: NotificationFacets,
}

impl NotificationLifecycleReport {
    /// Records the recipient of a notification that received a provider update.
    fn hear(&mut self, loaded: &LoadedNotification, first: bool) {
        let heard =
            self.heard
                .entry(loaded.state.id)
                .or_insert_with(|| ProviderUpdatedNotification {
                    first: false,
                    facets: loaded.facets.clone(),
                });
        heard.first |= first;
    }

    /// Adds the result of another batch in the same transaction.
    pub fn add(&mut self, other: Self) {
        self.applied += other.applied;
        self.ignored += other.ignored;
        for (trigger, count) in other.triggered {
            *self.triggered.entry(trigger).or_default() += count;
        }
        self.reached.extend(other.reached);
        self.received.extend(other.received);
        self.effects.extend(other.effects);
        self.heard.extend(other.heard);
        self.wake_sender |= other.wake_sender;
        self.wake_timers |= other.wake_timers;
        self.wake_expansion |= other.wake_expansion;
    }

    /// Updates metrics, logs, and wakes the workers that have something to do. To be called after
    /// the commit.
    pub fn publish(&self, engine: &Engine) {
        for (notification, trigger) in &self.reached {
            // The answer to a call has its own log line.
            if *trigger != NotificationTransition::Accepted {
                tracing::info!(event = trigger.event(), notification.id = %notification, "notification changed status");
            }
        }
        for (callback, kind) in &self.received {
            tracing::info!(event = "message.received", callback.id = %callback, kind, "inbound message received");
        }
        for (trigger, count) in &self.triggered {
            metrics::counter!("herald_transitions_total", "trigger" => trigger.name())
                .increment(*count);
        }
        if self.wake_sender {
            engine.wake_senders();
        }
        if self.wake_timers {
            engine.followed_up.notify_one();
        }
        if self.wake_expansion {
            engine.unexpanded.notify_one();
        }
    }
}

/// Collects the consequences of changes, to be written as sets.
struct ChangeConsequences<'a> {
    engine: &'a Engine,
    now: Timestamp,
    counters: counter::CounterChanges,
    /// Transitions that may cancel follow-ups which have started.
    reached: Vec<follow_up::ReachedTransitionMask>,
    overruled: Vec<Uuid>,
    starts: Vec<TriggeredRule<'a>>,
    /// Of follow-ups that are not pending any more.
    ended_timers: Vec<follow_up::FollowUpTimer>,
    events: Vec<HeraldEvent>,
}

/// What is counted, with its code.
type CountedFact = (&'static str, String);

/// What is counted now and was not, and what was and is not any more.
fn changed_counts(before: Vec<CountedFact>, after: Vec<CountedFact>) -> Vec<(CountedFact, i64)> {
    let mut gone = before;
    let mut changed = Vec::new();
    for fact in after {
        match gone.iter().position(|was| *was == fact) {
            Some(position) => drop(gone.swap_remove(position)),
            None => changed.push((fact, 1)),
        }
    }
    changed.extend(gone.into_iter().map(|fact| (fact, -1)));
    changed
}

/// A rule whose trigger fired.
struct TriggeredRule<'a> {
    /// Position of the notification in the batch.
    index: usize,
    trigger_at: Timestamp,
    trigger: NotificationTransition,
    occurrence: String,
    rule: &'a StoredRule,
}

impl<'a> ChangeConsequences<'a> {
    fn new(engine: &'a Engine, now: Timestamp) -> Self {
        Self {
            engine,
            now,
            counters: counter::CounterChanges::default(),
            reached: Vec::new(),
            overruled: Vec::new(),
            starts: Vec::new(),
            ended_timers: Vec::new(),
            events: Vec::new(),
        }
    }

    /// An entry of a timeline.
    fn line(&self, kind: TimelineEntryKind, detail: &Value) -> TimelineEntry {
        TimelineEntry::new(self.now, kind, Some(detail.to_string()))
    }

    /// Counts what a notification is, in place of what it was; a new one was nothing.
    fn count(
        &mut self,
        before: Option<&NotificationState>,
        state: &NotificationState,
        facets: &NotificationFacets,
    ) {
        let changed = |of: fn(&NotificationState) -> Vec<CountedFact>| {
            changed_counts(before.map(of).unwrap_or_default(), of(state))
        };
        let mut counted = changed(NotificationState::tally);
        let prices = changed(|state| {
            let prices = state.prices().into_iter();
            prices.map(|price| (counter::PRICED, price)).collect()
        });
        if !prices.is_empty() {
            let country = facets.address.as_deref().map_or("ZZ", country::of_number);
            counted.extend(prices.into_iter().map(|((fact, price), difference)| {
                ((fact, format!("{price}/{country}")), difference)
            }));
        }
        let took = changed(|state| {
            let took = state.took().into_iter();
            took.map(|(name, took)| (name, latency::code(took)))
                .collect()
        });
        if counted.is_empty() && took.is_empty() {
            return;
        }
        let class = counter::NotificationCounterGroup {
            sender_id: facets.sender_id.unwrap_or_default(),
            channel: facets.channel.clone(),
            template: facets.template.clone(),
            event_type: facets.event_type.clone().unwrap_or_default(),
            product: facets.product.clone().unwrap_or_default(),
        };
        if !took.is_empty() {
            // Latencies are counted by sender, channel and product only: there are many latency
            // classes.
            let of_all = counter::NotificationCounterGroup {
                sender_id: class.sender_id,
                channel: class.channel.clone(),
                product: class.product.clone(),
                ..counter::NotificationCounterGroup::default()
            };
            self.counters.add(state.created_at, of_all, took);
        }
        self.counters.add(state.created_at, class, counted);
    }

    fn start(
        &mut self,
        (index, loaded): (usize, &LoadedNotification),
        trigger: NotificationTransition,
        occurrence: &str,
        rules: &'a CatalogueSnapshot,
    ) {
        let fact = trigger.fact();
        let trigger_at = fact.map_or(self.now, |fact| loaded.state.first_at(fact, self.now));
        for rule in rules.on(trigger) {
            self.starts.push(TriggeredRule {
                index,
                trigger_at,
                trigger,
                occurrence: occurrence.to_owned(),
                rule,
            });
        }
    }

    /// Raises the event of a transition.
    fn raise(
        &mut self,
        state: &NotificationState,
        facets: &NotificationFacets,
        transition: NotificationTransition,
    ) {
        let TransitionOccurrence { attempt, at } = state.occurrence(transition, self.now);
        let failure = state
            .present_failure()
            .filter(|_| transition == NotificationTransition::Failed)
            .map(|failure| NotificationFailureData {
                code: failure.code,
                title: failure.title.clone(),
            });
        self.events.push(HeraldEvent::NotificationChanged {
            transition,
            data: NotificationChangeData {
                notification: state.id,
                at: at.to_string(),
                generation: state.generation,
                attempt: attempt.map(|attempt| attempt.number),
                event_type: facets.event_type.clone(),
                channel: facets.channel.clone(),
                template: Some(facets.template.clone()).filter(|name| !name.is_empty()),
                sender_id: attempt
                    .map(|attempt| attempt.sender_id)
                    .or(facets.sender_id),
                contact: facets.contact_id,
                product: facets.product.clone(),
                failure,
            },
        });
    }

    /// Cancels the follow-ups of a notification whose `unless` is among these transitions. Those
    /// that have started are cancelled in [`Self::write`].
    fn cancel(&mut self, loaded: &mut LoadedNotification, new: NotificationTransitionSet) {
        let is_hit = |planned: &PlannedFollowUp| !planned.unless.intersection(new).is_empty();
        let now = self.now;
        let cancelled = loaded.change_follow_ups(
            |planned| planned.state == PlannedFollowUpState::Pending && is_hit(planned),
            |planned| planned.cancel(OVERTAKEN, now),
        );
        for planned in cancelled {
            let timer = follow_up::FollowUpTimer::of(loaded.state.id, &planned);
            self.ended_timers.extend(timer);
            let detail = json!({ "rule": planned.rule_name });
            loaded.note(self.line(TimelineEntryKind::RuleCancelled, &detail));
        }
        let has_started = |planned: &PlannedFollowUp| {
            planned.state == PlannedFollowUpState::Started && is_hit(planned)
        };
        if loaded.follow_ups().iter().any(has_started) {
            self.reached.push(follow_up::ReachedTransitionMask {
                id: HexUuid(loaded.state.id),
                mask: new.mask(),
            });
        }
    }

    /// Plans what the rules that have no condition start. It goes into the records of the
    /// notifications, before they are saved.
    fn plan(&mut self, loaded: &mut [LoadedNotification]) -> Vec<follow_up::FollowUpTimer> {
        let (asking, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.starts)
            .into_iter()
            .partition(|start| start.rule.rule.condition.is_some());
        self.starts = asking;
        let mut timers = Vec::new();
        for start in others {
            timers.extend(self.decide(start, None, loaded));
        }
        timers
    }

    /// Plans what the rules with a condition start: their conditions are about the notifications as
    /// they were saved.
    async fn plan_conditional(
        &mut self,
        tx: &DatabaseTransaction,
        loaded: &mut [LoadedNotification],
    ) -> Result<Vec<follow_up::FollowUpTimer>, StoreError> {
        let starts = std::mem::take(&mut self.starts);
        let asking: Vec<Uuid> = starts
            .iter()
            .filter_map(|start| Some(loaded.get(start.index)?.state.id))
            .collect();
        if asking.is_empty() {
            return Ok(Vec::new());
        }
        for loaded in loaded.iter_mut() {
            loaded.mark_saved()?;
        }
        let contexts: BTreeMap<Uuid, Value> =
            context::load(tx, &asking).await?.into_iter().collect();
        let mut timers = Vec::new();
        for (start, id) in starts.into_iter().zip(asking) {
            let context = contexts.get(&id).unwrap_or(&Value::Null);
            timers.extend(self.decide(start, Some(context), loaded));
        }
        notification::save_records(tx, loaded).await?;
        Ok(timers)
    }

    /// Decides whether a rule starts; the context is for its condition.
    fn decide(
        &self,
        start: TriggeredRule<'_>,
        context: Option<&Value>,
        loaded: &mut [LoadedNotification],
    ) -> Option<follow_up::FollowUpTimer> {
        let loaded = loaded.get_mut(start.index)?;
        let rule = &start.rule.rule;
        if let Err(why) = rule.starts(loaded.facets.depth, loaded.state.triggered) {
            // A rule that never reacts to messages of rules is not worth a line on each of them.
            if why != FollowUpRuleBlock::MadeByARule || rule.on == NotificationTransition::Failed {
                let detail = json!({ "rule": rule.name, "on": start.trigger.name(), "reason": why.reason() });
                loaded.note(self.line(TimelineEntryKind::RuleDidNotFire, &detail));
            }
            return None;
        }
        let asked = rule
            .condition
            .as_deref()
            .map(|condition| template::holds(condition, context.unwrap_or(&Value::Null)));
        let (state, due_at, reason) = match asked {
            Some(Ok(false)) => {
                let detail = json!({
                    "rule": rule.name, "on": start.trigger.name(),
                    "reason": "its condition does not hold", "condition": rule.condition,
                });
                loaded.note(self.line(TimelineEntryKind::RuleDidNotFire, &detail));
                return None;
            }
            Some(Err(error)) => (
                PlannedFollowUpState::Skipped,
                None,
                Some(format!("its condition cannot be evaluated: {error}")),
            ),
            Some(Ok(true)) | None => (
                PlannedFollowUpState::Pending,
                Some(rule.due(start.trigger_at, self.now)),
                None,
            ),
        };
        let planned = PlannedFollowUp {
            id: new_id(self.now),
            created_at: self.now,
            generation: loaded.state.generation,
            rule_id: start.rule.id,
            rule_name: rule.name.clone(),
            trigger: start.trigger,
            occurrence: start.occurrence,
            unless: rule.unless,
            state,
            due_at,
            settled_at: None,
            reason,
        };
        let timer = follow_up::FollowUpTimer::of(loaded.state.id, &planned);
        let skipped = planned
            .reason
            .as_ref()
            .map(|reason| json!({ "rule": rule.name, "reason": reason }));
        if !loaded.plan(planned) {
            return None;
        }
        let word = if skipped.is_some() {
            "skipped"
        } else {
            "pending"
        };
        metrics::counter!("herald_follow_ups_total", "state" => word).increment(1);
        if let Some(detail) = skipped {
            loaded.note(self.line(TimelineEntryKind::RuleSkipped, &detail));
        }
        timer
    }

    /// Writes what follows from notifications that are saved.
    async fn write(
        mut self,
        tx: &DatabaseTransaction,
        loaded: &mut [LoadedNotification],
        mut timers: Vec<follow_up::FollowUpTimer>,
        report: &mut NotificationLifecycleReport,
    ) -> Result<(), StoreError> {
        let now = self.now;
        timers.extend(self.plan_conditional(tx, loaded).await?);
        report.wake_timers |= timers.iter().any(|timer| timer.is_due(now));
        follow_up::remove_timers(tx, &self.ended_timers).await?;
        follow_up::set_timers(tx, &timers).await?;
        if !self.overruled.is_empty() {
            for fired in follow_up::fired(tx, &self.overruled).await? {
                let detail = json!({ "rule": fired.rule_name, "reason": "it was sent because of a failure, but the message was delivered after all" });
                let kind = TimelineEntryKind::RuleOverruled;
                timeline::note(
                    tx,
                    fired.notification_id,
                    kind,
                    Some(detail.to_string()),
                    now,
                )
                .await?;
            }
        }
        for cancelled in follow_up::cancel(tx, &self.reached, now).await? {
            let detail = json!({ "rule": cancelled.rule_name });
            let kind = TimelineEntryKind::RuleCancelled;
            timeline::note(
                tx,
                cancelled.notification_id,
                kind,
                Some(detail.to_string()),
                now,
            )
            .await?;
        }
        counter::add(tx, &self.counters, self.engine.slot, now).await?;
        self.events.iter().try_for_each(|event| tx.emit(event, now))
    }
}

/// Applies a batch of changes. Facts of one notification may come in any order and any number of
/// times.
pub async fn run(
    engine: &Engine,
    tx: &DatabaseTransaction,
    steps: &[NotificationLifecycleChange],
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    if steps.is_empty() {
        return Ok(NotificationLifecycleReport::default());
    }
    run_recorded(engine, tx, steps, &[], now).await
}

/// Like [`run`], for the answers to calls: also stores the record of each call.
pub async fn run_recorded(
    engine: &Engine,
    tx: &DatabaseTransaction,
    steps: &[NotificationLifecycleChange],
    records: &[attempt::ProviderCallRecord],
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    let wanted = notifications(steps);
    notification::lock(tx, &wanted).await?;
    let loaded = notification::load(tx, &wanted).await?;
    change(engine, tx, loaded, steps, records, now).await
}

/// The notifications of a batch, each once, sorted by id.
fn notifications(steps: &[NotificationLifecycleChange]) -> Vec<Uuid> {
    let mut wanted: Vec<Uuid> = steps.iter().map(|step| step.notification_id).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

/// Like [`run`], without waiting for locks, and with notifications that this transaction has read
/// before, sorted by id: if another transaction has changed one of them meanwhile, it returns
/// [`StoreError::Conflict`] and writes nothing.
pub async fn run_unlocked(
    engine: &Engine,
    tx: &DatabaseTransaction,
    mut loaded: Vec<LoadedNotification>,
    steps: &[NotificationLifecycleChange],
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    if steps.is_empty() {
        return Ok(NotificationLifecycleReport::default());
    }
    let mut missing = notifications(steps);
    let is_there = |id: &Uuid| {
        let found = loaded.binary_search_by_key(id, |loaded| loaded.state.id);
        found.is_ok()
    };
    missing.retain(|id| !is_there(id));
    loaded.extend(notification::load(tx, &missing).await?);
    loaded.sort_by_key(|loaded| loaded.state.id);
    change(engine, tx, loaded, steps, &[], now).await
}

async fn change(
    engine: &Engine,
    tx: &DatabaseTransaction,
    mut loaded: Vec<LoadedNotification>,
    steps: &[NotificationLifecycleChange],
    records: &[attempt::ProviderCallRecord],
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    let mut report = NotificationLifecycleReport::default();
    let policy = &engine.settings.policy;
    let rules = engine.catalogue_snapshot(tx).await?;
    let before: Vec<NotificationState> = loaded.iter().map(|loaded| loaded.state.clone()).collect();
    let mut follow = ChangeConsequences::new(engine, now);
    let mut replies: Vec<(usize, String)> = Vec::new();
    for step in steps {
        let found = loaded.binary_search_by_key(&step.notification_id, |loaded| loaded.state.id);
        let Some((index, current)) = found
            .ok()
            .and_then(|index| loaded.get_mut(index).map(|loaded| (index, loaded)))
        else {
            report.effects.push(None);
            continue;
        };
        let effect = current.state.on(&step.change, now, policy);
        if matches!(
            &step.change,
            NotificationChange::StatusReported {
                failure: Some(_),
                ..
            }
        ) {
            report.hear(current, false);
        }
        if let (NotificationChange::Replied, Some(occurrence)) = (&step.change, &step.occurrence) {
            replies.push((index, occurrence.clone()));
        }
        let (kind, detail) = match &effect {
            NotificationChangeEffect::Applied(kind) => {
                report.applied += 1;
                (*kind, step.detail.clone())
            }
            // A timer that finds nothing due is not an event in a message's life.
            NotificationChangeEffect::Ignored(_)
                if matches!(step.change, NotificationChange::TimerFired) =>
            {
                report.ignored += 1;
                report.effects.push(Some(effect));
                continue;
            }
            NotificationChangeEffect::Ignored(reason) => {
                report.ignored += 1;
                let mut detail = step.detail.clone().unwrap_or_else(|| json!({}));
                if let Some(object) = detail.as_object_mut() {
                    object.insert("reason".to_owned(), json!(reason));
                    if let NotificationChange::StatusReported { fact, .. } = &step.change {
                        object.insert("status".to_owned(), json!(fact.name()));
                    }
                }
                (TimelineEntryKind::Ignored, Some(detail))
            }
        };
        current.note(TimelineEntry {
            at: now,
            kind,
            provider_at: step.provider_at,
            attempt_id: step.attempt_id,
            callback_id: step.callback_id,
            detail: detail.map(|detail| detail.to_string()),
        });
        report.effects.push(Some(effect));
    }
    for (index, (current, before)) in loaded.iter_mut().zip(&before).enumerate() {
        let new = current.state.finish(before, now, policy);
        if !new.is_empty() {
            follow.cancel(current, new);
            if new.contains(NotificationTransition::Delivered)
                && before.triggered.contains(NotificationTransition::Failed)
            {
                follow.overruled.push(current.state.id);
            }
            if new.contains(NotificationTransition::Sent)
                || new.contains(NotificationTransition::Failed)
            {
                report.hear(current, true);
            }
            for trigger in new.iter() {
                *report.triggered.entry(trigger).or_default() += 1;
                report.reached.push((current.state.id, trigger));
                follow.raise(&current.state, &current.facets, trigger);
                // A reply that names its message is an occurrence of its own.
                let named = trigger == NotificationTransition::Replied
                    && replies.iter().any(|(at, _)| *at == index);
                if !named {
                    follow.start((index, current), trigger, "", &rules);
                }
            }
        }
        report.wake_sender |= current.state.due_at.is_some_and(|due| due <= now);
        if current.state != *before {
            follow.count(Some(before), &current.state, &current.facets);
        }
    }
    for (index, occurrence) in replies {
        if let Some(current) = loaded.get(index) {
            let trigger = NotificationTransition::Replied;
            follow.start((index, current), trigger, &occurrence, &rules);
        }
    }
    let timers = follow.plan(&mut loaded);
    notification::save(tx, &before, &mut loaded, records, policy, now).await?;
    follow.write(tx, &mut loaded, timers, &mut report).await?;
    Ok(report)
}

/// Skips notifications whose recipient has refused them, with a timeline entry.
async fn without_refused(
    tx: &DatabaseTransaction,
    rules: &CatalogueSnapshot,
    new: &[notification::NewNotification],
) -> Result<Vec<notification::NewNotification>, StoreError> {
    let mut new = new.to_vec();
    let contacts: Vec<Uuid> = new.iter().filter_map(|new| new.contact_id).collect();
    let wishes = preferences::of(tx, &contacts).await?;
    for new in new.iter_mut().filter(|new| new.skipped.is_none()) {
        let message = preference::MessageTraits {
            category: new.category,
            kind: new.message_kind.as_deref(),
            required: rules.is_required(new.message_kind.as_deref()),
            channel: &new.channel,
            product: new.product.as_deref(),
        };
        new.skipped = new
            .contact_id
            .and_then(|contact| wishes.get(&contact))
            .and_then(|wishes| wishes.refusal(message));
    }
    Ok(new)
}

/// Stores new notifications with their first timeline entry, their counters, and what skipping them
/// starts. Returns the ids of those that are new.
pub async fn introduce(
    engine: &Engine,
    tx: &DatabaseTransaction,
    rules: &CatalogueSnapshot,
    new: &[notification::NewNotification],
    now: Timestamp,
) -> Result<(Vec<Uuid>, NotificationLifecycleReport), StoreError> {
    let mut report = NotificationLifecycleReport::default();
    if new.is_empty() {
        return Ok((Vec::new(), report));
    }
    let new = &without_refused(tx, rules, new).await?;
    let mut follow = ChangeConsequences::new(engine, now);
    let mut made: Vec<LoadedNotification> = Vec::with_capacity(new.len());
    for new in new {
        let facets = NotificationFacets {
            sender_id: new.sender_id,
            channel: new.channel.clone(),
            template: new.template.clone(),
            event_type: new.event_type.clone(),
            language: new.language.clone(),
            depth: new.depth,
            contact_id: new.contact_id,
            address: new.address.clone(),
            product: new.product.clone(),
        };
        let mut loaded = LoadedNotification::new(notification::fresh_state(new, now), facets);
        let why = json!({ "route": new.route, "rule": new.rule, "reason": new.skipped });
        let kind = if new.skipped.is_some() {
            TimelineEntryKind::Skipped
        } else {
            TimelineEntryKind::Queued
        };
        loaded.note(follow.line(kind, &why));
        for unread in &new.unread {
            loaded.note(follow.line(TimelineEntryKind::ValueUnread, &json!(unread)));
        }
        let before = loaded.state.clone();
        loaded.state.finish(&before, now, &engine.settings.policy);
        made.push(loaded);
    }
    let inserted = notification::insert(tx, new, &made, now).await?;
    people::note_reached(tx, new, now).await?;
    made.retain(|made| inserted.contains(&made.state.id));
    for (index, made) in made.iter().enumerate() {
        for trigger in made.state.triggered.iter() {
            *report.triggered.entry(trigger).or_default() += 1;
            report.reached.push((made.state.id, trigger));
            follow.raise(&made.state, &made.facets, trigger);
            follow.start((index, made), trigger, "", rules);
        }
        follow.count(None, &made.state, &made.facets);
        report.wake_sender |= made.state.due_at.is_some();
    }
    let timers = if follow.starts.is_empty() {
        Vec::new()
    } else {
        for made in &mut made {
            made.mark_saved()?;
        }
        let timers = follow.plan(&mut made);
        notification::save_records(tx, &mut made).await?;
        timers
    };
    follow.write(tx, &mut made, timers, &mut report).await?;
    Ok((inserted, report))
}
