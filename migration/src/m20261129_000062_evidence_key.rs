//! Evidence is found by the aliases that it names, and by nothing else: they are its key.

use crate::Dialect;

pub(crate) fn up(dialect: Dialect) -> String {
    if dialect == Dialect::Postgres {
        UP_POSTGRES.to_owned()
    } else {
        rebuilt(
            "PRIMARY KEY (one, other, kind, scope, changed_at)",
            "{clustered}",
        )
    }
}

pub(crate) fn down(dialect: Dialect) -> String {
    if dialect == Dialect::Postgres {
        DOWN_POSTGRES.to_owned()
    } else {
        let unique = "CREATE UNIQUE INDEX identity_evidence_fact ON identity_evidence (one, other, kind, scope, changed_at);";
        rebuilt("PRIMARY KEY (id)", "") + unique
    }
}

const UP_POSTGRES: &str = r"
ALTER TABLE identity_evidence DROP CONSTRAINT identity_evidence_pkey;
ALTER TABLE identity_evidence ADD PRIMARY KEY USING INDEX identity_evidence_fact;
";

const DOWN_POSTGRES: &str = r"
ALTER TABLE identity_evidence DROP CONSTRAINT identity_evidence_fact;
ALTER TABLE identity_evidence ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX identity_evidence_fact ON identity_evidence (one, other, kind, scope, changed_at);
";

/// SQLite changes no key of a table that is there.
fn rebuilt(key: &str, kind: &str) -> String {
    let columns = "id, created_at, kind, scope, one_kind, one, other_kind, other, changed_at, first_at, last_at, source, callback_id";
    format!(
        "CREATE TABLE identity_evidence_new (
    id          {{uuid}} NOT NULL,
    created_at  bigint NOT NULL,
    kind        {{text}} NOT NULL,
    scope       {{text}} NOT NULL,
    one_kind    {{text}} NOT NULL,
    one         {{text}} NOT NULL,
    other_kind  {{text}} NOT NULL,
    other       {{text}} NOT NULL,
    changed_at  bigint NOT NULL,
    first_at    bigint NOT NULL,
    last_at     bigint NOT NULL,
    source      {{text}} NOT NULL,
    callback_id {{uuid}},
    {key}
) {kind};
INSERT INTO identity_evidence_new ({columns}) SELECT {columns} FROM identity_evidence;
DROP TABLE identity_evidence;
ALTER TABLE identity_evidence_new RENAME TO identity_evidence;
CREATE INDEX identity_evidence_other ON identity_evidence (other) WHERE other <> '';
"
    )
}
