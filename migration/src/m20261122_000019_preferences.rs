//! What people want: kinds of message by channel, and hours in which they sleep.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

CREATE TABLE message_kind (
    name         {text} NOT NULL PRIMARY KEY,
    created_at   bigint NOT NULL,
    description  {text},
    required     {bool} NOT NULL,
    catalogue    {text}
);

-- An empty kind or channel means all of them.
CREATE TABLE preference (
    contact_id    {uuid} NOT NULL REFERENCES contact (id),
    message_kind  {text} NOT NULL,
    channel       {text} NOT NULL,
    created_at    bigint NOT NULL,
    updated_at    bigint NOT NULL,
    wanted        {bool} NOT NULL,
    PRIMARY KEY (contact_id, message_kind, channel)
) {clustered};

-- In minutes after midnight, in the person's zone.
ALTER TABLE contact ADD COLUMN time_zone {text};
ALTER TABLE contact ADD COLUMN quiet_from bigint;
ALTER TABLE contact ADD COLUMN quiet_until bigint;

ALTER TABLE notification ADD COLUMN message_kind {text};

";

const DOWN: &str = r"
ALTER TABLE notification DROP COLUMN message_kind;
ALTER TABLE contact DROP COLUMN quiet_until;
ALTER TABLE contact DROP COLUMN quiet_from;
ALTER TABLE contact DROP COLUMN time_zone;
DROP TABLE preference;
DROP TABLE message_kind;
";
