//! A number that comes back to its person, and the newest word on every part of a template.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- One name may become the same other name more than once.
CREATE TABLE identity_change (
    kind        {text} NOT NULL,
    old_value   {text} NOT NULL,
    new_value   {text} NOT NULL,
    at          bigint NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (kind, old_value, new_value, at)
) {clustered};
CREATE INDEX identity_change_new ON identity_change (kind, new_value);
INSERT INTO identity_change (kind, old_value, new_value, at, created_at)
    SELECT kind, old_value, new_value, at, created_at FROM identity_link;
DROP TABLE identity_link;

ALTER TABLE template_sync ADD COLUMN category_due {text};
ALTER TABLE template_sync ADD COLUMN category_due_at bigint;
ALTER TABLE template_sync ADD COLUMN components {text};
ALTER TABLE template_sync ADD COLUMN components_at bigint;
";

const DOWN: &str = r"
ALTER TABLE template_sync DROP COLUMN components_at;
ALTER TABLE template_sync DROP COLUMN components;
ALTER TABLE template_sync DROP COLUMN category_due_at;
ALTER TABLE template_sync DROP COLUMN category_due;
CREATE TABLE identity_link (
    kind        {text} NOT NULL,
    old_value   {text} NOT NULL,
    new_value   {text} NOT NULL,
    at          bigint NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (kind, old_value, new_value)
) {clustered};
INSERT INTO identity_link (kind, old_value, new_value, at, created_at)
    SELECT kind, old_value, new_value, min(at), min(created_at) FROM identity_change GROUP BY kind, old_value, new_value;
DROP TABLE identity_change;
";
