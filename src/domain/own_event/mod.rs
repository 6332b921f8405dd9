//! Events of Herald's own: what they are called, what they carry, and which of them are the same.
//!
//! Routes answer them like the events of products. Names and payloads are part of the contract:
//! `docs/events.md` lists them, and so does `GET /api/v1/event-types`.

mod examples;
mod occurrence;
pub mod payload;

pub use occurrence::EventOccurrence;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use self::payload::{
    AccountUpdateData, AlarmChange, ContactChoice, CredentialDue, MessageReceived, SenderChange,
    SenderSilence, TemplateUpdateData, WindowMoment,
};
use super::words::words;
use crate::domain::template_status::TemplateStatus;

/// The source of events that Herald itself raises.
pub const SOURCE: &str = "herald";

/// How the types of Herald's own events begin.
pub const PREFIX: &str = "herald.";

words! {
    /// The types of Herald's own events. What is in braces is the provider's word.
    pub enum OwnEventType {
        AccountChanged = "herald.account.{property}",
        AlarmCleared = "herald.alarm.cleared",
        AlarmRaised = "herald.alarm.raised",
        ContactOptedIn = "herald.contact.opted_in",
        ContactOptedOut = "herald.contact.opted_out",
        CredentialExpiring = "herald.credential.expiring",
        CredentialOld = "herald.credential.old",
        MessageReceived = "herald.message.received",
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

impl OwnEventType {
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
            Self::MessageReceived => {
                "A person has written, tapped or called. Raised only if a route listens to it."
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

    /// The name of its payload's schema in the API's description.
    pub const fn schema(self) -> &'static str {
        match self {
            Self::AccountChanged => "AccountUpdateData",
            Self::AlarmCleared | Self::AlarmRaised => "AlarmChange",
            Self::ContactOptedIn | Self::ContactOptedOut => "ContactChoice",
            Self::CredentialExpiring | Self::CredentialOld => "CredentialDue",
            Self::MessageReceived => "MessageReceived",
            Self::SenderHeld | Self::SenderReleased => "SenderChange",
            Self::SenderSilent => "SenderSilence",
            Self::TemplateCategoryChanged
            | Self::TemplateCategoryDue
            | Self::TemplateChanged
            | Self::TemplateQuality
            | Self::TemplateStatus => "TemplateUpdateData",
            Self::WindowClosed | Self::WindowClosing => "WindowMoment",
        }
    }
}

/// An event of Herald's own, with what it carries.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnEvent {
    AccountChanged {
        /// Which property, such as `quality` or `review`.
        property: String,
        data: AccountUpdateData,
    },
    AlarmCleared(AlarmChange),
    AlarmRaised(AlarmChange),
    ContactOptedIn(ContactChoice),
    ContactOptedOut(ContactChoice),
    CredentialExpiring(CredentialDue),
    CredentialOld(CredentialDue),
    MessageReceived(MessageReceived),
    SenderHeld(SenderChange),
    SenderReleased(SenderChange),
    SenderSilent(SenderSilence),
    TemplateCategoryChanged(TemplateUpdateData),
    TemplateCategoryDue(TemplateUpdateData),
    TemplateChanged(TemplateUpdateData),
    TemplateQuality(TemplateUpdateData),
    TemplateStatus {
        status: TemplateStatus,
        data: TemplateUpdateData,
    },
    WindowClosed(WindowMoment),
    WindowClosing(WindowMoment),
}

impl OwnEvent {
    /// Which of the types it is of.
    pub const fn of_type(&self) -> OwnEventType {
        match self {
            Self::AccountChanged { .. } => OwnEventType::AccountChanged,
            Self::AlarmCleared(_) => OwnEventType::AlarmCleared,
            Self::AlarmRaised(_) => OwnEventType::AlarmRaised,
            Self::ContactOptedIn(_) => OwnEventType::ContactOptedIn,
            Self::ContactOptedOut(_) => OwnEventType::ContactOptedOut,
            Self::CredentialExpiring(_) => OwnEventType::CredentialExpiring,
            Self::CredentialOld(_) => OwnEventType::CredentialOld,
            Self::MessageReceived(_) => OwnEventType::MessageReceived,
            Self::SenderHeld(_) => OwnEventType::SenderHeld,
            Self::SenderReleased(_) => OwnEventType::SenderReleased,
            Self::SenderSilent(_) => OwnEventType::SenderSilent,
            Self::TemplateCategoryChanged(_) => OwnEventType::TemplateCategoryChanged,
            Self::TemplateCategoryDue(_) => OwnEventType::TemplateCategoryDue,
            Self::TemplateChanged(_) => OwnEventType::TemplateChanged,
            Self::TemplateQuality(_) => OwnEventType::TemplateQuality,
            Self::TemplateStatus { .. } => OwnEventType::TemplateStatus,
            Self::WindowClosed(_) => OwnEventType::WindowClosed,
            Self::WindowClosing(_) => OwnEventType::WindowClosing,
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

    /// What it carries, as routes see it.
    pub fn data(&self) -> Value {
        match self {
            Self::AccountChanged { data, .. } => value(data),
            Self::AlarmCleared(data) | Self::AlarmRaised(data) => value(data),
            Self::ContactOptedIn(data) | Self::ContactOptedOut(data) => value(data),
            Self::CredentialExpiring(data) | Self::CredentialOld(data) => value(data),
            Self::MessageReceived(data) => value(data),
            Self::SenderHeld(data) | Self::SenderReleased(data) => value(data),
            Self::SenderSilent(data) => value(data),
            Self::TemplateCategoryChanged(data)
            | Self::TemplateCategoryDue(data)
            | Self::TemplateChanged(data)
            | Self::TemplateQuality(data)
            | Self::TemplateStatus { data, .. } => value(data),
            Self::WindowClosed(data) | Self::WindowClosing(data) => value(data),
        }
    }
}

/// A payload has string keys only, so that it is always a value.
fn value(payload: &impl Serialize) -> Value {
    serde_json::to_value(payload).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::OwnEventType;

    #[test]
    fn every_type_has_an_example_of_its_own() {
        for kind in OwnEventType::ALL.iter().copied() {
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
}
