//! Applies changed ids, preferences, templates and accounts. Each only moves forward in the
//! provider's time; an older item is kept and has no effect.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{CallbackWorkItem, people};
use crate::{
    domain::{
        identity::{ContactAlias, ContactAliasFact, ContactAliasKind},
        own_event::{
            EventDeduplicationKey, HeraldEvent,
            payload::{self, SenderHoldChangeData},
        },
        template::name::ours,
        time::Timestamp,
    },
    engine::{
        delivery::templates::{known_category, release},
        intake,
        lifecycle::NotificationLifecycleReport,
        people::identity,
        runtime::{sighting::PersonSighting, turn::TransactionContext},
    },
    providers::{
        AccountUpdateEffect, CallbackItemContent, IgnoredCallbackItem, PersonIdsChange,
        ProviderAccountUpdate, ProviderTemplateChange, ProviderTemplateUpdate, ProviderUpdate,
        ProviderUpdateSubject,
    },
    store::{
        StoreError, account_fact,
        identity::IdentityEvidenceSource,
        notice, sender,
        template_sync::{self, AccountTemplateName, TemplateSyncProperty},
    },
};

/// Outcome of an item that is older than the known state.
const OLDER: &str = "ignored: a newer value is known";

/// Applies changed numbers and user ids.
pub(super) async fn identities(
    turn: TransactionContext<'_>,
    work: &[&CallbackWorkItem],
) -> Result<(), StoreError> {
    let TransactionContext { tx, now, .. } = turn;
    for work in work {
        let CallbackItemContent::Identity(identity) = &work.item.kind else {
            continue;
        };
        if notice::is_known(tx, work.callback_id, &work.item.pointer).await? {
            continue;
        }
        let outcome = change_identity(turn, identity, work).await?;
        let kept = notice::NewProviderNotice {
            callback_id: work.callback_id,
            pointer: &work.item.pointer,
            field: "messages",
            account_id: None,
            summary: "a person has another number or id",
            outcome,
            provider_at: Some(identity.at),
            item: &identity.raw,
        };
        notice::insert(tx, kept, now).await?;
    }
    Ok(())
}

async fn change_identity(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    identity: &PersonIdsChange,
    work: &CallbackWorkItem,
) -> Result<&'static str, StoreError> {
    let old = identity::aliases(&identity.old);
    let new = identity::aliases(&identity.new);
    let mut changes: Vec<ContactAliasFact> = Vec::new();
    for old in &old {
        let Some(new) = new
            .iter()
            .find(|new| new.kind == old.kind && new.value != old.value)
        else {
            continue;
        };
        changes.push(if old.is_phone() {
            ContactAliasFact::Moved {
                from: old.clone(),
                to: new.clone(),
            }
        } else {
            ContactAliasFact::Replaced {
                old: old.clone(),
                new: new.clone(),
            }
        });
    }
    let is_of = |all: &[ContactAlias], kind| all.iter().find(|alias| alias.kind == kind).cloned();
    // The item does not say which user id was replaced, but at which number.
    let number =
        is_of(&new, ContactAliasKind::Phone).or_else(|| is_of(&old, ContactAliasKind::Phone));
    if let (Some(phone), None, Some(id)) = (
        number,
        is_of(&old, ContactAliasKind::UserId),
        is_of(&new, ContactAliasKind::UserId),
    ) {
        changes.push(ContactAliasFact::Rotated { phone, id });
    }
    let sighting = |aliases: Vec<ContactAlias>, facts: Vec<ContactAliasFact>, at| PersonSighting {
        aliases,
        facts,
        scope: work.item.account_id.clone().unwrap_or_default(),
        at,
        source: IdentityEvidenceSource::System,
        callback_id: Some(work.callback_id),
        is_person: false,
        profile_name: None,
        username: None,
    };
    // The contact did not write: no `Seen` facts.
    let side_by_side = |aliases: &[ContactAlias]| {
        let mut facts = identity::facts(aliases);
        facts.retain(|fact| !matches!(fact, ContactAliasFact::Seen(_)));
        facts
    };
    let before = sighting(old.clone(), side_by_side(&old), identity.at.plus_micros(-1));
    changes.extend(side_by_side(&new));
    let after = sighting(new, changes, identity.at);
    let met = identity::meet(engine, tx, &[before, after], now).await?;
    Ok(if met.into_iter().any(|met| met.is_some()) {
        "applied"
    } else {
        "unknown contact: kept for later"
    })
}

/// Applies items about preferences, templates and accounts.
pub(super) async fn apply(
    turn: TransactionContext<'_>,
    work: &[&CallbackWorkItem],
) -> Result<NotificationLifecycleReport, StoreError> {
    let TransactionContext { tx, now, .. } = turn;
    let mut report = NotificationLifecycleReport::default();
    for work in work {
        let news = match &work.item.kind {
            CallbackItemContent::News(news) => news,
            CallbackItemContent::Other(other) => {
                list(turn, work, other).await?;
                continue;
            }
            _ => continue,
        };
        if notice::is_known(tx, work.callback_id, &work.item.pointer).await? {
            continue;
        }
        let at = news.at.unwrap_or(now);
        let outcome = match &news.subject {
            ProviderUpdateSubject::Preference { person, wish } => {
                match people::of_preference(turn, person, work, at).await? {
                    None => "ignored: no person is named".to_owned(),
                    Some(met) => {
                        let about = (met, person);
                        let newest =
                            people::note_consent(turn, about, wish, work, &mut report).await?;
                        if newest { "applied" } else { OLDER }.to_owned()
                    }
                }
            }
            ProviderUpdateSubject::Template(template) => {
                apply_template(turn, work, news, template, at, &mut report).await?
            }
            ProviderUpdateSubject::Account(account) => {
                apply_account(turn, work, news, account, at, &mut report).await?
            }
        };
        let kept = notice::NewProviderNotice {
            callback_id: work.callback_id,
            pointer: &work.item.pointer,
            field: &news.field,
            account_id: news.account_id.as_deref(),
            summary: &news.summary,
            outcome: &outcome,
            provider_at: news.at,
            item: &news.raw,
        };
        notice::insert(tx, kept, now).await?;
        metrics::counter!("herald_notices_total").increment(1);
    }
    Ok(report)
}

/// Lists an item that has no effect.
async fn list(
    turn: TransactionContext<'_>,
    work: &CallbackWorkItem,
    other: &IgnoredCallbackItem,
) -> Result<(), StoreError> {
    let kept = notice::NewProviderNotice {
        callback_id: work.callback_id,
        pointer: &work.item.pointer,
        field: &other.field,
        account_id: work.item.account_id.as_deref(),
        summary: &other.summary,
        outcome: notice::NOT_APPLIED,
        provider_at: other.at,
        item: &other.raw,
    };
    notice::insert(turn.tx, kept, turn.now).await
}

async fn apply_template(
    turn: TransactionContext<'_>,
    work: &CallbackWorkItem,
    news: &ProviderUpdate,
    template: &ProviderTemplateUpdate,
    at: Timestamp,
    report: &mut NotificationLifecycleReport,
) -> Result<String, StoreError> {
    let TransactionContext { engine, tx, now } = turn;
    let suffix = engine.settings.template_suffix.as_deref();
    let Some(called) = ours(&template.name, suffix) else {
        return Ok("applied: it lacks the suffix of our templates".to_owned());
    };
    let name = AccountTemplateName {
        account_id: news.account_id.as_deref().unwrap_or(""),
        name: called,
        language: &template.language,
    };
    let provider_id = template.provider_template_id.as_deref();
    template_sync::ensure(tx, name, provider_id, now).await?;
    let mut recategorised = None;
    if let ProviderTemplateChange::Status {
        category: Some(category),
        ..
    } = &template.change
    {
        let known = known_category(tx, name).await?;
        let is_new = template_sync::set(
            tx,
            name,
            TemplateSyncProperty::Category,
            category.name(),
            None,
            at,
        )
        .await?;
        recategorised = (is_new && known.is_some_and(|known| known != *category)).then(|| {
            format!(
                "the template {} ({}) is now {category}",
                name.name, name.language
            )
        });
    }
    let data = |summary: String| payload::TemplateUpdateData {
        template: name.name.to_owned(),
        language: template.language.clone(),
        account: news.account_id.clone(),
        summary,
        value: serde_json::from_str::<Value>(&news.raw).unwrap_or(Value::Null),
    };
    let said = data(news.summary.clone());
    let (newest, event) = match &template.change {
        ProviderTemplateChange::Status { status, reason, .. } => (
            template_sync::set(
                tx,
                name,
                TemplateSyncProperty::Status,
                status.name(),
                reason.as_deref(),
                at,
            )
            .await?,
            HeraldEvent::TemplateStatus {
                status: *status,
                data: said,
            },
        ),
        ProviderTemplateChange::Quality(quality) => (
            template_sync::set(
                tx,
                name,
                TemplateSyncProperty::Quality,
                quality.name(),
                None,
                at,
            )
            .await?,
            HeraldEvent::TemplateQuality(said),
        ),
        ProviderTemplateChange::Category(category) => (
            template_sync::set(
                tx,
                name,
                TemplateSyncProperty::Category,
                category.name(),
                None,
                at,
            )
            .await?,
            HeraldEvent::TemplateCategoryChanged(said),
        ),
        ProviderTemplateChange::CategoryDue(category) => (
            template_sync::set(
                tx,
                name,
                TemplateSyncProperty::CategoryDue,
                category.name(),
                None,
                at,
            )
            .await?,
            HeraldEvent::TemplateCategoryDue(said),
        ),
        ProviderTemplateChange::Components => {
            let digest = hex::encode(Sha256::digest(news.raw.as_bytes()));
            (
                template_sync::set(
                    tx,
                    name,
                    TemplateSyncProperty::Components,
                    &digest,
                    None,
                    at,
                )
                .await?,
                HeraldEvent::TemplateChanged(said),
            )
        }
    };
    if let Some(summary) = recategorised {
        let event = HeraldEvent::TemplateCategoryChanged(data(summary));
        raise(turn, work, &event, report).await?;
    }
    if !newest {
        return Ok(OLDER.to_owned());
    }
    if matches!(&template.change, ProviderTemplateChange::Status { .. }) {
        release(engine, tx, name, report, now).await?;
    }
    raise(turn, work, &event, report).await?;
    Ok("applied".to_owned())
}

async fn apply_account(
    turn: TransactionContext<'_>,
    work: &CallbackWorkItem,
    news: &ProviderUpdate,
    account: &ProviderAccountUpdate,
    at: Timestamp,
    report: &mut NotificationLifecycleReport,
) -> Result<String, StoreError> {
    let TransactionContext { tx, now, .. } = turn;
    let account_id = news.account_id.as_deref().unwrap_or("");
    let fact = account_fact::NewProviderAccountFact {
        account_id,
        number: account.number.as_deref().unwrap_or(""),
        property: &account.property,
        value: &account.value.to_string(),
        at,
        callback_id: work.callback_id,
        hold: match &account.effect {
            AccountUpdateEffect::Hold { reason, until } => Some((reason.as_str(), *until)),
            AccountUpdateEffect::None | AccountUpdateEffect::Release => None,
        },
    };
    if !account_fact::set(tx, fact, now).await? {
        return Ok(OLDER.to_owned());
    }
    let data = payload::AccountUpdateData {
        account: news.account_id.clone(),
        number: account.number.clone(),
        summary: news.summary.clone(),
        value: account.value.clone(),
    };
    let mut concerned = None;
    let event = match &account.effect {
        AccountUpdateEffect::None => HeraldEvent::AccountChanged {
            property: account.property.replace(' ', "."),
            data,
        },
        AccountUpdateEffect::Hold { .. } => {
            let number = account.number.as_deref();
            concerned = Some(sender::settle_account(tx, account_id, number, now).await?);
            HeraldEvent::SenderHeld(SenderHoldChangeData::Account(data))
        }
        AccountUpdateEffect::Release => {
            sender::settle_account(tx, account_id, account.number.as_deref(), now).await?;
            report.wake_sender = true;
            HeraldEvent::SenderReleased(SenderHoldChangeData::Account(data))
        }
    };
    raise(turn, work, &event, report).await?;
    Ok(match (concerned, &account.number) {
        (Some(0), None) => "applied: no sender of this account is known yet".to_owned(),
        (Some(0), Some(_)) => "applied: no sender of this number is known yet".to_owned(),
        _ => "applied".to_owned(),
    })
}

/// Raises an event of Herald's own about an item, once.
pub(super) async fn raise(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    work: &CallbackWorkItem,
    event: &HeraldEvent,
    report: &mut NotificationLifecycleReport,
) -> Result<(), StoreError> {
    let (account, at) = match &work.item.kind {
        CallbackItemContent::News(news) => (news.account_id.as_deref(), news.at),
        CallbackItemContent::Inbound(message) => (None, Some(message.at)),
        _ => (None, None),
    };
    let occurrence = EventDeduplicationKey::Item { account, at };
    report.add(intake::raise(engine, tx, event, &occurrence, now).await?);
    Ok(())
}
