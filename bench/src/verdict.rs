//! What became of callbacks that were acknowledged and of sends that were accepted.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    crash, database,
    load::Shot,
    outbound::Sandbox,
    record,
    traffic::{Ledger, send_name},
};

/// Everything is decided after this, or stays open.
const DECIDED_WITHIN: Duration = Duration::from_mins(1);

/// The sums of one round, or of several.
#[derive(Debug, Default)]
pub struct Verdict {
    pub acknowledged: usize,
    pub accepted: usize,
    /// Acknowledged callbacks that the database does not have.
    pub missing_callbacks: usize,
    /// Accepted sends that the database does not have under their id.
    pub missing_sends: usize,
    /// Facts applied twice, sends stored twice, messages given to the provider twice.
    pub doubled: usize,
    /// Acknowledged callbacks without effect, and messages that are not decided.
    pub undone: usize,
    /// Accepted sends that the provider never got, and that say so.
    pub gave_up: usize,
    /// The same, and they do not say so.
    pub unsent: usize,
}

impl Verdict {
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.accepted += other.accepted;
        self.missing_callbacks += other.missing_callbacks;
        self.missing_sends += other.missing_sends;
        self.doubled += other.doubled;
        self.undone += other.undone;
        self.gave_up += other.gave_up;
        self.unsent += other.unsent;
    }

    /// What is wrong, in words; `may_give_up` messages may have been in flight at kills.
    pub fn faults(&self, may_give_up: usize) -> Vec<String> {
        [
            (self.missing_callbacks, "acknowledged callbacks are missing"),
            (self.missing_sends, "accepted sends are missing"),
            (self.doubled, "were stored, applied or sent twice"),
            (self.undone, "were not applied or decided"),
            (self.unsent, "accepted sends never reached the provider"),
            (
                self.gave_up.saturating_sub(may_give_up),
                "accepted sends were given up that no kill interrupted",
            ),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }
}

/// Waits until everything is applied and decided by a running server. Says how much is not.
pub async fn wait(connection: &DatabaseConnection) -> anyhow::Result<usize> {
    let unapplied = crash::wait(connection).await?;
    let started = Instant::now();
    loop {
        let undecided = "SELECT count(*) FROM notification \
            WHERE open_status IN ('queued', 'held', 'sending', 'retrying', 'unknown')";
        let undecided = database::number(connection, undecided).await?;
        if undecided == 0 || started.elapsed() > DECIDED_WITHIN {
            return Ok(usize::try_from(unapplied + undecided)?);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Compares what was answered with the database and with the provider's ledger.
pub async fn judge(
    connection: &DatabaseConnection,
    sandbox: &Sandbox,
    shots: &[Shot],
    ledger: &Ledger,
    undone: usize,
) -> anyhow::Result<Verdict> {
    let callbacks = crash::compare(connection, shots, &ledger.acknowledged).await?;
    let sends = Sends::read(connection, sandbox).await?;
    let mut verdict = Verdict {
        acknowledged: ledger.acknowledged.len(),
        accepted: ledger.accepted.len(),
        missing_callbacks: callbacks.missing,
        doubled: callbacks.applied_twice + sends.doubled(),
        undone: undone + callbacks.unapplied,
        ..Verdict::default()
    };
    for (number, id) in &ledger.accepted {
        let name = send_name(*number);
        let found = match id {
            Some(id) => sends.stored.get(id).map(|it| (*id, it)),
            None => sends
                .stored
                .iter()
                .map(|(id, it)| (*id, it))
                .find(|(_, it)| it.name == name),
        };
        match found.filter(|(_, stored)| stored.name == name) {
            None => verdict.missing_sends += 1,
            Some((id, _)) if sends.reached.contains_key(&id) => {}
            Some((_, stored)) if stored.status == "gave_up" => verdict.gave_up += 1,
            Some(_) => verdict.unsent += 1,
        }
    }
    Ok(verdict)
}

struct Stored {
    name: String,
    status: String,
}

/// Sends as the database and the provider have them, by notification.
struct Sends {
    stored: HashMap<Uuid, Stored>,
    /// How often the provider accepted each.
    reached: HashMap<Uuid, usize>,
    /// Calls of attempts that the database does not have.
    unknown_calls: usize,
}

impl Sends {
    async fn read(connection: &DatabaseConnection, sandbox: &Sandbox) -> anyhow::Result<Self> {
        let backend = connection.get_database_backend();
        let rows = "SELECT id, status, CAST(params AS text) FROM notification";
        let mut stored = HashMap::new();
        for row in connection
            .query_all_raw(Statement::from_string(backend, rows))
            .await?
        {
            let params: Option<String> = row.try_get_by_index(2)?;
            let params: Value = serde_json::from_str(&params.unwrap_or_default())?;
            let name = params.get("name").and_then(Value::as_str);
            // What was there before the load has another name.
            if let Some(name) = name.filter(|name| name.starts_with('S')) {
                let (name, status) = (name.to_owned(), row.try_get_by_index(1)?);
                stored.insert(row.try_get_by_index(0)?, Stored { name, status });
            }
        }
        let attempts = record::attempts(connection).await?;
        let known: HashSet<(Uuid, Uuid)> = attempts.iter().map(|(of, it)| (*of, it.id)).collect();
        let (mut reached, mut unknown_calls) = (HashMap::new(), 0);
        for call in sandbox.accepted()? {
            if known.contains(&(call.notification, call.attempt)) {
                *reached.entry(call.notification).or_insert(0) += 1;
            } else {
                unknown_calls += 1;
            }
        }
        Ok(Self {
            stored,
            reached,
            unknown_calls,
        })
    }

    fn doubled(&self) -> usize {
        let names: HashSet<&str> = self.stored.values().map(|it| it.name.as_str()).collect();
        let stored_again = self.stored.len() - names.len();
        let sent_again: usize = self.reached.values().map(|times| times - 1).sum();
        // A call whose attempt was not stored before it was made can be made again.
        stored_again + sent_again + self.unknown_calls
    }
}
