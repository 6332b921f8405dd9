//! The transitions of a notification that a follow-up rule can react to (`on = "failed"`), and
//! sets of them: their words, and the bits in which rows store them.
//!
//! When each of them happens is decided in `notification/transitions.rs`, by
//! [`NotificationState::finish`](super::notification::NotificationState::finish).

use serde::{Deserialize, Serialize};

use super::facts::DeliveryFact;

/// The first time a notification acquires a fact or reaches a state in its
/// present generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotificationTransition {
    Accepted,
    Sent,
    Delivered,
    Read,
    Played,
    Failed,
    Expired,
    Skipped,
    Stale,
    Replied,
}

impl NotificationTransition {
    pub const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Played,
        Self::Failed,
        Self::Expired,
        Self::Skipped,
        Self::Stale,
        Self::Replied,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Skipped => "skipped",
            Self::Stale => "stale",
            Self::Replied => "replied",
        }
    }

    /// The name of its line in the log, which never changes.
    pub const fn event(self) -> &'static str {
        match self {
            Self::Accepted => "notification.accepted",
            Self::Sent => "notification.sent",
            Self::Delivered => "notification.delivered",
            Self::Read => "notification.read",
            Self::Played => "notification.played",
            Self::Failed => "notification.failed",
            Self::Expired => "notification.expired",
            Self::Skipped => "notification.skipped",
            Self::Stale => "notification.stale",
            Self::Replied => "notification.replied",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|transition| transition.name() == name)
    }

    /// The fact whose first time it is, for those that a single fact brings.
    pub const fn fact(self) -> Option<DeliveryFact> {
        match self {
            Self::Accepted => Some(DeliveryFact::Accepted),
            Self::Sent => Some(DeliveryFact::Sent),
            Self::Delivered => Some(DeliveryFact::Delivered),
            Self::Read => Some(DeliveryFact::Read),
            Self::Played => Some(DeliveryFact::Played),
            Self::Failed | Self::Expired | Self::Skipped | Self::Stale | Self::Replied => None,
        }
    }

    const fn bit(self) -> u16 {
        match self {
            Self::Accepted => 1,
            Self::Sent => 1 << 1,
            Self::Delivered => 1 << 2,
            Self::Read => 1 << 3,
            Self::Played => 1 << 4,
            Self::Failed => 1 << 5,
            Self::Expired => 1 << 6,
            Self::Skipped => 1 << 7,
            Self::Stale => 1 << 8,
            Self::Replied => 1 << 9,
        }
    }
}

/// A set of transitions, stored as a bit mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotificationTransitionSet(u16);

impl NotificationTransitionSet {
    pub const NONE: Self = Self(0);

    /// From a stored mask; unknown bits are dropped.
    pub fn from_mask(mask: i64) -> Self {
        let mask = u16::try_from(mask).unwrap_or(0);
        NotificationTransition::ALL
            .into_iter()
            .filter(|transition| mask & transition.bit() != 0)
            .collect()
    }

    pub fn mask(self) -> i64 {
        i64::from(self.0)
    }

    pub const fn contains(self, transition: NotificationTransition) -> bool {
        self.0 & transition.bit() != 0
    }

    pub const fn insert(&mut self, transition: NotificationTransition) {
        self.0 |= transition.bit();
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The transitions in this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = NotificationTransition> {
        NotificationTransition::ALL
            .into_iter()
            .filter(move |transition| self.contains(*transition))
    }
}

impl FromIterator<NotificationTransition> for NotificationTransitionSet {
    fn from_iter<I: IntoIterator<Item = NotificationTransition>>(transitions: I) -> Self {
        let mut set = Self::NONE;
        for transition in transitions {
            set.insert(transition);
        }
        set
    }
}
