//! The words by which people opt out and in, such as STOP and START: their settings, and which
//! texts count as one of them.

use super::{
    preference::{ConsentChange, ConsentScope},
    settings::{SettingDeclaration, SettingsReader, section},
    time::Timestamp,
};

section! {
    /// The words by which people stop and start, in capitals and without punctuation.
    #[derive(Clone, Debug)]
    pub struct ConsentKeywords {
        /// Words, separated by commas, by which a person opts out of all messages except one-time
        /// passwords.
        #[setting("HERALD_STOP_WORDS" = "STOP, UNSUBSCRIBE, STOPALL, ARRET, ARRÊT, BAJA, PARAR, SAIR, CANCELAR, रोकें, बंद करें, இனி வேண்டாம், IMA, MISA", words)]
        pub stop: Vec<String>,
        /// Words by which a person opts in again.
        #[setting("HERALD_START_WORDS" = "START, SUBSCRIBE, UNSTOP, ALTA, VOLTAR, शुरू करें", words)]
        pub start: Vec<String>,
    }
}

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

impl SettingsReader<'_> {
    /// Words, separated by commas.
    fn words(&mut self, setting: SettingDeclaration) -> Vec<String> {
        let text = self.text(setting);
        let words = text.split(',').map(normal);
        words.filter(|word| !word.is_empty()).collect()
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
