//! What each catalogue wrote, row by row, so that an edit by hand is noticed; how a route
//! sends, and which kind of message it is.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

CREATE TABLE catalogue_row (
    kind        {text} NOT NULL,
    name        {text} NOT NULL,
    created_at  bigint NOT NULL,
    catalogue   {text} NOT NULL,
    fields      {text} NOT NULL,
    PRIMARY KEY (kind, name)
) {clustered};
CREATE INDEX catalogue_row_catalogue ON catalogue_row (catalogue);

-- Rows are compared, not files.
ALTER TABLE catalogue DROP COLUMN digest;

ALTER TABLE route ADD COLUMN message_kind {text};
ALTER TABLE route ADD COLUMN mode {text} NOT NULL DEFAULT 'template';
ALTER TABLE route ADD COLUMN fallback_template {text};

";

const DOWN: &str = r"
ALTER TABLE route DROP COLUMN fallback_template;
ALTER TABLE route DROP COLUMN mode;
ALTER TABLE route DROP COLUMN message_kind;
DROP TABLE catalogue_row;
ALTER TABLE catalogue ADD COLUMN digest {text} NOT NULL DEFAULT '';
";
