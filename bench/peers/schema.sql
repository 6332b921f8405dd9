-- What both peers work on. As in Herald, a notification's pages keep room for updates in place.
CREATE TABLE notification (
    wamid text PRIMARY KEY,
    state smallint NOT NULL DEFAULT 0,
    sent_at timestamptz,
    delivered_at timestamptz,
    read_at timestamptz
) WITH (fillfactor = 75);

CREATE TABLE callback (
    digest bytea PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now(),
    body bytea NOT NULL
);
