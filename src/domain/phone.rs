//! Phone numbers in E.164, the only form that Meta does not reinterpret.

use std::fmt;

use rlibphonenumber::{PHONE_NUMBER_UTIL, ParseError, PhoneNumberFormat, ValidationError};

/// A number in E.164: `+`, a country code, and as many digits as that country's numbers have. A
/// trunk 0 after the country code is dropped, as it is dialled within the country only.
///
/// The valid lengths come from the numbering plans of libphonenumber. Whether a number is in use is
/// not checked: numbers for tests and documentation are not.
///
/// Without the `+` Meta may put the sender's own country code in front (Meta, "Send messages"), so
/// no other form is ever written into a request. `Debug` and `Display` print it masked;
/// [`Phone::e164`] is the number itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Phone(String);

/// The rule that a text violates. The text itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhoneParseError {
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
    #[error("no country has this code")]
    NoCountry,
    #[error("a phone number of this country has more digits")]
    TooShort,
    #[error("a phone number of this country has fewer digits")]
    TooLong,
    #[error("no phone number of this country has so many digits")]
    Length,
}

/// Longest number (ITU-T E.164).
const MAX_DIGITS: usize = 15;

/// Loads the numbering plans, which takes tens of milliseconds once: better before the first
/// request than during it.
pub fn load_plans() {
    drop(Phone::parse("+12025550123"));
}

impl Phone {
    /// Parses a number that is in E.164 already; guesses nothing.
    pub fn parse(text: &str) -> Result<Self, PhoneParseError> {
        let digits = text.strip_prefix('+').ok_or(PhoneParseError::NoPlus)?;
        for character in digits.chars() {
            match character {
                '0'..='9' => {}
                character if character.is_whitespace() => return Err(PhoneParseError::Space),
                '-' | '.' | '(' | ')' | '/' => return Err(PhoneParseError::Punctuation),
                _ => return Err(PhoneParseError::NotADigit),
            }
        }
        if digits.starts_with('0') {
            return Err(PhoneParseError::LeadingZero);
        }
        if digits.is_empty() {
            return Err(PhoneParseError::TooShort);
        }
        // The 1 of mobile numbers in Mexico is not dialled any more, but WhatsApp still writes it.
        let of_mexico = digits
            .strip_prefix("521")
            .filter(|number| number.len() == 10)
            .map(|number| format!("+52{number}"));
        let number = PHONE_NUMBER_UTIL
            .parse(of_mexico.as_deref().unwrap_or(text), None)
            .map_err(|error| match error {
                ParseError::InvalidCountryCode => PhoneParseError::NoCountry,
                ParseError::TooLongNsn => PhoneParseError::TooLong,
                ParseError::NotANumber(_)
                | ParseError::TooShortAfterIdd
                | ParseError::TooShortNsn => PhoneParseError::TooShort,
            })?;
        number
            .is_possible_with_reason()
            .map_err(|error| match error {
                ValidationError::InvalidCountryCode => PhoneParseError::NoCountry,
                ValidationError::TooShort => PhoneParseError::TooShort,
                ValidationError::TooLong => PhoneParseError::TooLong,
                ValidationError::InvalidLength => PhoneParseError::Length,
            })?;
        let number = number.format_as(PhoneNumberFormat::E164);
        if number.len() > MAX_DIGITS + 1 {
            return Err(PhoneParseError::TooLong);
        }
        // One trunk 0 is dropped at a time: the stored number must parse as itself.
        if number.len() < text.len() {
            return Self::parse(&number);
        }
        Ok(Self(number.into_owned()))
    }

    /// A `wa_id` is the number without its `+`.
    pub fn from_wa_id(wa_id: &str) -> Result<Self, PhoneParseError> {
        Self::parse(&format!("+{wa_id}"))
    }

    /// Whether both are the same line in the two forms of its country: with or without the 9 of
    /// mobile numbers in Brazil and Argentina. WhatsApp knows a person by one of them, whichever
    /// was sent to.
    pub fn is_variant_of(&self, other: &Self) -> bool {
        self == other || self.is_longer_form_of(other) || other.is_longer_form_of(self)
    }

    fn is_longer_form_of(&self, short: &Self) -> bool {
        // The country code, the number of digits before the one that may be missing, and that
        // digit.
        [("+55", 2, '9'), ("+54", 0, '9')]
            .into_iter()
            .any(|(country, before, extra)| {
                let (Some(long), Some(short)) =
                    (self.0.strip_prefix(country), short.0.strip_prefix(country))
                else {
                    return false;
                };
                let Some((area, rest)) = long.split_at_checked(before) else {
                    return false;
                };
                rest.strip_prefix(extra)
                    .is_some_and(|rest| short.strip_prefix(area) == Some(rest))
            })
    }

    /// The country code without its `+`, and the digits after it: `("1", "2025550123")`.
    pub fn country_and_national(&self) -> (&str, &str) {
        let digits = self.0.trim_start_matches('+');
        let parsed = PHONE_NUMBER_UTIL.parse(&self.0, None);
        let national = parsed.map(|number| number.get_national_significant_number().len());
        let split = digits.len().saturating_sub(national.unwrap_or(0));
        digits.split_at_checked(split).unwrap_or((digits, ""))
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

/// Masks a number, or an id of digits: the country code and the last two digits stay. A text with
/// fewer than seven digits is no number.
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
    fn a_number_with_many_trunk_zeros_reads_as_itself() {
        let phone = Phone::parse("+600000000000").unwrap();
        assert_eq!(Phone::parse(phone.e164()), Ok(phone));
    }

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

    use super::{Phone, PhoneParseError};

    #[test]
    fn each_broken_rule_is_named() {
        for (text, error) in [
            ("12025550123", PhoneParseError::NoPlus),
            ("+1 2025550123", PhoneParseError::Space),
            ("+1-202-555-0123", PhoneParseError::Punctuation),
            ("+1202555O123", PhoneParseError::NotADigit),
            ("+02025550123", PhoneParseError::LeadingZero),
            ("+9991234567", PhoneParseError::NoCountry),
            ("+120255", PhoneParseError::TooShort),
            ("+120255501234", PhoneParseError::TooLong),
            ("+1202555012345678", PhoneParseError::TooLong),
            ("", PhoneParseError::NoPlus),
            ("+", PhoneParseError::TooShort),
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
        fn whatever_parses_is_e164_and_parses_again(text in "\\PC{0,20}") {
            if let Ok(phone) = Phone::parse(&text) {
                prop_assert_eq!(Phone::parse(phone.e164()), Ok(phone));
            }
        }

        #[test]
        fn no_digits_end_the_process(number in "[0-9]{0,17}") {
            if let Ok(phone) = Phone::parse(&format!("+{number}")) {
                prop_assert!(phone.e164().len() <= 16 && phone.e164().starts_with('+'));
                prop_assert_eq!(Phone::from_wa_id(phone.e164().trim_start_matches('+')), Ok(phone));
            }
        }
    }

    #[test]
    fn a_trunk_0_is_left_out_where_it_is_none_of_the_number() {
        for (written, number) in [
            ("+4402079460001", "+442079460001"),
            ("+4401614960002", "+441614960002"),
            // In Italy it is a part of the number.
            ("+390655501310", "+390655501310"),
            ("+5215555500131", "+525555500131"),
            // Seven digits in all, of Niue and Tokelau.
            ("+6834555", "+6834555"),
            ("+6905550", "+6905550"),
            // Numbers for documentation and tests.
            ("+12025550123", "+12025550123"),
            ("+15550783881", "+15550783881"),
        ] {
            assert_eq!(Phone::parse(written).unwrap().e164(), number, "{written}");
        }
    }

    #[test]
    fn two_forms_of_one_line_are_known() {
        let phone = |text| Phone::parse(text).unwrap();
        for (one, other, are_one) in [
            ("+551155500131", "+5511955500131", true),
            ("+5215555500131", "+525555500131", true),
            ("+5491155500131", "+541155500131", true),
            ("+551155500131", "+5511955500132", false),
            ("+12025550131", "+12025550132", false),
            ("+551155500131", "+5521955500131", false),
        ] {
            assert_eq!(
                phone(one).is_variant_of(&phone(other)),
                are_one,
                "{one} {other}"
            );
            assert_eq!(
                phone(other).is_variant_of(&phone(one)),
                are_one,
                "{other} {one}"
            );
        }
    }
}
