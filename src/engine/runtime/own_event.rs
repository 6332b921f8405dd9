//! Events of Herald's own.

/// The source of events that Herald itself raises.
pub const SOURCE: &str = "herald";
