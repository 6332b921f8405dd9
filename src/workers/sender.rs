//! Worker of one sender: claims messages, makes calls and settles the results, keeping the call
//! slots full.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{MIN_TRANSACTION_INTERVAL, resume_panic, still_apart};
use crate::{
    domain::{
        horizon,
        pace::{self, SendingPaceShare},
        time::Timestamp,
    },
    engine::{
        Engine,
        delivery::{self, CompletedDeliveryJob, DeliveryJob, ProviderCallSlots},
        people::identity,
    },
    error::ErrorChain,
    providers::MessageSender,
    state::{Clock, draw_permille},
    store::StoreError,
};

/// The queue is polled this often without a signal.
const NAP: Duration = Duration::from_secs(1);

/// Batches of answers being settled at the same time. Without a limit, unsettled answers could grow
/// without bound.
const SETTLED_AT_ONCE: usize = 2;

/// Calls that are late by up to this are made at once, as timers are inexact; later ones were held
/// up, and a burst of them would exceed the limit.
const MADE_UP_FOR: Duration = Duration::from_millis(8);

/// Extra slots for one-time passwords: one for every four ordinary slots.
const fn otp_slots(slots: usize) -> usize {
    if slots < 8 { 2 } else { slots / 4 }
}

/// The calls in progress, by lane.
#[derive(Default)]
struct InFlightProviderCalls {
    /// When the next ordinary call may be made, however late it is.
    apart: Arc<Mutex<Option<Instant>>>,
    set: JoinSet<CompletedDeliveryJob>,
    otp: usize,
    ordinary: usize,
}

impl InFlightProviderCalls {
    fn start(&mut self, provider: &Arc<dyn MessageSender>, clock: &Clock, job: DeliveryJob) {
        *self.of(job.lane) += 1;
        let provider = Arc::clone(provider);
        // No call is delayed longer than this, even if the clock was changed.
        let now = clock.now();
        let not_before = horizon::until(job.not_before, now, pace::FURTHEST_MICROS);
        let wait = not_before.micros_since(now).max(0);
        let apart = Arc::clone(&self.apart);
        let least = pace::least_apart_micros(job.interval_micros).unsigned_abs();
        self.set.spawn(async move {
            // Each call has its own time, so that no second exceeds the pace.
            if wait > 0 {
                tokio::time::sleep(Duration::from_micros(wait.unsigned_abs())).await;
            }
            if least > 0 && job.lane == SendingPaceShare::Ordinary {
                let mut next = apart.lock().await;
                let now = Instant::now();
                let at = next.map_or(now, |at| at.max(now.checked_sub(MADE_UP_FOR).unwrap_or(at)));
                tokio::time::sleep_until(at).await;
                *next = Some(at + Duration::from_micros(least));
            }
            delivery::call(provider.as_ref(), job).await
        });
    }

    const fn of(&mut self, lane: SendingPaceShare) -> &mut usize {
        match lane {
            SendingPaceShare::Otp => &mut self.otp,
            SendingPaceShare::Ordinary => &mut self.ordinary,
        }
    }

    fn ended(
        &mut self,
        answer: Option<CompletedDeliveryJob>,
        answers: &mut Vec<CompletedDeliveryJob>,
    ) {
        if let Some(answer) = answer {
            let count = self.of(answer.lane());
            *count = count.saturating_sub(1);
            answers.push(answer);
        }
        if self.set.is_empty() {
            // A call that ended without an answer is no longer counted.
            (self.otp, self.ordinary) = (0, 0);
        }
    }

    /// A claim costs a transaction: some slots must be free, unless no call is in progress.
    const fn has_room(&self, slots: usize) -> bool {
        self.ordinary == 0 || slots.saturating_sub(self.ordinary) >= slots / 4
    }

    fn free(&self, slots: usize) -> ProviderCallSlots {
        let free = |most: usize, used: usize| i64::try_from(most.saturating_sub(used)).unwrap_or(0);
        ProviderCallSlots {
            otp: free(otp_slots(slots), self.otp),
            ordinary: free(slots, self.ordinary),
        }
    }
}

/// Answers being settled beside the loop.
#[derive(Default)]
struct ProviderAnswerSettler {
    answers: Vec<CompletedDeliveryJob>,
    settling: JoinSet<()>,
    settled_at: Option<Instant>,
}

impl ProviderAnswerSettler {
    /// Starts to settle the answers that have arrived, if it is time; at once if no further call is
    /// in progress.
    fn settle(&mut self, engine: &Arc<Engine>, sender: Uuid, clock: &Clock, last: bool) {
        let urgent = last
            || self
                .answers
                .iter()
                .any(|it| it.lane() == SendingPaceShare::Otp);
        let due = urgent || still_apart(self.settled_at, Instant::now()).is_zero();
        if self.answers.is_empty() || !due || self.settling.len() >= SETTLED_AT_ONCE {
            return;
        }
        self.settled_at = Some(Instant::now());
        let (engine, clock) = (Arc::clone(engine), clock.clone());
        let answers = std::mem::take(&mut self.answers);
        self.settling.spawn_local(async move {
            let now = clock.now();
            delivery::settle_surely(&engine, sender, &answers, draw_permille(), now).await;
        });
    }

    fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.settling.is_empty()
    }
}

/// Sends for one sender until stopped; then finishes the calls in progress. Several run on one
/// thread: answers are settled beside the loop.
pub async fn run(engine: Arc<Engine>, sender: Uuid, clock: Clock, stop: CancellationToken) {
    let (engine, clock, stop) = (&engine, &clock, &stop);
    let mut queued = engine.queued.subscribe();
    let mut calls = InFlightProviderCalls::default();
    let mut desk = ProviderAnswerSettler::default();
    let slots = engine.settings.sending.slots;
    let most = slots + otp_slots(slots);
    let mut rest = SenderClaimPause::default();
    let mut trouble = Duration::from_millis(50);
    loop {
        if stop.is_cancelled() {
            if calls.set.is_empty() && desk.is_empty() {
                // Errors are logged; the statuses of these messages repeat the evidence.
                drop(identity::learn_answered(engine, clock.now()).await);
                return;
            }
        } else if rest.is_over(clock.now(), calls.has_room(slots)) {
            rest.claimed_at = Some(Instant::now());
            match fill(engine, sender, clock, &mut calls, &mut desk, &mut rest).await {
                Ok(()) => trouble = Duration::from_millis(50),
                Err(error) => {
                    metrics::counter!("herald_worker_errors_total", "worker" => "sender")
                        .increment(1);
                    tracing::error!(event = "worker.error", worker = "sender", error = %ErrorChain(&error), "the next messages could not be taken from the queue: retrying");
                    rest.until = clock.now().plus_micros(micros(trouble));
                    trouble = (trouble * 2).min(Duration::from_secs(5));
                }
            }
        }
        let mut pause = rest.left(clock.now());
        if !desk.answers.is_empty() {
            pause = pause.min(MIN_TRANSACTION_INTERVAL);
        }
        if calls.set.is_empty() && desk.settling.is_empty() {
            if !pause.is_zero() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                    _ = queued.changed() => rest.until = Timestamp::default(),
                }
            }
        } else {
            // New messages may be claimed while slots are free; otherwise wait for an answer.
            let room = calls.set.len() < most && !stop.is_cancelled();
            let ended = tokio::select! {
                biased;
                Some(answer) = calls.set.join_next() => answer.ok(),
                Some(settled) = desk.settling.join_next() => {
                    resume_panic(settled);
                    None
                }
                _ = queued.changed(), if room => {
                    rest.until = Timestamp::default();
                    None
                }
                () = tokio::time::sleep(pause.max(Duration::from_millis(1))), if room => None,
            };
            calls.ended(ended, &mut desk.answers);
        }
        while let Some(answer) = calls.set.try_join_next() {
            calls.ended(answer.ok(), &mut desk.answers);
        }
        while let Some(settled) = desk.settling.try_join_next() {
            resume_panic(settled);
        }
        desk.settle(engine, sender, clock, calls.set.is_empty());
        if calls.set.is_empty() && desk.is_empty() {
            // Errors are logged, and it is tried again.
            drop(identity::learn_due(engine, clock.now()).await);
        }
    }
}

/// Longest rest, in microseconds: a nap, or a pause after an error.
const LONGEST_REST_MICROS: i64 = 5_000_000;

/// Whether a rest is over: its end has come, or the clock was put back since.
fn has_come(until: Timestamp, now: Timestamp) -> bool {
    horizon::has_come(until, now, LONGEST_REST_MICROS)
}

/// Until when there is no need to query the database.
#[derive(Default)]
struct SenderClaimPause {
    until: Timestamp,
    /// The pace allows no ordinary messages before this, however many arrive.
    ordinary_until: Timestamp,
    /// Nothing was claimed because the slots were taken.
    crowded: bool,
    /// When the last claim began.
    claimed_at: Option<Instant>,
}

impl SenderClaimPause {
    /// Whether it is time to claim.
    fn is_over(&self, now: Timestamp, has_room: bool) -> bool {
        self.apart().is_zero() && (has_come(self.until, now) || (self.crowded && has_room))
    }

    /// Time until the next claim.
    fn left(&self, now: Timestamp) -> Duration {
        let left = horizon::until(self.until, now, LONGEST_REST_MICROS);
        let left = left.micros_since(now).max(0).unsigned_abs();
        Duration::from_micros(left).max(self.apart())
    }

    /// Time until another claim may begin.
    fn apart(&self) -> Duration {
        still_apart(self.claimed_at, Instant::now())
    }
}

/// Claims as much as the free slots and the pace allow, and starts the calls.
async fn fill(
    engine: &Arc<Engine>,
    sender: Uuid,
    clock: &Clock,
    calls: &mut InFlightProviderCalls,
    desk: &mut ProviderAnswerSettler,
    rest: &mut SenderClaimPause,
) -> Result<(), StoreError> {
    let now = clock.now();
    rest.until = now.plus_micros(micros(NAP));
    if !engine.may_claim() {
        return Ok(());
    }
    let mut free = calls.free(engine.settings.sending.slots);
    // One-time passwords never wait for the slots of other messages.
    rest.crowded = !calls.has_room(engine.settings.sending.slots);
    if rest.crowded {
        free.ordinary = 0;
    }
    if !has_come(rest.ordinary_until, now) {
        free.ordinary = 0;
        rest.until = rest.ordinary_until;
    }
    if free.ordinary <= 0 && free.otp <= 0 {
        return Ok(());
    }
    let claiming = async {
        let (mut claim, provider) = delivery::claim_current(engine, sender, free, now).await?;
        // They are committed and must be made: without new times, at their old ones.
        if let Err(error) = delivery::catch_up(engine, sender, &mut claim.jobs, clock.now()).await {
            tracing::warn!(event = "worker.late", worker = "sender", error = %ErrorChain(&error), "messages that are late could not be given new times: they are sent at once, perhaps faster than the limit for a moment");
        }
        Ok::<_, StoreError>((claim, provider))
    };
    tokio::pin!(claiming);
    let (claim, provider) = loop {
        tokio::select! {
            biased;
            claimed = &mut claiming => break claimed?,
            // Answers do not wait for a claim.
            Some(answer) = calls.set.join_next() => {
                calls.ended(answer.ok(), &mut desk.answers);
                desk.settle(engine, sender, clock, calls.set.is_empty());
            }
        }
    };
    if claim.taken > 0 {
        rest.until = now;
    } else if let Some(again_at) = claim.again_at {
        rest.until = again_at.min(now.plus_micros(micros(NAP)));
        rest.ordinary_until = rest.until;
    }
    for job in claim.jobs {
        calls.start(&provider, clock, job);
    }
    Ok(())
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Duration, NAP, SenderClaimPause, Timestamp, micros};

    #[test]
    fn a_rest_is_over_when_the_clock_was_put_back() {
        let now = Timestamp::from_unix_seconds(1_767_225_600);
        let until = now.plus_micros(micros(NAP));
        let rest = SenderClaimPause {
            until,
            ordinary_until: until,
            ..SenderClaimPause::default()
        };
        assert!(!rest.is_over(now, true));
        assert_eq!(rest.left(now), NAP);
        assert!(rest.is_over(until, true));
        let back = now.plus_seconds(-6 * 3600);
        assert!(rest.is_over(back, true));
        assert_eq!(rest.left(back), Duration::ZERO);
        assert!(super::has_come(rest.ordinary_until, back));
    }
}
