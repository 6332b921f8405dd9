//! Callbacks of two classes, what people write and news of accounts before statuses; and events
//! that are being expanded, found without looking at all.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

// What the version before stores beside this one says nothing of its class: it goes first.
const UP: &str = r"
ALTER TABLE callback ADD COLUMN urgent {bool} NOT NULL DEFAULT true;
CREATE INDEX callback_unapplied ON callback (urgent, leased_until) WHERE processed_at IS NULL;
DROP INDEX callback_waiting;
CREATE INDEX event_expanding ON event (id) WHERE state = 'expanding';
";

const DOWN: &str = r"
DROP INDEX event_expanding;
CREATE INDEX callback_waiting ON callback (leased_until) WHERE processed_at IS NULL;
DROP INDEX callback_unapplied;
ALTER TABLE callback DROP COLUMN urgent;
";
