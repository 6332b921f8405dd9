//! The events of numbers, in the order of the provider's time.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::Evidence;
use crate::domain::{
    identity::{Alias, Decision, Fact, Observation, Verdict},
    time::Timestamp,
};

/// The events of numbers, in this order within one instant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind<'a> {
    Moved {
        from: &'a Alias,
        to: &'a Alias,
    },
    Cut {
        alias: &'a Alias,
        group: Uuid,
    },
    /// By an operator, or by the provider.
    Linked {
        one: &'a Alias,
        other: &'a Alias,
    },
    Together {
        phone: &'a Alias,
        id: &'a Alias,
        scope: &'a str,
        is_first: bool,
    },
    Seen {
        phone: &'a Alias,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event<'a> {
    pub at: Timestamp,
    pub kind: Kind<'a>,
}

pub(super) fn events(evidence: &Evidence) -> BTreeSet<Event<'_>> {
    let mut events = BTreeSet::new();
    for Observation {
        fact,
        scope,
        first,
        last,
    } in &evidence.observations
    {
        match fact {
            Fact::Together { phone, id } => {
                let again = (last > first).then_some((*last, false));
                for (at, is_first) in std::iter::once((*first, true)).chain(again) {
                    let kind = Kind::Together {
                        phone,
                        id,
                        scope,
                        is_first,
                    };
                    events.insert(Event { at, kind });
                }
            }
            Fact::Moved { from, to } => {
                let kind = Kind::Moved { from, to };
                events.insert(Event { at: *first, kind });
            }
            Fact::Rotated { phone, id } => {
                let kind = Kind::Linked {
                    one: phone,
                    other: id,
                };
                events.insert(Event { at: *first, kind });
            }
            Fact::Seen(phone) if phone.is_phone() => {
                let kind = Kind::Seen { phone };
                events.insert(Event { at: *first, kind });
            }
            Fact::Seen(_) | Fact::Parent { .. } | Fact::Replaced { .. } | Fact::Variant { .. } => {}
        }
    }
    for Decision { at, verdict } in &evidence.decisions {
        match verdict {
            Verdict::Cut { alias, group } if alias.is_phone() => {
                let kind = Kind::Cut {
                    alias,
                    group: *group,
                };
                events.insert(Event { at: *at, kind });
            }
            Verdict::Link(one, other) if one.is_phone() || other.is_phone() => {
                let kind = Kind::Linked { one, other };
                events.insert(Event { at: *at, kind });
            }
            Verdict::Cut { .. } | Verdict::Link(..) | Verdict::Apart(..) => {}
        }
    }
    events
}
