//! Who may use the API.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

CREATE TABLE api_key (
    id            {uuid} NOT NULL PRIMARY KEY,
    created_at    bigint NOT NULL,
    name          {text} NOT NULL,
    prefix        {text} NOT NULL,
    digest        {bytes} NOT NULL UNIQUE,
    revoked_at    bigint
);

";

const DOWN: &str = r"
DROP TABLE api_key;
";
