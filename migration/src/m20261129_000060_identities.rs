//! Who is one person: evidence and decisions about aliases, statements of consent by the alias
//! that they came from, and contacts that have become one.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    format!("{TABLES}{}{REPLACED}", carried_over())
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

// `one` and `other`: aliases; `changed_at`: when it happened, for facts that can happen again.
// `scope`: the account that it was observed in.
const TABLES: &str = r"
CREATE TABLE identity_evidence (
    id          {uuid} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    kind        {text} NOT NULL,
    scope       {text} NOT NULL,
    one_kind    {text} NOT NULL,
    one         {text} NOT NULL,
    other_kind  {text} NOT NULL,
    other       {text} NOT NULL,
    changed_at  bigint NOT NULL,
    first_at    bigint NOT NULL,
    last_at     bigint NOT NULL,
    source      {text} NOT NULL,
    callback_id {uuid}
);
CREATE UNIQUE INDEX identity_evidence_fact ON identity_evidence (one, other, kind, scope, changed_at);
CREATE INDEX identity_evidence_other ON identity_evidence (other) WHERE other <> '';

CREATE TABLE identity_decision (
    id          {uuid} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    verdict     {text} NOT NULL,
    one_kind    {text} NOT NULL,
    one         {text} NOT NULL,
    other_kind  {text} NOT NULL,
    other       {text} NOT NULL,
    group_id    {uuid} NOT NULL,
    decided_at  bigint NOT NULL,
    actor       {text} NOT NULL
);
CREATE UNIQUE INDEX identity_decision_pair ON identity_decision (one, other, verdict, group_id);
CREATE INDEX identity_decision_other ON identity_decision (other) WHERE other <> '';

-- What people have said, by the alias that it came from; empty: not named. `contact_id`: nil, or
-- whose it is whatever alias it came from.
CREATE TABLE consent (
    id             {uuid} NOT NULL PRIMARY KEY,
    created_at     bigint NOT NULL,
    contact_id     {uuid} NOT NULL,
    user_id        {text} NOT NULL,
    phone          {text} NOT NULL,
    parent_user_id {text} NOT NULL,
    scope          {text} NOT NULL,
    wanted         {bool} NOT NULL,
    source         {text} NOT NULL,
    provider_at    bigint NOT NULL,
    callback_id    {uuid}
);
CREATE UNIQUE INDEX consent_statement ON consent (phone, user_id, contact_id, parent_user_id, scope, provider_at, wanted);
CREATE INDEX consent_user_id ON consent (user_id) WHERE user_id <> '';
CREATE INDEX consent_contact ON consent (contact_id) WHERE contact_id <> {nil};

-- A contact is the person that had `anchor` at `anchor_at`.
ALTER TABLE contact ADD COLUMN anchor_kind {text};
ALTER TABLE contact ADD COLUMN anchor {text};
ALTER TABLE contact ADD COLUMN anchor_at bigint;
-- Which contact it has become a part of, since when, and what it had of its own.
ALTER TABLE contact ADD COLUMN merged_into {uuid};
ALTER TABLE contact ADD COLUMN merged_at bigint;
ALTER TABLE contact ADD COLUMN merged_detail {text};
-- Contacts that stay two and act as one have the same one.
ALTER TABLE contact ADD COLUMN identity_id {uuid};
-- It is not decided whose one of its numbers is.
ALTER TABLE contact ADD COLUMN unsettled {bool} NOT NULL DEFAULT false;
ALTER TABLE contact ADD COLUMN profile_name {text};
ALTER TABLE contact ADD COLUMN profile_name_at bigint;
ALTER TABLE contact ADD COLUMN username {text};
ALTER TABLE contact ADD COLUMN username_at bigint;
CREATE INDEX contact_anchor ON contact (anchor) WHERE anchor IS NOT NULL;
CREATE INDEX contact_merged ON contact (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX contact_identity ON contact (identity_id) WHERE identity_id IS NOT NULL;

-- `since`: the contact has it from then on; 0: always. `given`: by a person or a product, and not
-- only by the provider. `seen_at`: when the provider first named it.
ALTER TABLE contact_alias ADD COLUMN since bigint NOT NULL DEFAULT 0;
ALTER TABLE contact_alias ADD COLUMN given {bool} NOT NULL DEFAULT true;
ALTER TABLE contact_alias ADD COLUMN seen_at bigint;

-- What a message opened, and the aliases that it came from.
ALTER TABLE inbound_message ADD COLUMN from_phone {text};
ALTER TABLE inbound_message ADD COLUMN from_user_id {text};
ALTER TABLE inbound_message ADD COLUMN from_parent_user_id {text};
ALTER TABLE inbound_message ADD COLUMN window_until bigint;
ALTER TABLE inbound_message ADD COLUMN free_entry_until bigint;

-- `question`, `contradiction`, `linked`; rows from before: `contradiction`.
ALTER TABLE contact_conflict ADD COLUMN state {text} NOT NULL DEFAULT 'contradiction';
ALTER TABLE contact_conflict ADD COLUMN since bigint NOT NULL DEFAULT 0;
ALTER TABLE contact_conflict ADD COLUMN due_at bigint;
CREATE INDEX contact_conflict_due ON contact_conflict (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX contact_conflict_contact ON contact_conflict (contact_id);
CREATE INDEX contact_conflict_other ON contact_conflict (other_id);
";

/// What was known before, as evidence.
fn carried_over() -> String {
    // Ids are compared within one account: of several it cannot be told which one it was.
    let scope =
        "(SELECT CASE WHEN count(DISTINCT waba_id) = 1 THEN min(waba_id) ELSE '' END FROM sender)";
    // An id of its own for each row, made of those that are there.
    let evidence = |kind: &str, values: &str, from: &str, id: &str| {
        format!(
            "INSERT INTO identity_evidence (id, created_at, kind, scope, one_kind, one, other_kind, other, changed_at, first_at, last_at, source) \
             SELECT {id}, x.created_at, '{kind}', {scope}, {values}, 'migration' FROM {from} ON CONFLICT DO NOTHING;\n"
        )
    };
    let new_id = "{new_id}";
    let pair = |kind: &str, one: &str, other: &str| {
        evidence(
            kind,
            "x.kind, x.value, y.kind, y.value, 0, x.created_at, x.created_at",
            &format!(
                "contact_alias x JOIN contact_alias y ON y.contact_id = x.contact_id AND y.kind = '{other}' \
                 AND y.superseded_at IS NULL WHERE x.kind = '{one}' AND x.superseded_at IS NULL"
            ),
            new_id,
        )
    };
    let changed = |kind: &str, condition: &str| {
        evidence(
            kind,
            "x.kind, x.old_value, x.kind, x.new_value, x.at, x.at, x.at",
            &format!("identity_change x WHERE {condition}"),
            new_id,
        )
    };
    let mut sql = String::new();
    // What WhatsApp calls a number is the number.
    sql.push_str(
        "UPDATE contact_alias SET seen_at = created_at WHERE kind = 'phone' AND EXISTS \
         (SELECT 1 FROM contact_alias w WHERE w.kind = 'wa_id' AND '+' || w.value = contact_alias.value \
          AND w.contact_id = contact_alias.contact_id);\n\
         DELETE FROM contact_alias WHERE kind = 'wa_id' AND EXISTS \
         (SELECT 1 FROM contact_alias p WHERE p.kind = 'phone' AND p.value = '+' || contact_alias.value);\n\
         UPDATE contact_alias SET kind = 'phone', value = '+' || value, given = false, seen_at = created_at WHERE kind = 'wa_id';\n",
    );
    sql.push_str(&evidence(
        "variant",
        "'phone', x.value, 'phone', y.value, 0, x.created_at, x.created_at",
        "contact_alias x JOIN contact_alias y ON y.contact_id = x.contact_id AND y.kind = 'phone' AND y.given = false \
         AND y.superseded_at IS NULL WHERE x.kind = 'phone' AND x.given = true AND x.superseded_at IS NULL",
        new_id,
    ));
    sql.push_str(&pair("together", "phone", "bsuid"));
    sql.push_str(&pair("parent", "bsuid", "parent_bsuid"));
    sql.push_str(&changed("moved", "x.kind = 'phone'"));
    sql.push_str(&changed("replaced", "x.kind IN ('bsuid', 'parent_bsuid')"));
    let anchored = ["phone", "bsuid", "parent_bsuid"].map(|kind| {
        let own = format!(
            "FROM contact_alias a WHERE a.contact_id = contact.id AND a.kind = '{kind}' AND a.superseded_at IS NULL"
        );
        format!(
            "UPDATE contact SET anchor_kind = '{kind}', anchor_at = created_at, anchor = (SELECT min(a.value || '') {own}) \
             WHERE anchor IS NULL AND deleted_at IS NULL AND EXISTS (SELECT 1 {own});\n"
        )
    });
    sql.push_str(&anchored.concat());
    sql.push_str(
        "UPDATE contact_alias SET given = false WHERE kind <> 'phone' AND EXISTS \
         (SELECT 1 FROM contact c WHERE c.id = contact_alias.contact_id AND c.handle IS NULL AND c.catalogue IS NULL);\n\
         INSERT INTO consent (id, created_at, contact_id, user_id, phone, parent_user_id, scope, wanted, source, provider_at, callback_id) \
         SELECT {new_id}, x.created_at, x.contact_id, '', '', '', x.scope, x.wanted, x.source, x.provider_at, x.callback_id \
         FROM suppression x;\n\
         UPDATE inbound_message SET window_until = sent_at + 86400000000 \
         WHERE group_id IS NULL AND kind NOT IN ('system', 'edit', 'revoke');\n",
    );
    sql
}

const REPLACED: &str = r"
DROP TABLE identity_change;
";

const DOWN: &str = r"
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
    SELECT one_kind, one, other, changed_at, created_at FROM identity_evidence WHERE kind IN ('moved', 'replaced')
    ON CONFLICT DO NOTHING;
DROP INDEX contact_conflict_other;
DROP INDEX contact_conflict_contact;
DROP INDEX contact_conflict_due;
ALTER TABLE contact_conflict DROP COLUMN due_at;
ALTER TABLE contact_conflict DROP COLUMN since;
ALTER TABLE contact_conflict DROP COLUMN state;
ALTER TABLE inbound_message DROP COLUMN free_entry_until;
ALTER TABLE inbound_message DROP COLUMN window_until;
ALTER TABLE inbound_message DROP COLUMN from_parent_user_id;
ALTER TABLE inbound_message DROP COLUMN from_user_id;
ALTER TABLE inbound_message DROP COLUMN from_phone;
ALTER TABLE contact_alias DROP COLUMN seen_at;
ALTER TABLE contact_alias DROP COLUMN given;
ALTER TABLE contact_alias DROP COLUMN since;
DROP INDEX contact_identity;
DROP INDEX contact_merged;
DROP INDEX contact_anchor;
ALTER TABLE contact DROP COLUMN username_at;
ALTER TABLE contact DROP COLUMN username;
ALTER TABLE contact DROP COLUMN profile_name_at;
ALTER TABLE contact DROP COLUMN profile_name;
ALTER TABLE contact DROP COLUMN unsettled;
ALTER TABLE contact DROP COLUMN identity_id;
ALTER TABLE contact DROP COLUMN merged_detail;
ALTER TABLE contact DROP COLUMN merged_at;
ALTER TABLE contact DROP COLUMN merged_into;
ALTER TABLE contact DROP COLUMN anchor_at;
ALTER TABLE contact DROP COLUMN anchor;
ALTER TABLE contact DROP COLUMN anchor_kind;
DROP TABLE consent;
DROP TABLE identity_decision;
DROP TABLE identity_evidence;
";
