//! What changed under us: ids, wishes, templates and accounts. Each only moves
//! forward in the provider's time; what is older is kept and acts on nothing.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Work, people};
use crate::{
    domain::{
        identity::{Alias, AliasKind, Fact},
        template::name::ours,
        time::Timestamp,
    },
    engine::{
        delivery::templates::{known_category, release},
        intake::{self, NewEvent},
        lifecycle::Report,
        people::identity,
        runtime::{own_event::SOURCE, sighting::Sighting, turn::Turn},
    },
    providers::{
        AccountEffect, AccountNews, Identity, ItemKind, News, Other, Subject, TemplateChange,
        TemplateNews,
    },
    store::{
        StoreError, account_fact,
        identity::Source,
        notice, sender,
        template_sync::{self, Name, Part},
    },
};

/// The outcome of news that are older than what is known.
const OLDER: &str = "ignored: something newer is known";

/// Applies changed numbers and ids.
pub(super) async fn identities(turn: Turn<'_>, work: &[&Work]) -> Result<(), StoreError> {
    let Turn { tx, now, .. } = turn;
    for work in work {
        let ItemKind::Identity(identity) = &work.item.kind else {
            continue;
        };
        if notice::is_known(tx, work.callback_id, &work.item.pointer).await? {
            continue;
        }
        let outcome = change_identity(turn, identity, work).await?;
        let kept = notice::New {
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
    Turn { engine, tx, now }: Turn<'_>,
    identity: &Identity,
    work: &Work,
) -> Result<&'static str, StoreError> {
    let old = identity::aliases(&identity.old);
    let new = identity::aliases(&identity.new);
    let mut changes: Vec<Fact> = Vec::new();
    for old in &old {
        let Some(new) = new
            .iter()
            .find(|new| new.kind == old.kind && new.value != old.value)
        else {
            continue;
        };
        changes.push(if old.is_phone() {
            Fact::Moved {
                from: old.clone(),
                to: new.clone(),
            }
        } else {
            Fact::Replaced {
                old: old.clone(),
                new: new.clone(),
            }
        });
    }
    let is_of = |all: &[Alias], kind| all.iter().find(|alias| alias.kind == kind).cloned();
    // Which id was replaced is not said, but whose: the one at this number.
    let number = is_of(&new, AliasKind::Phone).or_else(|| is_of(&old, AliasKind::Phone));
    if let (Some(phone), None, Some(id)) = (
        number,
        is_of(&old, AliasKind::UserId),
        is_of(&new, AliasKind::UserId),
    ) {
        changes.push(Fact::Rotated { phone, id });
    }
    let sighting = |aliases: Vec<Alias>, facts: Vec<Fact>, at| Sighting {
        aliases,
        facts,
        scope: work.item.account_id.clone().unwrap_or_default(),
        at,
        source: Source::System,
        callback_id: Some(work.callback_id),
        is_person: false,
        profile_name: None,
        username: None,
    };
    // Nobody was seen: it is said of them.
    let side_by_side = |aliases: &[Alias]| {
        let mut facts = identity::facts(aliases);
        facts.retain(|fact| !matches!(fact, Fact::Seen(_)));
        facts
    };
    let before = sighting(old.clone(), side_by_side(&old), identity.at.plus_micros(-1));
    changes.extend(side_by_side(&new));
    let after = sighting(new, changes, identity.at);
    let met = identity::meet(engine, tx, &[before, after], now).await?;
    Ok(if met.into_iter().any(|met| met.is_some()) {
        "applied"
    } else {
        "nobody we know: kept, should we meet them"
    })
}

/// Applies everything that is about wishes, templates and accounts.
pub(super) async fn apply(turn: Turn<'_>, work: &[&Work]) -> Result<Report, StoreError> {
    let Turn { tx, now, .. } = turn;
    let mut report = Report::default();
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
            Subject::Preference { person, wish } => {
                match people::of_preference(turn, person, work, at).await? {
                    None => "ignored: nobody is named".to_owned(),
                    Some(met) => {
                        let about = (met, person);
                        let newest =
                            people::note_wish(turn, about, wish, work, &mut report).await?;
                        if newest { "applied" } else { OLDER }.to_owned()
                    }
                }
            }
            Subject::Template(template) => {
                apply_template(turn, work, news, template, at, &mut report).await?
            }
            Subject::Account(account) => {
                apply_account(turn, work, news, account, at, &mut report).await?
            }
        };
        let kept = notice::New {
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

/// Lists something that nothing acts on.
async fn list(turn: Turn<'_>, work: &Work, other: &Other) -> Result<(), StoreError> {
    let kept = notice::New {
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
    turn: Turn<'_>,
    work: &Work,
    news: &News,
    template: &TemplateNews,
    at: Timestamp,
    report: &mut Report,
) -> Result<String, StoreError> {
    let Turn { engine, tx, now } = turn;
    let suffix = engine.settings.template_suffix.as_deref();
    let Some(called) = ours(&template.name, suffix) else {
        return Ok("applied: it has not the suffix of ours".to_owned());
    };
    let name = Name {
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
        let is_new = template_sync::set(tx, name, Part::Category, category, None, at).await?;
        recategorised = (is_new && known.is_some_and(|known| known != *category)).then(|| {
            format!(
                "the template {} ({}) is now {category}",
                name.name, name.language
            )
        });
    }
    let (newest, kind) = match &template.change {
        TemplateChange::Status { status, reason, .. } => (
            template_sync::set(tx, name, Part::Status, status, reason.as_deref(), at).await?,
            format!("herald.template.{}", status.to_lowercase()),
        ),
        TemplateChange::Quality(score) => (
            template_sync::set(tx, name, Part::Quality, score, None, at).await?,
            "herald.template.quality".to_owned(),
        ),
        TemplateChange::Category(category) => (
            template_sync::set(tx, name, Part::Category, category, None, at).await?,
            "herald.template.category_changed".to_owned(),
        ),
        TemplateChange::CategoryDue(category) => (
            template_sync::set(tx, name, Part::CategoryDue, category, None, at).await?,
            "herald.template.category_due".to_owned(),
        ),
        TemplateChange::Components => {
            let digest = hex::encode(Sha256::digest(news.raw.as_bytes()));
            (
                template_sync::set(tx, name, Part::Components, &digest, None, at).await?,
                "herald.template.changed".to_owned(),
            )
        }
    };
    let data = |summary: &str| {
        json!({
            "template": name.name,
            "language": template.language,
            "account": news.account_id,
            "summary": summary,
            "value": serde_json::from_str::<Value>(&news.raw).unwrap_or(Value::Null),
        })
    };
    if let Some(summary) = recategorised {
        let kind = "herald.template.category_changed";
        raise(turn, work, kind, data(&summary), report).await?;
    }
    if !newest {
        return Ok(OLDER.to_owned());
    }
    if matches!(&template.change, TemplateChange::Status { .. }) {
        release(engine, tx, name, report, now).await?;
    }
    raise(turn, work, &kind, data(&news.summary), report).await?;
    Ok("applied".to_owned())
}

async fn apply_account(
    turn: Turn<'_>,
    work: &Work,
    news: &News,
    account: &AccountNews,
    at: Timestamp,
    report: &mut Report,
) -> Result<String, StoreError> {
    let Turn { tx, now, .. } = turn;
    let account_id = news.account_id.as_deref().unwrap_or("");
    let fact = account_fact::New {
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
    let mut concerned = None;
    let kind = match &account.effect {
        AccountEffect::None => format!("herald.account.{}", account.property.replace(' ', ".")),
        AccountEffect::Hold { .. } => {
            let number = account.number.as_deref();
            concerned = Some(sender::settle_account(tx, account_id, number, now).await?);
            "herald.sender.held".to_owned()
        }
        AccountEffect::Release => {
            sender::settle_account(tx, account_id, account.number.as_deref(), now).await?;
            report.wake_sender = true;
            "herald.sender.released".to_owned()
        }
    };
    let data = json!({
        "account": news.account_id,
        "number": account.number,
        "summary": news.summary,
        "value": account.value,
    });
    raise(turn, work, &kind, data, report).await?;
    Ok(match (concerned, &account.number) {
        (Some(0), None) => "applied: no sender of this account is known yet".to_owned(),
        (Some(0), Some(_)) => "applied: no sender of this number is known yet".to_owned(),
        _ => "applied".to_owned(),
    })
}

/// Raises an event of Herald's own about an item, once, through the same routes
/// as anybody's.
pub(super) async fn raise(
    Turn { engine, tx, now }: Turn<'_>,
    work: &Work,
    kind: &str,
    data: Value,
    report: &mut Report,
) -> Result<(), StoreError> {
    let event = NewEvent {
        id: told_once(work, kind, &data),
        source: SOURCE.to_owned(),
        event_type: kind.to_owned(),
        subject: None,
        time: None,
        data,
    };
    report.add(intake::raise(engine, tx, &event, now).await?);
    Ok(())
}

/// A name of what is told: the same news in another body are the same.
fn told_once(work: &Work, kind: &str, data: &Value) -> String {
    let (account, at) = match &work.item.kind {
        ItemKind::News(news) => (news.account_id.as_deref(), news.at),
        ItemKind::Inbound(message) => (None, Some(message.at)),
        _ => (None, None),
    };
    let content = json!([kind, account, at.map(Timestamp::micros), data]);
    hex::encode(Sha256::digest(content.to_string().as_bytes()))
}
