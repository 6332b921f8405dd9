//! Events of Herald's own: what they are called, what they carry, and which of them are the same.
//!
//! Every one goes to the stream (`store/changes.rs`), and routes answer most of them like the events
//! of products. Names and payloads are part of the contract: `docs/events.md` lists them, and so does
//! `GET /api/v1/event-types`.

mod erasure;
mod examples;
mod occurrence;
pub mod payload;

pub use self::{erasure::without_person, occurrence::EventDeduplicationKey};

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::Value;

use self::payload::{
    AccountUpdateData, AlarmChangeData, ContactConsentData, CredentialRenewalData,
    MessageReceivedData, NotificationChangeData, SenderHoldChangeData, SenderSilenceData,
    ServiceWindowEndData, TemplateUpdateData,
};
use super::word_enum::words;
use crate::domain::{template_status::TemplateStatus, transition::NotificationTransition};
use utoipa::ToSchema;

/// The source of events that Herald itself raises.
pub const SOURCE: &str = "herald";

/// How the types of Herald's own events begin.
pub const PREFIX: &str = "herald.";

/// How those types begin that no route answers: what happens to notifications. A route that made a
/// message of a message would never end; follow-up rules are for that.
pub const UNROUTABLE_PREFIX: &str = "herald.notification.";

words! {
    /// The types of Herald's own events. What is in braces is the provider's word.
    pub enum HeraldEventType {
        AccountChanged = "herald.account.{property}",
        AlarmCleared = "herald.alarm.cleared",
        AlarmRaised = "herald.alarm.raised",
        ContactOptedIn = "herald.contact.opted_in",
        ContactOptedOut = "herald.contact.opted_out",
        CredentialExpiring = "herald.credential.expiring",
        CredentialOld = "herald.credential.old",
        MessageReceived = "herald.message.received",
        NotificationAccepted = "herald.notification.accepted",
        NotificationDelivered = "herald.notification.delivered",
        NotificationExpired = "herald.notification.expired",
        NotificationFailed = "herald.notification.failed",
        NotificationPlayed = "herald.notification.played",
        NotificationRead = "herald.notification.read",
        NotificationReplied = "herald.notification.replied",
        NotificationSent = "herald.notification.sent",
        NotificationSkipped = "herald.notification.skipped",
        NotificationStale = "herald.notification.stale",
        SenderHeld = "herald.sender.held",
        SenderReleased = "herald.sender.released",
        SenderSilent = "herald.silence",
        TemplateCategoryChanged = "herald.template.category_changed",
        TemplateCategoryDue = "herald.template.category_due",
        TemplateChanged = "herald.template.changed",
        TemplateQuality = "herald.template.quality",
        TemplateStatus = "herald.template.{status}",
        WindowClosed = "herald.window.closed",
        WindowClosing = "herald.window.closing",
    }
}

impl HeraldEventType {
    /// When it is raised, in a sentence.
    pub const fn description(self) -> &'static str {
        match self {
            Self::AccountChanged => {
                "The provider has reported something about an account or one of its numbers: its quality, limits, review, an alert."
            }
            Self::AlarmCleared => "What an alarm was raised for is over.",
            Self::AlarmRaised => "Something needs a person's attention.",
            Self::ContactOptedIn => "A person wants messages again.",
            Self::ContactOptedOut => "A person wants no more messages, or no more marketing.",
            Self::CredentialExpiring => {
                "A credential is about to expire. Once for each credential."
            }
            Self::CredentialOld => {
                "A credential has been in use for long. Once for each credential."
            }
            Self::MessageReceived => "A person has written, tapped or called.",
            Self::NotificationAccepted => "The provider has accepted a notification.",
            Self::NotificationDelivered => "A notification has reached its recipient.",
            Self::NotificationExpired => {
                "A notification was not sent in time, and is not sent any more."
            }
            Self::NotificationFailed => {
                "A notification has failed, and is not tried again by itself."
            }
            Self::NotificationPlayed => {
                "The recipient has played the voice message of a notification."
            }
            Self::NotificationRead => "The recipient has read a notification.",
            Self::NotificationReplied => "The recipient has replied to a notification.",
            Self::NotificationSent => "The provider has sent a notification on its way.",
            Self::NotificationSkipped => {
                "A notification is not sent: its recipient does not want it, or cannot be reached."
            }
            Self::NotificationStale => {
                "The provider has accepted a notification, and has reported nothing about it for long."
            }
            Self::SenderHeld => {
                "A sender is held: its calls fail, or the provider has stopped its account. Its messages wait."
            }
            Self::SenderReleased => "A sender that was held can send again.",
            Self::SenderSilent => "A sender's messages are accepted, and no callback comes.",
            Self::TemplateCategoryChanged => "A template has another category.",
            Self::TemplateCategoryDue => {
                "A template will get another category unless somebody objects."
            }
            Self::TemplateChanged => "The text of a template was changed at the provider.",
            Self::TemplateQuality => "A template has another quality score.",
            Self::TemplateStatus => {
                "The provider has decided about a template: approved, rejected, paused, disabled, …"
            }
            Self::WindowClosed => {
                "A person's service window has ended. Raised only if a route listens to it."
            }
            Self::WindowClosing => {
                "A person's service window is about to end. Raised only if a route listens to it."
            }
        }
    }

    /// Whether it is about what one person and one sender (`sender` in its data) have said to each
    /// other, which is no other product's business.
    pub const fn is_of_conversation(self) -> bool {
        matches!(
            self,
            Self::MessageReceived | Self::WindowClosed | Self::WindowClosing
        )
    }

    /// Whether routes can answer it. The others are in the stream only.
    pub const fn is_routable(self) -> bool {
        !matches!(
            self,
            Self::NotificationAccepted
                | Self::NotificationDelivered
                | Self::NotificationExpired
                | Self::NotificationFailed
                | Self::NotificationPlayed
                | Self::NotificationRead
                | Self::NotificationReplied
                | Self::NotificationSent
                | Self::NotificationSkipped
                | Self::NotificationStale
        )
    }

    /// The type of the event of a transition.
    const fn of_transition(transition: NotificationTransition) -> Self {
        match transition {
            NotificationTransition::Accepted => Self::NotificationAccepted,
            NotificationTransition::Delivered => Self::NotificationDelivered,
            NotificationTransition::Expired => Self::NotificationExpired,
            NotificationTransition::Failed => Self::NotificationFailed,
            NotificationTransition::Played => Self::NotificationPlayed,
            NotificationTransition::Read => Self::NotificationRead,
            NotificationTransition::Replied => Self::NotificationReplied,
            NotificationTransition::Sent => Self::NotificationSent,
            NotificationTransition::Skipped => Self::NotificationSkipped,
            NotificationTransition::Stale => Self::NotificationStale,
        }
    }

    /// The name of its payload's schema in the API's description.
    pub fn schema(self) -> Cow<'static, str> {
        match self {
            Self::AccountChanged => AccountUpdateData::name(),
            Self::AlarmCleared | Self::AlarmRaised => AlarmChangeData::name(),
            Self::ContactOptedIn | Self::ContactOptedOut => ContactConsentData::name(),
            Self::CredentialExpiring | Self::CredentialOld => CredentialRenewalData::name(),
            Self::MessageReceived => MessageReceivedData::name(),
            Self::NotificationAccepted
            | Self::NotificationDelivered
            | Self::NotificationExpired
            | Self::NotificationFailed
            | Self::NotificationPlayed
            | Self::NotificationRead
            | Self::NotificationReplied
            | Self::NotificationSent
            | Self::NotificationSkipped
            | Self::NotificationStale => NotificationChangeData::name(),
            Self::SenderHeld | Self::SenderReleased => SenderHoldChangeData::name(),
            Self::SenderSilent => SenderSilenceData::name(),
            Self::TemplateCategoryChanged
            | Self::TemplateCategoryDue
            | Self::TemplateChanged
            | Self::TemplateQuality
            | Self::TemplateStatus => TemplateUpdateData::name(),
            Self::WindowClosed | Self::WindowClosing => ServiceWindowEndData::name(),
        }
    }
}

/// An event of Herald's own, with what it carries.
#[derive(Clone, Debug, PartialEq)]
pub enum HeraldEvent {
    AccountChanged {
        /// Which property, such as `quality` or `review`.
        property: String,
        data: AccountUpdateData,
    },
    AlarmCleared(AlarmChangeData),
    AlarmRaised(AlarmChangeData),
    ContactOptedIn(ContactConsentData),
    ContactOptedOut(ContactConsentData),
    CredentialExpiring(CredentialRenewalData),
    CredentialOld(CredentialRenewalData),
    MessageReceived(MessageReceivedData),
    NotificationChanged {
        transition: NotificationTransition,
        data: NotificationChangeData,
    },
    SenderHeld(SenderHoldChangeData),
    SenderReleased(SenderHoldChangeData),
    SenderSilent(SenderSilenceData),
    TemplateCategoryChanged(TemplateUpdateData),
    TemplateCategoryDue(TemplateUpdateData),
    TemplateChanged(TemplateUpdateData),
    TemplateQuality(TemplateUpdateData),
    TemplateStatus {
        status: TemplateStatus,
        data: TemplateUpdateData,
    },
    WindowClosed(ServiceWindowEndData),
    WindowClosing(ServiceWindowEndData),
}

impl HeraldEvent {
    /// Which of the types it is of.
    pub const fn of_type(&self) -> HeraldEventType {
        match self {
            Self::AccountChanged { .. } => HeraldEventType::AccountChanged,
            Self::AlarmCleared(_) => HeraldEventType::AlarmCleared,
            Self::AlarmRaised(_) => HeraldEventType::AlarmRaised,
            Self::ContactOptedIn(_) => HeraldEventType::ContactOptedIn,
            Self::ContactOptedOut(_) => HeraldEventType::ContactOptedOut,
            Self::CredentialExpiring(_) => HeraldEventType::CredentialExpiring,
            Self::CredentialOld(_) => HeraldEventType::CredentialOld,
            Self::MessageReceived(_) => HeraldEventType::MessageReceived,
            Self::NotificationChanged { transition, .. } => {
                HeraldEventType::of_transition(*transition)
            }
            Self::SenderHeld(_) => HeraldEventType::SenderHeld,
            Self::SenderReleased(_) => HeraldEventType::SenderReleased,
            Self::SenderSilent(_) => HeraldEventType::SenderSilent,
            Self::TemplateCategoryChanged(_) => HeraldEventType::TemplateCategoryChanged,
            Self::TemplateCategoryDue(_) => HeraldEventType::TemplateCategoryDue,
            Self::TemplateChanged(_) => HeraldEventType::TemplateChanged,
            Self::TemplateQuality(_) => HeraldEventType::TemplateQuality,
            Self::TemplateStatus { .. } => HeraldEventType::TemplateStatus,
            Self::WindowClosed(_) => HeraldEventType::WindowClosed,
            Self::WindowClosing(_) => HeraldEventType::WindowClosing,
        }
    }

    /// The type as routes name it, such as `herald.template.paused`.
    pub fn type_name(&self) -> Cow<'static, str> {
        match self {
            Self::AccountChanged { property, .. } => {
                Cow::Owned(format!("{PREFIX}account.{property}"))
            }
            Self::TemplateStatus { status, .. } => Cow::Owned(format!("{PREFIX}template.{status}")),
            other => Cow::Borrowed(other.of_type().name()),
        }
    }

    /// What it carries, as routes see it. A payload has string keys only, so that it is always a
    /// value.
    pub fn data(&self) -> Value {
        serde_json::to_value(self.payload()).unwrap_or_default()
    }

    /// What it carries, to be written.
    pub const fn payload(&self) -> HeraldEventPayload<'_> {
        HeraldEventPayload(self)
    }
}

/// The payload of an event, whichever it is.
#[derive(Clone, Copy, Debug)]
pub struct HeraldEventPayload<'a>(&'a HeraldEvent);

impl Serialize for HeraldEventPayload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            HeraldEvent::AccountChanged { data, .. } => data.serialize(serializer),
            HeraldEvent::AlarmCleared(data) | HeraldEvent::AlarmRaised(data) => {
                data.serialize(serializer)
            }
            HeraldEvent::ContactOptedIn(data) | HeraldEvent::ContactOptedOut(data) => {
                data.serialize(serializer)
            }
            HeraldEvent::CredentialExpiring(data) | HeraldEvent::CredentialOld(data) => {
                data.serialize(serializer)
            }
            HeraldEvent::MessageReceived(data) => data.serialize(serializer),
            HeraldEvent::NotificationChanged { data, .. } => data.serialize(serializer),
            HeraldEvent::SenderHeld(data) | HeraldEvent::SenderReleased(data) => {
                data.serialize(serializer)
            }
            HeraldEvent::SenderSilent(data) => data.serialize(serializer),
            HeraldEvent::TemplateCategoryChanged(data)
            | HeraldEvent::TemplateCategoryDue(data)
            | HeraldEvent::TemplateChanged(data)
            | HeraldEvent::TemplateQuality(data)
            | HeraldEvent::TemplateStatus { data, .. } => data.serialize(serializer),
            HeraldEvent::WindowClosed(data) | HeraldEvent::WindowClosing(data) => {
                data.serialize(serializer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HeraldEventType, UNROUTABLE_PREFIX};

    #[test]
    fn every_type_has_an_example_of_its_own() {
        for kind in HeraldEventType::ALL.iter().copied() {
            let examples = kind.examples();
            assert!(!examples.is_empty(), "{kind}");
            for example in examples {
                assert_eq!(example.of_type(), kind);
                assert!(example.data().is_object(), "{kind}");
                let pattern = kind.name().split('{').next().unwrap_or_default();
                assert!(example.type_name().starts_with(pattern), "{kind}");
            }
        }
    }

    #[test]
    fn what_no_route_answers_is_known_by_its_prefix() {
        for kind in HeraldEventType::ALL.iter().copied() {
            let is_by_prefix = !kind.name().starts_with(UNROUTABLE_PREFIX);
            assert_eq!(kind.is_routable(), is_by_prefix, "{kind}");
        }
    }
}
