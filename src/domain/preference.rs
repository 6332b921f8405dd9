//! Opt-outs and preferences of recipients, and which messages they stop. Which texts are an opt-out
//! or an opt-in is in [`consent_keywords`](super::consent_keywords).

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::{category::MessageCategory, quiet::QuietHours, time::Timestamp};

/// The messages that a statement concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsentScope {
    /// Everything except authentication and required kinds.
    All,
    Marketing,
}

impl ConsentScope {
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Marketing => "marketing",
        }
    }
}

/// An opt-out or opt-in of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentChange {
    pub scope: ConsentScope,
    /// False: an opt-out.
    pub wanted: bool,
    /// Its source: `word`, `user_preferences`, `131050`.
    pub source: &'static str,
    pub at: Timestamp,
}

/// Whether a person wants a kind of message on a channel. An empty kind or channel means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessagePreference {
    pub kind: String,
    pub channel: String,
    pub wanted: bool,
}

/// The properties of a message that decide whether its recipient wants it.
#[derive(Clone, Copy, Debug)]
pub struct MessageTraits<'a> {
    pub category: MessageCategory,
    /// The kind of message, which recipients may turn off.
    pub kind: Option<&'a str>,
    /// Its kind cannot be turned off.
    pub required: bool,
    pub channel: &'a str,
    /// The product that it belongs to.
    pub product: Option<&'a str>,
}

impl MessageTraits<'_> {
    /// Whether recipients cannot turn it off.
    pub fn insists(&self) -> bool {
        self.required || self.category == MessageCategory::Authentication
    }
}

/// Why nothing is sent to a deleted contact.
pub const DELETED: &str = "the contact was deleted";

/// Opt-outs, preferences and quiet hours of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonRefusals {
    /// A deleted contact gets nothing at all.
    pub is_deleted: bool,
    pub refused: Vec<ConsentScope>,
    pub preferences: Vec<MessagePreference>,
    pub quiet: Option<PersonQuietHours>,
    /// Preferences set by products; they apply only to their own messages.
    pub of_products: BTreeMap<String, ProductSetPreferences>,
}

/// Preferences that a product has set for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductSetPreferences {
    pub preferences: Vec<MessagePreference>,
    pub quiet: Option<PersonQuietHours>,
}

/// Quiet hours and time zone of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonQuietHours {
    pub hours: QuietHours,
    pub zone: Tz,
}

impl PersonRefusals {
    /// Why a message may not be sent. Codes are sent whatever was refused; a required message is
    /// stopped only by the provider, which then takes no marketing from us.
    pub fn refusal(&self, message: MessageTraits<'_>) -> Option<String> {
        if self.is_deleted {
            return Some(DELETED.to_owned());
        }
        if message.category == MessageCategory::Authentication {
            return None;
        }
        if message.category == MessageCategory::Marketing
            && self.refused.contains(&ConsentScope::Marketing)
        {
            return Some("the person has opted out of marketing".to_owned());
        }
        if message.required {
            return None;
        }
        if self.refused.contains(&ConsentScope::All) {
            return Some("the person has opted out of all messages".to_owned());
        }
        let own = self.of_product(message.product);
        unwanted(&self.preferences, message)
            .or_else(|| own.and_then(|own| unwanted(&own.preferences, message)))
    }

    fn of_product(&self, product: Option<&str>) -> Option<&ProductSetPreferences> {
        self.of_products.get(product?)
    }

    /// Until when a message of a product, or of none, must wait for the recipient's quiet hours.
    pub fn quiet_until(&self, product: Option<&str>, now: Timestamp) -> Option<Timestamp> {
        let own = self.of_product(product).and_then(|own| own.quiet);
        [self.quiet, own]
            .into_iter()
            .flatten()
            .filter_map(|quiet| quiet.hours.until(quiet.zone, now))
            .max()
    }
}

/// Why preferences exclude a message, if they do.
fn unwanted(preferences: &[MessagePreference], message: MessageTraits<'_>) -> Option<String> {
    let decides = preferences
        .iter()
        .filter(|it| it.kind.is_empty() || message.kind == Some(it.kind.as_str()))
        .filter(|it| it.channel.is_empty() || it.channel == message.channel)
        // The more specific preference decides, and kind outranks channel.
        .max_by_key(|it| (!it.kind.is_empty(), !it.channel.is_empty()))?;
    (!decides.wanted).then(|| {
        let what = match decides.kind.as_str() {
            "" => "messages".to_owned(),
            kind => format!("messages of the kind {kind}"),
        };
        match decides.channel.as_str() {
            "" => format!("the person does not want {what}"),
            channel => format!("the person does not want {what} by {channel}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{ConsentScope, MessagePreference, MessageTraits, PersonRefusals};
    use crate::domain::{category::MessageCategory, channel::MessageChannel};

    fn message(category: MessageCategory, kind: Option<&str>) -> MessageTraits<'_> {
        MessageTraits {
            category,
            kind,
            required: kind == Some("alarms"),
            channel: MessageChannel::WhatsApp.name(),
            product: None,
        }
    }

    #[test]
    fn codes_and_what_is_required_are_sent_whatever_was_refused() {
        let refuses = |scopes: &[ConsentScope], category, kind| {
            let wishes = PersonRefusals {
                refused: scopes.to_vec(),
                ..PersonRefusals::default()
            };
            wishes.refusal(message(category, kind)).is_some()
        };
        assert!(!refuses(
            &[ConsentScope::All],
            MessageCategory::Authentication,
            None
        ));
        assert!(refuses(
            &[ConsentScope::All],
            MessageCategory::Utility,
            None
        ));
        assert!(!refuses(
            &[ConsentScope::All],
            MessageCategory::Utility,
            Some("alarms")
        ));
        assert!(refuses(
            &[ConsentScope::Marketing],
            MessageCategory::Marketing,
            None
        ));
        assert!(refuses(
            &[ConsentScope::Marketing],
            MessageCategory::Marketing,
            Some("alarms")
        ));
        assert!(!refuses(
            &[ConsentScope::Marketing],
            MessageCategory::Utility,
            None
        ));
        assert!(!refuses(&[], MessageCategory::Marketing, None));
    }

    #[test]
    fn the_preference_that_says_most_of_a_message_decides() {
        let preference = |kind: &str, channel: &str, wanted| MessagePreference {
            kind: kind.to_owned(),
            channel: channel.to_owned(),
            wanted,
        };
        let wishes = |preferences: &[MessagePreference]| PersonRefusals {
            preferences: preferences.to_vec(),
            ..PersonRefusals::default()
        };
        let none = wishes(&[preference("", MessageChannel::WhatsApp.name(), false)]);
        assert_eq!(
            none.refusal(message(MessageCategory::Utility, Some("orders")))
                .unwrap(),
            "the person does not want messages by whatsapp"
        );
        assert_eq!(
            none.refusal(message(MessageCategory::Utility, Some("alarms"))),
            None
        );
        assert_eq!(
            none.refusal(message(MessageCategory::Authentication, None)),
            None
        );
        let but_orders = wishes(&[
            preference("", MessageChannel::WhatsApp.name(), false),
            preference("orders", "", true),
            preference("orders", "email", false),
        ]);
        assert_eq!(
            but_orders.refusal(message(MessageCategory::Utility, Some("orders"))),
            None
        );
        assert!(
            but_orders
                .refusal(message(MessageCategory::Utility, Some("news")))
                .is_some()
        );
        assert!(
            but_orders
                .refusal(message(MessageCategory::Utility, None))
                .is_some()
        );
    }
}
