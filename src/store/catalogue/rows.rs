//! Rows that catalogues own: the shape of each kind.
//!
//! An absent field that is skipped in serialization is not under the catalogue's control: a
//! telephone number that a person gave us, a link or a membership made by hand stay.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    quiet::QuietHours, rule::FollowUpRuleMessage, transition::NotificationTransition,
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueContactRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// In E.164.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// WhatsApp's user id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueStaffMemberRow {
    /// The contact's name in the catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueGroupRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names of users, sorted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueMessageKindRow {
    pub description: Option<String>,
    pub required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueEventTypeRow {
    pub description: Option<String>,
    pub sensitive: bool,
    pub example: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueTemplateRow {
    pub category: String,
    pub parameter_format: String,
    pub body: String,
    /// Header, footer, buttons and parameters.
    pub extras: Option<Value>,
    pub ttl_seconds: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueRouteRow {
    pub event_type: String,
    pub condition: Option<String>,
    pub recipients: Vec<String>,
    pub about: Option<String>,
    pub template: String,
    pub language: Option<String>,
    pub channel: String,
    pub params: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub reference: Option<String>,
    pub dedupe_key: Option<String>,
    pub priority: String,
    pub expires_after_seconds: Option<i64>,
    pub sender: Option<String>,
    pub message_kind: Option<String>,
    pub mode: String,
    pub fallback_template: Option<String>,
    /// The channels after the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_channels: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_after_seconds: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueRuleRow {
    pub on: NotificationTransition,
    pub condition: Option<String>,
    pub after_seconds: i64,
    pub unless: Vec<NotificationTransition>,
    pub send: FollowUpRuleMessage,
    pub chain: bool,
}
