//! What a person wants to receive: opt-outs, and who may overrule them.

use super::time::Timestamp;

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

/// Why a message of this category may not be sent, given what was refused.
pub fn refusal(category: &str, refused: &[Scope]) -> Option<&'static str> {
    if category == "authentication" {
        return None;
    }
    if refused.contains(&Scope::All) {
        Some("the person has opted out of all messages")
    } else if category == "marketing" && refused.contains(&Scope::Marketing) {
        Some("the person has opted out of marketing")
    } else {
        None
    }
}

/// The words by which people stop and start.
#[derive(Clone, Debug, Default)]
pub struct Words {
    stop: Vec<String>,
    start: Vec<String>,
}

impl Words {
    pub fn new<'a>(
        stop: impl IntoIterator<Item = &'a str>,
        start: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let all = |words: &mut dyn Iterator<Item = &'a str>| {
            words.map(normal).filter(|word| !word.is_empty()).collect()
        };
        Self {
            stop: all(&mut stop.into_iter()),
            start: all(&mut start.into_iter()),
        }
    }

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
fn normal(text: &str) -> String {
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
    use super::{Scope, Words, refusal};
    use crate::domain::time::Timestamp;

    #[test]
    fn a_word_alone_is_a_wish_and_a_sentence_is_none() {
        let words = Words::new(["STOP", "arrêt", "रोकें"], ["START"]);
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

    #[test]
    fn codes_are_sent_whatever_was_refused() {
        assert_eq!(refusal("authentication", &[Scope::All]), None);
        assert!(refusal("utility", &[Scope::All]).is_some());
        assert!(refusal("marketing", &[Scope::Marketing]).is_some());
        assert_eq!(refusal("utility", &[Scope::Marketing]), None);
        assert_eq!(refusal("marketing", &[]), None);
    }
}
