//! Keeps the call slots full: claims, calls, settles.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Turn;
use crate::{
    domain::time::Timestamp,
    engine::{
        Engine,
        dispatch::{self, Answer},
        inbox::ErrorChain,
        read_marks, watch,
    },
    providers::Provider,
    state::{Clock, draw_permille},
    store::StoreError,
};

/// Without a signal, the queue is looked at this often.
const NAP: Duration = Duration::from_secs(1);

/// Held messages are looked for this often: another process may have held them.
const RELEASE_SECONDS: i64 = 10;

/// Marks what people write as read, until stopped.
pub async fn mark_read(
    engine: Arc<Engine>,
    sending: Option<Sending>,
    clock: Clock,
    stop: CancellationToken,
) {
    let Some(sending) = sending.filter(|_| engine.settings.mark_read && engine.settings.enabled)
    else {
        return;
    };
    super::run(
        "read marks",
        stop,
        Duration::from_secs(2),
        None,
        async || {
            let marked = read_marks::turn(
                &engine,
                sending.provider.as_ref(),
                sending.sender,
                clock.now(),
            )
            .await?;
            Ok(if marked > 0 { Turn::Worked } else { Turn::Idle })
        },
    )
    .await;
}

/// What a sender sends with.
#[derive(Clone)]
pub struct Sending {
    pub sender: Uuid,
    pub provider: Arc<dyn Provider>,
}

/// Why nothing can be sent, in words for people.
pub fn obstacle(engine: &Engine, sending: Option<&Sending>) -> Option<&'static str> {
    if !engine.settings.enabled {
        Some("sending is switched off: WHATSAPP_ENABLED is false")
    } else if sending.is_none() {
        Some(
            "WhatsApp is not configured: WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_ACCESS_TOKEN are needed",
        )
    } else {
        None
    }
}

/// Sends until stopped; then finishes the calls that are being made.
pub async fn run(
    engine: Arc<Engine>,
    sending: Option<Sending>,
    clock: Clock,
    stop: CancellationToken,
) {
    match (obstacle(&engine, sending.as_ref()), sending) {
        (None, Some(sending)) => send(&engine, &sending, &clock, &stop).await,
        (reason, _) => {
            let reason = reason.unwrap_or("nothing can be sent");
            tracing::warn!(
                event = "sender.held",
                reason,
                "messages are accepted and held"
            );
            super::run("sender", stop, NAP, Some(&engine.queued), async || {
                hold_turn(&engine, reason, clock.now()).await
            })
            .await;
        }
    }
}

/// Moves what is due out of the queue.
pub async fn hold_turn(engine: &Engine, reason: &str, now: Timestamp) -> Result<Turn, StoreError> {
    Ok(if watch::hold(engine, reason, now).await? > 0 {
        Turn::Worked
    } else {
        Turn::Idle
    })
}

async fn send(engine: &Arc<Engine>, sending: &Sending, clock: &Clock, stop: &CancellationToken) {
    let mut calls: JoinSet<Answer> = JoinSet::new();
    let slots = engine.settings.send_slots;
    let mut next_release = Timestamp::default();
    let mut trouble = Duration::from_millis(50);
    loop {
        let mut pause = NAP;
        if !stop.is_cancelled() {
            match fill(
                engine,
                sending,
                clock.now(),
                slots - calls.len(),
                &mut calls,
                &mut next_release,
            )
            .await
            {
                Ok(Filled { again_at, full }) => {
                    trouble = Duration::from_millis(50);
                    if full {
                        pause = Duration::ZERO;
                    } else if let Some(again_at) = again_at {
                        let micros = again_at.micros_since(clock.now()).max(1000);
                        pause = pause.min(Duration::from_micros(micros.unsigned_abs()));
                    }
                }
                Err(error) => {
                    metrics::counter!("herald_worker_errors_total", "worker" => "sender")
                        .increment(1);
                    tracing::error!(event = "worker.error", worker = "sender", error = %ErrorChain(&error), "a claim failed and is repeated");
                    pause = trouble;
                    trouble = (trouble * 2).min(Duration::from_secs(5));
                }
            }
        } else if calls.is_empty() {
            return;
        }
        let mut answers = Vec::new();
        if calls.is_empty() {
            if !pause.is_zero() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                    () = engine.queued.notified() => {}
                }
            }
        } else {
            // New work may be claimed while slots are free; otherwise wait for an answer.
            tokio::select! {
                biased;
                Some(answer) = calls.join_next() => answers.extend(answer.ok()),
                () = engine.queued.notified(), if calls.len() < slots => {}
                () = tokio::time::sleep(pause.max(Duration::from_millis(1))), if calls.len() < slots && !stop.is_cancelled() => {}
            }
        }
        while let Some(answer) = calls.try_join_next() {
            answers.extend(answer.ok());
        }
        if !answers.is_empty() {
            dispatch::settle_surely(
                engine,
                sending.sender,
                &answers,
                draw_permille(),
                clock.now(),
            )
            .await;
        }
    }
}

/// What filling the slots found.
struct Filled {
    again_at: Option<Timestamp>,
    /// As much as was asked for came: there may be more.
    full: bool,
}

async fn fill(
    engine: &Arc<Engine>,
    sending: &Sending,
    now: Timestamp,
    free: usize,
    calls: &mut JoinSet<Answer>,
    next_release: &mut Timestamp,
) -> Result<Filled, StoreError> {
    if now >= *next_release {
        let released = watch::release(engine, now).await? > 0;
        *next_release = if released {
            now
        } else {
            now.plus_seconds(RELEASE_SECONDS)
        };
    }
    // A claim costs a transaction: wait until some slots are free, unless nothing is being sent.
    if !engine.may_claim()
        || free == 0
        || (free < engine.settings.send_slots / 4 && !calls.is_empty())
    {
        return Ok(Filled {
            again_at: None,
            full: false,
        });
    }
    let wanted = i64::try_from(free).unwrap_or(1);
    let claim = dispatch::claim(engine, sending.sender, wanted, now).await?;
    let full = claim.taken == free;
    for job in claim.jobs {
        let provider = Arc::clone(&sending.provider);
        calls.spawn(async move { dispatch::call(provider.as_ref(), job).await });
    }
    Ok(Filled {
        again_at: claim.again_at,
        full,
    })
}
