//! Bounds of API keys, and which product a row belongs to.
//!
//! A row without a product (`NULL`; in ledgers and counters an empty text) belongs to none:
//! it was made by a person, or with a key that has no bounds.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    let tables = TABLES.iter().map(|table| table.rebuild(true));
    format!("{KEYS}{}{INDEXES}", tables.collect::<String>())
}

pub(crate) fn down(_: Dialect) -> String {
    let tables = TABLES.iter().map(|table| table.rebuild(false));
    format!("{DOWN}{}{INDEXES}", tables.collect::<String>())
}

/// A table whose primary key gets a product, which takes building it anew on SQLite.
struct Table {
    name: &'static str,
    /// Name and type of the columns of the key without the product.
    key: &'static [(&'static str, &'static str)],
    columns: &'static [(&'static str, &'static str)],
    options: &'static str,
}

impl Table {
    /// With the product, or without it: what products have of their own is lost then.
    fn rebuild(&self, has_product: bool) -> String {
        let product = [("product", "{text}")];
        let added: &[(&str, &str)] = if has_product { &product } else { &[] };
        let list = |columns: &mut dyn Iterator<Item = &(&str, &str)>| {
            columns
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let kept = list(&mut self.key.iter().chain(self.columns));
        let key = list(&mut self.key.iter().chain(added));
        let declared: Vec<String> = self
            .key
            .iter()
            .chain(added)
            .chain(self.columns)
            .map(|(name, kind)| match *name {
                "product" => format!("{name} {kind} NOT NULL DEFAULT ''"),
                _ => format!("{name} {kind} NOT NULL"),
            })
            .collect();
        let (to, read, rest) = if has_product {
            (", product", ", ''", "")
        } else {
            ("", "", " WHERE product = ''")
        };
        format!(
            "CREATE TABLE {name}_of_products ({}, PRIMARY KEY ({key})) {};\n\
             INSERT INTO {name}_of_products ({kept}{to}) SELECT {kept}{read} FROM {name}{rest};\n\
             DROP TABLE {name};\n\
             ALTER TABLE {name}_of_products RENAME TO {name};\n",
            declared.join(", "),
            self.options,
            name = self.name,
        )
    }
}

const TABLES: &[Table] = &[
    Table {
        name: "dedupe",
        key: &[
            ("route", "{text}"),
            ("dedupe_key", "{text}"),
            ("recipient", "{text}"),
            ("channel", "{text}"),
        ],
        columns: &[("notification_id", "{uuid}"), ("created_at", "bigint")],
        options: "{clustered}",
    },
    Table {
        name: "preference",
        key: &[
            ("contact_id", "{uuid} REFERENCES contact (id)"),
            ("message_kind", "{text}"),
            ("channel", "{text}"),
        ],
        columns: &[
            ("created_at", "bigint"),
            ("updated_at", "bigint"),
            ("wanted", "{bool}"),
        ],
        options: "{clustered}",
    },
    Table {
        name: "cohort",
        key: &[
            ("grain", "bigint"),
            ("bucket", "bigint"),
            ("sender_id", "{uuid}"),
            ("channel", "{text}"),
            ("template", "{text}"),
            ("event_type", "{text}"),
            ("slot", "bigint"),
        ],
        columns: &[
            ("created_at", "bigint"),
            ("created", "bigint"),
            ("accepted", "bigint"),
            ("sent", "bigint"),
            ("delivered", "bigint"),
            ("read", "bigint"),
            ("played", "bigint"),
            ("replied", "bigint"),
            ("out", "bigint"),
            ("skipped", "bigint"),
            ("cancelled", "bigint"),
            ("stale", "bigint"),
            ("failed", "bigint"),
        ],
        options: "{clustered} {hot}",
    },
    Table {
        name: "counter",
        key: &[
            ("grain", "bigint"),
            ("bucket", "bigint"),
            ("sender_id", "{uuid}"),
            ("channel", "{text}"),
            ("template", "{text}"),
            ("event_type", "{text}"),
            ("fact", "{text}"),
            ("code", "{text}"),
            ("slot", "bigint"),
        ],
        columns: &[("created_at", "bigint"), ("count", "bigint")],
        options: "{clustered} {hot}",
    },
];

/// Indexes of the tables that were built anew.
const INDEXES: &str = r"
CREATE INDEX cohort_template ON cohort (template, bucket) WHERE grain = 900;
CREATE INDEX cohort_event_type ON cohort (event_type, bucket) WHERE grain = 900;
";

const KEYS: &str = r"

-- `scopes`: words with blanks between them; NULL: all of its role, as before scopes were.
-- `senders`: a JSON list of ids. A key without `source`, `senders` and `catalogue` has no bounds.
ALTER TABLE api_key ADD COLUMN scopes {text};
ALTER TABLE api_key ADD COLUMN source {text};
ALTER TABLE api_key ADD COLUMN senders {text};
ALTER TABLE api_key ADD COLUMN catalogue {text};
ALTER TABLE api_key ADD COLUMN expires_at bigint;
ALTER TABLE api_key ADD COLUMN last_used_at bigint;
CREATE INDEX api_key_catalogue ON api_key (catalogue) WHERE catalogue IS NOT NULL;

-- `key_id`: the key it was posted with, whose bounds hold for what its routes make.
ALTER TABLE event ADD COLUMN product {text};
ALTER TABLE event ADD COLUMN key_id {uuid};
CREATE INDEX event_product ON event (product, id) WHERE product IS NOT NULL;

ALTER TABLE notification ADD COLUMN product {text};
CREATE INDEX notification_product ON notification (product, id) WHERE product IS NOT NULL;
CREATE INDEX notification_product_open ON notification (product, open_status) WHERE product IS NOT NULL AND open_status IS NOT NULL;

-- Whom a product knows, and what it says of them: nobody else reads or changes that.
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

-- At which numbers and user ids a product has reached them, or was told to.
CREATE TABLE product_address (
    product      {text} NOT NULL,
    contact_id   {uuid} NOT NULL REFERENCES contact (id),
    address      {text} NOT NULL,
    created_at   bigint NOT NULL,
    PRIMARY KEY (product, contact_id, address)
) {clustered};
CREATE INDEX product_address_contact ON product_address (contact_id);
CREATE INDEX product_address_address ON product_address (product, address);

";

const DOWN: &str = r"
DROP TABLE product_address;
DROP TABLE product_contact;
DROP INDEX notification_product_open;
DROP INDEX notification_product;
ALTER TABLE notification DROP COLUMN product;
DROP INDEX event_product;
ALTER TABLE event DROP COLUMN key_id;
ALTER TABLE event DROP COLUMN product;
DROP INDEX api_key_catalogue;
ALTER TABLE api_key DROP COLUMN last_used_at;
ALTER TABLE api_key DROP COLUMN expires_at;
ALTER TABLE api_key DROP COLUMN catalogue;
ALTER TABLE api_key DROP COLUMN senders;
ALTER TABLE api_key DROP COLUMN source;
ALTER TABLE api_key DROP COLUMN scopes;
";
