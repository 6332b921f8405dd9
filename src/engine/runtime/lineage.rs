//! Detects that the database is not in the state it was left in. A restored backup, a rewound
//! replica or a copied file looks healthy and does not know what was sent since; where this can be
//! detected, sending is held automatically.
//!
//! - A **mark** in the database grows while messages are sent, at most once a second, in the
//!   transaction of a claim and before any of its calls. The file or address in
//!   `HERALD_STATE_MARK` gets it after the commit. So the database's own mark is never behind,
//!   unless it has lost commits.
//! - On PostgreSQL, the **cluster** and its timeline are compared with those last seen.
//! - Ids of **attempts** contain the installation's mark (`domain::attempt_id`): a status about an
//!   unknown attempt of this installation must come from a lost state.

use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::hold::{self, HoldActor};
use crate::{
    domain::{
        attempt_id,
        hold::{HoldReason, SendingHold},
        time::Timestamp,
    },
    engine::Engine,
    error::ErrorChain,
    store::{
        DatabaseTransaction, StoreError, hold as stored_hold,
        lineage::{self, ClusterPosition},
        new_id,
        state_mark::{StateMarkError, StateMarkLocation},
    },
};

/// Minimum time between two increments of the mark.
const EVERY_MICROS: i64 = 1_000_000;

/// The bits of an id that count within a process ([`new_id`]).
const SEQUENCE_BITS: u128 = 0x3fff_ffff << 32;

/// What this process knows about the state of its database.
#[derive(Debug, Default)]
pub struct StaleDatabaseDetector {
    installation: Uuid,
    outside: Option<StateMarkLocation>,
    seen: Mutex<StaleDatabaseDetectorState>,
}

#[derive(Debug, Default)]
struct StaleDatabaseDetectorState {
    mark: i64,
    marked_at: Option<Timestamp>,
    cluster: Option<ClusterPosition>,
    /// What is wrong with the external mark.
    trouble: Option<String>,
}

/// Result of advancing the mark in a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateMarkAdvanceOutcome {
    /// The mark was advanced a moment ago.
    NotDue,
    To(i64),
    /// The mark is behind the value that this process has seen: nothing may be claimed.
    WentBack {
        seen: i64,
    },
}

impl StaleDatabaseDetector {
    /// The lineage of an installation, with the location of its external mark.
    pub fn new(installation: Uuid, outside: Option<StateMarkLocation>) -> Self {
        Self {
            installation,
            outside,
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, StaleDatabaseDetectorState> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an attempt's id was made by this installation, in this or another state of its
    /// database.
    pub fn is_ours(&self, attempt: Uuid) -> bool {
        !self.installation.is_nil() && attempt_id::is_ours(self.installation, attempt)
    }

    /// What is wrong with the external mark, if anything.
    pub fn trouble(&self) -> Option<String> {
        self.seen().trouble.clone()
    }

    fn is_due(&self, now: Timestamp) -> bool {
        // A clock that was put back does not delay the mark.
        self.seen()
            .marked_at
            .is_none_or(|at| now < at || now.micros_since(at) >= EVERY_MICROS)
    }

    /// Logs a problem once, and its end once.
    fn note<T>(&self, result: Result<T, StateMarkError>) -> Option<T> {
        let mut seen = self.seen();
        match result {
            Ok(value) => {
                if seen.trouble.take().is_some() {
                    tracing::info!(
                        event = "state_mark.right",
                        "the state mark in HERALD_STATE_MARK can be used again"
                    );
                }
                Some(value)
            }
            Err(error) => {
                let text = ErrorChain(&error).to_string();
                if seen.trouble.as_ref() != Some(&text) {
                    tracing::error!(event = "state_mark.trouble", error = %text, "the state mark in HERALD_STATE_MARK could not be read or written: without it, an older copy of the database may not be noticed");
                    seen.trouble = Some(text);
                }
                None
            }
        }
    }
}

impl Engine {
    /// The id of a new attempt, which this installation recognizes.
    pub fn attempt_id(&self, now: Timestamp) -> Uuid {
        // There are no random bits at the end: each process uses bits of its own.
        let own = (self.process.as_u128() << 32) & SEQUENCE_BITS;
        let id = Uuid::from_u128(new_id(now).as_u128() ^ own);
        attempt_id::marked(self.lineage.installation, id)
    }
}

/// Advances the mark if it is due. To be called first in a claim's transaction.
pub async fn advance(
    engine: &Engine,
    tx: &DatabaseTransaction,
    now: Timestamp,
) -> Result<StateMarkAdvanceOutcome, StoreError> {
    if engine.lineage.installation.is_nil() || !engine.lineage.is_due(now) {
        return Ok(StateMarkAdvanceOutcome::NotDue);
    }
    let mark = lineage::advance(tx, now).await?;
    let seen = engine.lineage.seen().mark;
    Ok(if mark <= seen {
        StateMarkAdvanceOutcome::WentBack { seen }
    } else {
        StateMarkAdvanceOutcome::To(mark)
    })
}

/// Completes a claim after its commit and before its calls: writes the external mark, or holds
/// sending.
pub async fn advanced(
    engine: &Engine,
    advance: StateMarkAdvanceOutcome,
    now: Timestamp,
) -> Result<(), StoreError> {
    let lineage = &engine.lineage;
    match advance {
        StateMarkAdvanceOutcome::NotDue => Ok(()),
        StateMarkAdvanceOutcome::To(mark) => {
            {
                let mut seen = lineage.seen();
                seen.mark = seen.mark.max(mark);
                seen.marked_at = Some(now);
                // The worker tries again; claims do not wait for a broken mark.
                if seen.trouble.is_some() {
                    return Ok(());
                }
            }
            if let Some(outside) = &lineage.outside {
                lineage.note(outside.write(lineage.installation, mark).await);
            }
            Ok(())
        }
        StateMarkAdvanceOutcome::WentBack { seen } => went_back(engine, seen, now).await,
    }
}

async fn went_back(engine: &Engine, seen: i64, now: Timestamp) -> Result<(), StoreError> {
    let mark = lineage::mark(engine.store.reader()).await?;
    let detail = format!("its mark is {mark}, and this process has seen {seen}");
    hold_for(engine, HoldReason::WentBack, &detail, seen, now).await
}

/// Holds sending, and accepts an external mark that is newer than the database's: after the release
/// it must not cause another hold.
async fn hold_for(
    engine: &Engine,
    reason: HoldReason,
    detail: &str,
    least: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let by = HoldActor {
        actor: "herald",
        now,
    };
    engine
        .store
        .write(async |tx| {
            lineage::advance_to(tx, least, now).await?;
            hold::begin_in(tx, by, reason, Some(detail)).await
        })
        .await?;
    engine.refresh_hold().await?;
    Ok(())
}

/// Compares everything at the start, before anything is sent.
pub async fn begin(engine: &Engine, now: Timestamp) -> Result<(), StoreError> {
    engine.lineage.seen().mark = lineage::mark(engine.store.reader()).await?;
    compare_cluster(engine, now).await?;
    if !compare_mark(engine, now).await? && engine.lineage.outside.is_some() {
        let by = HoldActor {
            actor: "herald",
            now,
        };
        let trouble = engine.lineage.trouble();
        hold::begin(engine, by, HoldReason::MarkUnreadable, trouble.as_deref()).await?;
    }
    engine.refresh_hold().await?;
    Ok(())
}

/// Compares again, and writes a mark that could not be written before.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<(), StoreError> {
    compare_cluster(engine, now).await?;
    // In this order: a claim may advance both meanwhile.
    let seen = engine.lineage.seen().mark;
    let mark = lineage::mark(engine.store.reader()).await?;
    if mark < seen {
        return went_back(engine, seen, now).await;
    }
    if compare_mark(engine, now).await? {
        readable_again(engine).await?;
        if let Some(outside) = &engine.lineage.outside {
            let written = outside.write(engine.lineage.installation, mark).await;
            engine.lineage.note(written);
        }
    }
    Ok(())
}

/// Compares the external mark with the database's. False if no external mark can be read.
async fn compare_mark(engine: &Engine, now: Timestamp) -> Result<bool, StoreError> {
    let lineage = &engine.lineage;
    let Some(outside) = &lineage.outside else {
        return Ok(false);
    };
    let Some(theirs) = lineage.note(outside.read(lineage.installation).await) else {
        return Ok(false);
    };
    let theirs = theirs.unwrap_or(0);
    // Read second: another process may have advanced both.
    let ours = lineage::mark(engine.store.reader()).await?;
    if theirs > ours {
        let detail = format!("the mark is {theirs}, the database's {ours}");
        hold_for(engine, HoldReason::NewerMark, &detail, theirs, now).await?;
    }
    Ok(true)
}

/// Ends the hold that an unreadable mark caused at the start, once it is readable.
async fn readable_again(engine: &Engine) -> Result<(), StoreError> {
    let unreadable = |hold: &SendingHold| hold.reason == HoldReason::MarkUnreadable;
    if !engine.hold().is_some_and(|hold| unreadable(&hold)) {
        return Ok(());
    }
    engine
        .store
        .write(async |tx| match stored_hold::get(tx).await? {
            Some(hold) if unreadable(&hold) => stored_hold::withdraw(tx).await,
            _ => Ok(()),
        })
        .await?;
    engine.refresh_hold().await?;
    Ok(())
}

/// Compares PostgreSQL's cluster with the one last seen, by this process or in this database. A
/// promoted standby has a newer timeline of the same cluster: that is no reason for a hold.
async fn compare_cluster(engine: &Engine, now: Timestamp) -> Result<(), StoreError> {
    let Some(found) = lineage::cluster(&engine.store).await? else {
        return Ok(());
    };
    let seen = engine.lineage.seen().cluster.clone();
    if seen.as_ref() == Some(&found) {
        return Ok(());
    }
    let kept = lineage::last_cluster(engine.store.reader()).await?;
    let mut reason = None;
    for last in [&seen, &kept].into_iter().flatten() {
        if last.system != found.system {
            reason = Some((
                HoldReason::OtherCluster,
                format!("system identifier {}, before {}", found.system, last.system),
            ));
        } else if last.timeline > found.timeline && reason.is_none() {
            reason = Some((
                HoldReason::OlderTimeline,
                format!("timeline {}, before {}", found.timeline, last.timeline),
            ));
        }
    }
    let by = HoldActor {
        actor: "herald",
        now,
    };
    engine
        .store
        .write(async |tx| {
            lineage::keep_cluster(tx, &found, now).await?;
            if let Some((reason, detail)) = &reason {
                hold::begin_in(tx, by, *reason, Some(detail)).await?;
            }
            Ok(())
        })
        .await?;
    engine.lineage.seen().cluster = Some(found);
    engine.refresh_hold().await?;
    Ok(())
}
