//! Herald sends WhatsApp notifications and tracks their delivery.
//!
//! A map of the modules. To find where a line of code belongs, ask in this order; the first yes
//! wins:
//!
//! 1. reads the environment, or declares a setting that only a process needs → [`config`]; declares
//!    one that rules or the engine decide by → [`domain::settings`]
//! 2. parses command-line words or prints for a terminal → [`cli`]
//! 3. makes an HTTP call, except as Meta (9), or knows a provider's JSON, headers, signatures, or a
//!    table that it publishes (error codes, prices, limits) → [`providers`]
//! 4. contains SQL or a sea-orm type → [`store`]
//! 5. names an actix type or an HTTP status → [`http`] (the API and the webhook) or [`dashboard`]
//! 6. decides something from its arguments alone → [`domain`]
//! 7. makes one change in one transaction, with domain, store and providers → [`engine`], which has
//!    a list of its own
//! 8. runs without a request → [`workers`]
//! 9. simulates Meta → [`sandbox`]
//! 10. says how log lines are written, which buckets a metric has, or where either is sent → [`telemetry`]
//! 11. assembles the parts → [`app`]
//!
//! Dependencies point down only: `main → cli → app → { http, dashboard, workers } → engine →
//! { store, providers } → domain`; `store → entity`; `cli → sandbox`. A test
//! (`tests/it/boundaries.rs`) checks the `use` lines.

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
