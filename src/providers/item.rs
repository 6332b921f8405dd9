//! Items of callbacks in provider-independent types: one [`CallbackItem`] for each thing in a body.

use serde::{Deserialize, Serialize};

use crate::domain::{
    attempt_id::AttemptReference,
    category::TemplateCategory,
    facts::DeliveryFact,
    failure::DeliveryFailure,
    notification::VersionedValue,
    preference::ConsentChange,
    quality::QualityRating,
    template_status::TemplateStatus,
    text::{MAX_NAME, MAX_TEXT, cut, cut_id, cut_name},
    time::Timestamp,
    voice_call,
};

/// One item of a callback, with its position in the body.
#[derive(Clone, Debug)]
pub struct CallbackItem {
    /// JSON pointer (RFC 6901) into the callback.
    pub pointer: String,
    /// The business account whose callback it came in.
    pub account_id: Option<String>,
    /// What the provider calls the sender that the item is about. Meta: the phone-number id.
    pub endpoint_id: Option<String>,
    /// The displayed number, digits only.
    pub display_number: Option<String>,
    pub kind: CallbackItemContent,
}

#[derive(Clone, Debug)]
pub enum CallbackItemContent {
    /// A status of a message.
    Update(Box<MessageStatusUpdate>),
    /// A message, a tap or a call of a person.
    Inbound(Box<InboundMessageItem>),
    /// The ids of a person have changed.
    Identity(Box<PersonIdsChange>),
    /// An update about the account, a template or a person's preferences.
    News(Box<ProviderUpdate>),
    /// Understood as far as possible, and listed; it has no effect.
    Other(Box<IgnoredCallbackItem>),
}

impl CallbackItem {
    /// Cuts foreign texts to the limits of [`crate::domain::text`]: every receiver of callbacks
    /// calls it.
    pub fn cut(&mut self) {
        [
            &mut self.account_id,
            &mut self.endpoint_id,
            &mut self.display_number,
        ]
        .into_iter()
        .flatten()
        .for_each(cut_id);
        match &mut self.kind {
            CallbackItemContent::Update(update) => {
                cut_id(&mut update.provider_message_id);
                cut_name(&mut update.status);
                update.recipient.cut();
                update.participant.iter_mut().for_each(PersonIds::cut);
            }
            CallbackItemContent::Inbound(inbound) => {
                cut_id(&mut inbound.provider_message_id);
                cut_name(&mut inbound.kind);
                inbound.person.cut();
                [
                    &mut inbound.group_id,
                    &mut inbound.context_message_id,
                    &mut inbound.media_id,
                    &mut inbound.shared_phone,
                ]
                .into_iter()
                .flatten()
                .for_each(cut_id);
                for text in [&mut inbound.text, &mut inbound.payload]
                    .into_iter()
                    .flatten()
                {
                    cut(text, MAX_TEXT);
                }
            }
            CallbackItemContent::Identity(identity) => {
                identity.old.cut();
                identity.new.cut();
            }
            CallbackItemContent::News(news) => {
                cut_name(&mut news.field);
                cut(&mut news.summary, 4 * MAX_NAME);
                news.account_id.iter_mut().for_each(cut_id);
                if let ProviderUpdateSubject::Preference { person, .. } = &mut news.subject {
                    person.cut();
                }
            }
            CallbackItemContent::Other(other) => {
                cut_name(&mut other.field);
                cut(&mut other.summary, 4 * MAX_NAME);
            }
        }
    }
}

/// The ids of a person in an item. Any of them may be missing: people with a username have no
/// number (Meta, "Business-scoped user IDs").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonIds {
    /// The number without its `+`, in WhatsApp's form.
    pub wa_id: Option<String>,
    /// The business-scoped id.
    pub user_id: Option<String>,
    /// The id that spans linked portfolios.
    pub parent_user_id: Option<String>,
    /// For display only: people change it, and others take it.
    pub username: Option<String>,
    pub name: Option<String>,
}

impl PersonIds {
    /// Whether there is nothing by which the person could be found.
    pub const fn is_empty(&self) -> bool {
        self.wa_id.is_none() && self.user_id.is_none() && self.parent_user_id.is_none()
    }

    fn cut(&mut self) {
        [&mut self.wa_id, &mut self.user_id, &mut self.parent_user_id]
            .into_iter()
            .flatten()
            .for_each(cut_id);
        [&mut self.username, &mut self.name]
            .into_iter()
            .flatten()
            .for_each(cut_name);
    }
}

/// A provider's status of a message that we may have sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageStatusUpdate {
    pub provider_message_id: String,
    pub our_id: Option<AttemptReference>,
    /// Absent for a status this version does not know.
    pub fact: Option<ReportedDeliveryFact>,
    pub status: String,
    pub at: Timestamp,
    pub failure: Option<VersionedValue<DeliveryFailure>>,
    pub pricing: Option<VersionedValue<serde_json::Value>>,
    /// The recipient, in the provider's form.
    #[serde(default)]
    pub recipient: PersonIds,
    /// The member of a group whose device this is about.
    #[serde(default)]
    pub participant: Option<PersonIds>,
}

/// [`DeliveryFact`], readable from storage.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportedDeliveryFact {
    Sent,
    Delivered,
    Read,
    Played,
    Failed,
}

impl From<ReportedDeliveryFact> for DeliveryFact {
    fn from(name: ReportedDeliveryFact) -> Self {
        match name {
            ReportedDeliveryFact::Sent => Self::Sent,
            ReportedDeliveryFact::Delivered => Self::Delivered,
            ReportedDeliveryFact::Read => Self::Read,
            ReportedDeliveryFact::Played => Self::Played,
            ReportedDeliveryFact::Failed => Self::Failed,
        }
    }
}

/// A message, a tap or a call from a person.
#[derive(Clone, Debug)]
pub struct InboundMessageItem {
    pub provider_message_id: String,
    /// The provider's word: `text`, `image`, `button`, …; `call` for a call.
    pub kind: String,
    /// The report of a call, if this is one.
    pub call: Option<voice_call::VoiceCallReport>,
    /// Another party has the conversation, such as Meta's agent: the message is not answered, and
    /// not marked as read.
    pub standby: bool,
    pub person: PersonIds,
    /// The group it was written in, instead of to us.
    pub group_id: Option<String>,
    pub at: Timestamp,
    /// Whether the provider gave the time. Otherwise it is the time of receipt, and opens no
    /// window.
    pub dated: bool,
    /// Its readable text: the text, a caption, the title of a tapped button.
    pub text: Option<String>,
    /// The payload of a tapped button, or the answers of a form.
    pub payload: Option<String>,
    /// The message that this one answers, reacts to, edits or deletes.
    pub context_message_id: Option<String>,
    /// A file that can be fetched for some days.
    pub media_id: Option<String>,
    /// The person's own number from a card that answers our request.
    pub shared_phone: Option<String>,
    /// It came through an advertisement: messages are free for 72 hours.
    pub from_advertisement: bool,
    /// The JSON as received.
    pub raw: String,
}

/// An item that has no effect.
#[derive(Clone, Debug)]
pub struct IgnoredCallbackItem {
    /// The provider's field, such as `history`.
    pub field: String,
    /// In plain words, for people.
    pub summary: String,
    /// When it happened by the provider's clock, if it says so.
    pub at: Option<Timestamp>,
    /// The JSON as received.
    pub raw: String,
}

/// A person's ids changed.
#[derive(Clone, Debug)]
pub struct PersonIdsChange {
    pub old: PersonIds,
    pub new: PersonIds,
    pub at: Timestamp,
    /// The JSON as received.
    pub raw: String,
}

/// An update about the account, a template or a preference.
#[derive(Clone, Debug)]
pub struct ProviderUpdate {
    /// The provider's field, such as `account_update`.
    pub field: String,
    /// In plain words, for people.
    pub summary: String,
    /// When it happened by the provider's clock, if it says so.
    pub at: Option<Timestamp>,
    /// The business account it is about.
    pub account_id: Option<String>,
    pub subject: ProviderUpdateSubject,
    /// The JSON as received.
    pub raw: String,
}

/// The subject of an update.
#[derive(Clone, Debug, PartialEq)]
pub enum ProviderUpdateSubject {
    Template(ProviderTemplateUpdate),
    /// A property of the account or of one of its numbers.
    Account(ProviderAccountUpdate),
    /// A person's preference.
    Preference {
        person: PersonIds,
        wish: ConsentChange,
    },
}

/// An update about a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderTemplateUpdate {
    pub name: String,
    /// With an underscore: `en_US`.
    pub language: String,
    pub provider_template_id: Option<String>,
    pub change: ProviderTemplateChange,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderTemplateChange {
    Status {
        status: TemplateStatus,
        reason: Option<String>,
        /// It may have been approved in another category than requested.
        category: Option<TemplateCategory>,
    },
    Quality(QualityRating),
    Category(TemplateCategory),
    /// It will get this category unless the owner objects.
    CategoryDue(TemplateCategory),
    Components,
}

/// A property with its newest value.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderAccountUpdate {
    /// The number of the account, as displayed; absent for the account itself.
    pub number: Option<String>,
    /// Name of the property, such as `quality` or `review`.
    pub property: String,
    pub value: serde_json::Value,
    pub effect: AccountUpdateEffect,
}

/// The effect of an account update on sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountUpdateEffect {
    None,
    /// Nothing can be sent, until the given time if there is one.
    Hold {
        reason: String,
        until: Option<Timestamp>,
    },
    Release,
}

/// An item that cannot be applied, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterItem {
    pub pointer: String,
    pub reason: String,
}

/// Everything in one callback.
#[derive(Clone, Debug, Default)]
pub struct ParsedCallback {
    pub items: Vec<CallbackItem>,
    pub dead: Vec<DeadLetterItem>,
}
