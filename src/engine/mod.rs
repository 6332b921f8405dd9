//! The engine: each operation of Herald as one transaction, using domain, store and providers.
//!
//! Each module may use those above it in this list, and none below it:
//!
//! | module | what it does | not here |
//! |---|---|---|
//! | [`runtime`] | keys, caches, holds, work in progress, a bad item of a batch, retention | decisions about messages |
//! | [`lifecycle`] | moves a notification to its next state, with the consequences | the causes |
//! | [`intake`] | turns events and requests into notifications | sending |
//! | [`verification`] | makes, sends and checks one-time passwords | writing the messages (intake) |
//! | [`people`] | identity, consent, preferences, staff, erasure | parsing of callbacks |
//! | [`delivery`] | claims, sends, settles; follow-ups, templates, windows | callbacks |
//! | [`ingest`] | applies callbacks as facts | their JSON (providers) |
//! | [`admin`] | operator actions on notifications, senders and the hold | pages and commands |
//! | [`catalogue`] | plans and applies catalogues | reading them for messages (runtime) |
//! | [`insight`] | statistics, stories, checks, alarms | changes of messages |

pub mod admin;
pub mod catalogue;
pub mod delivery;
pub mod ingest;
mod input_error;
pub mod insight;
pub mod intake;
pub mod lifecycle;
pub mod people;
pub mod runtime;
pub mod verification;

pub use input_error::InputError;
pub use runtime::Engine;
