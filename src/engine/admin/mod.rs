//! What operators do: to notifications, to senders, to a hold. Each change is written down.

pub mod operator_actions;
pub mod release;
pub mod senders;
