//! Rules, and nothing else: no async, no clock, no randomness, no I/O.
//!
//! What time it is and which number chance drew are arguments, so that a test
//! walks through a day in a millisecond.

pub mod access;
pub mod address;
pub mod alarm;
pub mod attempt_id;
pub mod backlog;
pub mod catalogue;
pub mod category;
pub mod channel;
pub mod cohort;
pub mod content;
pub mod country;
pub mod credential;
pub mod edit;
pub mod facts;
pub mod failure;
pub mod field_error;
pub mod hold;
pub mod horizon;
pub mod identity;
pub mod language;
pub mod latency;
pub mod login;
pub mod markup;
pub mod notification;
pub mod outcome;
pub mod own_event;
pub mod pace;
pub mod phone;
pub mod preference;
pub mod priority;
pub mod quiet;
pub mod recipient;
pub mod retry;
pub mod route;
pub mod rule;
pub mod settings;
pub mod status;
pub mod story;
pub mod strict;
pub mod template;
pub mod text;
pub mod time;
pub mod timeline;
pub mod trigger;
pub mod voice_call;
pub mod window;
pub mod words;
