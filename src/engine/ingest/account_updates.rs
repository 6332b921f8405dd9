//! Applies changed ids, preferences, templates and accounts. Each only moves forward in the
//! provider's time; an older item is kept and has no effect.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{CallbackWorkItem, people};
use crate::{
    domain::{
        identity::{AliasFact, AliasKind, ContactAlias},
        own_event::{
            EventOccurrence, OwnEvent,
            payload::{self, SenderChange},
        },
        template::name::ours,
        time::Timestamp,
    },
    engine::{
        delivery::templates::{known_category, release},
        intake,
        lifecycle::LifecycleReport,
        people::identity,
        runtime::{sighting::PersonSighting, turn::TransactionContext},
    },
    providers::{
        AccountEffect, AccountUpdate, Identity, IgnoredItem, ItemKind, ProviderUpdate,
        TemplateChange, TemplateUpdate, UpdateSubject,
    },
    store::{
        StoreError, account_fact,
        identity::EvidenceSource,
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
        let ItemKind::Identity(identity) = &work.item.kind else {
            continue;
        };
        if notice::is_known(tx, work.callback_id, &work.item.pointer).await? {
            continue;
        }
        let outcome = change_identity(turn, identity, work).await?;
        let kept = notice::NewNotice {
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
    identity: &Identity,
    work: &CallbackWorkItem,
) -> Result<&'static str, StoreError> {
    let old = identity::aliases(&identity.old);
    let new = identity::aliases(&identity.new);
    let mut changes: Vec<AliasFact> = Vec::new();
    for old in &old {
        let Some(new) = new
            .iter()
            .find(|new| new.kind == old.kind && new.value != old.value)
        else {
            continue;
        };
        changes.push(if old.is_phone() {
            AliasFact::Moved {
                from: old.clone(),
                to: new.clone(),
            }
        } else {
            AliasFact::Replaced {
                old: old.clone(),
                new: new.clone(),
            }
        });
    }
    let is_of = |all: &[ContactAlias], kind| all.iter().find(|alias| alias.kind == kind).cloned();
    // The item does not say which user id was replaced, but at which number.
    let number = is_of(&new, AliasKind::Phone).or_else(|| is_of(&old, AliasKind::Phone));
    if let (Some(phone), None, Some(id)) = (
        number,
        is_of(&old, AliasKind::UserId),
        is_of(&new, AliasKind::UserId),
    ) {
        changes.push(AliasFact::Rotated { phone, id });
    }
    let sighting = |aliases: Vec<ContactAlias>, facts: Vec<AliasFact>, at| PersonSighting {
        aliases,
        facts,
        scope: work.item.account_id.clone().unwrap_or_default(),
        at,
        source: EvidenceSource::System,
        callback_id: Some(work.callback_id),
        is_person: false,
        profile_name: None,
        username: None,
    };
    // The contact did not write: no `Seen` facts.
    let side_by_side = |aliases: &[ContactAlias]| {
        let mut facts = identity::facts(aliases);
        facts.retain(|fact| !matches!(fact, AliasFact::Seen(_)));
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
) -> Result<LifecycleReport, StoreError> {
    let TransactionContext { tx, now, .. } = turn;
    let mut report = LifecycleReport::default();
    for work in work {
        let news = match &work.item.kind {
            ItemKind::News(news) => news,
            ItemKind::Other(other) => {
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
            UpdateSubject::Preference { person, wish } => {
                match people::of_preference(turn, person, work, at).await? {
                    None => "ignored: no person is named".to_owned(),
                    Some(met) => {
                        let about = (met, person);
                        let newest =
                            people::note_wish(turn, about, wish, work, &mut report).await?;
                        if newest { "applied" } else { OLDER }.to_owned()
                    }
                }
            }
            UpdateSubject::Template(template) => {
                apply_template(turn, work, news, template, at, &mut report).await?
            }
            UpdateSubject::Account(account) => {
                apply_account(turn, work, news, account, at, &mut report).await?
            }
        };
        let kept = notice::NewNotice {
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
    other: &IgnoredItem,
) -> Result<(), StoreError> {
    let kept = notice::NewNotice {
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
    template: &TemplateUpdate,
    at: Timestamp,
    report: &mut LifecycleReport,
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
    if let TemplateChange::Status {
        category: Some(category),
        ..
    } = &template.change
    {
        let known = known_category(tx, name).await?;
        let is_new =
            template_sync::set(tx, name, TemplateSyncProperty::Category, category, None, at)
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
        TemplateChange::Status { status, reason, .. } => (
            template_sync::set(
                tx,
                name,
                TemplateSyncProperty::Status,
                status.name(),
                reason.as_deref(),
                at,
            )
            .await?,
            OwnEvent::TemplateStatus {
                status: *status,
                data: said,
            },
        ),
        TemplateChange::Quality(score) => (
            template_sync::set(tx, name, TemplateSyncProperty::Quality, score, None, at).await?,
            OwnEvent::TemplateQuality(said),
        ),
        TemplateChange::Category(category) => (
            template_sync::set(tx, name, TemplateSyncProperty::Category, category, None, at)
                .await?,
            OwnEvent::TemplateCategoryChanged(said),
        ),
        TemplateChange::CategoryDue(category) => (
            template_sync::set(
                tx,
                name,
                TemplateSyncProperty::CategoryDue,
                category,
                None,
                at,
            )
            .await?,
            OwnEvent::TemplateCategoryDue(said),
        ),
        TemplateChange::Components => {
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
                OwnEvent::TemplateChanged(said),
            )
        }
    };
    if let Some(summary) = recategorised {
        let event = OwnEvent::TemplateCategoryChanged(data(summary));
        raise(turn, work, &event, report).await?;
    }
    if !newest {
        return Ok(OLDER.to_owned());
    }
    if matches!(&template.change, TemplateChange::Status { .. }) {
        release(engine, tx, name, report, now).await?;
    }
    raise(turn, work, &event, report).await?;
    Ok("applied".to_owned())
}

async fn apply_account(
    turn: TransactionContext<'_>,
    work: &CallbackWorkItem,
    news: &ProviderUpdate,
    account: &AccountUpdate,
    at: Timestamp,
    report: &mut LifecycleReport,
) -> Result<String, StoreError> {
    let TransactionContext { tx, now, .. } = turn;
    let account_id = news.account_id.as_deref().unwrap_or("");
    let fact = account_fact::NewAccountFact {
        account_id,
        number: account.number.as_deref().unwrap_or(""),
        property: &account.property,
        value: &account.value.to_string(),
        at,
        callback_id: work.callback_id,
        hold: match &account.effect {
            AccountEffect::Hold { reason, until } => Some((reason.as_str(), *until)),
            AccountEffect::None | AccountEffect::Release => None,
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
        AccountEffect::None => OwnEvent::AccountChanged {
            property: account.property.replace(' ', "."),
            data,
        },
        AccountEffect::Hold { .. } => {
            let number = account.number.as_deref();
            concerned = Some(sender::settle_account(tx, account_id, number, now).await?);
            OwnEvent::SenderHeld(SenderChange::Account(data))
        }
        AccountEffect::Release => {
            sender::settle_account(tx, account_id, account.number.as_deref(), now).await?;
            report.wake_sender = true;
            OwnEvent::SenderReleased(SenderChange::Account(data))
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
    event: &OwnEvent,
    report: &mut LifecycleReport,
) -> Result<(), StoreError> {
    let (account, at) = match &work.item.kind {
        ItemKind::News(news) => (news.account_id.as_deref(), news.at),
        ItemKind::Inbound(message) => (None, Some(message.at)),
        _ => (None, None),
    };
    let occurrence = EventOccurrence::Item { account, at };
    report.add(intake::raise(engine, tx, event, &occurrence, now).await?);
    Ok(())
}
