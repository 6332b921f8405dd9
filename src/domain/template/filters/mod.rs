//! Filters that format for people: `date`, `money` and `number`, in the language of the message, by
//! the Unicode project's rules (CLDR).

mod amount;
mod date;
#[cfg(test)]
mod intl;
mod locales;

pub(super) use amount::{NUMBER, is_number, money, number};
pub(super) use date::{DATE, date, is_date};

use icu_locale::Locale;
use minijinja::{Error, ErrorKind, State, value::Value};

use super::context::as_it_came;

/// The variable with the language for the filters; no caller can name it.
pub(super) const LANGUAGE: &str = "_language";

/// The variable with the time zone of values that have none; no caller can name it.
pub(super) const ZONE: &str = "_zone";

/// Why a filter failed.
enum TemplateFilterError {
    /// It cannot read the value.
    Unreadable(&'static str),
    /// It is used incorrectly.
    Wrong(Error),
}

impl From<Error> for TemplateFilterError {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

impl TemplateFilterError {
    /// The value unchanged, where the text allows that.
    fn settle(self, state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
        match self {
            Self::Unreadable(_) if value.is_undefined() => {
                Err(Error::from(ErrorKind::UndefinedError))
            }
            Self::Unreadable(rule) => as_it_came(state, value, wrong(rule), Some(rule)),
            Self::Wrong(error) => Err(error),
        }
    }
}

/// None of these messages contains the value: it may be about a person.
fn wrong(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

fn no_data(_error: icu_provider::DataError) -> Error {
    wrong("the language's rules cannot be read")
}

fn locale(state: &State<'_, '_>) -> Locale {
    let language = state.lookup(LANGUAGE);
    let language = language.as_ref().and_then(|it| it.as_str());
    locales::read(language.unwrap_or("en_US"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::domain::template::render_text;

    fn written(source: &str, language: &str) -> String {
        let context = json!({
            "_language": language, "day": "2026-02-01", "late": "2026-01-31T20:00:00Z",
            "amount": 125_000, "price": "249.50", "small": 250.0, "loss": "-12",
        });
        render_text(source, &context).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn a_date_is_written_as_its_reader_writes_it() {
        assert_eq!(written("{{ day | date }}", "en_US"), "February 1, 2026");
        assert_eq!(written("{{ day | date('day') }}", "en_US"), "February 1");
        assert_eq!(written("{{ day | date('short') }}", "en_US"), "2/1/26");
        assert_eq!(written("{{ day | date }}", "de"), "1. Februar 2026");
        assert_eq!(written("{{ day | date }}", "hi"), "1 फ़रवरी 2026");
        // Its months have no names in the data.
        assert_eq!(written("{{ day | date }}", "sn"), "February 1, 2026");
        assert_eq!(
            written("{{ day | date }}", "no language"),
            "February 1, 2026"
        );
        assert_eq!(written("{{ late | date('day') }}", "en"), "January 31");
        assert_eq!(
            written("{{ late | date('day', zone='Asia/Kolkata') }}", "en"),
            "February 1"
        );
    }

    #[test]
    fn money_is_written_as_its_reader_writes_it() {
        assert_eq!(written("{{ small | money('INR') }}", "en_US"), "₹250");
        assert_eq!(written("{{ price | money('INR') }}", "en_US"), "₹249.50");
        assert_eq!(written("{{ amount | money('INR') }}", "en_IN"), "₹1,25,000");
        assert_eq!(written("{{ amount | money('INR') }}", "hi"), "₹1,25,000");
        assert_eq!(written("{{ amount | money('USD') }}", "en_US"), "$125,000");
        assert_eq!(
            written("{{ amount | money('EUR') }}", "de"),
            "125.000\u{a0}€"
        );
        assert_eq!(written("{{ price | money('JPY') }}", "ja"), "￥250");
        assert_eq!(written("{{ loss | money('USD') }}", "en_US"), "-$12");
        assert_eq!(written("{{ amount | number }}", "de"), "125.000");
        assert_eq!(written("{{ price | number(1) }}", "fr"), "249,5");
    }

    #[test]
    fn what_cannot_be_written_is_refused_without_its_value() {
        for (source, rule) in [
            ("{{ price | date }}", "a date is written"),
            ("{{ amount | date }}", "a date is written"),
            ("{{ day | date('loud') }}", "long, short or day"),
            ("{{ late | date(zone='Mars/Base') }}", "a zone is written"),
            ("{{ day | money('INR') }}", "a number is written"),
            ("{{ price | money('rupees') }}", "three letters"),
            ("{{ price | money }}", "missing"),
            ("{{ day | number }}", "a number is written"),
        ] {
            let text = written(source, "en");
            assert!(text.contains(rule), "{source}: {text}");
            assert!(
                !text.contains("249") && !text.contains("2026-02-01T20"),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn anything_is_written_or_refused(text in "\\PC{0,40}", language in "[a-zA-Z_-]{0,12}") {
            let context = json!({"_language": language, "value": text});
            for source in ["{{ value | date }}", "{{ value | money('INR') }}", "{{ value | number(2) }}"] {
                let _either = render_text(source, &context);
            }
        }

        #[test]
        fn any_amount_keeps_its_digits(rupees in 0_u32..2_000_000_000, paise in 0_u32..100) {
            let context = json!({"_language": "en_US", "value": format!("{rupees}.{paise:02}")});
            let text = render_text("{{ value | money('INR') }}", &context).unwrap();
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            let expected = if paise == 0 { rupees.to_string() } else { format!("{rupees}{paise:02}") };
            prop_assert_eq!(digits, expected);
        }
    }
}
