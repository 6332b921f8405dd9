//! MyOperator, a provider of WhatsApp in India: its public API for chats.
//!
//! Its documentation of callbacks is not public, so the adapter reads them by what occurs in them
//! and keeps what it does not know. What differs from Meta: numbers are split into country code
//! and the rest, ids of messages are UUIDs, and callbacks carry a secret instead of a signature.

mod callback;
mod client;
mod diagnose;
mod directory;
mod errors;
mod provider;
mod request;
mod secret;
mod sender_fields;

pub use provider::MyOperatorProvider;
