//! Which texts are words by which people opt out and in, such as STOP and START. The words
//! themselves are settings.

use super::{
    preference::{ConsentChange, ConsentScope},
    settings::ConsentKeywords,
    time::Timestamp,
};

impl ConsentKeywords {
    /// The opt-out or opt-in in a text that is such a word and nothing else: "please stop the
    /// noise" is an ordinary message.
    pub fn statement_of(&self, text: &str, at: Timestamp) -> Option<ConsentChange> {
        let text = normal(text);
        let wanted = if self.stop.contains(&text) {
            false
        } else if self.start.contains(&text) {
            true
        } else {
            return None;
        };
        Some(ConsentChange {
            scope: ConsentScope::All,
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
    use super::{ConsentKeywords, normal};
    use crate::domain::time::Timestamp;

    #[test]
    fn a_word_alone_is_a_statement_and_a_sentence_is_none() {
        let keywords = ConsentKeywords {
            stop: ["STOP", "arrêt", "रोकें"].map(normal).to_vec(),
            start: vec![normal("START")],
        };
        let at = Timestamp::from_unix_seconds(1);
        for text in ["stop", " Stop. ", "STOP!!", "Arrêt", "रोकें"] {
            let statement = keywords.statement_of(text, at);
            assert!(statement.is_some_and(|it| !it.wanted), "{text}");
        }
        assert!(
            keywords
                .statement_of("start", at)
                .is_some_and(|it| it.wanted)
        );
        for text in ["please stop the noise", "", "…", "stopped"] {
            assert_eq!(keywords.statement_of(text, at), None, "{text}");
        }
    }
}
