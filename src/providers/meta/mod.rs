//! Meta's WhatsApp Business Cloud API.

pub mod callback;
pub mod client;
pub mod errors;
mod lenient;
pub mod request;
pub mod signature;
