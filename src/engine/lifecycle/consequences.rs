//! What follows from changes: the rules that they start and cancel, what they count, and the events
//! of Herald's own.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::NotificationLifecycleReport;
use crate::{
    domain::{
        country,
        follow_up::{OVERTAKEN, PlannedFollowUp, PlannedFollowUpState},
        latency,
        notification::{NotificationState, TransitionOccurrence},
        own_event::{
            HeraldEvent,
            payload::{NotificationChangeData, NotificationFailureData},
        },
        rule::FollowUpRuleBlock,
        template,
        time::Timestamp,
        timeline::{TimelineEntry, TimelineEntryKind},
        transition::{NotificationTransition, NotificationTransitionSet},
    },
    engine::{Engine, runtime::catalogue_cache::CatalogueSnapshot},
    store::{
        DatabaseTransaction, StoreError,
        catalogue::StoredRule,
        channel_fallback, context, counter,
        dialect::HexUuid,
        follow_up, new_id,
        notification::{self, LoadedNotification, NotificationFacets},
        timeline,
    },
};

/// Collects the consequences of changes, to be written as sets.
pub(super) struct ChangeConsequences<'a> {
    engine: &'a Engine,
    now: Timestamp,
    counters: counter::CounterChanges,
    /// Transitions that may cancel follow-ups which have started.
    reached: Vec<follow_up::ReachedTransitionMask>,
    pub(super) overruled: Vec<Uuid>,
    /// Notifications that have failed or expired: they may go by another channel.
    pub(super) failed: Vec<Uuid>,
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
    pub(super) fn new(engine: &'a Engine, now: Timestamp) -> Self {
        Self {
            engine,
            now,
            counters: counter::CounterChanges::default(),
            reached: Vec::new(),
            overruled: Vec::new(),
            failed: Vec::new(),
            starts: Vec::new(),
            ended_timers: Vec::new(),
            events: Vec::new(),
        }
    }

    /// An entry of a timeline.
    pub(super) fn line(&self, kind: TimelineEntryKind, detail: &Value) -> TimelineEntry {
        TimelineEntry::new(self.now, kind, Some(detail.to_string()))
    }

    /// Counts what a notification is, in place of what it was; a new one was nothing.
    pub(super) fn count(
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

    pub(super) fn start(
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

    /// Whether any rule was triggered.
    pub(super) const fn has_starts(&self) -> bool {
        !self.starts.is_empty()
    }

    /// Raises the event of a transition.
    pub(super) fn raise(
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
    pub(super) fn cancel(
        &mut self,
        loaded: &mut LoadedNotification,
        new: NotificationTransitionSet,
    ) {
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
    pub(super) fn plan(
        &mut self,
        loaded: &mut [LoadedNotification],
    ) -> Vec<follow_up::FollowUpTimer> {
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
    pub(super) async fn write(
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
        channel_fallback::wake(tx, &self.failed, now).await?;
        counter::add(tx, &self.counters, self.engine.slot, now).await?;
        self.events.iter().try_for_each(|event| tx.emit(event, now))
    }
}
