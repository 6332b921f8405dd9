//! Reads for people: statistics, stories, checks and alarms. Nothing here changes a message.

pub mod alarms;
pub mod attention;
pub mod check;
pub mod notification_filter;
pub mod statistics;
pub mod story;
