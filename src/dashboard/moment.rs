//! Formats times in the zone of the viewer.

use actix_web::HttpRequest;
use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;

use crate::domain::time::Timestamp;

/// The cookie with the browser's time zone.
const COOKIE: &str = "herald_zone";

/// A time for people, and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayTime {
    /// RFC 3339, in UTC.
    pub exact: String,
    /// In the viewer's zone, to the second.
    pub text: String,
}

/// The time zone of a page.
#[derive(Clone, Copy, Debug)]
pub struct ViewerTimeZone {
    zone: Tz,
    now: Timestamp,
}

impl ViewerTimeZone {
    /// The zone from the cookie; UTC without one.
    pub fn of(request: &HttpRequest, now: Timestamp) -> Self {
        let named = request
            .cookie(COOKIE)
            .and_then(|cookie| cookie.value().replace("%2F", "/").parse().ok());
        Self {
            zone: named.unwrap_or(Tz::UTC),
            now,
        }
    }

    pub fn name(&self) -> &'static str {
        self.zone.name()
    }

    fn local(&self, at: Timestamp) -> Option<DateTime<Tz>> {
        let utc: DateTime<Utc> = DateTime::from_timestamp_micros(at.micros())?;
        Some(self.zone.from_utc_datetime(&utc.naive_utc()))
    }

    /// Formats a time, without the date if it is today.
    pub fn moment(&self, at: Timestamp) -> DisplayTime {
        let exact = at.to_string();
        let text = match (self.local(at), self.local(self.now)) {
            (Some(at), Some(now)) if at.date_naive() == now.date_naive() => {
                at.format("%H:%M:%S").to_string()
            }
            (Some(at), _) => at.format("%Y-%m-%d %H:%M:%S").to_string(),
            (None, _) => exact.clone(),
        };
        DisplayTime { exact, text }
    }

    pub fn micros(&self, at: i64) -> DisplayTime {
        self.moment(Timestamp::from_micros(at))
    }

    /// Formats a time given in RFC 3339.
    pub fn written(&self, at: &str) -> DisplayTime {
        Timestamp::parse_rfc3339(at).map_or_else(
            || DisplayTime {
                exact: at.to_owned(),
                text: at.to_owned(),
            },
            |at| self.moment(at),
        )
    }

    /// The hour of a point in a chart.
    pub fn hour(&self, at: &str) -> String {
        Timestamp::parse_rfc3339(at)
            .and_then(|at| self.local(at))
            .map_or_else(String::new, |at| at.format("%H:%M").to_string())
    }
}

/// A duration for people.
pub fn span(seconds: i64) -> String {
    match seconds {
        ..=0 => "0 s".to_owned(),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::{ViewerTimeZone, span};
    use crate::domain::time::Timestamp;

    #[test]
    fn an_instant_is_told_in_the_viewer_s_zone_and_today_without_its_date() {
        let now = Timestamp::parse_rfc3339("2026-11-22T18:00:00Z").unwrap();
        let zone = ViewerTimeZone {
            zone: Tz::Asia__Kolkata,
            now,
        };
        let at = |text| zone.written(text).text;
        assert_eq!(at("2026-11-22T18:29:59Z"), "23:59:59");
        assert_eq!(at("2026-11-22T18:30:00Z"), "2026-11-23 00:00:00");
        assert_eq!(at("never"), "never");
        assert_eq!(zone.hour("2026-11-22T18:30:00Z"), "00:00");
    }

    #[test]
    fn a_length_of_time_is_short() {
        let texts: Vec<String> = [-3, 0, 59, 119, 120, 7_199, 7_200, 172_800]
            .map(span)
            .into();
        assert_eq!(
            texts,
            [
                "0 s", "0 s", "59 s", "119 s", "2 min", "119 min", "2 h", "2 days"
            ]
        );
    }
}
