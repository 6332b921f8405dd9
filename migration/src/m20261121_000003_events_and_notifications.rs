//! Events, the notifications made of them, the calls made for those, and their story.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

CREATE TABLE event (
    id           {uuid} NOT NULL PRIMARY KEY,
    created_at   bigint NOT NULL,
    source       {text} NOT NULL,
    external_id  {text} NOT NULL,
    event_type   {text} NOT NULL,
    subject      {text},
    occurred_at  bigint,
    data         {text} NOT NULL,
    digest       {bytes} NOT NULL,
    state        {text} NOT NULL,
    cursor_at    {text},
    routes       {text} NOT NULL,
    UNIQUE (source, external_id)
);

CREATE TABLE notification (
    id                 {uuid} NOT NULL PRIMARY KEY,
    created_at         bigint NOT NULL,
    updated_at         bigint NOT NULL,
    event_id           {uuid},
    route              {text},
    event_type         {text},
    follow_up_id       {uuid},
    parent_id          {uuid},
    rule               {text},
    depth              bigint NOT NULL,
    sender_id          {uuid},
    channel            {text} NOT NULL,
    contact_id         {uuid},
    recipient          {text},
    address            {text},
    subject_contact_id {uuid},
    kind               {text} NOT NULL,
    template           {text} NOT NULL,
    language           {text},
    category           {text} NOT NULL,
    params             {text} NOT NULL,
    body               {text},
    reference          {text},
    labels             {text} NOT NULL,
    priority           bigint NOT NULL,
    generation         bigint NOT NULL,
    status             {text} NOT NULL,
    open_status        {text},
    engine_state       {text} NOT NULL,
    reason             {text},
    failure            {text},
    triggered          bigint NOT NULL,
    replied            {bool} NOT NULL,
    insists            {bool} NOT NULL DEFAULT false,
    attempt_count      bigint NOT NULL,
    due_at             bigint,
    wake_at            bigint,
    leased_until       bigint,
    expires_at         bigint,
    lease_owner        {uuid}
) {hot};
CREATE INDEX notification_due ON notification (priority, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notification_wake ON notification (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX notification_open ON notification (open_status, id) WHERE open_status IS NOT NULL;
CREATE INDEX notification_event ON notification (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX notification_contact ON notification (contact_id, id);
CREATE INDEX notification_reference ON notification (reference, id) WHERE reference IS NOT NULL;
CREATE UNIQUE INDEX notification_child ON notification (follow_up_id, recipient, channel) WHERE follow_up_id IS NOT NULL;

CREATE TABLE notification_label (
    name             {text} NOT NULL,
    value            {text} NOT NULL,
    notification_id  {uuid} NOT NULL,
    PRIMARY KEY (name, value, notification_id)
) {clustered};

CREATE TABLE dedupe (
    route            {text} NOT NULL,
    dedupe_key       {text} NOT NULL,
    recipient        {text} NOT NULL,
    channel          {text} NOT NULL,
    notification_id  {uuid} NOT NULL,
    created_at       bigint NOT NULL,
    PRIMARY KEY (route, dedupe_key, recipient, channel)
) {clustered};

CREATE TABLE idempotency (
    client       {text} NOT NULL,
    idempotency_key {text} NOT NULL,
    operation    {text} NOT NULL,
    fingerprint  {bytes} NOT NULL,
    resource_id  {uuid} NOT NULL,
    created_at   bigint NOT NULL,
    PRIMARY KEY (client, idempotency_key, operation)
) {clustered};

CREATE TABLE attempt (
    id                   {uuid} NOT NULL PRIMARY KEY,
    created_at           bigint NOT NULL,
    notification_id      {uuid} NOT NULL,
    number               bigint NOT NULL,
    generation           bigint NOT NULL,
    sender_id            {uuid} NOT NULL,
    lease_token          {uuid} NOT NULL,
    outcome              {text},
    answered_at          bigint,
    http_status          bigint,
    provider_message_id  {text},
    accepted_at          bigint,
    sent_at              bigint,
    delivered_at         bigint,
    read_at              bigint,
    played_at            bigint,
    failed_at            bigint,
    implied              bigint NOT NULL,
    failure              {text},
    pricing              {text},
    request              {text},
    answer               {text}
) {hot};
CREATE INDEX attempt_notification ON attempt (notification_id);
CREATE UNIQUE INDEX attempt_provider_message ON attempt (provider_message_id, sender_id) WHERE provider_message_id IS NOT NULL;

CREATE TABLE timeline (
    notification_id  {uuid} NOT NULL,
    id               {uuid} NOT NULL,
    at               bigint NOT NULL,
    kind             {text} NOT NULL,
    provider_at      bigint,
    attempt_id       {uuid},
    callback_id      {uuid},
    detail           {text},
    PRIMARY KEY (notification_id, id)
) {clustered};

";

const DOWN: &str = r"
DROP TABLE timeline; DROP TABLE attempt; DROP TABLE idempotency; DROP TABLE dedupe; DROP TABLE notification_label;
DROP TABLE notification; DROP TABLE event;
";
