//! Stores the status of an account's templates and raises an event for each change.

use serde_json::json;

use crate::{
    domain::{
        category::TemplateCategory,
        own_event::{EventDeduplicationKey, HeraldEvent, payload::TemplateUpdateData},
        quality::QualityRating,
        template::name::ours,
        template_status::TemplateStatus,
        time::Timestamp,
    },
    engine::{
        Engine, intake,
        lifecycle::NotificationLifecycleReport,
        runtime::template_status::{TemplateSendability, sendable},
    },
    providers::RemoteTemplate as Remote,
    store::{
        DatabaseTransaction, StoreError, catalogue, notification,
        template_sync::{self, AccountTemplateName, ReportedTemplateRow, TemplateSyncProperty},
    },
};

/// Templates per transaction.
const TOGETHER: usize = 50;

/// Stores what an account reports about its templates, and raises an event for each change. Returns
/// the number of changes.
pub async fn learn(
    engine: &Engine,
    account_id: &str,
    remote: &[Remote],
    now: Timestamp,
) -> Result<usize, StoreError> {
    let mut changed = 0;
    for some in remote.chunks(TOGETHER) {
        let (count, report) = engine
            .store
            .write(async |tx| {
                let mut report = NotificationLifecycleReport::default();
                let mut count = 0;
                for it in some {
                    count += one(engine, tx, account_id, it, &mut report, now).await?;
                }
                Ok((count, report))
            })
            .await?;
        report.publish(engine);
        changed += count;
    }
    Ok(changed)
}

async fn one(
    engine: &Engine,
    tx: &DatabaseTransaction,
    account_id: &str,
    remote: &Remote,
    report: &mut NotificationLifecycleReport,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let Some(name) = ours(&remote.name, engine.settings.template_suffix.as_deref()) else {
        return Ok(0);
    };
    let name = AccountTemplateName {
        account_id,
        name,
        language: &remote.language,
    };
    let before = template_sync::said(tx, name).await?.unwrap_or_default();
    // Until the account has reported a category, the requested one applies.
    let category_before = known_category(tx, name).await?;
    let id = Some(remote.id.as_str()).filter(|id| !id.is_empty());
    let after = ReportedTemplateRow {
        status: Some(remote.status),
        category: remote.category.or(before.category),
        quality: remote.quality.or(before.quality),
    };
    if before == after {
        return Ok(0);
    }
    template_sync::ensure(tx, name, id, now).await?;
    // Callback timestamps have 1 s resolution: backdating the poll by 1 s lets a callback of the
    // same second win.
    let at = Timestamp::from_unix_seconds(now.unix_seconds() - 1);
    let mut reported = Vec::new();
    let parts = [
        (
            TemplateSyncProperty::Status,
            before.status.map(TemplateStatus::name),
            Some(remote.status.name()),
        ),
        (
            TemplateSyncProperty::Category,
            category_before.map(TemplateCategory::name),
            remote.category.map(TemplateCategory::name),
        ),
        (
            TemplateSyncProperty::Quality,
            before.quality.map(QualityRating::name),
            remote.quality.map(QualityRating::name),
        ),
    ];
    for (part, known, value) in parts {
        let Some(value) = value else {
            continue;
        };
        let reason = remote.rejected_reason.as_deref();
        if !template_sync::set(tx, name, part, value, reason, at).await? {
            continue;
        }
        // The first status of a template is not a change.
        if known.is_some_and(|known| known != value) {
            reported.push((part, value));
        }
    }
    release(engine, tx, name, report, now).await?;
    let count = reported.len();
    for (part, value) in reported {
        let data = TemplateUpdateData {
            template: name.name.to_owned(),
            language: name.language.to_owned(),
            account: Some(account_id.to_owned()),
            summary: format!("the template {} ({}) is {value}", name.name, name.language),
            value: json!({ "status": remote.status, "category": remote.category, "reason": remote.rejected_reason }),
        };
        let event = match part {
            TemplateSyncProperty::Status => HeraldEvent::TemplateStatus {
                status: remote.status,
                data,
            },
            TemplateSyncProperty::Category => HeraldEvent::TemplateCategoryChanged(data),
            _ => HeraldEvent::TemplateQuality(data),
        };
        let occurrence = EventDeduplicationKey::Template {
            account: account_id,
            template: name.name,
            language: name.language,
            value,
            at: now,
        };
        report.add(intake::raise(engine, tx, &event, &occurrence, now).await?);
    }
    Ok(count)
}

/// The category of a template as reported by its account, or else as its catalogue requests it.
pub async fn known_category(
    tx: &DatabaseTransaction,
    name: AccountTemplateName<'_>,
) -> Result<Option<TemplateCategory>, StoreError> {
    let said = template_sync::said(tx, name).await?;
    if let Some(category) = said.and_then(|said| said.category) {
        return Ok(Some(category));
    }
    let ours = catalogue::translations(tx, name.name).await?;
    let ours = ours.into_iter().find(|row| row.language == name.language);
    Ok(ours.map(|row| TemplateCategory::parse(&row.category).unwrap_or_default()))
}

/// Releases what waited for a template, unless it still has to wait.
pub async fn release(
    engine: &Engine,
    tx: &DatabaseTransaction,
    name: AccountTemplateName<'_>,
    report: &mut NotificationLifecycleReport,
    now: Timestamp,
) -> Result<(), StoreError> {
    let account = Some(name.account_id).filter(|id| !id.is_empty());
    let standing = template_sync::standing(tx, account, name.name, name.language).await?;
    if matches!(
        sendable(name.name, standing.as_ref()),
        TemplateSendability::Later(_)
    ) {
        return Ok(());
    }
    // The first of them now; the rest, and those that are being held at this moment, when the
    // sweeper runs (`sweeper::release`).
    for sender in engine.keyring().senders_of(account) {
        let released =
            notification::release_template(tx, sender, name.name, name.language, now).await?;
        report.wake_sender |= released > 0;
    }
    Ok(())
}
