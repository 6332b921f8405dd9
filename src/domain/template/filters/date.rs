//! `date`: a date in the form of the reader's language.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use icu_datetime::{DateTimeFormatter, fieldsets, input::Date, parts};
use icu_locale::Locale;
use minijinja::{
    Error, State,
    value::{Kwargs, Value},
};

use writeable::{Part, PartsWrite, Writeable};

use super::{TemplateFilterError, ZONE, locale, locales::long_date, wrong};

/// The accepted form of a date.
pub(in crate::domain::template) const DATE: &str =
    "a date is written 2026-02-01, 2026-02-01T09:30:00 or 2026-02-01T09:30:00Z";

/// Times without a zone, as programs write them.
const NAIVE: [&str; 4] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
];

/// A parsed time.
enum ParsedDateTime {
    Day(NaiveDate),
    /// Without a zone: in the zone of its writer.
    Naive(NaiveDateTime),
    Instant(DateTime<chrono::FixedOffset>),
}

impl ParsedDateTime {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(day) = text.parse::<NaiveDate>() {
            return Some(Self::Day(day));
        }
        if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
            return Some(Self::Instant(instant));
        }
        NAIVE
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
            .map(Self::Naive)
    }

    /// Its day in the requested zone; otherwise a time with a zone is shown on the reader's day,
    /// and one without a zone on its own.
    fn day(&self, asked: Option<Tz>, zones: RenderZones) -> NaiveDate {
        match self {
            Self::Day(day) => *day,
            Self::Instant(instant) => {
                let shown = asked.or(zones.readers).or(zones.writers);
                let shown = shown.unwrap_or(Tz::UTC);
                instant.with_timezone(&shown).date_naive()
            }
            Self::Naive(naive) => {
                let read = zones.writers.or(zones.readers).unwrap_or(Tz::UTC);
                // There is no such time in the hour that summer time leaves out.
                let instant = read.from_local_datetime(naive).earliest();
                asked.zip(instant).map_or_else(
                    || naive.date(),
                    |(asked, it)| it.with_timezone(&asked).date_naive(),
                )
            }
        }
    }
}

/// The known time zones.
#[derive(Clone, Copy)]
struct RenderZones {
    /// Of the recipient.
    readers: Option<Tz>,
    /// Of the template.
    writers: Option<Tz>,
}

impl RenderZones {
    fn known(state: &State<'_, '_>) -> Self {
        let zone = |value: Value| value.as_str()?.parse().ok();
        let contact = state.lookup("contact");
        Self {
            readers: contact.and_then(|contact| zone(contact.get_attr("time_zone").ok()?)),
            writers: state.lookup(ZONE).and_then(zone),
        }
    }
}

/// The parts of a date in its language.
#[derive(Default)]
struct LocalizedDateParts {
    day: String,
    month: String,
    year: String,
    /// The part being written.
    now: Option<Part>,
}

impl LocalizedDateParts {
    fn in_order(&self, order: &str) -> String {
        let mut text = String::new();
        for letter in order.chars() {
            match letter {
                'd' => text.push_str(self.day.trim_start_matches('0')),
                'm' => text.push_str(&self.month),
                'y' => text.push_str(&self.year),
                other => text.push(other),
            }
        }
        text
    }
}

impl fmt::Write for LocalizedDateParts {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.now {
            Some(parts::DAY) => self.day.push_str(text),
            Some(parts::MONTH) => self.month.push_str(text),
            Some(parts::YEAR) => self.year.push_str(text),
            _ => {}
        }
        Ok(())
    }
}

impl PartsWrite for LocalizedDateParts {
    type SubPartsWrite = Self;

    fn with_part(
        &mut self,
        part: Part,
        mut write: impl FnMut(&mut Self) -> fmt::Result,
    ) -> fmt::Result {
        let before = self.now;
        // The digits of a day are a number, too.
        if [parts::DAY, parts::MONTH, parts::YEAR].contains(&part) {
            self.now = Some(part);
        }
        let written = write(self);
        self.now = before;
        written
    }
}

/// Whether `date` can format it.
pub(in crate::domain::template) fn is_date(text: &str) -> bool {
    ParsedDateTime::parse(text).is_some()
}

/// `{{ day | date }}`: February 1, 2026. `date("day")`: February 1. `date("short")`: 2/1/26.
/// `zone`: the zone whose day is shown; otherwise the reader's if known, else the template's
/// `time_zone`, else UTC.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the template engine hands arguments over"
)]
pub(in crate::domain::template) fn date(
    state: &mut State<'_, '_>,
    value: &Value,
    style: Option<&str>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let zone: Option<&str> = kwargs.get("zone")?;
    kwargs.assert_all_used()?;
    match written(state, value, style, zone) {
        Ok(text) => Ok(Value::from(text)),
        Err(trouble) => trouble.settle(state, value),
    }
}

fn written(
    state: &State<'_, '_>,
    value: &Value,
    style: Option<&str>,
    zone: Option<&str>,
) -> Result<String, TemplateFilterError> {
    let asked = zone
        .map(|zone| {
            zone.parse::<Tz>()
                .map_err(|_unknown| wrong("a zone is written Asia/Kolkata"))
        })
        .transpose()?;
    let day = value
        .as_str()
        .and_then(|text| ParsedDateTime::parse(text.trim()))
        .map(|moment| moment.day(asked, RenderZones::known(state)))
        .ok_or(TemplateFilterError::Unreadable(DATE))?;
    let date = u8::try_from(day.month())
        .ok()
        .zip(u8::try_from(day.day()).ok())
        .and_then(|(month, of_month)| Date::try_new_gregorian(day.year(), month, of_month).ok())
        .ok_or(TemplateFilterError::Unreadable(DATE))?;
    let locale = locale(state);
    if matches!(style, None | Some("long"))
        && let Some(order) = long_date(&locale)
    {
        let formatter = DateTimeFormatter::try_new((&locale).into(), fieldsets::YMD::long())
            .map_err(|_error| wrong("the language's dates cannot be read"))?;
        let mut parts = LocalizedDateParts::default();
        formatter
            .format(&date)
            .write_to_parts(&mut parts)
            .map_err(|_error| wrong("the language's dates cannot be written"))?;
        return Ok(parts.in_order(order));
    }
    let write = |locale: &Locale| -> Result<String, Error> {
        let preferences = locale.into();
        let none = |_error| wrong("the language's dates cannot be read");
        Ok(match style {
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
    let text = write(&locale)?;
    // If a language has no names of months in the data, English is used.
    if text.contains("M0") || text.contains("M1") {
        return Ok(write(&icu_locale::locale!("en"))?);
    }
    Ok(text)
}
