//! Settings of the installation, senders, contacts with their aliases, staff and groups.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

CREATE TABLE setting (
    name        {text} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    value       {text} NOT NULL
);

CREATE TABLE sender (
    id                {uuid} NOT NULL PRIMARY KEY,
    created_at        bigint NOT NULL,
    updated_at        bigint NOT NULL,
    kind              {text} NOT NULL,
    name              {text} NOT NULL UNIQUE,
    phone_number_id   {text} UNIQUE,
    waba_id           {text},
    api_version       {text},
    base_url          {text},
    credentials       {text},
    is_default        {bool} NOT NULL,
    state             {text} NOT NULL,
    state_reason      {text},
    pace_per_second   bigint NOT NULL,
    pace_next_at      bigint NOT NULL,
    failures_in_row   bigint NOT NULL,
    probe_at          bigint
) {hot};

CREATE TABLE contact (
    id          {uuid} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    name        {text},
    handle      {text} UNIQUE,
    language    {text},
    catalogue   {text}
);

CREATE TABLE contact_alias (
    kind        {text} NOT NULL,
    value       {text} NOT NULL,
    contact_id  {uuid} NOT NULL REFERENCES contact (id),
    created_at  bigint NOT NULL,
    PRIMARY KEY (kind, value)
) {clustered};
CREATE INDEX contact_alias_contact ON contact_alias (contact_id);

CREATE TABLE user_account (
    id          {uuid} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    name        {text} NOT NULL UNIQUE,
    contact_id  {uuid} REFERENCES contact (id),
    catalogue   {text}
);

CREATE TABLE user_group (
    id           {uuid} NOT NULL PRIMARY KEY,
    created_at   bigint NOT NULL,
    name         {text} NOT NULL UNIQUE,
    description  {text},
    catalogue    {text}
);

CREATE TABLE group_member (
    group_id    {uuid} NOT NULL REFERENCES user_group (id),
    user_id     {uuid} NOT NULL REFERENCES user_account (id),
    created_at  bigint NOT NULL,
    PRIMARY KEY (group_id, user_id)
) {clustered};

CREATE TABLE conversation (
    sender_id        {uuid} NOT NULL REFERENCES sender (id),
    contact_id       {uuid} NOT NULL REFERENCES contact (id),
    created_at       bigint NOT NULL,
    last_inbound_at  bigint,
    window_until     bigint,
    pair_next_at     bigint,
    reminder_at      bigint,
    PRIMARY KEY (sender_id, contact_id)
) {clustered};

";

const DOWN: &str = r"
DROP TABLE conversation; DROP TABLE group_member; DROP TABLE user_group; DROP TABLE user_account;
DROP TABLE contact_alias; DROP TABLE contact; DROP TABLE sender; DROP TABLE setting;
";
