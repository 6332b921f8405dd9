//! The template that a notification was made with, where a fallback has taken its place.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"
ALTER TABLE notification ADD COLUMN made_with {text};
";

const DOWN: &str = r"
ALTER TABLE notification DROP COLUMN made_with;
";
