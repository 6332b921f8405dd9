//! Makes one change happen, in one transaction, out of domain, store and providers.
//!
//! Each module may use those above it in this list, and none below it:
//!
//! | module | what it does | not here |
//! |---|---|---|
//! | [`runtime`] | keys, caches, holds, what is under way | decisions about messages |
//! | [`lifecycle`] | moves a notification to its next state, with all that follows | why it moves |
//! | [`intake`] | events and requests become notifications | sending |
//! | [`people`] | who is one person, what they want, staff | callbacks as they come |
//! | [`delivery`] | claims, sends, settles; follow-ups, templates, windows | what providers post |
//! | [`ingest`] | callbacks become facts | how their JSON is written (providers) |
//! | [`admin`] | what operators do: to notifications, senders, a hold | pages and commands |
//! | [`catalogue`] | plans and applies catalogues | reading them while messages are made (runtime) |
//! | [`insight`] | statistics, stories, checks, alarms | changes |

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

pub use input_error::InputError;
pub use runtime::Engine;
