//! Meta's WhatsApp Business Cloud API.

pub mod callback;
pub mod client;
pub mod definition;
mod diagnose;
mod directory;
pub mod errors;
pub mod inspect;
mod lenient;
mod provider;
pub mod pulled;
pub mod request;
mod sender_fields;
pub mod signature;
pub mod templates;
mod words;

pub use provider::MetaProvider;
