//! Parses queries for statistics.

use chrono_tz::Tz;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    domain::{
        access::AccessBounds,
        cohort::{ChartInterval, CounterPeriodLength},
        field_error::FieldError,
        time::Timestamp,
    },
    engine::InputError,
    store::{
        Store,
        counter::{CounterDimension, CounterFilter},
        sender,
    },
};

/// Longest period, in hours: the retention time of notifications.
const MOST_HOURS: i64 = 24 * 400;

/// Most points of a chart.
const MOST_POINTS: i64 = 1_000;

/// Number of failed notifications shown by default.
const FAILED_SHOWN: u64 = 20;

/// A query as it is written.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct StatisticsQuery {
    /// Notifications created in this many hours, to the quarter of an hour; 24 if absent.
    pub hours: Option<i64>,
    /// RFC 3339, instead of `hours`: created at or after.
    pub since: Option<String>,
    /// RFC 3339: created before; now if absent.
    pub until: Option<String>,
    /// A sender's name or id.
    pub sender: Option<String>,
    pub channel: Option<String>,
    pub template: Option<String>,
    pub event_type: Option<String>,
    /// `template`, `sender`, `channel` or `event_type`; `template` if absent.
    pub by: Option<String>,
    /// `quarter`, `hour` or `day`: asks for a series.
    pub step: Option<String>,
    /// Time zone of days, such as `Asia/Kolkata`; UTC if absent.
    pub zone: Option<String>,
    /// Number of failed notifications shown, 0 to 200; 20 if absent.
    pub failed: Option<u64>,
}

/// A valid query.
#[derive(Clone, Debug)]
pub struct ValidStatisticsQuery {
    pub since: Timestamp,
    pub until: Timestamp,
    pub filter: CounterFilter,
    pub by: CounterDimension,
    pub step: Option<ChartInterval>,
    pub zone: Tz,
    pub failed_limit: u64,
}

impl StatisticsQuery {
    /// Parses a query within the caller's bounds; an error names every invalid field.
    pub async fn read(
        self,
        store: &Store,
        bounds: &AccessBounds,
        now: Timestamp,
    ) -> Result<ValidStatisticsQuery, InputError> {
        let mut wrong = Vec::new();
        let mut refuse = |pointer: &str, rule: &str| {
            wrong.push(FieldError {
                pointer: pointer.to_owned(),
                rule: rule.to_owned(),
            });
        };
        let mut instant = |pointer: &str, text: Option<String>| {
            let read = text.as_deref().map(Timestamp::parse_rfc3339);
            if read == Some(None) {
                refuse(pointer, "RFC 3339, such as 2026-11-21T00:00:00Z");
            }
            read.flatten()
        };
        let (since, until) = (instant("since", self.since), instant("until", self.until));
        if self.hours.is_some() && since.is_some() {
            refuse("hours", "either this or since");
        }
        let hours = self.hours.unwrap_or(24);
        if !(1..=MOST_HOURS).contains(&hours) {
            refuse("hours", "1 to 9600");
        }
        let ends = until.unwrap_or(now);
        let since = since.unwrap_or_else(|| ends.plus_seconds(-hours.clamp(1, MOST_HOURS) * 3600));
        let seconds = ends.micros_since(since) / 1_000_000;
        if !(0..=MOST_HOURS * 3600).contains(&seconds) {
            refuse("since", "before until, and at most 400 days before it");
        }
        let by = self.by.as_deref().map(CounterDimension::parse);
        if by == Some(None) {
            refuse("by", "template, sender, channel or event_type");
        }
        let step = self.step.as_deref().map(ChartInterval::parse);
        if step == Some(None) {
            refuse("step", "quarter, hour or day");
        }
        let length = match step.flatten() {
            Some(ChartInterval::Quarter) => 900,
            Some(ChartInterval::Hour) => 3_600,
            Some(ChartInterval::Day) | None => 86_400,
        };
        if seconds / length > MOST_POINTS {
            refuse("step", "no more than 1000 points");
        }
        let zone = self.zone.as_deref().map_or(Ok(Tz::UTC), str::parse);
        if zone.is_err() {
            refuse(
                "zone",
                "a name of the time zone database, such as Asia/Kolkata",
            );
        }
        let failed_limit = self.failed.unwrap_or(FAILED_SHOWN);
        if failed_limit > 200 {
            refuse("failed", "0 to 200");
        }
        let mut sender_id = None;
        if let Some(named) = &self.sender {
            sender_id = sender::named(store.reader(), named)
                .await?
                .map(|row| row.id)
                .filter(|id| bounds.has_sender(*id));
            if sender_id.is_none() {
                refuse("sender", "no sender has this name");
            }
        }
        let zone = match zone {
            Ok(zone) if wrong.is_empty() => zone,
            _ => return Err(InputError::Invalid(wrong)),
        };
        Ok(ValidStatisticsQuery {
            since,
            // A notification created just now is in the quarter of an hour that begins now.
            until: until
                .unwrap_or_else(|| CounterPeriodLength::Quarter.start(now).plus_seconds(900)),
            filter: CounterFilter {
                bounds: bounds.clone(),
                sender_id,
                channel: self.channel,
                template: self.template,
                event_type: self.event_type,
            },
            by: by.flatten().unwrap_or(CounterDimension::Template),
            step: step.flatten(),
            zone,
            failed_limit,
        })
    }
}
