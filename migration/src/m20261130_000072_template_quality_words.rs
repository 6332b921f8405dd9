//! The quality of a template becomes a word of Herald's own, in small letters as all of them.
//! Categories have been written so from the start.
//!
//! The version before shows what it finds. It writes capitals, which this version reads as a quality
//! that it does not know until the next report, and takes the same quality in other letters for a
//! change: while both run, a template may raise `herald.template.quality` without one.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    "UPDATE template_sync SET quality = lower(quality);".to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    "UPDATE template_sync SET quality = upper(quality);".to_owned()
}
