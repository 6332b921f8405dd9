//! What a message is for, in the terms of providers that review templates.

use super::word_enum::words;

words! {
    /// The category of a message.
    #[derive(Default)]
    pub enum MessageCategory {
        /// A code: sent whatever its recipient refuses, and never again by itself.
        Authentication = "authentication",
        /// About something that its recipient has ordered, booked or asked for.
        #[default]
        Utility = "utility",
        Marketing = "marketing",
        /// An answer in an open service window, without a template.
        Service = "service",
    }
}

words! {
    /// The category of a template, in a catalogue or in an account. Providers translate theirs.
    #[derive(Default)]
    pub enum TemplateCategory {
        Authentication = "authentication",
        Utility = "utility",
        Marketing = "marketing",
        /// One that this version does not know.
        #[default]
        Other = "other",
    }
}

impl TemplateCategory {
    /// What its messages count as: those of a category that is not known as neither a code nor
    /// marketing.
    pub const fn counted_as(self) -> MessageCategory {
        match self {
            Self::Authentication => MessageCategory::Authentication,
            Self::Utility | Self::Other => MessageCategory::Utility,
            Self::Marketing => MessageCategory::Marketing,
        }
    }
}

impl MessageCategory {
    /// What a stored or reported word counts as: one that is not known as neither a code nor
    /// marketing.
    pub fn counted_as(word: &str) -> Self {
        Self::parse(word).unwrap_or_default()
    }
}
