//! Starts a verification, sends its code again, or gives it up.

use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    VerificationCaller, VerificationError, VerificationPlan, VerificationRequest,
    count::{CountedVerification, count},
    digested, limits, place, plan,
    send::{self, CodeToSend, code_parameter},
};
use crate::{
    domain::{
        access::AccessBounds,
        category::MessageCategory,
        channel::MessageChannel,
        field_error::FieldError,
        notification::NotificationChange,
        recipient::RecipientSpec,
        time::Timestamp,
        verification::{CODE_LIFETIMES, VerificationStatus, code},
    },
    engine::{
        Engine,
        intake::{
            IntakeRowCache, NEEDS_PHONE, ONLY_EMAIL, RequestedTemplate,
            channel_sender::{self, ChannelSender},
            check_template,
            idempotency::{self, IdempotencyVerdict},
        },
        lifecycle::{self, NotificationLifecycleChange, NotificationLifecycleReport},
        runtime::turn::TransactionContext,
    },
    store::{
        DatabaseTransaction, StoreError, new_id,
        verification::{self, NewVerification, StoredVerification},
    },
};

/// Operation name of the idempotency keys of new verifications.
const START: &str = "POST /api/v1/verifications";

/// Operation name of the idempotency keys of resends.
const RESEND: &str = "POST /api/v1/verifications/{id}/resend";

/// Lifetime of a code where neither request nor template says one, in seconds.
const USUAL_LIFETIME: i64 = 300;

/// What came of a request for a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartedVerification {
    pub id: Uuid,
    /// False for a repeat with the same idempotency key, which sends nothing.
    pub is_new: bool,
}

/// Makes a code and sends it by the first channel. `random` is uniform and used once.
pub async fn start(
    engine: &Engine,
    caller: &VerificationCaller,
    request: &VerificationRequest,
    random: u64,
    now: Timestamp,
) -> Result<StartedVerification, VerificationError> {
    let (started, report) = engine
        .store
        .write_or_refuse(async |tx| {
            start_in(
                TransactionContext { engine, tx, now },
                caller,
                request,
                random,
            )
            .await
        })
        .await?;
    report.publish(engine);
    if started.is_new {
        metrics::counter!("herald_verifications_total").increment(1);
        tracing::info!(event = "verification.started", verification.id = %started.id, "a one-time password was made and queued");
    }
    Ok(started)
}

async fn start_in(
    turn: TransactionContext<'_>,
    caller: &VerificationCaller,
    request: &VerificationRequest,
    random: u64,
) -> Result<(StartedVerification, NotificationLifecycleReport), VerificationError> {
    let TransactionContext { engine, tx, now } = turn;
    let id = new_id(now);
    let key = caller.key.as_ref();
    if let Some(before) =
        repeated(&idempotency::idempotent(engine, tx, key, START, id, now).await?)?
    {
        return Ok((before, NotificationLifecycleReport::default()));
    }
    let mut reading = IntakeRowCache::default();
    let lifetime = check(turn, &mut reading, caller, request).await?;
    let product = caller.bounds.owner();
    let target = send::recipient(turn, &caller.bounds, &request.to).await?;
    // The number where there is one, also for codes by e-mail: no channel brings more tries.
    let address = target.address.as_deref().map(limits::counted_address);
    let subject = address.unwrap_or_else(|| target.key());
    let code = request
        .code
        .clone()
        .unwrap_or_else(|| code(request.length, random));
    let vault = engine.vault().ok_or(VerificationError::Key)?;
    let sealed = vault
        .seal_row(&place(id), code.expose_secret())
        .map_err(|_no_key| VerificationError::Key)?;
    let expires_at = now.plus_seconds(lifetime);
    let stored = NewVerification {
        id,
        product,
        purpose: &request.purpose,
        recipient: &request.to,
        contact_id: target.contact_id,
        failure_subject: limits::failure_subject(engine, product, &subject, &request.purpose),
        request: serde_json::json!(request.plan).to_string(),
        reference: request.reference.as_deref(),
        code_sealed: sealed,
        code_digest: vault.fingerprint(&digested(id, code.expose_secret())),
        max_tries: engine.settings.verification.tries,
        expires_at,
    };
    verification::insert(tx, stored, now).await?;
    let wanted = CodeToSend {
        id,
        created_at: now,
        bounds: &caller.bounds,
        product,
        to: &request.to,
        reference: request.reference.as_deref(),
        plan: &request.plan,
        code: &code,
        expires_at,
    };
    let (_, report) = send::send(turn, &mut reading, wanted, 0, true).await?;
    Ok((StartedVerification { id, is_new: true }, report))
}

/// Checks what can be wrong with a request, and returns how many seconds its code is valid.
async fn check(
    turn: TransactionContext<'_>,
    reading: &mut IntakeRowCache,
    caller: &VerificationCaller,
    request: &VerificationRequest,
) -> Result<i64, VerificationError> {
    let TransactionContext { engine, tx, .. } = turn;
    let VerificationPlan {
        channels,
        template,
        language,
        params,
        sender_channel,
        ..
    } = &request.plan;
    let mut wrong = Vec::new();
    if let Some(serves) = sender_channel.filter(|it| !channels.contains(it)) {
        wrong.push(channel_sender::serves_none(serves));
    }
    for (index, channel) in channels.iter().enumerate() {
        if request.plan.sender_for(engine, *channel).is_none() {
            wrong.push(FieldError {
                pointer: format!("/channels/{index}"),
                rule: "no sender serves this channel".to_owned(),
            });
        }
    }
    wrong.extend(check_recipient(&request.to, channels));
    let found = reading
        .template(engine, tx, template, language.as_deref().as_slice())
        .await?
        .filter(|found| caller.bounds.has_catalogue(found.row.catalogue.as_deref()));
    let layout = found.as_ref().and_then(|found| found.layout.as_ref().ok());
    let parameter = layout.and_then(code_parameter);
    let mut lifetime = USUAL_LIFETIME;
    if let (Some(found), Some(layout)) = (&found, layout) {
        if MessageCategory::counted_as(&found.row.category) != MessageCategory::Authentication {
            wrong.push(FieldError {
                pointer: "/template".to_owned(),
                rule: "a template of the category authentication".to_owned(),
            });
        } else if parameter.is_none() {
            wrong.push(FieldError {
                pointer: "/template".to_owned(),
                rule: "the template has no parameter for the code".to_owned(),
            });
        }
        if let Some(minutes) = layout.extras().code_expiration_minutes {
            lifetime = i64::from(minutes) * 60;
        }
    }
    let mut params = params.clone();
    if let Some(parameter) = parameter {
        if params.contains_key(&parameter) {
            wrong.push(FieldError {
                pointer: format!("/params/{parameter}"),
                rule: "the code is not a parameter: `code` is your own".to_owned(),
            });
        }
        params.insert(parameter, "00000000".into());
    }
    let requested = RequestedTemplate {
        name: template.clone(),
        language: language.clone(),
        params,
    };
    // Where the first channel's templates are reviewed, this one must be usable.
    let from = channels
        .first()
        .and_then(|channel| request.plan.sender_for(engine, *channel))
        .and_then(ChannelSender::id);
    check_template(
        engine,
        tx,
        reading,
        &caller.bounds,
        from,
        &requested,
        "",
        &mut wrong,
    )
    .await?;
    if !wrong.is_empty() {
        return Err(VerificationError::Fields(wrong));
    }
    let lifetime = request.lifetime_seconds.unwrap_or(lifetime);
    Ok(lifetime.clamp(*CODE_LIFETIMES.start(), *CODE_LIFETIMES.end()))
}

/// What is wrong with a recipient that cannot get a code by these channels. A mailbox is no other name
/// of a phone: limits and locks of its number would not hold.
fn check_recipient(to: &str, channels: &[MessageChannel]) -> Vec<FieldError> {
    let refused = |is: fn(MessageChannel) -> bool, rule: &str| {
        let places = channels.iter().enumerate();
        places
            .filter(|(_, channel)| is(**channel))
            .map(|(index, _)| FieldError {
                pointer: format!("/channels/{index}"),
                rule: rule.to_owned(),
            })
            .collect()
    };
    match RecipientSpec::parse(to) {
        Ok(RecipientSpec::Email(_)) => refused(|it| !it.reaches_mailboxes(), ONLY_EMAIL),
        Ok(RecipientSpec::UserId(_)) => refused(|it| !it.reaches_mailboxes(), NEEDS_PHONE),
        _ => Vec::new(),
    }
}

fn repeated(
    verdict: &IdempotencyVerdict,
) -> Result<Option<StartedVerification>, VerificationError> {
    match verdict {
        IdempotencyVerdict::New => Ok(None),
        IdempotencyVerdict::Repeat(before) => Ok(Some(StartedVerification {
            id: before.resource_id,
            is_new: false,
        })),
        IdempotencyVerdict::KeyReused => Err(VerificationError::KeyReused),
    }
}

/// Sends the same code again: by the channel that is named, which must be one of those that were
/// asked for, or by the last one.
pub async fn resend(
    engine: &Engine,
    caller: &VerificationCaller,
    id: Uuid,
    channel: Option<MessageChannel>,
    now: Timestamp,
) -> Result<StartedVerification, VerificationError> {
    let (sent, report) = engine
        .store
        .write_or_refuse(async |tx| {
            let turn = TransactionContext { engine, tx, now };
            let key = caller.key.as_ref();
            let verdict = idempotency::idempotent(engine, tx, key, RESEND, id, now).await?;
            if let Some(before) = repeated(&verdict)? {
                return Ok((before, NotificationLifecycleReport::default()));
            }
            let row = pending(tx, &caller.bounds, id, now).await?;
            let plan = plan(&row)?;
            let last = usize::try_from(row.channel_index).unwrap_or(0);
            let index = match channel {
                None => last,
                Some(named) => {
                    let found = plan.channels.iter().position(|it| *it == named);
                    found.ok_or_else(|| {
                        VerificationError::Fields(vec![FieldError {
                            pointer: "/channel".to_owned(),
                            rule: "one of the channels of this verification".to_owned(),
                        }])
                    })?
                }
            };
            let report = send_again(turn, &row, &plan, index).await?;
            Ok::<_, VerificationError>((StartedVerification { id, is_new: true }, report))
        })
        .await?;
    report.publish(engine);
    if sent.is_new {
        tracing::info!(event = "verification.resent", verification.id = %id, "a one-time password was queued again");
    }
    Ok(sent)
}

/// Sends the code of a verification that is locked and pending by another of its channels.
pub(super) async fn send_again(
    turn: TransactionContext<'_>,
    row: &StoredVerification,
    plan: &VerificationPlan,
    index: usize,
) -> Result<NotificationLifecycleReport, VerificationError> {
    let code: SecretString = turn
        .engine
        .vault()
        .and_then(|vault| vault.open(&place(row.id), &row.code_sealed))
        .ok_or(VerificationError::Key)?;
    let bounds = AccessBounds::of_product(row.product.as_deref());
    let wanted = CodeToSend {
        id: row.id,
        created_at: row.created_at,
        bounds: &bounds,
        product: row.product.as_deref(),
        to: &row.recipient,
        reference: row.reference.as_deref(),
        plan,
        code: &code,
        expires_at: row.expires_at,
    };
    let reading = &mut IntakeRowCache::default();
    let (_, report) = send::send(turn, reading, wanted, index, false).await?;
    Ok(report)
}

/// A verification that is pending, locked until the transaction ends.
async fn pending(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    id: Uuid,
    now: Timestamp,
) -> Result<StoredVerification, VerificationError> {
    let row = verification::lock(tx, bounds, id).await?;
    let row = row.ok_or(VerificationError::NotFound)?;
    match row.status()?.at(row.expires_at, now) {
        VerificationStatus::Pending => Ok(row),
        ended => Err(VerificationError::Ended(ended)),
    }
}

/// Gives a verification up: its code is wiped, and what waits to be sent is cancelled.
pub async fn cancel(
    engine: &Engine,
    bounds: &AccessBounds,
    id: Uuid,
    now: Timestamp,
) -> Result<(), VerificationError> {
    let report = engine
        .store
        .write_or_refuse(async |tx| {
            pending(tx, bounds, id, now).await?;
            let turn = TransactionContext { engine, tx, now };
            Ok::<_, VerificationError>(end(turn, &[id], VerificationStatus::Cancelled).await?)
        })
        .await?;
    report.publish(engine);
    Ok(())
}

/// Ends pending verifications: what waits to be sent for them is cancelled, and the codes are
/// wiped.
pub(super) async fn end(
    turn: TransactionContext<'_>,
    which: &[Uuid],
    status: VerificationStatus,
) -> Result<NotificationLifecycleReport, StoreError> {
    let TransactionContext { engine, tx, now } = turn;
    let reason = format!("the verification is {status}");
    // Another process may have ended some of them.
    let rows = verification::lock_pending(tx, which).await?;
    let which: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let plans = rows.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
    let counted: Vec<CountedVerification<'_>> = rows
        .iter()
        .zip(&plans)
        .map(|(row, plan)| CountedVerification {
            created_at: row.created_at,
            product: row.product.as_deref(),
            template: &plan.template,
            channel: MessageChannel::parse(&row.channel).unwrap_or_default(),
        })
        .collect();
    let waiting = verification::unsent(tx, &which).await?;
    let steps: Vec<NotificationLifecycleChange> = waiting
        .into_iter()
        .map(|id| {
            let reason = reason.clone();
            NotificationLifecycleChange::new(id, NotificationChange::Cancelled { reason })
        })
        .collect();
    let report = lifecycle::run(engine, tx, &steps, now).await?;
    verification::end(tx, &which, status, now).await?;
    count(turn, &counted, status.name()).await?;
    metrics::counter!("herald_verifications_ended_total", "status" => status.name())
        .increment(u64::try_from(which.len()).unwrap_or(0));
    Ok(report)
}
