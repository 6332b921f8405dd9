//! Limits and escaping of foreign texts: how much is stored, and how a terminal shows them.

use std::{borrow::Cow, fmt::Write};

use sha2::{Digest, Sha256};

/// Most characters stored of names and titles; WhatsApp's own have up to 25.
pub const MAX_NAME: usize = 256;

/// Most characters stored of a provider's ids; they have up to 140.
pub const MAX_ID: usize = 256;

/// Most characters stored of an inbound text; WhatsApp takes no more.
pub const MAX_TEXT: usize = 65_536;

/// Cuts a text to so many characters.
pub fn cut(text: &mut String, most: usize) {
    if text.len() > most
        && let Some((end, _)) = text.char_indices().nth(most)
    {
        text.truncate(end);
    }
}

/// Cuts a name: one line, at most [`MAX_NAME`] characters.
pub fn cut_name(name: &mut String) {
    if name.chars().any(|it| it.is_control() || is_line_end(it)) {
        *name = name
            .chars()
            .map(|it| {
                if it.is_control() || is_line_end(it) {
                    ' '
                } else {
                    it
                }
            })
            .collect();
    }
    cut(name, MAX_NAME);
}

/// Cuts an id to [`MAX_ID`] characters. Two longer ones stay different: the end is a digest of the
/// whole.
pub fn cut_id(id: &mut String) {
    if id.chars().count() > MAX_ID {
        let digest = hex::encode(Sha256::digest(id.as_bytes()));
        cut(id, MAX_ID - digest.len());
        id.push_str(&digest);
    }
}

const fn is_line_end(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}

/// Characters that change a terminal, or the order in which its text is read: C0 and C1 (Unicode
/// 4.8), except tabs and line ends, and the bidirectional controls (UAX #9, 2).
fn is_unsafe(character: char) -> bool {
    let harmless = matches!(character, '\n' | '\t');
    let bidirectional = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !harmless && (character.is_control() || bidirectional || is_line_end(character))
}

/// A text that is safe on a terminal. Escapes are those of JSON, so that a printed document stays
/// one.
pub fn for_terminal(text: &str) -> Cow<'_, str> {
    escaped(text, is_unsafe)
}

/// A log line that is safe on a terminal. It stays one line, and ESC stays: it begins the
/// formatter's own colours, and the formatter escapes ESC in values.
pub fn for_log(line: &str) -> Cow<'_, str> {
    escaped(line, |it| it != '\u{1b}' && (it == '\n' || is_unsafe(it)))
}

fn escaped(text: &str, escapes: impl Fn(char) -> bool + Copy) -> Cow<'_, str> {
    if !text.contains(escapes) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if escapes(character) {
            // Writing into a text does not fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_ID, MAX_NAME, cut, cut_id, cut_name, for_log, for_terminal};

    #[test]
    fn a_name_is_one_line_and_an_id_stays_its_own() {
        let mut name = "Asha\r\n\u{1b}[2JRao\u{2028}x".to_owned();
        cut_name(&mut name);
        assert_eq!(name, "Asha   [2JRao x");
        let mut name = "é".repeat(MAX_NAME + 5);
        cut_name(&mut name);
        assert_eq!(name, "é".repeat(MAX_NAME));
        let (mut one, mut other) = ("a".repeat(5000) + "1", "a".repeat(5000) + "2");
        cut_id(&mut one);
        cut_id(&mut other);
        assert_eq!((one.len(), other.len()), (MAX_ID, MAX_ID));
        assert_ne!(one, other);
        let mut usual = "wamid.HBgLMTIwMjU1NTAxMjMVAgARGBI".to_owned();
        cut_id(&mut usual);
        assert_eq!(usual, "wamid.HBgLMTIwMjU1NTAxMjMVAgARGBI");
    }

    #[test]
    fn what_would_change_a_terminal_is_shown_as_an_escape() {
        for (text, shown) in [
            ("a\u{1b}]0;title\u{7}b", "a\\u001b]0;title\\u0007b"),
            ("\u{9b}2J", "\\u009b2J"),
            ("\u{7f}\r\0", "\\u007f\\u000d\\u0000"),
            ("\u{202e}gpj.exe\u{2066}", "\\u202egpj.exe\\u2066"),
            ("a\u{200f}b\u{61c}", "a\\u200fb\\u061c"),
            // Characters that languages need stay: joiners of Hindi and of emoji, and our own
            // lines.
            (
                "क्\u{200d}ष 👩\u{200d}💻\tx\ny",
                "क्\u{200d}ष 👩\u{200d}💻\tx\ny",
            ),
        ] {
            assert_eq!(for_terminal(text), shown);
        }
    }

    #[test]
    fn a_line_of_a_log_stays_one_line() {
        assert_eq!(
            for_log("\u{1b}[32mINFO\u{1b}[0m name=Asha\r\n\u{202e}ERROR"),
            "\u{1b}[32mINFO\u{1b}[0m name=Asha\\u000d\\u000a\\u202eERROR"
        );
    }

    proptest! {
        #[test]
        fn a_document_that_is_shown_is_still_the_same_document(text in "\\PC{0,20}.{0,20}[\u{0}-\u{9f}\u{200b}-\u{2069}]{0,20}") {
            let document = serde_json::to_string(&text).unwrap();
            let shown = for_terminal(&document).into_owned();
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }

        #[test]
        fn a_cut_text_has_no_more_characters_than_it_may(text in ".{0,80}", most in 0_usize..80) {
            let mut shorter = text.clone();
            cut(&mut shorter, most);
            prop_assert!(text.starts_with(&shorter));
            prop_assert_eq!(shorter.chars().count(), text.chars().count().min(most));
        }
    }
}
