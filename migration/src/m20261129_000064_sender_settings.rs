//! A sender has what its kind of provider needs as settings; what the engine itself looks for has
//! names that fit every provider.

use crate::Dialect;

pub(crate) fn up(dialect: Dialect) -> String {
    // Values that are null are left out.
    let settings = if dialect == Dialect::Postgres {
        "json_strip_nulls(json_build_object('api_version', api_version, 'api_base', base_url))::text"
    } else {
        "json_patch('{}', json_object('api_version', api_version, 'api_base', base_url))"
    };
    let sql = format!(
        "ALTER TABLE sender RENAME COLUMN phone_number_id TO endpoint_id;
ALTER TABLE sender RENAME COLUMN waba_id TO account_id;
ALTER TABLE sender ADD COLUMN settings {{text}} NOT NULL DEFAULT '{{object}}';
UPDATE sender SET settings = {settings};
ALTER TABLE sender DROP COLUMN api_version;
ALTER TABLE sender DROP COLUMN base_url;
ALTER TABLE parked_status RENAME COLUMN phone_number_id TO endpoint_id;
ALTER TABLE inbound_message RENAME COLUMN phone_number_id TO endpoint_id;
"
    );
    sql.replace("{object}", "{}")
}

pub(crate) fn down(dialect: Dialect) -> String {
    let value = |name: &str| {
        if dialect == Dialect::Postgres {
            format!("settings::json->>'{name}'")
        } else {
            format!("settings->>'{name}'")
        }
    };
    let sql = format!(
        "ALTER TABLE sender RENAME COLUMN endpoint_id TO phone_number_id;
ALTER TABLE sender RENAME COLUMN account_id TO waba_id;
ALTER TABLE sender ADD COLUMN api_version {{text}};
ALTER TABLE sender ADD COLUMN base_url {{text}};
UPDATE sender SET api_version = {}, base_url = {};
ALTER TABLE sender DROP COLUMN settings;
ALTER TABLE parked_status RENAME COLUMN endpoint_id TO phone_number_id;
ALTER TABLE inbound_message RENAME COLUMN endpoint_id TO phone_number_id;
",
        value("api_version"),
        value("api_base"),
    );
    sql
}
