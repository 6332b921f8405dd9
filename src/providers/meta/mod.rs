//! Meta's WhatsApp Business Cloud API.

pub mod callback;
pub mod client;
pub mod definition;
pub mod errors;
pub mod inspect;
mod lenient;
pub mod probe;
pub mod pulled;
pub mod request;
pub mod signature;
pub mod templates;
