//! What Herald's own events carry in `data`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::alarm::AlarmKind;

/// What a person wrote, tapped or called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessageReceivedData {
    /// The contact that it is from; null if it names none.
    pub contact: Option<Uuid>,
    /// What the person calls themselves.
    pub name: Option<String>,
    /// With its `+`; null when the person shows a username instead.
    pub phone: Option<String>,
    /// The provider's word, such as `text`, `image` or `button`; `call` for a call.
    pub kind: String,
    /// The text, a caption, or the title of the button that was tapped.
    pub text: Option<String>,
    /// What the button carries, or the answers of a form.
    pub payload: Option<String>,
    /// The group that it was written in, instead of to us.
    pub group: Option<String>,
    /// The notification that it quotes.
    pub notification: Option<Uuid>,
    /// The provider's id of the message.
    pub message: String,
    /// The sender that it was written to; null if no sender has that number.
    pub sender: Option<String>,
}

/// A notification that has reached a state for the first time in its generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationChangeData {
    pub notification: Uuid,
    /// When it happened, in RFC 3339: by the provider's clock if the provider has reported it,
    /// otherwise by Herald's.
    pub at: String,
    /// The first is 1; each retry by an operator begins another one.
    pub generation: i64,
    /// The number of the attempt that reached it; null if no attempt did.
    pub attempt: Option<i64>,
    /// The type of the event that it was made from, by a route or by a rule that followed one; null
    /// if it was requested directly.
    pub event_type: Option<String>,
    /// By which way it goes, such as `whatsapp`.
    pub channel: String,
    /// The template that it is sent with; null for a text.
    pub template: Option<String>,
    /// The id of the sender; null while it has not been sent and names none.
    pub sender_id: Option<Uuid>,
    /// The contact that it is for; null if it names none.
    pub contact: Option<Uuid>,
    /// The product that it belongs to.
    pub product: Option<String>,
    /// Why it failed; null if it did not, or if the reason is not known.
    pub failure: Option<NotificationFailureData>,
}

/// Why a notification failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationFailureData {
    /// The provider's code; null when the failure is ours.
    pub code: Option<i64>,
    /// In a few words.
    pub title: String,
}

/// What a person has decided to receive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContactConsentData {
    pub contact: Uuid,
    /// `all` or `marketing`.
    pub scope: String,
    /// How it was said: `word` (a message such as STOP) or `user_preferences` (in WhatsApp itself).
    pub source: String,
}

/// A service window that is about to end, or has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceWindowEndData {
    pub contact: Uuid,
    pub name: Option<String>,
    /// With its `+`.
    pub phone: Option<String>,
    /// The contact's own name in a catalogue.
    pub handle: Option<String>,
    /// The staff members that the contact belongs to.
    pub users: Vec<String>,
    /// Whether there are any.
    pub staff: bool,
    /// The sender whose window it is.
    pub sender: Option<String>,
    /// When it ends or has ended, in RFC 3339.
    pub until: String,
}

/// A sender that is held, or can send again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SenderHoldChangeData {
    /// Its calls say so.
    Sender(SenderHealthData),
    /// Its account does.
    Account(AccountUpdateData),
}

/// How a sender's calls went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SenderHealthData {
    pub sender: String,
    /// The business account of the sender.
    pub account: Option<String>,
    /// What happened, in a sentence.
    pub summary: String,
    /// What helps, if the provider's answer says so.
    pub remedy: Option<String>,
}

/// What a provider says about an account or about one of its numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountUpdateData {
    pub account: Option<String>,
    /// The number that it is about, digits only; null when it is about the account itself.
    pub number: Option<String>,
    /// What happened, in a sentence.
    pub summary: String,
    /// What the provider sent, as it came.
    #[schema(value_type = Object)]
    pub value: Value,
}

/// A sender that accepts messages while no callback comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SenderSilenceData {
    pub sender: String,
    /// Since when, in RFC 3339.
    pub since: Option<String>,
    pub remedy: String,
}

impl SenderSilenceData {
    /// What helps.
    pub const REMEDY: &'static str = "Check that the app is subscribed to the account and that its callback URL reaches this server.";
}

/// A credential that is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CredentialRenewalData {
    /// The senders that use it.
    pub senders: Vec<String>,
    /// `access_token`, `app_secret` or `verify_token`.
    pub kind: String,
    pub credential: Uuid,
    /// In RFC 3339.
    pub expires_at: Option<String>,
    /// What is the case, in a sentence.
    pub summary: String,
    pub remedy: String,
}

impl CredentialRenewalData {
    /// What helps.
    pub const REMEDY: &'static str = "Create a new one at the provider and set it with `herald senders set`. The old one stays valid meanwhile.";
}

/// What became of a template at its provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplateUpdateData {
    pub template: String,
    /// With an underscore: `en_US`.
    pub language: String,
    pub account: Option<String>,
    /// What happened, in a sentence.
    pub summary: String,
    /// What the provider says, as it came.
    #[schema(value_type = Object)]
    pub value: Value,
}

/// An alarm that was raised or cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmChangeData {
    pub alarm: AlarmKind,
    /// What it is about, where there are several of a kind: a sender, a template. May be empty.
    pub subject: String,
    /// What is the case, with its figures.
    pub summary: String,
    pub meaning: String,
    pub remedy: String,
}
