//! Loads the evidence about aliases, and about everything that it leads to.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::{
    domain::identity::{ContactAlias, replay::IdentityEvidence},
    store::{
        DatabaseTransaction, StoreError,
        identity::{self, AliasHolder, IdentityContact},
    },
};

/// Most steps by which evidence is followed.
const MAX_STEPS: usize = 50;

/// The loaded evidence.
#[derive(Debug, Default)]
pub(super) struct LoadedIdentityEvidence {
    pub evidence: IdentityEvidence,
    pub contacts: BTreeMap<Uuid, IdentityContact>,
    pub holders: BTreeMap<ContactAlias, AliasHolder>,
}

/// Loads it. The caller holds the lock that keeps other transactions from doing the same.
pub(super) async fn load(
    tx: &DatabaseTransaction,
    aliases: BTreeSet<ContactAlias>,
) -> Result<LoadedIdentityEvidence, StoreError> {
    let mut loaded = LoadedIdentityEvidence::default();
    let mut seen: BTreeSet<ContactAlias> = BTreeSet::new();
    let mut fresh = aliases;
    for _ in 0..MAX_STEPS {
        if fresh.is_empty() {
            break;
        }
        let step: Vec<ContactAlias> = std::mem::take(&mut fresh).into_iter().collect();
        seen.extend(step.iter().cloned());
        let mut next: BTreeSet<ContactAlias> = BTreeSet::new();
        let mut add = |(one, other): (&ContactAlias, Option<&ContactAlias>)| {
            next.extend(std::iter::once(one).chain(other).cloned());
        };
        let observed = identity::evidence_about(tx, &step).await?;
        let decided = identity::decisions_about(tx, &step).await?;
        for it in &observed {
            add(it.fact.aliases());
        }
        for it in &decided {
            add(it.verdict.aliases());
        }
        loaded.evidence.observations.extend(observed);
        loaded.evidence.decisions.extend(decided);
        let held = identity::holders(tx, &step).await?;
        let mut contacts: BTreeSet<Uuid> = held.iter().map(|holder| holder.contact).collect();
        contacts.extend(identity::anchored(tx, &step).await?);
        loop {
            contacts.retain(|contact| !loaded.contacts.contains_key(contact));
            if contacts.is_empty() {
                break;
            }
            let ids: Vec<Uuid> = std::mem::take(&mut contacts).into_iter().collect();
            let rows = identity::contact_rows(tx, &ids).await?;
            contacts.extend(rows.iter().filter_map(|row| row.merged_into));
            contacts.extend(identity::merged_into(tx, &ids).await?);
            for holder in identity::aliases_of(tx, &ids).await? {
                next.insert(holder.alias.clone());
                loaded.holders.insert(holder.alias.clone(), holder);
            }
            for row in rows {
                next.extend(row.anchor.as_ref().map(|(alias, _)| alias.clone()));
                loaded.contacts.insert(row.id, row);
            }
        }
        fresh = next.difference(&seen).cloned().collect();
    }
    if !fresh.is_empty() {
        tracing::warn!(
            event = "identity.too_long",
            steps = MAX_STEPS,
            "evidence of which contacts are one person was followed for {MAX_STEPS} steps and still led on: what lies beyond is ignored"
        );
    }
    loaded.evidence.observations.sort();
    loaded.evidence.observations.dedup();
    loaded.evidence.decisions.sort();
    loaded.evidence.decisions.dedup();
    loaded.evidence.others = seen.into_iter().collect();
    Ok(loaded)
}
