//! Identity: which aliases belong to one person.
//!
//! A contact is a row; a person is whoever the provider says it is. What the provider reports is
//! stored as [`evidence`](ContactAliasObservation), and identities are [computed](replay::replay) from all of
//! it: any order, repetition and batching of the same evidence gives the same persons. Nothing
//! about products, catalogues or databases is known here.

pub mod consent;
pub mod group;
mod identifiers;
pub mod replay;

pub use identifiers::PersonIdentifiers;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{phone::Phone, recipient::WhatsAppUserId, time::Timestamp};

/// The kind of an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ContactAliasKind {
    /// A phone number in E.164. It can pass to another person.
    #[serde(rename = "phone")]
    Phone,
    /// A business-scoped user id. It is regenerated when its owner changes their number, and is
    /// never given to another person (Meta, "Business-scoped user IDs").
    #[serde(rename = "bsuid")]
    UserId,
    /// A user id of several linked portfolios.
    #[serde(rename = "parent_bsuid")]
    ParentUserId,
}

impl ContactAliasKind {
    pub const ALL: [Self; 3] = [Self::Phone, Self::UserId, Self::ParentUserId];

    /// Its stored and displayed name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::UserId => "bsuid",
            Self::ParentUserId => "parent_bsuid",
        }
    }

    /// Parses [`ContactAliasKind::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A phone number or user id by which a person is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContactAlias {
    pub kind: ContactAliasKind,
    /// A phone number with its `+`.
    pub value: String,
}

impl ContactAlias {
    pub fn of_phone(phone: &Phone) -> Self {
        Self {
            kind: ContactAliasKind::Phone,
            value: phone.e164().to_owned(),
        }
    }

    /// A number in WhatsApp's form, without the `+`.
    pub fn of_wa_id(wa_id: &str) -> Self {
        Phone::from_wa_id(wa_id).map_or_else(
            // Whatever it is, it is always the same for the same person.
            |_unreadable| Self {
                kind: ContactAliasKind::Phone,
                value: format!("+{wa_id}"),
            },
            |phone| Self::of_phone(&phone),
        )
    }

    pub fn of_user_id(user_id: &WhatsAppUserId) -> Self {
        let kind = if user_id.is_of_parent() {
            ContactAliasKind::ParentUserId
        } else {
            ContactAliasKind::UserId
        };
        Self {
            kind,
            value: user_id.as_str().to_owned(),
        }
    }

    pub const fn is_phone(&self) -> bool {
        matches!(self.kind, ContactAliasKind::Phone)
    }
}

/// A fact about aliases, reported by a provider or resulting from our own actions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContactAliasFact {
    /// The person with this alias wrote or called.
    Seen(ContactAlias),
    /// A number and a user id appeared together in one signed item.
    Together {
        phone: ContactAlias,
        id: ContactAlias,
    },
    /// A user id and one of linked portfolios appeared together.
    Parent {
        id: ContactAlias,
        parent: ContactAlias,
    },
    /// A user id was replaced: the same person (`user_changed_user_id`).
    Replaced {
        old: ContactAlias,
        new: ContactAlias,
    },
    /// The user id at a number was replaced by this one; the old id was not named.
    Rotated {
        phone: ContactAlias,
        id: ContactAlias,
    },
    /// A person gave up one number for another (`user_changed_number`).
    Moved {
        from: ContactAlias,
        to: ContactAlias,
    },
    /// A number is a variant of the same line: the answer to a send named the other form that its
    /// country has.
    Variant {
        sent: ContactAlias,
        answered: ContactAlias,
    },
}

impl ContactAliasFact {
    /// Its stored and displayed name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Seen(_) => "seen",
            Self::Together { .. } => "together",
            Self::Parent { .. } => "parent",
            Self::Replaced { .. } => "replaced",
            Self::Rotated { .. } => "rotated",
            Self::Moved { .. } => "moved",
            Self::Variant { .. } => "variant",
        }
    }

    /// The aliases in it.
    pub const fn aliases(&self) -> (&ContactAlias, Option<&ContactAlias>) {
        match self {
            Self::Seen(alias) => (alias, None),
            Self::Together { phone, id } | Self::Rotated { phone, id } => (phone, Some(id)),
            Self::Parent { id, parent } => (id, Some(parent)),
            Self::Replaced { old, new } => (old, Some(new)),
            Self::Moved { from, to } => (from, Some(to)),
            Self::Variant { sent, answered } => (sent, Some(answered)),
        }
    }
}

/// A fact, with the first and last time it was observed by the provider's clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContactAliasObservation {
    pub fact: ContactAliasFact,
    /// The account in which it was observed. User ids are valid within one portfolio; accounts
    /// belong to one portfolio if they have user ids in common.
    pub scope: String,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// An operator's decision about aliases.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AliasDecision {
    pub at: Timestamp,
    pub verdict: AliasVerdict,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AliasVerdict {
    /// Both belong to one person.
    Link(ContactAlias, ContactAlias),
    /// They belong to two persons, whatever the evidence says.
    Apart(ContactAlias, ContactAlias),
    /// From then on it belongs to another person, together with all of the same `group`: an address
    /// was corrected, and the provider's evidence about it goes with it.
    Cut { alias: ContactAlias, group: Uuid },
}

impl AliasVerdict {
    pub const fn aliases(&self) -> (&ContactAlias, Option<&ContactAlias>) {
        match self {
            Self::Link(one, other) | Self::Apart(one, other) => (one, Some(other)),
            Self::Cut { alias, .. } => (alias, None),
        }
    }
}
