//! What slows a sender down, and for how long.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- Asked to slow down: to so many thousandths of the pace, at this time.
ALTER TABLE sender ADD COLUMN slowed_to bigint NOT NULL DEFAULT 1000;
ALTER TABLE sender ADD COLUMN slowed_at bigint NOT NULL DEFAULT 0;

-- Reported as spam: no marketing until then.
ALTER TABLE sender ADD COLUMN marketing_held_until bigint;
";

const DOWN: &str = r"
ALTER TABLE sender DROP COLUMN marketing_held_until;
ALTER TABLE sender DROP COLUMN slowed_at;
ALTER TABLE sender DROP COLUMN slowed_to;
";
