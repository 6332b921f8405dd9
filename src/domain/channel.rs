//! Channels: by which way a message reaches a person, and what each way is able to do.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A way to a person.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    #[default]
    #[serde(rename = "whatsapp")]
    WhatsApp,
    Email,
    Sms,
    Push,
    InApp,
    Webhook,
}

impl Channel {
    /// Every channel, in the order in which pages show them.
    pub const ALL: [Self; 6] = [
        Self::WhatsApp,
        Self::Email,
        Self::Sms,
        Self::Push,
        Self::InApp,
        Self::Webhook,
    ];

    /// The word in rows, catalogues, the API and the pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WhatsApp => "whatsapp",
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Push => "push",
            Self::InApp => "in_app",
            Self::Webhook => "webhook",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The word is none of [`Channel::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("whatsapp, email, sms, push, in_app or webhook")]
pub struct UnknownChannel;

impl FromStr for Channel {
    type Err = UnknownChannel;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|channel| channel.name() == word)
            .ok_or(UnknownChannel)
    }
}

/// What a provider's channel can do and demands. The engine asks these, never which channel or
/// provider it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is asked by itself, and any of them goes with any other"
)]
pub struct Capabilities {
    /// Templates are kept and approved by the provider, and named when a message is sent. Without
    /// this, a template is filled in by Herald and leaves as text.
    pub reviewed_templates: bool,
    /// Free text may be sent only for 24 hours after the person has written.
    pub service_window: bool,
    /// One person may get only so many messages from one sender in a time.
    pub pair_limit: bool,
    /// The provider can be asked to show a person that their message was read.
    pub read_receipts: bool,
    /// What people write may be a word that opts them out (`STOP`).
    pub opt_out_words: bool,
}

#[cfg(test)]
mod tests {
    use super::{Channel, UnknownChannel};

    #[test]
    fn every_channel_is_read_by_its_word() {
        for channel in Channel::ALL {
            assert_eq!(channel.name().parse(), Ok(channel));
            let word = serde_json::to_value(channel).unwrap();
            assert_eq!(word, channel.name());
        }
        for word in ["", "WhatsApp", "in app", "fax"] {
            assert_eq!(word.parse::<Channel>(), Err(UnknownChannel), "{word}");
        }
    }
}
