//! Which notifications are meant: of a list, or of something done to many.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accept::FieldError;
use crate::{
    domain::{
        status::{Group, Status},
        time::Timestamp,
    },
    store::notification::Filter,
};

/// What notifications have in common.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Statuses, separated by commas; `pending` and `not_sent` mean all of their group,
    /// `retried` the same as `retrying`.
    pub status: Option<String>,
    /// An event type.
    pub r#type: Option<String>,
    pub template: Option<String>,
    /// `name=value`
    pub label: Option<String>,
    pub reference: Option<String>,
    /// A number in E.164, `user:NAME` or `contact:NAME`.
    pub recipient: Option<String>,
    /// RFC 3339: created at or after.
    pub since: Option<String>,
    /// RFC 3339: created before.
    pub until: Option<String>,
}

impl Match {
    /// Whether it says nothing: all notifications there are.
    pub const fn is_empty(&self) -> bool {
        self.status.is_none()
            && self.r#type.is_none()
            && self.template.is_none()
            && self.label.is_none()
            && self.reference.is_none()
            && self.recipient.is_none()
            && self.since.is_none()
            && self.until.is_none()
    }

    /// As the store understands it; pointers of what is wrong begin with `at`.
    ///
    /// # Errors
    /// Every field that cannot be read.
    pub fn read(self, at: &str) -> Result<Filter, Vec<FieldError>> {
        let mut wrong = Vec::new();
        let mut refuse = |field: &str, rule: String| {
            wrong.push(FieldError {
                pointer: format!("{at}{field}"),
                rule,
            });
        };
        let mut statuses = Vec::new();
        for name in self
            .status
            .iter()
            .flat_map(|names| names.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            // Groups, and words that other systems have for them.
            let group = match name {
                "pending" => Some(Group::Pending),
                "not_sent" => Some(Group::NotSent),
                _ => None,
            };
            let named = if name == "retried" { "retrying" } else { name };
            match (group, Status::parse(named)) {
                (Some(group), _) => {
                    statuses.extend(Status::ALL.into_iter().filter(|it| it.group() == group));
                }
                (None, Some(status)) => statuses.push(status),
                (None, None) => refuse(
                    "status",
                    format!(
                        "one of {} pending not_sent retried",
                        Status::ALL.map(Status::name).join(" ")
                    ),
                ),
            }
        }
        let label = self.label.as_deref().map(|label| label.split_once('='));
        if label == Some(None) {
            refuse("label", "name=value".to_owned());
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
        let by_number = self
            .recipient
            .as_deref()
            .is_some_and(|recipient| recipient.starts_with('+'));
        Ok(Filter {
            contact: None,
            statuses,
            template: self.template,
            event_type: self.r#type,
            label: label
                .flatten()
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
            reference: self.reference,
            address: self.recipient.clone().filter(|_| by_number),
            recipient: self.recipient.filter(|_| !by_number),
            sender: None,
            due_by: None,
            since,
            until,
            before: None,
            limit: 0,
        })
    }
}
