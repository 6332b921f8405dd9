//! Contacts that were deleted: notifications, which are kept for long, still point at them.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"
ALTER TABLE contact ADD COLUMN deleted_at bigint;
";

const DOWN: &str = r"
ALTER TABLE contact DROP COLUMN deleted_at;
";
