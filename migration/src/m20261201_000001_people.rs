//! People: contacts and their aliases, who is one person, what people want, staff and groups.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- A person who can receive messages: the one that had the alias `anchor` at `anchor_at`.
CREATE TABLE contact (
    id               {uuid} NOT NULL PRIMARY KEY,
    created_at       bigint NOT NULL,
    name             {text},
    handle           {text} UNIQUE,
    language         {text},
    time_zone        {text},
    -- Quiet hours, in minutes after midnight of the time zone.
    quiet_from       bigint,
    quiet_until      bigint,
    catalogue        {text},
    -- What the person calls themselves, as the provider reports it.
    profile_name     {text},
    profile_name_at  bigint,
    username         {text},
    username_at      bigint,
    anchor_kind      {text},
    anchor           {text},
    anchor_at        bigint,
    -- Contacts that stay two and act as one have the same one.
    identity_id      {uuid},
    -- It is not decided whose one of its numbers is.
    unsettled        {bool} NOT NULL DEFAULT false,
    -- The contact that it has become a part of, since when, and what it had of its own (JSON).
    merged_into      {uuid},
    merged_at        bigint,
    merged_detail    {text},
    -- Nothing is left of the person; notifications, which are kept for longer, still point here.
    deleted_at       bigint
);
CREATE INDEX contact_anchor ON contact (anchor) WHERE anchor IS NOT NULL;
CREATE INDEX contact_merged ON contact (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX contact_identity ON contact (identity_id) WHERE identity_id IS NOT NULL;

-- A phone number or user id of a contact.
CREATE TABLE contact_alias (
    kind           {text} NOT NULL,
    value          {text} NOT NULL,
    contact_id     {uuid} NOT NULL REFERENCES contact (id),
    created_at     bigint NOT NULL,
    -- The contact has it from then on; 0: always.
    since          bigint NOT NULL DEFAULT 0,
    -- By a person or a product, and not only by the provider.
    given          {bool} NOT NULL DEFAULT true,
    -- When the provider first named it.
    seen_at        bigint,
    -- When the person got another number or id: a message after it is another person's.
    superseded_at  bigint,
    PRIMARY KEY (kind, value)
) {clustered};
CREATE INDEX contact_alias_contact ON contact_alias (contact_id);

-- Two contacts that claim the same alias. `state`: `question`, `contradiction` or `linked`.
CREATE TABLE contact_conflict (
    id           {uuid} NOT NULL PRIMARY KEY,
    created_at   bigint NOT NULL,
    kind         {text} NOT NULL,
    value        {text} NOT NULL,
    contact_id   {uuid} NOT NULL,
    other_id     {uuid} NOT NULL,
    callback_id  {uuid},
    state        {text} NOT NULL DEFAULT 'contradiction',
    since        bigint NOT NULL DEFAULT 0,
    -- When a question counts as a move.
    due_at       bigint,
    UNIQUE (kind, value, contact_id, other_id)
);
CREATE INDEX contact_conflict_due ON contact_conflict (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX contact_conflict_contact ON contact_conflict (contact_id);
CREATE INDEX contact_conflict_other ON contact_conflict (other_id);

-- What a provider has shown about one alias, or two. Evidence is found by the aliases that it
-- names, and by nothing else: they are its key. `scope`: the account that it was observed in.
-- `changed_at`: when it happened, for facts that can happen again.
CREATE TABLE identity_evidence (
    id           {uuid} NOT NULL,
    created_at   bigint NOT NULL,
    kind         {text} NOT NULL,
    scope        {text} NOT NULL,
    one_kind     {text} NOT NULL,
    one          {text} NOT NULL,
    other_kind   {text} NOT NULL,
    other        {text} NOT NULL,
    changed_at   bigint NOT NULL,
    first_at     bigint NOT NULL,
    last_at      bigint NOT NULL,
    source       {text} NOT NULL,
    callback_id  {uuid},
    PRIMARY KEY (one, other, kind, scope, changed_at)
) {clustered};
CREATE INDEX identity_evidence_other ON identity_evidence (other) WHERE other <> '';

-- What an operator has decided about two aliases, or about one of a group.
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
    id              {uuid} NOT NULL PRIMARY KEY,
    created_at      bigint NOT NULL,
    contact_id      {uuid} NOT NULL,
    user_id         {text} NOT NULL,
    phone           {text} NOT NULL,
    parent_user_id  {text} NOT NULL,
    scope           {text} NOT NULL,
    wanted          {bool} NOT NULL,
    source          {text} NOT NULL,
    provider_at     bigint NOT NULL,
    callback_id     {uuid}
);
CREATE UNIQUE INDEX consent_statement ON consent (phone, user_id, contact_id, parent_user_id, scope, provider_at, wanted);
CREATE INDEX consent_user_id ON consent (user_id) WHERE user_id <> '';
CREATE INDEX consent_contact ON consent (contact_id) WHERE contact_id <> {nil};

-- What a contact wants according to its consent, newest by the provider's time.
CREATE TABLE suppression (
    contact_id   {uuid} NOT NULL,
    scope        {text} NOT NULL,
    created_at   bigint NOT NULL,
    wanted       {bool} NOT NULL,
    source       {text} NOT NULL,
    provider_at  bigint NOT NULL,
    callback_id  {uuid},
    PRIMARY KEY (contact_id, scope)
) {clustered};

-- Whether a contact wants a kind of message on a channel; an empty kind or channel means all of
-- them. An empty product: what holds for every product.
CREATE TABLE preference (
    contact_id    {uuid} NOT NULL REFERENCES contact (id),
    message_kind  {text} NOT NULL,
    channel       {text} NOT NULL,
    product       {text} NOT NULL DEFAULT '',
    created_at    bigint NOT NULL,
    updated_at    bigint NOT NULL,
    wanted        {bool} NOT NULL,
    PRIMARY KEY (contact_id, message_kind, channel, product)
) {clustered};

-- Whom a product knows, and what it says of them: no other product reads or changes that.
CREATE TABLE product_contact (
    product      {text} NOT NULL,
    contact_id   {uuid} NOT NULL REFERENCES contact (id),
    created_at   bigint NOT NULL,
    name         {text},
    handle       {text},
    language     {text},
    time_zone    {text},
    quiet_from   bigint,
    quiet_until  bigint,
    PRIMARY KEY (product, contact_id)
) {clustered};
CREATE INDEX product_contact_contact ON product_contact (contact_id);
CREATE UNIQUE INDEX product_contact_handle ON product_contact (product, handle) WHERE handle IS NOT NULL;

-- At which numbers and user ids a product has reached them, or named them.
CREATE TABLE product_address (
    product     {text} NOT NULL,
    contact_id  {uuid} NOT NULL REFERENCES contact (id),
    address     {text} NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (product, contact_id, address)
) {clustered};
CREATE INDEX product_address_contact ON product_address (contact_id);
CREATE INDEX product_address_address ON product_address (product, address);

-- A staff member: `user:NAME` in catalogues.
CREATE TABLE user_account (
    id          {uuid} NOT NULL PRIMARY KEY,
    created_at  bigint NOT NULL,
    name        {text} NOT NULL UNIQUE,
    contact_id  {uuid} REFERENCES contact (id),
    catalogue   {text}
);
CREATE INDEX user_account_contact ON user_account (contact_id) WHERE contact_id IS NOT NULL;

-- A group of staff members.
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
CREATE INDEX group_member_user ON group_member (user_id);

";

const DOWN: &str = r"
DROP TABLE group_member;
DROP TABLE user_group;
DROP TABLE user_account;
DROP TABLE product_address;
DROP TABLE product_contact;
DROP TABLE preference;
DROP TABLE suppression;
DROP TABLE consent;
DROP TABLE identity_decision;
DROP TABLE identity_evidence;
DROP TABLE contact_conflict;
DROP TABLE contact_alias;
DROP TABLE contact;
";
