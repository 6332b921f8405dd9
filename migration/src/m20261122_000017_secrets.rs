//! What is secret in a message or an event: sealed in its row, and wiped in the end.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- Absent: nothing of it is secret. Empty: it was, and has been wiped.
ALTER TABLE notification ADD COLUMN sealed {text};
CREATE INDEX notification_sealed ON notification (expires_at) WHERE sealed <> '';

-- True: `data` is sealed. Empty data were sealed, and have been wiped.
ALTER TABLE event ADD COLUMN sealed {bool} NOT NULL DEFAULT false;
CREATE INDEX event_sealed ON event (id) WHERE sealed;

CREATE TABLE event_type (
    name         {text} NOT NULL PRIMARY KEY,
    created_at   bigint NOT NULL,
    description  {text},
    sensitive    {bool} NOT NULL,
    example      {text},
    catalogue    {text}
);

";

const DOWN: &str = r"
DROP TABLE event_type;
DROP INDEX event_sealed;
ALTER TABLE event DROP COLUMN sealed;
DROP INDEX notification_sealed;
ALTER TABLE notification DROP COLUMN sealed;
";
