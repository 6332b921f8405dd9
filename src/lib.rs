//! Herald sends WhatsApp notifications and knows what became of them.
//!
//! The map. Ask in this order where a line of code belongs; the first yes wins:
//!
//! 1. reads the environment → [`config`]
//! 2. parses command-line words or prints for a terminal → [`cli`]
//! 3. knows how a provider writes its JSON, headers, signatures, codes → [`providers`]
//! 4. contains SQL or a sea-orm type → [`store`]
//! 5. names an actix type or an HTTP status → [`http`] (the API and the webhook) or
//!    [`dashboard`] (pages for people)
//! 6. decides something from its arguments alone → [`domain`]
//! 7. makes one change happen, in one transaction → [`engine`], which has a list of its own
//! 8. runs without a request → [`workers`]
//! 9. pretends to be Meta → [`sandbox`]
//! 10. puts the parts together → [`app`]
//!
//! Arrows point down only: `main → cli → app → { http, dashboard, workers } → engine →
//! { store, providers } → domain`; `store → entity`; `cli → sandbox`. A test
//! (`tests/it/boundaries.rs`) reads the `use` lines and holds them.

pub mod app;
pub mod cli;
pub mod config;
pub mod dashboard;
pub mod domain;
pub mod engine;
pub mod error;
pub mod http;
pub mod providers;
pub mod sandbox;
pub mod shutdown;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod workers;
