//! Finds equal things: variants of a number, accounts of a portfolio.

use std::collections::{BTreeMap, BTreeSet};

use super::IdentityEvidence;
use crate::domain::identity::{ContactAlias, ContactAliasFact};

pub(super) fn all_aliases(evidence: &IdentityEvidence) -> BTreeSet<&ContactAlias> {
    let observed = evidence.observations.iter().map(|it| it.fact.aliases());
    let decided = evidence.decisions.iter().map(|it| it.verdict.aliases());
    observed
        .chain(decided)
        .flat_map(|(one, other)| std::iter::once(one).chain(other))
        .chain(&evidence.others)
        .collect()
}

/// The first variant of every number that has several.
pub(super) fn spellings(evidence: &IdentityEvidence) -> BTreeMap<ContactAlias, ContactAlias> {
    let pairs = evidence
        .observations
        .iter()
        .filter_map(|it| match &it.fact {
            ContactAliasFact::Variant { sent, answered } => Some((sent.clone(), answered.clone())),
            _ => None,
        });
    least_of_each(pairs.collect())
}

/// Accounts that have user ids in common belong to one portfolio, named by its first account.
pub(super) fn portfolios(evidence: &IdentityEvidence) -> BTreeMap<String, String> {
    let mut scopes: BTreeMap<&ContactAlias, BTreeSet<&str>> = BTreeMap::new();
    for observation in &evidence.observations {
        let (one, other) = observation.fact.aliases();
        for alias in std::iter::once(one).chain(other) {
            if !alias.is_phone() {
                scopes.entry(alias).or_default().insert(&observation.scope);
            }
        }
    }
    let pairs = scopes.values().flat_map(|scopes| {
        let first = scopes.first().copied().unwrap_or_default();
        scopes
            .iter()
            .map(move |scope| (first.to_owned(), (*scope).to_owned()))
    });
    least_of_each(pairs.collect())
}

/// For pairs of equal things: the smallest member of each set of equals.
pub fn least_of_each<T: Ord + Clone>(mut pairs: Vec<(T, T)>) -> BTreeMap<T, T> {
    let mut least: BTreeMap<T, T> = BTreeMap::new();
    pairs.sort();
    pairs.dedup();
    // Each round carries the smallest one pair further.
    for _ in 0..=pairs.len() {
        let mut is_changed = false;
        for (one, other) in &pairs {
            let of = |it: &T| least.get(it).unwrap_or(it).clone();
            let lower = of(one).min(of(other));
            for it in [one, other] {
                if least.get(it) != Some(&lower) {
                    least.insert(it.clone(), lower.clone());
                    is_changed = true;
                }
            }
        }
        if !is_changed {
            break;
        }
    }
    least
}
