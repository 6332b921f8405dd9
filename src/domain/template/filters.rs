//! Filters that write for people: `date`, `money` and `number`, in the language of the
//! message, by the Unicode project's rules (CLDR).

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use icu_datetime::{DateTimeFormatter, fieldsets, input::Date};
use icu_decimal::{DecimalFormatter, input::Decimal, options::DecimalFormatterOptions};
use icu_experimental::dimension::currency::{
    CurrencyType, formatter::CurrencyFormatter, options::CurrencyFormatterOptions,
};
use icu_locale_core::Locale;
use minijinja::{
    Error, ErrorKind, State,
    value::{Kwargs, Value},
};

/// The variable that tells the filters the language; no caller can name it.
pub(super) const LANGUAGE: &str = "_language";

/// How a date is given.
pub(super) const DATE: &str = "a date is written 2026-02-01 or 2026-02-01T09:30:00Z";

/// How a number is given.
pub(super) const NUMBER: &str = "a number is written 1250 or 1250.50";

/// Digits that no amount of money has.
const MOST_DIGITS: usize = 30;

/// No message of these shows what was given: it may be about a person.
fn wrong(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

fn no_data(_error: icu_provider::DataError) -> Error {
    wrong("the language's rules cannot be read")
}

fn locale(state: &State<'_, '_>) -> Locale {
    state
        .lookup(LANGUAGE)
        .and_then(|language| Locale::try_from_str(&language.as_str()?.replace('_', "-")).ok())
        .unwrap_or(icu_locale_core::locale!("en-US"))
}

/// A day such as `2026-02-01`, or an instant such as `2026-02-01T09:30:00Z`, whose day is
/// that of `zone` (UTC if absent).
fn day(text: &str, zone: Option<&str>) -> Result<NaiveDate, Error> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day);
    }
    let instant = DateTime::parse_from_rfc3339(text)
        .map_err(|_unreadable| wrong(DATE))?
        .with_timezone(&Utc);
    let zone = match zone {
        None => Tz::UTC,
        Some(zone) => zone
            .parse::<Tz>()
            .map_err(|_unknown| wrong("a zone is written Asia/Kolkata"))?,
    };
    Ok(instant.with_timezone(&zone).date_naive())
}

/// `{{ day | date }}`: February 1, 2026. `date("day")`: February 1. `date("short")`: 2/1/26.
/// `zone`: whose day an instant is on.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the template engine hands arguments over"
)]
pub(super) fn date(
    state: &State<'_, '_>,
    value: &Value,
    style: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    use chrono::Datelike;
    let zone: Option<String> = kwargs.get("zone")?;
    kwargs.assert_all_used()?;
    let text = value.as_str().ok_or_else(|| wrong(DATE))?;
    let day = day(text.trim(), zone.as_deref())?;
    let date = u8::try_from(day.month())
        .ok()
        .zip(u8::try_from(day.day()).ok())
        .and_then(|(month, of_month)| Date::try_new_gregorian(day.year(), month, of_month).ok())
        .ok_or_else(|| wrong("there is no such day"))?;
    let written = |locale: &Locale| -> Result<String, Error> {
        let preferences = locale.into();
        let none = |_error| wrong("the language's dates cannot be read");
        Ok(match style.as_deref() {
            None | Some("long") => DateTimeFormatter::try_new(preferences, fieldsets::YMD::long())
                .map_err(none)?
                .format(&date)
                .to_string(),
            Some("short") => DateTimeFormatter::try_new(preferences, fieldsets::YMD::short())
                .map_err(none)?
                .format(&date)
                .to_string(),
            Some("day") => DateTimeFormatter::try_new(preferences, fieldsets::MD::long())
                .map_err(none)?
                .format(&date)
                .to_string(),
            Some(_) => return Err(wrong("a date is long, short or day")),
        })
    };
    let text = written(&locale(state))?;
    // Where a language's months have no names there, English has.
    if text.contains("M0") || text.contains("M1") {
        return written(&icu_locale_core::locale!("en"));
    }
    Ok(text)
}

fn decimal(value: &Value) -> Result<Decimal, Error> {
    let text = value.as_str().map_or_else(
        || value.is_number().then(|| value.to_string()),
        |text| Some(text.trim().to_owned()),
    );
    text.and_then(|text| read_decimal(&text))
        .ok_or_else(|| wrong(NUMBER))
}

fn read_decimal(text: &str) -> Option<Decimal> {
    // Nobody's money needs exponents, and some would be long.
    if text.len() > MOST_DIGITS || text.contains(['e', 'E']) {
        return None;
    }
    text.parse().ok()
}

/// Whether `number` and `money` can write it.
pub(super) fn is_number(text: &str) -> bool {
    read_decimal(text).is_some()
}

/// Whether `date` can write it.
pub(super) fn is_date(text: &str) -> bool {
    day(text, None).is_ok()
}

/// `{{ amount | money("INR") }}`: ₹1,25,000 in India. Cents are left out where there are
/// none.
pub(super) fn money(state: &State<'_, '_>, value: &Value, currency: &str) -> Result<String, Error> {
    const RULE: &str = "a currency has three letters, such as INR";
    let is_code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_code {
        return Err(wrong(RULE));
    }
    let kind = CurrencyType::try_from_str(currency).map_err(|_unreadable| wrong(RULE))?;
    let amount = decimal(value)?;
    let locale = locale(state);
    let text = CurrencyFormatter::try_new_symbol(
        (&locale).into(),
        kind,
        CurrencyFormatterOptions::default(),
    )
    .map_err(no_data)?
    .format_fixed_decimal(&amount)
    .to_string();
    let mut whole = amount.clone();
    whole.absolute.trunc(0);
    whole.absolute.trim_end();
    let mut trimmed = amount;
    trimmed.absolute.trim_end();
    if trimmed != whole {
        return Ok(text);
    }
    // What the language writes behind the whole of 0.00.
    let zeros = |text: &str| -> Result<String, Error> {
        let decimal: Decimal = text.parse().map_err(|_unreadable| wrong(NUMBER))?;
        Ok(
            DecimalFormatter::try_new((&locale).into(), DecimalFormatterOptions::default())
                .map_err(no_data)?
                .format(&decimal)
                .to_string(),
        )
    };
    let (cents, none) = (zeros("0.00")?, zeros("0")?);
    let cents = cents.strip_prefix(none.as_str()).unwrap_or_default();
    Ok(match text.rfind(cents).filter(|_| !cents.is_empty()) {
        Some(place) => {
            let (before, after) = text.split_at(place);
            format!("{before}{}", after.strip_prefix(cents).unwrap_or(after))
        }
        None => text,
    })
}

/// `{{ count | number }}`: 1,234,567.5; `number(2)`: with two digits behind the point.
pub(super) fn number(
    state: &State<'_, '_>,
    value: &Value,
    digits: Option<u8>,
) -> Result<String, Error> {
    let mut decimal = decimal(value)?;
    if let Some(digits) = digits {
        let place = -i16::from(digits.min(9));
        decimal.absolute.round(place);
        decimal.absolute.pad_end(place);
    }
    Ok(
        DecimalFormatter::try_new((&locale(state)).into(), DecimalFormatterOptions::default())
            .map_err(no_data)?
            .format(&decimal)
            .to_string(),
    )
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
        assert_eq!(written("{{ day | date }}", "hi"), "1 फ़रवरी, 2026");
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
