//! The status of a template becomes a word of Herald's own, in small letters as all of them.
//!
//! The version before reads one in small letters as one that it does not know: it sends such a
//! template, and learns from the provider's response. It is written anew with the next callback.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    "UPDATE template_sync SET status = lower(status);".to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    "UPDATE template_sync SET status = upper(status);".to_owned()
}
