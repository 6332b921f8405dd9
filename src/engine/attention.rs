//! What needs a person: measured, with its meaning and what helps.

use super::{Engine, dispatch::sendable, heartbeat, keyring, senders};
use crate::{
    domain::{
        alarm::{Measure, percent},
        cohort::{Grain, Piece},
        notification::STALE,
        time::Timestamp,
    },
    engine::{dispatch::Sendable, heartbeat::Pulse},
    store::{
        StoreError, account_fact, alarm, callback,
        counter::{self, Dimension, Filter},
        credential, dead_letter, notification, parked, sender, template_sync,
    },
};

/// How soon somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Messages do not go out, or nobody knows what became of them.
    Now,
    /// Some messages are concerned, or will be.
    Soon,
}

/// Something that may be wrong.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: &'static str,
    /// What it is about, if there are several of its kind: a sender's name, a template.
    pub subject: String,
    pub urgency: Urgency,
    pub measure: Measure,
    /// What is the case, with its figures.
    pub summary: String,
    pub meaning: &'static str,
    pub remedy: String,
    /// Since when it is raised, if it is.
    pub raised_at: Option<Timestamp>,
    /// Only this process can know it: it is shown, and no alarm, which all processes
    /// would raise and clear in turn.
    pub is_local: bool,
}

impl Finding {
    fn new(kind: &'static str, urgency: Urgency, measure: Measure, summary: String) -> Self {
        Self {
            kind,
            subject: String::new(),
            urgency,
            measure,
            summary,
            meaning: "",
            remedy: String::new(),
            raised_at: None,
            is_local: false,
        }
    }

    const fn local(mut self, is_local: bool) -> Self {
        self.is_local = is_local;
        self
    }

    fn of(mut self, subject: &str) -> Self {
        subject.clone_into(&mut self.subject);
        self
    }

    fn means(mut self, meaning: &'static str, remedy: impl Into<String>) -> Self {
        (self.meaning, self.remedy) = (meaning, remedy.into());
        self
    }
}

/// Fewer are no rate.
const LEAST_FOR_A_RATE: i64 = 20;

/// A status may wait so long for its message, in seconds: an answer can be late.
const PARKED_SECONDS: i64 = 10 * 60;

/// Callbacks may wait so long to be applied, in seconds.
const CALLBACKS_SECONDS: i64 = 60;

/// Everything that can be wrong, measured now, with what is raised already. In order of
/// urgency.
pub async fn measure(engine: &Engine, now: Timestamp) -> Result<Vec<Finding>, StoreError> {
    let mut found = Vec::new();
    of_senders(engine, now, &mut found).await?;
    of_workers(engine, now, &mut found).await?;
    of_queues(engine, now, &mut found).await?;
    of_rates(engine, now, &mut found).await?;
    of_accounts(engine, now, &mut found).await?;
    let raised = alarm::raised(&engine.store).await?;
    for finding in &mut found {
        finding.raised_at = raised
            .iter()
            .find(|row| row.kind == finding.kind && row.subject == finding.subject)
            .map(|row| Timestamp::from_micros(row.raised_at));
    }
    found.sort_by_key(|finding| finding.urgency);
    Ok(found)
}

/// What is wrong now.
pub async fn findings(engine: &Engine, now: Timestamp) -> Result<Vec<Finding>, StoreError> {
    let mut found = measure(engine, now).await?;
    found.retain(|finding| finding.measure.is_wrong(finding.raised_at.is_some()));
    Ok(found)
}

async fn of_senders(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let all = sender::all(&engine.store).await?;
    if all.is_empty() {
        let summary = "No sender is known: nothing can be sent.".to_owned();
        found.push(
            Finding::new("no_sender", Urgency::Now, Measure::flag(true), summary).means(
                "WhatsApp is not configured: messages are accepted and wait until they expire.",
                "Set WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_ACCESS_TOKEN, or use herald senders add.",
            ),
        );
    }
    for row in &all {
        let (standing, reason) = senders::standing(engine, row);
        let reason = reason.unwrap_or_default();
        found.push(
            Finding::new(
                "sender_held",
                Urgency::Now,
                Measure::flag(standing != "active"),
                format!("The sender {} does not send: {reason}", row.name),
            )
            .of(&row.name)
            // What the environment lacks, other processes may have.
            .local(standing == "blocked")
            .means(
                "Its messages wait, and expire if it takes too long.",
                remedy_of(standing, &reason),
            ),
        );
        let silent_for = row.unheard_since.map_or(0, |since| {
            now.micros_since(Timestamp::from_micros(since)) / 1_000_000
        });
        let silence = Measure {
            value: silent_for,
            raise_at: engine.settings.silent_after_seconds,
            clear_at: 0,
        };
        found.push(
            Finding::new(
                "silence",
                Urgency::Now,
                silence,
                format!(
                    "The sender {} has sent for {} minutes and no callback has come.",
                    row.name,
                    silent_for / 60
                ),
            )
            .of(&row.name)
            .means(
                "Messages go out, and nobody learns whether they arrive.",
                "Check that the app is subscribed to the account and that its callback URL reaches this server: herald check.",
            ),
        );
    }
    let ageing = engine.settings.ageing;
    for row in credential::all(engine.store.reader()).await? {
        if !row.active {
            continue;
        }
        let owner = all
            .iter()
            .find(|sender| {
                row.scope == keyring::token_scope(sender.id)
                    || row.scope == keyring::scope_of(sender)
            })
            .map_or("a sender that is gone", |sender| sender.name.as_str());
        let kind = row.kind.replace('_', " ");
        let expires_at = row.expires_at.map(Timestamp::from_micros);
        let until = expires_at.map_or_else(String::new, |at| at.to_string());
        found.push(
            Finding::new(
                "credential_expiring",
                Urgency::Soon,
                Measure::flag(ageing.expires_soon(expires_at, now)),
                format!("The {kind} of {owner} expires at {until}."),
            )
            .of(&row.id.to_string())
            .means("Without it, its messages wait.", RENEW),
        );
        found.push(
            Finding::new(
                "credential_old",
                Urgency::Soon,
                Measure::flag(ageing.is_old(Timestamp::from_micros(row.created_at), now)),
                format!("The {kind} of {owner} has been in use for long."),
            )
            .of(&row.id.to_string())
            .means("What is old may have been seen by many.", RENEW),
        );
    }
    Ok(())
}

const RENEW: &str = "Make a new one at the provider and give it to Herald: herald senders set. The old one goes on working meanwhile.";

fn remedy_of(standing: &str, reason: &str) -> String {
    match standing {
        "off" => "Release it when you are ready: herald senders release.".to_owned(),
        "blocked" => "Give it what is missing: herald senders set, or the environment.".to_owned(),
        _ if reason.contains("token") => {
            "Make a new access token at Meta and give it to Herald: herald senders set. A test token lives an hour; a system user's does not expire.".to_owned()
        }
        _ => "Herald tries again by itself, once a minute. If it stays, see herald check.".to_owned(),
    }
}

async fn of_workers(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    for (worker, pulse) in heartbeat::pulses(engine, now).await? {
        let (dead, summary) = match pulse {
            Pulse::Alive | Pulse::Nobody => (false, format!("The worker {worker} works.")),
            Pulse::Dead(seconds) => (
                true,
                format!("The worker {worker} has given no sign of life for {seconds} seconds."),
            ),
        };
        let meaning = if worker == "apply" {
            "Callbacks are stored and not applied: nobody learns what was delivered."
        } else {
            "Nothing is sent, and no follow-up fires."
        };
        found.push(
            Finding::new("worker_dead", Urgency::Now, Measure::flag(dead), summary)
                .of(worker)
                .means(
                    meaning,
                    "Start herald serve again, and look into its log for why it has stopped.",
                ),
        );
    }
    if !engine.may_claim() {
        let summary = "The clock of this machine and the database's differ.".to_owned();
        found.push(
            Finding::new("clock", Urgency::Now, Measure::flag(true), summary)
                .local(true)
                .means(
                    "While they differ by over two seconds, this process sends nothing.",
                    "Let both machines keep the time by NTP.",
                ),
        );
    }
    Ok(())
}

async fn of_queues(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let store = &engine.store;
    let age = |since: Option<Timestamp>| {
        since.map_or(0, |since| now.micros_since(since).max(0) / 1_000_000)
    };
    let queue = age(notification::oldest_due(store, now).await?);
    let measure = Measure {
        value: queue,
        raise_at: engine.settings.alarms.queue_age_seconds,
        clear_at: engine.settings.alarms.queue_age_seconds / 5,
    };
    let summary = format!("A message has been due for {queue} seconds and is not sent.");
    found.push(
        Finding::new("queue_age", Urgency::Now, measure, summary).means(
            "No worker sends, or more is asked for than the number may send.",
            "Look whether herald serve runs (herald check), and whether a sender is slowed down.",
        ),
    );
    let (waiting, oldest) = callback::waiting(store).await?;
    let measure = Measure {
        value: age(oldest),
        raise_at: CALLBACKS_SECONDS,
        clear_at: CALLBACKS_SECONDS / 6,
    };
    let summary = format!(
        "{waiting} callbacks wait to be applied, the oldest for {} seconds.",
        measure.value
    );
    found.push(
        Finding::new("callbacks_waiting", Urgency::Now, measure, summary).means(
            "They are stored, and none is lost; what they tell is not known yet.",
            "Look whether herald serve runs: herald check.",
        ),
    );
    let dead = dead_letter::count_open(store).await?;
    let measure = Measure {
        value: dead,
        raise_at: 1,
        clear_at: 0,
    };
    let summary = format!("{dead} items of callbacks could not be applied.");
    found.push(
        Finding::new("dead_letters", Urgency::Soon, measure, summary).means(
            "What they tell is not known; everything else of their callbacks was applied.",
            "Read their reasons, mend what they name, and replay them.",
        ),
    );
    let parked = parked::count_before(store, now.plus_seconds(-PARKED_SECONDS)).await?;
    let measure = Measure {
        value: parked,
        raise_at: 1,
        clear_at: 0,
    };
    let summary = format!("{parked} statuses wait for a message that is not known here.");
    found.push(
        Finding::new("parked_statuses", Urgency::Soon, measure, summary).means(
            "Another program sends from the same number, or a backup was restored.",
            "If something else sends from this number, this is as it should be: they are dropped after a day.",
        ),
    );
    Ok(())
}

async fn of_rates(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let quarter = |seconds: i64| Grain::Quarter.start(now.plus_seconds(seconds));
    let total = async |hours: i64, until: Timestamp| {
        let piece = Piece {
            grain: Grain::Quarter,
            since: quarter(-hours * 3600),
            until,
        };
        counter::sums(
            &engine.store,
            &[piece],
            &Filter::default(),
            Dimension::Channel,
        )
        .await
    };
    let count = |sums: &[counter::Sum], fact: &str| -> i64 {
        sums.iter()
            .filter(|sum| sum.fact == fact)
            .map(|sum| sum.count)
            .sum()
    };
    let alarms = engine.settings.alarms;
    let hour = total(1, quarter(900)).await?;
    let (failed, created) = (count(&hour, "failed"), count(&hour, "created"));
    let measure = Measure {
        value: percent(failed, created, LEAST_FOR_A_RATE),
        raise_at: alarms.failure_percent,
        clear_at: alarms.failure_percent / 2,
    };
    let summary = format!(
        "{failed} of the {created} messages of the last hour have failed ({} %).",
        measure.value
    );
    found.push(
        Finding::new("failure_rate", Urgency::Now, measure, summary).means(
            "Many people do not get what was meant for them.",
            "The failures by code say why, and what helps.",
        ),
    );
    // What is younger cannot be stale yet.
    let until = Grain::Quarter.start(now.plus_seconds(-engine.settings.policy.stale_after_seconds));
    let older = total(4, until).await?;
    let (stale, accepted) = (count(&older, STALE), count(&older, "accepted"));
    let measure = Measure {
        value: percent(stale, accepted, LEAST_FOR_A_RATE),
        raise_at: alarms.stale_percent,
        clear_at: alarms.stale_percent / 2,
    };
    let summary = format!(
        "Of {stale} of the {accepted} messages accepted in the last four hours nothing was heard ({} %).",
        measure.value
    );
    found.push(
        Finding::new("stale_rate", Urgency::Now, measure, summary).means(
            "They may have arrived; nobody knows.",
            "Check that callbacks reach this server: herald check.",
        ),
    );
    Ok(())
}

async fn of_accounts(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    for fact in account_fact::all(&engine.store).await? {
        if fact.property != account_fact::STANDING {
            continue;
        }
        let over = fact.hold_until.is_some_and(|until| until <= now.micros());
        let reason = fact.hold_reason.clone().filter(|_| !over);
        let measure = Measure::flag(reason.is_some());
        let summary = format!(
            "The account {} may not send: {}",
            fact.account_id,
            reason.unwrap_or_default()
        );
        found.push(
            Finding::new("account_restricted", Urgency::Now, measure, summary)
                .of(&fact.account_id)
                .means(
                    "Meta has restricted or disabled the business account; its messages wait.",
                    "See the account's page in Meta's Business Manager, and ask for a review there.",
                ),
        );
    }
    for row in template_sync::all(&engine.store).await? {
        let standing = template_sync::Standing {
            status: row.status.clone(),
            reason: row.status_reason.clone(),
            category: row.category.clone(),
        };
        let reason = match sendable(&row.name, Some(&standing)) {
            Sendable::Yes => None,
            Sendable::Later(reason) | Sendable::Never(reason) => Some(reason),
        };
        let measure = Measure::flag(reason.is_some());
        let mut summary = reason.unwrap_or_default();
        if let Some(first) = summary.get(..1).map(str::to_uppercase) {
            summary.replace_range(..1, &first);
        }
        found.push(
            Finding::new("template_unusable", Urgency::Soon, measure, summary)
                .of(&format!("{}/{}/{}", row.account_id, row.name, row.language))
                .means(
                    "What uses it waits, or fails.",
                    "Mend the template in WhatsApp Manager, or let the route use another one.",
                ),
        );
    }
    Ok(())
}
