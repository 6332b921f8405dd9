//! Operator actions on notifications, senders and the hold of sending. Every change is audited.

pub mod operator_actions;
pub mod release;
pub mod senders;
