//! Phone numbers in E.164, the only form Meta does not reinterpret.

use std::fmt;

/// A number in E.164: `+`, then 8 to 15 digits, the first not 0.
///
/// Without the `+` Meta may put the sender's own country code in front (Meta,
/// "Send messages"), so nothing else is ever written into a request. `Debug`
/// and `Display` print it masked; [`Phone::e164`] is the number itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Phone(String);

/// Which rule a text breaks. The text itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    #[error("a phone number must start with + and its country code, such as +12025550123")]
    NoPlus,
    #[error("a phone number has only digits after the +: no spaces")]
    Space,
    #[error("a phone number has only digits after the +: no dashes, dots or brackets")]
    Punctuation,
    #[error("a phone number has only digits after the +")]
    NotADigit,
    #[error("no country code starts with 0")]
    LeadingZero,
    #[error("a phone number has at least 8 digits after the +")]
    TooShort,
    #[error("a phone number has at most 15 digits after the + (ITU-T E.164)")]
    TooLong,
}

const MIN_DIGITS: usize = 8;
const MAX_DIGITS: usize = 15;

impl Phone {
    /// Reads a number that is already in E.164; guesses nothing.
    pub fn parse(text: &str) -> Result<Self, PhoneError> {
        let digits = text.strip_prefix('+').ok_or(PhoneError::NoPlus)?;
        for character in digits.chars() {
            match character {
                '0'..='9' => {}
                character if character.is_whitespace() => return Err(PhoneError::Space),
                '-' | '.' | '(' | ')' | '/' => return Err(PhoneError::Punctuation),
                _ => return Err(PhoneError::NotADigit),
            }
        }
        if digits.starts_with('0') {
            return Err(PhoneError::LeadingZero);
        }
        match digits.len() {
            0..MIN_DIGITS => Err(PhoneError::TooShort),
            MIN_DIGITS..=MAX_DIGITS => Ok(Self(text.to_owned())),
            _ => Err(PhoneError::TooLong),
        }
    }

    /// A `wa_id` is the number without its `+`.
    pub fn from_wa_id(wa_id: &str) -> Result<Self, PhoneError> {
        Self::parse(&format!("+{wa_id}"))
    }

    /// The number, with its `+`. For requests and storage, never for logs.
    pub fn e164(&self) -> &str {
        &self.0
    }
}

/// Shows the last two digits only, such as `+••••••••••23`.
pub fn mask(number: &str) -> String {
    let kept: String = number
        .chars()
        .rev()
        .take(2)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    let hidden = number.chars().count().saturating_sub(3);
    format!("+{}{kept}", "•".repeat(hidden))
}

impl fmt::Debug for Phone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&mask(&self.0))
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&mask(&self.0))
    }
}

/// A number, or an id made of digits, as it is shown to whoever need not know it: the
/// country and the last two digits. What holds fewer than seven digits is no number.
pub fn masked(text: &str) -> String {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    if digits < 7 {
        return text.to_owned();
    }
    let mut seen = 0;
    text.chars()
        .map(|character| {
            if !character.is_ascii_digit() {
                return character;
            }
            seen += 1;
            if seen <= 2 || seen > digits - 2 {
                character
            } else {
                '*'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_masked_number_shows_its_ends_only() {
        assert_eq!(super::masked("+12025550150"), "+12*******50");
        assert_eq!(
            super::masked("US.13491208655302741918"),
            "US.13****************18"
        );
        assert_eq!(super::masked("group:Support 24"), "group:Support 24");
    }

    use proptest::prelude::*;

    use super::{Phone, PhoneError};

    #[test]
    fn each_broken_rule_is_named() {
        for (text, error) in [
            ("12025550123", PhoneError::NoPlus),
            ("+1 2025550123", PhoneError::Space),
            ("+1-202-555-0123", PhoneError::Punctuation),
            ("+1202555O123", PhoneError::NotADigit),
            ("+02025550123", PhoneError::LeadingZero),
            ("+1202555", PhoneError::TooShort),
            ("+1202555012345678", PhoneError::TooLong),
            ("", PhoneError::NoPlus),
            ("+", PhoneError::TooShort),
        ] {
            assert_eq!(Phone::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_number_never_shows_itself_by_accident() {
        let phone = Phone::parse("+12025550123").unwrap();
        assert_eq!(format!("{phone} {phone:?}"), "+•••••••••23 +•••••••••23");
    }

    proptest! {
        #[test]
        fn whatever_parses_is_e164(text in "\\PC{0,20}") {
            if let Ok(phone) = Phone::parse(&text) {
                prop_assert_eq!(phone.e164(), text.as_str());
                prop_assert!(phone.e164().len() >= 9 && phone.e164().len() <= 16);
            }
        }

        #[test]
        fn every_well_formed_number_parses(number in "[1-9][0-9]{7,14}") {
            let written = format!("+{number}");
            prop_assert!(Phone::parse(&written).is_ok());
            prop_assert!(Phone::from_wa_id(&number).is_ok());
        }
    }
}
