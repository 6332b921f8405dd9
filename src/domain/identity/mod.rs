//! Which aliases belong to one person.
//!
//! A contact is a row; a person is whoever the provider says it is. What the provider says is kept
//! as [`evidence`](Observation), and who is who is [computed](replay::replay) from all of it: any
//! order, repetition and batching of the same evidence gives the same persons. Nothing of a
//! product, a catalogue or a database is known here.

pub mod consent;
pub mod group;
pub mod replay;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{phone::Phone, recipient::UserId, time::Timestamp};

/// What an alias is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AliasKind {
    /// A phone number in E.164. It can pass to somebody else.
    #[serde(rename = "phone")]
    Phone,
    /// A business-scoped user id. It is regenerated when its owner changes their number, and is
    /// never given to anybody else (Meta, "Business-scoped user IDs").
    #[serde(rename = "bsuid")]
    UserId,
    /// A user id of several linked portfolios.
    #[serde(rename = "parent_bsuid")]
    ParentUserId,
}

impl AliasKind {
    pub const ALL: [Self; 3] = [Self::Phone, Self::UserId, Self::ParentUserId];

    /// As it is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::UserId => "bsuid",
            Self::ParentUserId => "parent_bsuid",
        }
    }

    /// Reads [`AliasKind::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A phone number or user id by which a person is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alias {
    pub kind: AliasKind,
    /// A phone number with its `+`.
    pub value: String,
}

impl Alias {
    pub fn of_phone(phone: &Phone) -> Self {
        Self {
            kind: AliasKind::Phone,
            value: phone.e164().to_owned(),
        }
    }

    /// A number as WhatsApp writes it, without the `+`.
    pub fn of_wa_id(wa_id: &str) -> Self {
        Phone::from_wa_id(wa_id).map_or_else(
            // Whatever it is, it is always the same for the same person.
            |_unreadable| Self {
                kind: AliasKind::Phone,
                value: format!("+{wa_id}"),
            },
            |phone| Self::of_phone(&phone),
        )
    }

    pub fn of_user_id(user_id: &UserId) -> Self {
        let kind = if user_id.is_of_parent() {
            AliasKind::ParentUserId
        } else {
            AliasKind::UserId
        };
        Self {
            kind,
            value: user_id.as_str().to_owned(),
        }
    }

    pub const fn is_phone(&self) -> bool {
        matches!(self.kind, AliasKind::Phone)
    }
}

/// What a provider has said about aliases, or we have done to them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fact {
    /// Somebody known by this wrote or called.
    Seen(Alias),
    /// A number and a user id stood side by side in one signed item.
    Together { phone: Alias, id: Alias },
    /// A user id and one of linked portfolios stood side by side.
    Parent { id: Alias, parent: Alias },
    /// A user id was replaced: the same person (`user_changed_user_id`).
    Replaced { old: Alias, new: Alias },
    /// The user id at a number was replaced by this one; which it was is not said.
    Rotated { phone: Alias, id: Alias },
    /// A person gave up one number for another (`user_changed_number`).
    Moved { from: Alias, to: Alias },
    /// A number is another spelling of the same line: an answer to a send wrote what we had sent
    /// to in the other form of its country.
    Variant { sent: Alias, answered: Alias },
}

impl Fact {
    /// As it is stored and shown.
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

    /// The aliases that it names.
    pub const fn aliases(&self) -> (&Alias, Option<&Alias>) {
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

/// A fact, and when it was first and last observed by the provider's clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Observation {
    pub fact: Fact,
    /// The account that it was observed in. User ids are good in one portfolio only, and which
    /// accounts are of one portfolio shows in the ids that they have in common.
    pub scope: String,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// What a person has decided about aliases.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    pub at: Timestamp,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Both are of one person.
    Link(Alias, Alias),
    /// They are of two persons, whatever evidence says.
    Apart(Alias, Alias),
    /// From then on it is of somebody else, together with all of the same `group`: an address was
    /// corrected, and what the provider said of it goes with it.
    Cut { alias: Alias, group: Uuid },
}

impl Verdict {
    pub const fn aliases(&self) -> (&Alias, Option<&Alias>) {
        match self {
            Self::Link(one, other) | Self::Apart(one, other) => (one, Some(other)),
            Self::Cut { alias, .. } => (alias, None),
        }
    }
}
