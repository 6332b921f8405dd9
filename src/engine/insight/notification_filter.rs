//! Filters that select notifications, for a list or for an action on many.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use utoipa::ToSchema;

use crate::{
    domain::{
        channel::MessageChannel,
        field_error::FieldError,
        recipient::MessageAddress,
        status::{NotificationStatus, StatusGroup},
        time::Timestamp,
    },
    store::notification::NotificationListFilter,
};

/// Most labels of a notification.
const MAX_LABELS: usize = 8;

/// Labels that must all match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LabelFilter(pub Vec<String>);

impl LabelFilter {
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses several labels separated by commas. A value may contain commas, too.
    pub fn of_text(text: &str) -> Self {
        let mut labels: Vec<String> = Vec::new();
        for part in text.split(',') {
            match labels.last_mut() {
                Some(last) if !part.contains('=') => {
                    last.push(',');
                    last.push_str(part.trim_end());
                }
                _ if part.trim().is_empty() => {}
                _ => labels.push(part.trim().to_owned()),
            }
        }
        Self(labels)
    }
}

/// Accepts one label as a string, or several in a list.
impl<'de> Deserialize<'de> for LabelFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LabelsVisitor;
        impl<'de> Visitor<'de> for LabelsVisitor {
            type Value = LabelFilter;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("name=value as a text, or a list of them")
            }

            fn visit_unit<E>(self) -> Result<LabelFilter, E> {
                Ok(LabelFilter::default())
            }

            fn visit_str<E>(self, one: &str) -> Result<LabelFilter, E> {
                Ok(LabelFilter(vec![one.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, many: A) -> Result<LabelFilter, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(many)).map(LabelFilter)
            }
        }
        deserializer.deserialize_any(LabelsVisitor)
    }
}

/// Common properties of the notifications to select.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotificationCriteria {
    /// Statuses, separated by commas. The words of the statistics mean what is counted there:
    /// `pending`, `sent` (including delivered or read since), `failed` (including expired and given
    /// up) and `not_sent`; `status:sent` and `status:failed` mean exactly these statuses. `retried`
    /// means more than one try.
    pub status: Option<String>,
    /// An event type.
    pub r#type: Option<String>,
    pub template: Option<String>,
    /// `whatsapp`, `email`, …
    pub channel: Option<String>,
    /// `name=value`, or several in a list: all must match.
    #[serde(default, skip_serializing_if = "LabelFilter::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub label: LabelFilter,
    pub reference: Option<String>,
    /// A number in E.164, an e-mail address, a user id of WhatsApp, `user:NAME` or `contact:NAME`.
    pub recipient: Option<String>,
    /// RFC 3339: created at or after.
    pub since: Option<String>,
    /// RFC 3339: created before.
    pub until: Option<String>,
}

impl NotificationCriteria {
    /// Whether nothing is set, so that all notifications match.
    pub const fn is_empty(&self) -> bool {
        self.status.is_none()
            && self.r#type.is_none()
            && self.template.is_none()
            && self.channel.is_none()
            && self.label.is_empty()
            && self.reference.is_none()
            && self.recipient.is_none()
            && self.since.is_none()
            && self.until.is_none()
    }

    /// Converts it to the store's filter; pointers of invalid fields begin with `at`.
    ///
    /// # Errors
    /// Every field that cannot be parsed.
    pub fn read(self, at: &str) -> Result<NotificationListFilter, Vec<FieldError>> {
        let mut wrong = Vec::new();
        let mut refuse = |field: &str, rule: String| {
            wrong.push(FieldError {
                pointer: format!("{at}{field}"),
                rule,
            });
        };
        let (mut statuses, mut retried) = (Vec::new(), false);
        for name in self
            .status
            .iter()
            .flat_map(|names| names.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            let alone = name
                .strip_prefix("status:")
                .and_then(NotificationStatus::parse);
            let group = StatusGroup::ALL
                .into_iter()
                .find(|group| group.name() == name);
            match (alone, group, NotificationStatus::parse(name)) {
                (Some(status), ..) | (None, None, Some(status)) => statuses.push(status),
                (None, Some(group), _) => {
                    statuses.extend(
                        NotificationStatus::ALL
                            .into_iter()
                            .filter(|it| it.group() == group),
                    );
                }
                (None, None, None) if name == "retried" => retried = true,
                (None, None, None) => refuse(
                    "status",
                    format!(
                        "one of {} pending not_sent retried status:sent status:failed",
                        NotificationStatus::ALL
                            .map(NotificationStatus::name)
                            .join(" ")
                    ),
                ),
            }
        }
        let mut labels = Vec::new();
        for label in &self.label.0 {
            match label.split_once('=') {
                Some((name, value)) => labels.push((name.to_owned(), value.to_owned())),
                None => refuse("label", "name=value".to_owned()),
            }
        }
        let channel = self.channel.as_deref().map(MessageChannel::parse);
        if channel == Some(None) {
            refuse("channel", MessageChannel::RULE.to_owned());
        }
        if labels.len() > MAX_LABELS {
            refuse("label", format!("at most {MAX_LABELS}"));
        }
        let mut instant = |field: &str, text: Option<&str>| {
            let read = text.map(Timestamp::parse_rfc3339);
            if read == Some(None) {
                refuse(field, "RFC 3339".to_owned());
            }
            read.flatten()
        };
        let since = instant("since", self.since.as_deref());
        let until = instant("until", self.until.as_deref());
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let address = self.recipient.as_deref().and_then(MessageAddress::parse);
        Ok(NotificationListFilter {
            contact: None,
            statuses,
            template: self.template,
            channel: channel.flatten(),
            event_type: self.r#type,
            labels,
            retried,
            reference: self.reference,
            recipient: self.recipient.filter(|_| address.is_none()),
            address: address.map(|address| address.text().to_owned()),
            sender: None,
            due_by: None,
            since,
            until,
            before: None,
            limit: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::LabelFilter;

    #[test]
    fn several_labels_stand_in_one_text() {
        for (text, labels) in [
            ("", &[][..]),
            (" , ", &[]),
            ("class_id=7", &["class_id=7"]),
            ("class_id=7, test=maths", &["class_id=7", "test=maths"]),
            (
                "place=Harare, Zimbabwe,class=7",
                &["place=Harare, Zimbabwe", "class=7"],
            ),
            ("x", &["x"]),
        ] {
            assert_eq!(LabelFilter::of_text(text).0, labels, "{text}");
        }
    }
}
