//! Channels: by which way a message reaches a person, and what each way is able to do.

use std::ops::RangeInclusive;

use super::word_enum::words;

words! {
    /// A way to a person, by its word in rows, catalogues, the API and the pages.
    #[derive(Default)]
    pub enum MessageChannel {
        #[default]
        WhatsApp = "whatsapp",
        Email = "email",
        Sms = "sms",
        Push = "push",
        InApp = "in_app",
        Webhook = "webhook",
    }
}

impl MessageChannel {
    /// Whether its addresses are mailboxes; those of the others are phone numbers, or user ids.
    pub const fn reaches_mailboxes(self) -> bool {
        matches!(self, Self::Email)
    }

    /// Whether it is reported what becomes of a message that was accepted. A mail server says no more
    /// than that it has taken a mail (RFC 5321, 4.2.5); that it could not be delivered may come back.
    pub const fn reporting(self) -> DeliveryReporting {
        match self {
            Self::Email => DeliveryReporting::Absent,
            Self::WhatsApp | Self::Sms | Self::Push | Self::InApp | Self::Webhook => {
                DeliveryReporting::Expected
            }
        }
    }

    /// The word, in the place of a rule's name, on messages that take the place of one that had not
    /// arrived by its channel, and on the lines about it. No rule of a catalogue is called so.
    pub const FALLBACK_RULE: &str = "channel_fallback";

    /// Seconds after which a message may go by its next channel.
    pub const FALLBACK_SECONDS: RangeInclusive<i64> = 10..=7 * 24 * 60 * 60;

    /// What is wrong with a word that is none of them.
    pub const RULE: &str = "whatsapp, email, sms, push, in_app or webhook";
}

/// Whether something reports what becomes of a message after it was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryReporting {
    /// If nothing comes for long, the message is stale.
    #[default]
    Expected,
    /// Nothing does: at most, it comes back.
    Absent,
}

impl DeliveryReporting {
    /// That of a channel, by its word; of one that this version does not know, reports are waited for.
    pub fn of(channel: &str) -> Self {
        MessageChannel::parse(channel)
            .map(MessageChannel::reporting)
            .unwrap_or_default()
    }

    pub const fn is_expected(self) -> bool {
        matches!(self, Self::Expected)
    }
}

/// What a provider's channel can do and demands. The engine asks these, never which channel or
/// provider it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is asked by itself, and any of them goes with any other"
)]
pub struct ProviderCapabilities {
    /// Templates are kept and approved by the provider, and named when a message is sent. Without
    /// this, a template is filled in by Herald and leaves as text.
    pub reviewed_templates: bool,
    /// Free text may be sent only for 24 hours after the person has written.
    pub service_window: bool,
    /// One person may get only so many messages from one sender in a time.
    pub pair_limit: bool,
    /// The provider can be asked to show a person that their message was read.
    pub read_receipts: bool,
    /// A message has a subject, and may have an HTML part beside its text.
    pub subject_and_html: bool,
    /// Free messages may be files, buttons and lists, besides texts.
    pub files_and_buttons: bool,
    /// What people write may be a word that opts them out (`STOP`).
    pub opt_out_words: bool,
}

#[cfg(test)]
mod tests {
    use super::MessageChannel;

    #[test]
    fn the_rule_names_every_channel_and_what_it_does_not_name_is_none() {
        let (most, last) = MessageChannel::RULE.rsplit_once(" or ").unwrap();
        let named: Vec<&str> = most.split(", ").chain([last]).collect();
        let all: Vec<&str> = MessageChannel::ALL
            .iter()
            .map(|channel| channel.name())
            .collect();
        assert_eq!(named, all);
        for word in ["", "WhatsApp", "in app", "fax"] {
            assert_eq!(MessageChannel::parse(word), None, "{word}");
        }
    }
}
