//! Events, the notifications made of them, the calls made for those, and their timelines.

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
    digest       {bytes} NOT NULL,
    state        {text} NOT NULL,
    -- How far the expansion of its routes has come.
    cursor_at    {text},
    -- The product that posted it, and the key, whose bounds hold for what its routes make.
    product      {text},
    key_id       {uuid},
    -- True: `data` is a ciphertext. Empty data were one, and have been wiped.
    sealed       {bool} NOT NULL DEFAULT false,
    routes       {text} NOT NULL,
    data         {text} NOT NULL,
    UNIQUE (source, external_id)
);
CREATE INDEX event_sealed ON event (id) WHERE sealed;
CREATE INDEX event_product ON event (product, id) WHERE product IS NOT NULL;
CREATE INDEX event_expanding ON event (id) WHERE state = 'expanding';

-- One message to one recipient on one channel.
CREATE TABLE notification (
    id                  {uuid} NOT NULL PRIMARY KEY,
    created_at          bigint NOT NULL,
    updated_at          bigint NOT NULL,
    -- What it was made of: an event by a route, a follow-up by a rule, or a request.
    event_id            {uuid},
    route               {text},
    event_type          {text},
    follow_up_id        {uuid},
    parent_id           {uuid},
    rule                {text},
    depth               bigint NOT NULL,
    product             {text},
    -- Who sends it, to whom, and about whom it is.
    sender_id           {uuid},
    channel             {text} NOT NULL,
    contact_id          {uuid},
    recipient           {text},
    address             {text},
    subject_contact_id  {uuid},
    -- What kind of message it is, and of those that people may turn off, which one.
    kind                {text} NOT NULL,
    message_kind        {text},
    template            {text} NOT NULL,
    -- The template that it was made with, where a fallback has taken its place.
    made_with           {text},
    language            {text},
    category            {text} NOT NULL,
    reference           {text},
    -- The provider's id of the message that this one answers.
    reply_to            {text},
    priority            bigint NOT NULL,
    generation          bigint NOT NULL,
    status              {text} NOT NULL,
    -- The status of one that is not finished.
    open_status         {text},
    engine_state        {text} NOT NULL,
    -- A condition on `status` in an index makes PostgreSQL write every index anew whenever a
    -- status changes; this column changes once, at the end, and for few.
    ended               {text} GENERATED ALWAYS AS (
        CASE WHEN status IN ('failed', 'expired', 'gave_up') THEN 'failed'
             WHEN status IN ('skipped', 'cancelled') THEN 'not_sent' END
    ) {computed},
    -- What it waits for: `sender`, `hold`, `template`, `turn` or `address`.
    held_for            {text},
    reason              {text},
    failure             {text},
    triggered           bigint NOT NULL,
    replied             {bool} NOT NULL,
    insists             {bool} NOT NULL DEFAULT false,
    attempt_count       bigint NOT NULL,
    due_at              bigint,
    wake_at             bigint,
    leased_until        bigint,
    lease_owner         {uuid},
    expires_at          bigint,
    -- Its attempts with their facts, the follow-ups planned for it, and the newest lines of its
    -- timeline, in an encoding of `src/store/notification/record.rs`: all that a status changes.
    record              {bytes},
    -- What it says. `fallback`: the template that takes its place, once, should the window be
    -- closed (JSON).
    labels              {text} NOT NULL,
    params              {text} NOT NULL,
    body                {text},
    fallback            {text},
    -- Its secret parameters, as a ciphertext. Absent: nothing of it is secret. Empty: it was, and
    -- has been wiped.
    sealed              {text}
) {hot};
CREATE INDEX notification_wake ON notification (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX notification_open ON notification (open_status, id) WHERE open_status IS NOT NULL;
CREATE INDEX notification_contact ON notification (contact_id, id);
CREATE INDEX notification_reference ON notification (reference, id) WHERE reference IS NOT NULL;
CREATE UNIQUE INDEX notification_child ON notification (follow_up_id, recipient, channel) WHERE follow_up_id IS NOT NULL;
-- One sender's backlog is not in the way of another's. What has no sender yet is under a value, not
-- under NULL: PostgreSQL would not know that it is in order.
CREATE INDEX notification_queue ON notification (coalesce(sender_id, {nil}), priority, due_at) WHERE due_at IS NOT NULL;
-- Those to a number, and those that were for a person by name.
CREATE INDEX notification_address ON notification (address, id) WHERE address IS NOT NULL;
CREATE INDEX notification_named ON notification (recipient, id) WHERE (address IS NULL OR recipient <> address);
CREATE INDEX notification_ended ON notification (ended, id) WHERE ended IS NOT NULL;
CREATE INDEX notification_sealed ON notification (expires_at) WHERE sealed <> '';
-- Who has a message of an event, or of a rule, already is asked for each chunk of its people.
CREATE INDEX notification_of_event ON notification (event_id, contact_id) WHERE event_id IS NOT NULL;
CREATE INDEX notification_of_follow_up ON notification (follow_up_id, contact_id) WHERE follow_up_id IS NOT NULL;
CREATE INDEX notification_product ON notification (product, id) WHERE product IS NOT NULL;
CREATE INDEX notification_product_open ON notification (product, open_status) WHERE product IS NOT NULL AND open_status IS NOT NULL;
-- What waits is out of the way of the rest: for its sender, for a template, for one person.
CREATE INDEX notification_held ON notification (coalesce(sender_id, {nil}), priority, id)
    WHERE engine_state = 'held' AND held_for IN ('sender', 'hold');
CREATE INDEX notification_template_wait ON notification (sender_id, template, coalesce(language, ''), priority, id)
    WHERE held_for = 'template';
CREATE INDEX notification_person_wait ON notification (contact_id, held_for, sender_id, priority, id)
    WHERE held_for IN ('turn', 'address');

CREATE TABLE notification_label (
    name             {text} NOT NULL,
    value            {text} NOT NULL,
    notification_id  {uuid} NOT NULL,
    PRIMARY KEY (name, value, notification_id)
) {clustered};

-- Which notification a route has made for a deduplication key and a recipient.
CREATE TABLE dedupe (
    route            {text} NOT NULL,
    dedupe_key       {text} NOT NULL,
    recipient        {text} NOT NULL,
    channel          {text} NOT NULL,
    product          {text} NOT NULL DEFAULT '',
    notification_id  {uuid} NOT NULL,
    created_at       bigint NOT NULL,
    PRIMARY KEY (route, dedupe_key, recipient, channel, product)
) {clustered};

-- A call to a provider that came back. Calls that are open are in the records of notifications.
CREATE TABLE attempt (
    id                   {uuid} NOT NULL PRIMARY KEY,
    notification_id      {uuid} NOT NULL,
    sender_id            {uuid} NOT NULL,
    number               bigint NOT NULL,
    outcome              {text},
    answered_at          bigint,
    http_status          bigint,
    provider_message_id  {text},
    request              {text},
    answer               {text}
);
CREATE INDEX attempt_notification ON attempt (notification_id);
CREATE UNIQUE INDEX attempt_provider_message ON attempt (provider_message_id, sender_id) WHERE provider_message_id IS NOT NULL;

-- Lines of the timelines of notifications for which their records have no room, or that were
-- written without them.
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
DROP TABLE timeline;
DROP TABLE attempt;
DROP TABLE dedupe;
DROP TABLE notification_label;
DROP TABLE notification;
DROP TABLE event;
";
