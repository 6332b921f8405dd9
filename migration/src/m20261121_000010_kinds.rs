//! Messages of every kind: templates with more than a body, answers to a
//! message, and a template to fall back to.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- Header, footer and buttons, as the catalogue says them (JSON).
ALTER TABLE template ADD COLUMN extras {text};

-- How long the provider tries to deliver it, in seconds.
ALTER TABLE template ADD COLUMN ttl_seconds bigint;

-- The provider's id of the message that this one answers.
ALTER TABLE notification ADD COLUMN reply_to {text};

-- The template that takes its place, once, should the window be closed (JSON).
ALTER TABLE notification ADD COLUMN fallback {text};

-- What was answered, where that cannot be found out again (JSON).
ALTER TABLE idempotency ADD COLUMN answer {text};
";

const DOWN: &str = r"
ALTER TABLE idempotency DROP COLUMN answer;
ALTER TABLE notification DROP COLUMN fallback;
ALTER TABLE notification DROP COLUMN reply_to;
ALTER TABLE template DROP COLUMN ttl_seconds;
ALTER TABLE template DROP COLUMN extras;
";
