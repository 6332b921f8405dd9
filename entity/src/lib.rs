//! Rows as they are stored: columns and stored enums only, as rules live in `herald::domain`. Tables whose rows are
//! never read whole are known to the SQL of `herald::store` alone.
//!
//! Every `*_at` and `*_until` is microseconds since 1970 in UTC.

pub mod account_fact;
pub mod alarm;
pub mod api_key;
pub mod attempt;
pub mod audit;
pub mod cohort;
pub mod consent;
pub mod contact;
pub mod contact_alias;
pub mod contact_conflict;
pub mod conversation;
pub mod counter;
pub mod credential;
pub mod dead_letter;
pub mod event;
pub mod event_type;
pub mod follow_up;
pub mod heartbeat;
pub mod identity_decision;
pub mod identity_evidence;
pub mod inbound_message;
pub mod login;
pub mod message_kind;
pub mod notice;
pub mod notification;
pub mod notification_label;
pub mod preference;
pub mod sender;
pub mod suppression;
pub mod template;
pub mod template_sync;
pub mod timeline;
