//! Events of Herald's own: what they are called, what they carry, and which of them are the same.
//!
//! Routes answer them like the events of products. Names and payloads are part of the contract:
//! `docs/events.md` lists them, and so does `GET /api/v1/event-types`.

mod examples;
mod occurrence;
pub mod payload;

pub use occurrence::EventDeduplicationKey;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use self::payload::{
    AccountUpdateData, AlarmChangeData, ContactConsentData, CredentialRenewalData,
    MessageReceivedData, SenderHoldChangeData, SenderSilenceData, ServiceWindowEndData,
    TemplateUpdateData,
};
use super::word_enum::words;
use crate::domain::template_status::TemplateStatus;
use utoipa::ToSchema;

/// The source of events that Herald itself raises.
pub const SOURCE: &str = "herald";

/// How the types of Herald's own events begin.
pub const PREFIX: &str = "herald.";

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
    pub fn schema(self) -> Cow<'static, str> {
        match self {
            Self::AccountChanged => AccountUpdateData::name(),
            Self::AlarmCleared | Self::AlarmRaised => AlarmChangeData::name(),
            Self::ContactOptedIn | Self::ContactOptedOut => ContactConsentData::name(),
            Self::CredentialExpiring | Self::CredentialOld => CredentialRenewalData::name(),
            Self::MessageReceived => MessageReceivedData::name(),
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
    use super::HeraldEventType;

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
}
