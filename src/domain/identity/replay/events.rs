//! The events of numbers, in the order of the provider's time.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::IdentityEvidence;
use crate::domain::{
    identity::{
        AliasDecision, AliasVerdict, ContactAlias, ContactAliasFact, ContactAliasObservation,
    },
    time::Timestamp,
};

/// The events of numbers, in this order within one instant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AliasEventKind<'a> {
    Moved {
        from: &'a ContactAlias,
        to: &'a ContactAlias,
    },
    Cut {
        alias: &'a ContactAlias,
        group: Uuid,
    },
    /// By an operator, or by the provider.
    Linked {
        one: &'a ContactAlias,
        other: &'a ContactAlias,
    },
    Together {
        phone: &'a ContactAlias,
        id: &'a ContactAlias,
        scope: &'a str,
        is_first: bool,
    },
    Seen {
        phone: &'a ContactAlias,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AliasEvent<'a> {
    pub at: Timestamp,
    pub kind: AliasEventKind<'a>,
}

pub(super) fn events(evidence: &IdentityEvidence) -> BTreeSet<AliasEvent<'_>> {
    let mut events = BTreeSet::new();
    for ContactAliasObservation {
        fact,
        scope,
        first,
        last,
    } in &evidence.observations
    {
        match fact {
            ContactAliasFact::Together { phone, id } => {
                let again = (last > first).then_some((*last, false));
                for (at, is_first) in std::iter::once((*first, true)).chain(again) {
                    let kind = AliasEventKind::Together {
                        phone,
                        id,
                        scope,
                        is_first,
                    };
                    events.insert(AliasEvent { at, kind });
                }
            }
            ContactAliasFact::Moved { from, to } => {
                let kind = AliasEventKind::Moved { from, to };
                events.insert(AliasEvent { at: *first, kind });
            }
            ContactAliasFact::Rotated { phone, id } => {
                let kind = AliasEventKind::Linked {
                    one: phone,
                    other: id,
                };
                events.insert(AliasEvent { at: *first, kind });
            }
            ContactAliasFact::Seen(phone) if phone.is_phone() => {
                let kind = AliasEventKind::Seen { phone };
                events.insert(AliasEvent { at: *first, kind });
            }
            ContactAliasFact::Seen(_)
            | ContactAliasFact::Parent { .. }
            | ContactAliasFact::Replaced { .. }
            | ContactAliasFact::Variant { .. } => {}
        }
    }
    for AliasDecision { at, verdict } in &evidence.decisions {
        match verdict {
            AliasVerdict::Cut { alias, group } if alias.is_phone() => {
                let kind = AliasEventKind::Cut {
                    alias,
                    group: *group,
                };
                events.insert(AliasEvent { at: *at, kind });
            }
            AliasVerdict::Link(one, other) if one.is_phone() || other.is_phone() => {
                let kind = AliasEventKind::Linked { one, other };
                events.insert(AliasEvent { at: *at, kind });
            }
            AliasVerdict::Cut { .. } | AliasVerdict::Link(..) | AliasVerdict::Apart(..) => {}
        }
    }
    events
}
