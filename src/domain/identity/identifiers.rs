//! Finds what names a person: bodies of callbacks, and texts made of them.

use serde::{Deserialize, Serialize};

use super::ContactAlias;

/// The numbers and user ids of a person, as callbacks write them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonIdentifiers(Vec<String>);

/// Escapes of JSON that are one letter, which is part of no word.
const ESCAPES: &[u8] = br#""\/bfnrt"#;

impl PersonIdentifiers {
    /// The identifiers that these aliases have in callbacks: a number is written without its `+`.
    pub fn of<'a>(aliases: impl IntoIterator<Item = &'a ContactAlias>) -> Self {
        let mut identifiers: Vec<String> = aliases
            .into_iter()
            .map(|alias| match alias.value.strip_prefix('+') {
                Some(digits) if alias.is_phone() => digits.to_owned(),
                _ => alias.value.clone(),
            })
            .filter(|identifier| !identifier.is_empty())
            .collect();
        identifiers.sort_unstable();
        identifiers.dedup();
        Self(identifiers)
    }

    /// The same without numbers that are our own senders': every callback of a sender names its
    /// number.
    #[must_use]
    pub fn without_numbers(mut self, own: &[String]) -> Self {
        let own: Vec<String> = own
            .iter()
            .map(|number| number.chars().filter(char::is_ascii_digit).collect())
            .collect();
        self.0.retain(|identifier| !own.contains(identifier));
        self
    }

    /// Whether a text names one of these, or one of `more`, as a whole: not as a part of a longer
    /// number or word. JSON is read as it is, with its escapes.
    pub fn are_named_in(&self, text: &[u8], more: &[String]) -> bool {
        let wanted = || self.0.iter().chain(more).map(String::as_bytes);
        let mut rest = text;
        let mut is_after_word = false;
        while let Some((first, after)) = rest.split_first() {
            if *first == b'\\' {
                rest = after.get(escape_length(after)..).unwrap_or_default();
                is_after_word = false;
                continue;
            }
            if is_of_word(*first) {
                if !is_after_word && wanted().any(|identifier| is_whole(rest, identifier)) {
                    return true;
                }
                is_after_word = true;
            } else {
                is_after_word = false;
            }
            rest = after;
        }
        false
    }
}

/// Whether a text begins with this identifier, and goes on with something else.
fn is_whole(text: &[u8], identifier: &[u8]) -> bool {
    text.strip_prefix(identifier)
        .is_some_and(|after| after.first().is_none_or(|next| !is_of_word(*next)))
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// How many bytes after a backslash belong to its escape.
fn escape_length(after: &[u8]) -> usize {
    match after {
        [b'u', digits @ ..] if digits.iter().take(4).all(u8::is_ascii_hexdigit) => 5,
        [letter, ..] if ESCAPES.contains(letter) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::PersonIdentifiers;
    use crate::domain::identity::{ContactAlias, ContactAliasKind};

    fn alias(kind: ContactAliasKind, value: &str) -> ContactAlias {
        ContactAlias {
            kind,
            value: value.to_owned(),
        }
    }

    fn person() -> PersonIdentifiers {
        PersonIdentifiers::of(&[
            alias(ContactAliasKind::Phone, "+12025550101"),
            alias(ContactAliasKind::UserId, "US.13491208655302741918"),
        ])
    }

    fn names(text: &str) -> bool {
        person().are_named_in(text.as_bytes(), &[])
    }

    #[test]
    fn identifiers_are_found_wherever_a_callback_may_have_them() {
        for text in [
            r#"{"recipient_id":"12025550101"}"#,
            r#"{"recipient_id": 12025550101}"#,
            r#"{"body":"call +12025550101."}"#,
            r#"{"body":"call\n12025550101\nor not"}"#,
            r#"{"body":"\u002B12025550101"}"#,
            r#"{"body":"{\"phone\":\"12025550101\"}"}"#,
            r#"{"user_id":"US.13491208655302741918"}"#,
            "12025550101",
            "é12025550101é",
            "\\12025550101",
        ] {
            assert!(names(text), "{text}");
        }
    }

    #[test]
    fn a_part_of_a_longer_number_or_word_is_something_else() {
        for text in [
            "",
            "120255501012",
            "212025550101",
            "x12025550101",
            "12025550101_1",
            "1202555010",
            "+1 202 555 0101",
            "US.134912086553027419181",
            "AUS.13491208655302741918",
            "13491208655302741918",
            r"\u00e",
            "\\",
        ] {
            assert!(!names(text), "{text}");
        }
    }

    #[test]
    fn more_words_may_be_wanted_and_our_own_numbers_are_not() {
        let more = ["01900000-0000-7000-8000-000000000000".to_owned()];
        let text = br#"{"contact":"01900000-0000-7000-8000-000000000000"}"#;
        assert!(person().are_named_in(text, &more));
        assert!(!person().are_named_in(text, &[]));
        let own = person().without_numbers(&["+1 202-555-0101".to_owned()]);
        assert!(!own.are_named_in(b"12025550101", &[]));
        assert!(own.are_named_in(b"US.13491208655302741918", &[]));
    }

    proptest! {
        #[test]
        fn what_stands_between_other_characters_is_found_in_any_text(
            before in "[a-z0-9 ,\n\\\\]{0,40}", after in "[a-z0-9 ,]{0,40}",
        ) {
            let text = format!("{before} \"12025550101\" {after}");
            prop_assert!(names(&text));
        }

        #[test]
        fn any_bytes_are_read_to_their_end(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = person().are_named_in(&text, &[]);
        }
    }
}
