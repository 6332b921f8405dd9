//! Rows as they are stored. Columns, relations and stored enums only: rules live in `herald::domain`.
//!
//! Every `*_at` and `*_until` is microseconds since 1970 in UTC.

pub mod account_fact;
pub mod alarm;
pub mod api_key;
pub mod attempt;
pub mod audit;
pub mod callback;
pub mod callback_body;
pub mod callback_digest;
pub mod catalogue;
pub mod cohort;
pub mod contact;
pub mod contact_alias;
pub mod contact_conflict;
pub mod conversation;
pub mod counter;
pub mod credential;
pub mod dead_letter;
pub mod dedupe;
pub mod event;
pub mod follow_up;
pub mod group_member;
pub mod heartbeat;
pub mod idempotency;
pub mod identity_change;
pub mod inbound_message;
pub mod login;
pub mod notice;
pub mod notification;
pub mod notification_label;
pub mod parked_status;
pub mod route;
pub mod rule;
pub mod sender;
pub mod session;
pub mod setting;
pub mod suppression;
pub mod template;
pub mod template_sync;
pub mod timeline;
pub mod user_account;
pub mod user_group;
