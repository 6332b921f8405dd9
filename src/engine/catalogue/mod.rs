//! Plans and applies catalogues: TOML files with templates, people, events, routes and rules.
//!
//! `plan` reports the changes and `apply` makes them in one transaction; for files with many
//! contacts see [`contacts`]. Both touch only rows of the given catalogues: a name that another
//! catalogue owns is refused, and a change made by hand since is a conflict.

mod check;
pub mod contacts;
mod format;
mod references;
mod values;

pub use check::{CatalogueMistake, CatalogueMistakes, ParsedCatalogue, parse};
pub use format::*;
pub use values::CataloguePlaceholderValues;

use contacts::CatalogueContactsPlan;

use std::collections::BTreeMap;

use crate::{
    domain::{
        catalogue::{
            CatalogueFields, CataloguePlan, CatalogueRowChange, CatalogueRowId, CatalogueRowKind,
            of_one_owner, plan as planned,
        },
        channel::MessageChannel,
        rule::{FollowUpRuleMessage, parse_duration_seconds},
        time::Timestamp,
        transition::NotificationTransition,
    },
    providers::ProviderRegistry,
    store::{
        DatabaseTransaction, Store, StoreError, TransactionWorkError,
        catalogue::{
            self, CatalogueActor, CatalogueRowError, CatalogueRowHandover, fields,
            rows::{
                CatalogueContactRow, CatalogueEventTypeRow, CatalogueGroupRow,
                CatalogueMessageKindRow, CatalogueRouteRow, CatalogueRuleRow,
                CatalogueStaffMemberRow, CatalogueTemplateRow,
            },
        },
    },
};

/// Why catalogues were not applied: the mistakes of each, in the given order.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueApplyError {
    #[error("the catalogues have mistakes")]
    Mistakes(Vec<CatalogueMistakes>),
    /// Changes made by hand would be lost.
    #[error("rows were changed by hand")]
    Conflicts(Vec<CataloguePlan>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How to treat rows that were changed by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManualChangePolicy {
    Keep,
    Overwrite,
}

/// Applies catalogues, all in one transaction or none. Returns the changes.
pub async fn apply(
    store: &Store,
    catalogues: &[ParsedCatalogue],
    by_hand: ManualChangePolicy,
    now: Timestamp,
) -> Result<Vec<CataloguePlan>, CatalogueApplyError> {
    run(store, catalogues, Some(by_hand), now).await
}

/// The changes that applying would make.
pub async fn plan(
    store: &Store,
    catalogues: &[ParsedCatalogue],
    now: Timestamp,
) -> Result<Vec<CataloguePlan>, CatalogueApplyError> {
    run(store, catalogues, None, now).await
}

async fn run(
    store: &Store,
    catalogues: &[ParsedCatalogue],
    by_hand: Option<ManualChangePolicy>,
    now: Timestamp,
) -> Result<Vec<CataloguePlan>, CatalogueApplyError> {
    let apart = contacts::find(store, catalogues).await?;
    if !apart.iter().any(|it| it.is_large) {
        return together(store, catalogues, (&apart, &[]), by_hand, now).await;
    }
    // Everything is read and checked before anything is written.
    let wrong = contacts::mistakes(store, catalogues, &apart).await?;
    let plans = together(store, catalogues, (&apart, &wrong), None, now).await?;
    let Some(by_hand) = by_hand else {
        return Ok(plans);
    };
    let conflicts = plans.iter().any(|plan| plan.conflicts().next().is_some());
    if conflicts && by_hand == ManualChangePolicy::Keep {
        return Err(CatalogueApplyError::Conflicts(plans));
    }
    for (place, (parsed, of_one)) in catalogues.iter().zip(&apart).enumerate() {
        let overtaken = contacts::write(store, parsed, of_one, now).await?;
        if !overtaken.is_empty() {
            let mut wrong: Vec<CatalogueMistakes> = catalogues
                .iter()
                .map(|_| CatalogueMistakes(Vec::new()))
                .collect();
            if let Some(of_one) = wrong.get_mut(place) {
                of_one.0 = overtaken;
            }
            return Err(CatalogueApplyError::Mistakes(wrong));
        }
    }
    let plans = together(store, catalogues, (&apart, &[]), Some(by_hand), now).await?;
    for (parsed, of_one) in catalogues.iter().zip(&apart) {
        contacts::remove(store, parsed, of_one, now).await?;
    }
    Ok(plans)
}

/// Plans and writes everything except the contacts that are applied separately, whose mistakes are
/// known already.
async fn together(
    store: &Store,
    catalogues: &[ParsedCatalogue],
    (apart, wrong_apart): (&[CatalogueContactsPlan], &[Vec<CatalogueMistake>]),
    by_hand: Option<ManualChangePolicy>,
    now: Timestamp,
) -> Result<Vec<CataloguePlan>, CatalogueApplyError> {
    let providers = ProviderRegistry::standard();
    let done = store
        .write_or_refuse(async |tx| {
            let mut plans = Vec::with_capacity(catalogues.len());
            let mut wrong = Vec::with_capacity(catalogues.len());
            hand_over(tx, catalogues, apart).await?;
            for (place, (parsed, apart)) in catalogues.iter().zip(apart).enumerate() {
                let (plan, mut mistakes) = one(tx, parsed, apart, now).await?;
                mistakes.extend(twice(catalogues, place));
                mistakes.extend(wrong_apart.get(place).cloned().unwrap_or_default());
                plans.push(plan);
                wrong.push(CatalogueMistakes(mistakes));
            }
            // A file may refer to entries of another.
            for ((parsed, plan), wrong) in catalogues.iter().zip(&plans).zip(&mut wrong) {
                if !plan.foreign.is_empty() {
                    continue;
                }
                let mut more = references::missing(tx, &providers, parsed).await?;
                more.extend(references::left_without(tx, parsed, plan).await?);
                more.retain(|it| !wrong.0.contains(it));
                wrong.0.extend(more);
            }
            let conflicts = plans.iter().any(|plan| plan.conflicts().next().is_some());
            if wrong.iter().any(|mistakes| !mistakes.0.is_empty()) {
                Err(CatalogueApplyError::Mistakes(wrong).into())
            } else if conflicts && by_hand == Some(ManualChangePolicy::Keep) {
                Err(CatalogueApplyError::Conflicts(plans).into())
            } else if by_hand.is_none() {
                Err(ApplyRollback::Planned(plans))
            } else {
                Ok(plans)
            }
        })
        .await;
    match done {
        Ok(plans) | Err(ApplyRollback::Planned(plans)) => Ok(plans),
        Err(ApplyRollback::Refused(refused)) => Err(refused),
    }
}

/// Why the transaction is rolled back.
#[derive(Debug, thiserror::Error)]
enum ApplyRollback {
    /// It was only a plan.
    #[error("it was only planned")]
    Planned(Vec<CataloguePlan>),
    #[error(transparent)]
    Refused(#[from] CatalogueApplyError),
}

impl From<StoreError> for ApplyRollback {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl TransactionWorkError for ApplyRollback {
    fn into_store(self) -> Result<StoreError, Self> {
        match self {
            Self::Refused(CatalogueApplyError::Store(error)) => Ok(error),
            stopped => Err(stopped),
        }
    }
}

/// Hands entries that one of these catalogues drops and another wants over unchanged: links and
/// memberships stay.
async fn hand_over(
    tx: &DatabaseTransaction,
    catalogues: &[ParsedCatalogue],
    apart: &[CatalogueContactsPlan],
) -> Result<(), StoreError> {
    if catalogues.len() < 2 {
        return Ok(());
    }
    let all: Vec<(&str, BTreeMap<CatalogueRowId, CatalogueFields>)> = catalogues
        .iter()
        .map(|parsed| (parsed.catalogue.name.as_str(), wanted(&parsed.catalogue)))
        .collect();
    for ((from, kept), apart) in all.iter().zip(apart) {
        let applied = catalogue::applied(tx, from, kept.keys(), apart.scope()).await?;
        let had = applied.into_keys();
        for id in had.filter(|id| !kept.contains_key(id)) {
            // A template is handed over with the translations that no file wants any more.
            let takes = |(_, wanted): &&(&str, BTreeMap<CatalogueRowId, CatalogueFields>)| {
                of_one_owner(wanted, &id).next().is_some()
            };
            if let Some((to, wanted)) = all.iter().find(takes) {
                let over = CatalogueRowHandover {
                    from,
                    to,
                    is_wanted: wanted.contains_key(&id),
                };
                catalogue::hand_over(tx, &id, over).await?;
            }
        }
    }
    Ok(())
}

/// Two files with the same catalogue name would remove each other's rows.
fn twice(catalogues: &[ParsedCatalogue], place: usize) -> Option<CatalogueMistake> {
    let name = &catalogues.get(place)?.catalogue.name;
    let before = catalogues.iter().take(place);
    let is_twice = before.into_iter().any(|it| it.catalogue.name == *name);
    is_twice.then(|| {
        CatalogueMistake::anywhere(format!(
            "name: another of these files has the catalogue name {name}"
        ))
    })
}

/// Plans and writes one catalogue; returns its mistakes.
async fn one(
    tx: &DatabaseTransaction,
    parsed: &ParsedCatalogue,
    apart: &CatalogueContactsPlan,
    now: Timestamp,
) -> Result<(CataloguePlan, Vec<CatalogueMistake>), StoreError> {
    let catalogue = &parsed.catalogue;
    let mut wanted = wanted(catalogue);
    wanted.retain(|id, _| !apart.has(id));
    let (name, scope) = (catalogue.name.as_str(), apart.scope());
    let present = catalogue::present(tx, name, wanted.keys(), scope).await?;
    let applied = catalogue::applied(tx, name, wanted.keys(), scope).await?;
    let rest = planned(name, &wanted, &present, &applied);
    let mut wrong: Vec<CatalogueMistake> = rest
        .foreign
        .iter()
        .map(|(id, owner)| {
            let rule = format!("belongs to the catalogue {owner}");
            parsed.mistake(id.kind, &id.name, "", &rule)
        })
        .collect();
    if !wrong.is_empty() {
        return Ok((apart.join(rest), wrong));
    }
    let by = CatalogueActor {
        catalogue: &catalogue.name,
        now,
    };
    for step in &rest.steps {
        if step.action == CatalogueRowChange::Remove {
            let others = match step.id.kind {
                CatalogueRowKind::User => {
                    catalogue::groups_of_others(tx, &step.id.name, &catalogue.name).await?
                }
                _ => None,
            };
            match others {
                Some(group) => wrong.push(CatalogueMistake::anywhere(format!(
                    "{}: cannot be removed: it is in the group {group}, which is not this catalogue's",
                    step.id
                ))),
                None => catalogue::remove(tx, &step.id).await?,
            }
        } else if let Some(fields) = wanted.get(&step.id) {
            match catalogue::write(tx, by, &step.id, fields).await {
                Ok(()) => {}
                Err(CatalogueRowError::Broken { field, rule }) => {
                    let CatalogueRowId { kind, name } = &step.id;
                    wrong.push(parsed.mistake(*kind, name, field, &rule));
                }
                Err(CatalogueRowError::Store(error)) => return Err(error),
            }
        }
    }
    catalogue::note(tx, by, &wanted, &applied).await?;
    let plan = apart.join(rest);
    if !plan.steps.is_empty() {
        catalogue::count_change(tx, &catalogue.name, now).await?;
    }
    Ok((plan, wrong))
}

/// The contacts that a catalogue wants.
fn wanted_contacts(catalogue: &Catalogue) -> BTreeMap<CatalogueRowId, CatalogueFields> {
    let of_one = |entry: &CatalogueContactEntry| {
        let row = CatalogueContactRow {
            display_name: Some(entry.display_name.as_ref().unwrap_or(&entry.name).clone()),
            phone: entry.phone.clone(),
            user_id: entry.user_id.clone(),
            email: entry.email.clone(),
            language: entry.language.clone(),
            time_zone: entry.time_zone.clone(),
            quiet_hours: entry.quiet_hours,
        };
        (
            CatalogueRowId::new(CatalogueRowKind::Contact, &entry.name),
            fields(&row),
        )
    };
    catalogue.contact.iter().map(of_one).collect()
}

/// The rows that a catalogue wants.
fn wanted(catalogue: &Catalogue) -> BTreeMap<CatalogueRowId, CatalogueFields> {
    let mut wanted = wanted_contacts(catalogue);
    let mut want = |kind: CatalogueRowKind, name: &str, fields: CatalogueFields| {
        wanted.insert(CatalogueRowId::new(kind, name), fields);
    };
    for entry in &catalogue.user {
        let contact = entry.contact.clone();
        want(
            CatalogueRowKind::User,
            &entry.name,
            fields(&CatalogueStaffMemberRow { contact }),
        );
    }
    for entry in &catalogue.group {
        let row = CatalogueGroupRow {
            description: entry.description.clone(),
            members: entry.members.clone().map(|mut members| {
                members.sort_unstable();
                members.dedup();
                members
            }),
        };
        want(CatalogueRowKind::Group, &entry.name, fields(&row));
    }
    for entry in &catalogue.kind {
        let row = CatalogueMessageKindRow {
            description: entry.description.clone(),
            required: entry.required,
        };
        want(CatalogueRowKind::MessageKind, &entry.name, fields(&row));
    }
    for entry in &catalogue.event {
        let row = CatalogueEventTypeRow {
            description: entry.description.clone(),
            sensitive: entry.sensitive,
            example: entry.example.as_ref().map(|it| serde_json::json!(it)),
        };
        want(CatalogueRowKind::Event, &entry.r#type, fields(&row));
    }
    for entry in &catalogue.template {
        let row = CatalogueTemplateRow {
            category: entry.category.clone(),
            parameter_format: entry.parameter_format.clone(),
            body: entry.body.clone(),
            extras: entry.extras().map(|extras| serde_json::json!(extras)),
            ttl_seconds: entry.message_send_ttl_seconds,
        };
        let name = format!("{} {}", entry.name, entry.language);
        want(CatalogueRowKind::Template, &name, fields(&row));
    }
    for entry in &catalogue.route {
        want(
            CatalogueRowKind::Route,
            &entry.name,
            fields(&route_row(entry)),
        );
    }
    for entry in &catalogue.rule {
        if let Some(row) = rule_row(entry) {
            want(CatalogueRowKind::Rule, &entry.name, fields(&row));
        }
    }
    wanted
}

fn route_row(entry: &CatalogueRouteEntry) -> CatalogueRouteRow {
    CatalogueRouteRow {
        event_type: entry.event.clone(),
        condition: entry.when.clone(),
        recipients: entry.to.clone().into(),
        about: entry.about.clone(),
        template: entry.template.clone(),
        language: entry.language.clone(),
        channel: entry.channels.first().unwrap_or(&entry.channel).clone(),
        params: entry.params.clone(),
        labels: entry.labels.clone(),
        reference: entry.reference.clone(),
        dedupe_key: entry.dedupe_key.clone(),
        priority: entry.priority.clone(),
        expires_after_seconds: entry
            .expires_after
            .as_deref()
            .and_then(parse_duration_seconds),
        sender: entry.sender.clone(),
        message_kind: entry.kind.clone(),
        mode: entry.mode.clone(),
        fallback_template: entry.fallback_template.clone(),
        next_channels: entry.channels.iter().skip(1).cloned().collect(),
        fallback_after_seconds: entry
            .fallback_after
            .as_deref()
            .and_then(parse_duration_seconds),
    }
}

/// The entry has been checked: an invalid part would have been reported.
fn rule_row(entry: &CatalogueRuleEntry) -> Option<CatalogueRuleRow> {
    let unless = |name: &String| NotificationTransition::parse(name);
    let mut unless: Vec<NotificationTransition> = entry.unless.iter().filter_map(unless).collect();
    unless.sort_unstable();
    unless.dedup();
    Some(CatalogueRuleRow {
        on: NotificationTransition::parse(&entry.on)?,
        condition: entry.when.clone(),
        after_seconds: entry
            .after
            .as_deref()
            .and_then(parse_duration_seconds)
            .unwrap_or(0),
        unless,
        send: FollowUpRuleMessage {
            to: entry.send.to.clone().into(),
            template: entry.send.template.clone(),
            language: entry.send.language.clone(),
            channel: MessageChannel::parse(&entry.send.channel)?,
            params: entry.send.params.clone(),
            sender: entry.send.sender.clone(),
            kind: entry.send.kind.clone(),
            mode: entry.send.mode.clone(),
            fallback_template: entry.send.fallback_template.clone(),
        },
        chain: entry.chain,
    })
}
