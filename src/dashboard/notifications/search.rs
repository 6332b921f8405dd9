//! Parses a search from the address of a page.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    dashboard::act::DashboardForm,
    domain::{
        field_error::FieldError,
        status::{NotificationStatus, StatusGroup},
        time::Timestamp,
    },
    engine::insight::notification_filter::{LabelFilter, NotificationCriteria},
    store::notification as notifications,
};

/// Default period of a search without an index of its own.
const LOOKED_BACK: &str = "7d";

/// A search as in an address, so that it can be shared.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct NotificationsSearch {
    pub(super) status: Option<String>,
    pub(super) r#type: Option<String>,
    pub(super) template: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) label: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) recipient: Option<String>,
    /// `24h`, `7d`, or RFC 3339.
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
    pub(super) cursor: Option<Uuid>,
}

/// Hours or days before now, or a time.
fn instant(text: &str, now: Timestamp) -> Option<Timestamp> {
    let hours = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((number, "h")) => number.parse::<i64>().ok(),
        Some((number, "d")) => number
            .parse::<i64>()
            .ok()
            .map(|days| days.saturating_mul(24)),
        _ => None,
    };
    match hours {
        Some(hours) if (0..=24 * 4000).contains(&hours) => Some(now.plus_seconds(-hours * 3600)),
        _ => Timestamp::parse_rfc3339(text),
    }
}

impl NotificationsSearch {
    fn fields(&self) -> [(&'static str, &Option<String>); 9] {
        [
            ("status", &self.status),
            ("type", &self.r#type),
            ("template", &self.template),
            ("channel", &self.channel),
            ("label", &self.label),
            ("reference", &self.reference),
            ("recipient", &self.recipient),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    pub(super) fn of(form: &mut DashboardForm) -> Self {
        Self {
            status: form.take("status"),
            r#type: form.take("type"),
            template: form.take("template"),
            channel: form.take("channel"),
            label: form.take("label"),
            reference: form.take("reference"),
            recipient: form.take("recipient"),
            since: form.take("since"),
            until: form.take("until"),
            cursor: None,
        }
    }

    /// The fields that are not empty.
    pub(super) fn said(&self) -> Vec<(&'static str, String)> {
        self.fields()
            .into_iter()
            .filter_map(|(name, value)| {
                Some((
                    name,
                    value.clone().filter(|value| !value.trim().is_empty())?,
                ))
            })
            .collect()
    }

    /// Limits a search without an index of its own to the last days, unless a period is given; the
    /// page shows the limit.
    pub(super) fn bound(&mut self) {
        let said =
            |value: &Option<String>| value.as_ref().is_some_and(|text| !text.trim().is_empty());
        let narrow = [
            &self.reference,
            &self.recipient,
            &self.label,
            &self.since,
            &self.until,
        ];
        let few = self.status.as_deref().is_some_and(|status| {
            status.split(',').all(|name| {
                let name = name.trim();
                let alone = name.strip_prefix("status:").unwrap_or(name);
                name != "retried"
                    && NotificationStatus::parse(alone)
                        .is_none_or(|status| !matches!(status.group(), StatusGroup::Sent))
            })
        });
        let broad = said(&self.template)
            || said(&self.channel)
            || said(&self.r#type)
            || (said(&self.status) && !few);
        if broad && !few && !narrow.into_iter().any(said) {
            self.since = Some(LOOKED_BACK.to_owned());
        }
    }

    /// The query string of the search.
    pub(super) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.said() {
            query.append_pair(name, value.trim());
        }
        query.finish()
    }

    pub(super) fn filter(
        &self,
        now: Timestamp,
    ) -> Result<notifications::NotificationListFilter, Vec<FieldError>> {
        let said = |value: &Option<String>| {
            value
                .as_ref()
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let when = |value: &Option<String>| {
            said(value).map(|text| instant(&text, now).map_or(text, |at| at.to_string()))
        };
        NotificationCriteria {
            status: said(&self.status),
            r#type: said(&self.r#type),
            template: said(&self.template),
            channel: said(&self.channel),
            label: said(&self.label)
                .map_or_else(LabelFilter::default, |text| LabelFilter::of_text(&text)),
            reference: said(&self.reference),
            recipient: said(&self.recipient),
            since: when(&self.since),
            until: when(&self.until),
        }
        .read("")
    }
}

#[cfg(test)]
mod tests {
    use super::instant;
    use crate::domain::time::Timestamp;

    #[test]
    fn a_time_is_hours_days_or_an_instant() {
        let now = Timestamp::from_unix_seconds(1_000_000);
        assert_eq!(instant("24h", now), Some(now.plus_seconds(-86_400)));
        assert_eq!(instant("7d", now), Some(now.plus_seconds(-7 * 86_400)));
        assert_eq!(
            instant("1970-01-01T00:00:01Z", now),
            Some(Timestamp::from_unix_seconds(1))
        );
        for wrong in ["", "h", "-1h", "99999999999999999999d", "yesterday", "ü"] {
            assert_eq!(instant(wrong, now), None, "{wrong}");
        }
    }
}
