//! What a person wants to receive: opt-outs, and who may overrule them.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::{category::Category, quiet::QuietHours, settings::Words, time::Timestamp};

/// What is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything but authentication and what is required.
    All,
    Marketing,
}

impl Scope {
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Marketing => "marketing",
        }
    }
}

/// One wish of one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub scope: Scope,
    /// False: no more of it.
    pub wanted: bool,
    /// Where it was heard: `word`, `user_preferences`, `131050`.
    pub source: &'static str,
    pub at: Timestamp,
}

/// Whether a person wants a kind of message on a channel. An empty kind or channel means
/// all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    pub kind: String,
    pub channel: String,
    pub wanted: bool,
}

/// A message, as far as what its recipient wants decides about it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub category: Category,
    /// Which kind of message, of those that people may turn off.
    pub kind: Option<&'a str>,
    /// Its kind cannot be turned off.
    pub required: bool,
    pub channel: &'a str,
    /// The product that it belongs to.
    pub product: Option<&'a str>,
}

impl Message<'_> {
    /// Whether nobody can turn it off.
    pub fn insists(&self) -> bool {
        self.required || self.category == Category::Authentication
    }
}

/// Why nothing goes to somebody any more.
pub const DELETED: &str = "the person was deleted";

/// Everything one person wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Whoever was deleted gets nothing, whatever it is.
    pub is_deleted: bool,
    pub refused: Vec<Scope>,
    pub preferences: Vec<Preference>,
    pub quiet: Option<Quiet>,
    /// What products say that this person wants of them; it decides about their own messages only.
    pub of_products: BTreeMap<String, OfProduct>,
}

/// What a product says that a person wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfProduct {
    pub preferences: Vec<Preference>,
    pub quiet: Option<Quiet>,
}

/// When a person sleeps, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    pub hours: QuietHours,
    pub zone: Tz,
}

impl Wishes {
    /// Why a message may not be sent. Codes are sent whatever was refused; what is required
    /// is stopped by nothing but the provider, which takes no marketing from us then.
    pub fn refusal(&self, message: Message<'_>) -> Option<String> {
        if self.is_deleted {
            return Some(DELETED.to_owned());
        }
        if message.category == Category::Authentication {
            return None;
        }
        if message.category == Category::Marketing && self.refused.contains(&Scope::Marketing) {
            return Some("the person has opted out of marketing".to_owned());
        }
        if message.required {
            return None;
        }
        if self.refused.contains(&Scope::All) {
            return Some("the person has opted out of all messages".to_owned());
        }
        let own = self.of_product(message.product);
        unwanted(&self.preferences, message)
            .or_else(|| own.and_then(|own| unwanted(&own.preferences, message)))
    }

    fn of_product(&self, product: Option<&str>) -> Option<&OfProduct> {
        self.of_products.get(product?)
    }

    /// Until when a message of a product, or of none, must wait, as its recipient sleeps.
    pub fn quiet_until(&self, product: Option<&str>, now: Timestamp) -> Option<Timestamp> {
        let own = self.of_product(product).and_then(|own| own.quiet);
        [self.quiet, own]
            .into_iter()
            .flatten()
            .filter_map(|quiet| quiet.hours.until(quiet.zone, now))
            .max()
    }
}

/// Why a message is not wanted, if preferences say so.
fn unwanted(preferences: &[Preference], message: Message<'_>) -> Option<String> {
    let decides = preferences
        .iter()
        .filter(|it| it.kind.is_empty() || message.kind == Some(it.kind.as_str()))
        .filter(|it| it.channel.is_empty() || it.channel == message.channel)
        // What says more of the message decides, and its kind says more than its channel.
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

impl Words {
    /// Whether a text is such a word and nothing else: "please stop the noise"
    /// is a message to somebody, not a wish.
    pub fn wish(&self, text: &str, at: Timestamp) -> Option<Wish> {
        let text = normal(text);
        let wanted = if self.stop.contains(&text) {
            false
        } else if self.start.contains(&text) {
            true
        } else {
            return None;
        };
        Some(Wish {
            scope: Scope::All,
            wanted,
            source: "word",
            at,
        })
    }
}

/// Letters, digits and single spaces, in capitals.
pub(super) fn normal(text: &str) -> String {
    let spaced: String = text
        .chars()
        .map(|character| {
            if character.is_alphanumeric() {
                character
            } else {
                ' '
            }
        })
        .collect();
    spaced
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::{Message, Preference, Scope, Wishes, Words, normal};
    use crate::domain::{category::Category, channel::Channel, time::Timestamp};

    #[test]
    fn a_word_alone_is_a_wish_and_a_sentence_is_none() {
        let words = Words {
            stop: ["STOP", "arrêt", "रोकें"].map(normal).to_vec(),
            start: vec![normal("START")],
        };
        let at = Timestamp::from_unix_seconds(1);
        for text in ["stop", " Stop. ", "STOP!!", "Arrêt", "रोकें"] {
            let wish = words.wish(text, at);
            assert!(wish.is_some_and(|wish| !wish.wanted), "{text}");
        }
        assert!(words.wish("start", at).is_some_and(|wish| wish.wanted));
        for text in ["please stop the noise", "", "…", "stopped"] {
            assert_eq!(words.wish(text, at), None, "{text}");
        }
    }

    fn message(category: Category, kind: Option<&str>) -> Message<'_> {
        Message {
            category,
            kind,
            required: kind == Some("alarms"),
            channel: Channel::WhatsApp.name(),
            product: None,
        }
    }

    #[test]
    fn codes_and_what_is_required_are_sent_whatever_was_refused() {
        let refuses = |scopes: &[Scope], category, kind| {
            let wishes = Wishes {
                refused: scopes.to_vec(),
                ..Wishes::default()
            };
            wishes.refusal(message(category, kind)).is_some()
        };
        assert!(!refuses(&[Scope::All], Category::Authentication, None));
        assert!(refuses(&[Scope::All], Category::Utility, None));
        assert!(!refuses(&[Scope::All], Category::Utility, Some("alarms")));
        assert!(refuses(&[Scope::Marketing], Category::Marketing, None));
        assert!(refuses(
            &[Scope::Marketing],
            Category::Marketing,
            Some("alarms")
        ));
        assert!(!refuses(&[Scope::Marketing], Category::Utility, None));
        assert!(!refuses(&[], Category::Marketing, None));
    }

    #[test]
    fn the_preference_that_says_most_of_a_message_decides() {
        let preference = |kind: &str, channel: &str, wanted| Preference {
            kind: kind.to_owned(),
            channel: channel.to_owned(),
            wanted,
        };
        let wishes = |preferences: &[Preference]| Wishes {
            preferences: preferences.to_vec(),
            ..Wishes::default()
        };
        let none = wishes(&[preference("", Channel::WhatsApp.name(), false)]);
        assert_eq!(
            none.refusal(message(Category::Utility, Some("orders")))
                .unwrap(),
            "the person does not want messages by whatsapp"
        );
        assert_eq!(
            none.refusal(message(Category::Utility, Some("alarms"))),
            None
        );
        assert_eq!(none.refusal(message(Category::Authentication, None)), None);
        let but_orders = wishes(&[
            preference("", Channel::WhatsApp.name(), false),
            preference("orders", "", true),
            preference("orders", "email", false),
        ]);
        assert_eq!(
            but_orders.refusal(message(Category::Utility, Some("orders"))),
            None
        );
        assert!(
            but_orders
                .refusal(message(Category::Utility, Some("news")))
                .is_some()
        );
        assert!(
            but_orders
                .refusal(message(Category::Utility, None))
                .is_some()
        );
    }
}
