//! Every setting: its name, its default, what it means. The only place that
//! reads the environment; all mistakes are reported together, by name.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};

pub mod env_file;
mod environment;
mod settings;

pub use environment::{Values, from_environment, operator};
pub use settings::{SETTINGS, Setting};

use crate::domain::{
    address::Proxies,
    credential::PUBLISHED,
    notification::{Policy, UnknownPolicies, UnknownPolicy},
    pace::PairPace,
    preference::Words,
    retry::RetryPolicy,
};

/// What is wrong with the settings, all of it.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{} wrong:",
            if self.0.len() == 1 {
                "one setting is"
            } else {
                "several settings are"
            }
        )?;
        for mistake in &self.0 {
            writeln!(formatter, "  - {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// How strict to be about secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// A blank or published secret is refused.
    Production,
    /// `herald dev`: everything is on one laptop.
    Development,
}

/// What stands before PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooler {
    None,
    /// PgBouncer in transaction mode, or a pooler like it.
    Transaction,
}

/// The settings, read and checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// How people and Meta reach this server, without a slash at the end.
    pub public_url: Option<String>,
    pub data_dir: PathBuf,
    pub database_url: SecretString,
    pub database_connections: u32,
    pub database_pooler: Pooler,
    pub database_timeout: Duration,
    pub secret_key: Option<SecretString>,
    /// The key that was used until now: what it encrypted is encrypted anew.
    pub secret_key_previous: Option<SecretString>,
    /// Where the mark outside of the database is kept: a file, or a second database.
    pub state_mark: Option<SecretString>,
    pub whatsapp_enabled: bool,
    /// Meta's id of the environment's number.
    pub phone_number_id: Option<String>,
    pub waba_id: Option<String>,
    /// Absent: the number's sender has one in the database, or its queue is held.
    pub access_token: Option<SecretString>,
    pub app_secrets: Vec<SecretString>,
    pub verify_token: Option<SecretString>,
    pub api_version: String,
    pub api_base: String,
    pub send_slots: usize,
    /// None: as the provider of each number reports it.
    pub send_per_second: Option<i64>,
    pub pair: PairPace,
    pub send_timeout: Duration,
    pub connect_timeout: Duration,
    pub policy: Policy,
    pub expires_after_seconds: i64,
    pub authentication_expires_after_seconds: i64,
    pub parked_seconds: i64,
    pub words: Words,
    pub window_closing_seconds: i64,
    pub mark_read: bool,
    pub identity_patience_seconds: i64,
    pub silent_after_seconds: i64,
    pub alarm_failure_percent: i64,
    pub alarm_stale_percent: i64,
    pub alarm_queue_age_seconds: i64,
    pub bodies_days: i64,
    pub timeline_days: i64,
    pub notifications_days: i64,
    pub credential_old_days: i64,
    pub credential_warning_days: i64,
    pub inbox_bytes: usize,
    pub inbox_wait: Duration,
    /// An answer to a callback waits no longer than this when applying is behind.
    pub backlog_delay: Duration,
    pub reserved_disk_bytes: i64,
    pub backlog_bytes: i64,
    pub http_workers: usize,
    /// Proxies whose word about the client's address is believed.
    pub trusted_proxies: Proxies,
    /// Open connections, at most; fewer where the file limit does not allow them.
    pub http_connections: usize,
    pub http_connections_per_address: usize,
    pub http_wait: Duration,
    pub http_body_wait: Duration,
    /// In bytes per second.
    pub http_least_rate: u32,
    /// Settings that catalogues may use: all that is `For catalogues`.
    pub catalogue_values: BTreeMap<&'static str, Option<String>>,
    /// Appended to the names of templates at Meta.
    pub template_suffix: Option<String>,
    pub log: String,
    pub log_json: bool,
}

/// Settings that a catalogue may use as `${NAME:-default}`; none is secret.
const FOR_CATALOGUES: [&str; 3] = [
    "ADMIN_NOTIFICATION_FALLBACK_TEMPLATE_NAME",
    "INVOICE_PROCESSED_NOTIFICATION_GROUPS",
    "SOLAR_CRM_SENDER",
];

struct Reader<'a> {
    values: &'a HashMap<String, String>,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    /// The value of a setting, by name or alias; its default otherwise. Blank is absent.
    fn text(&self, name: &str) -> Option<String> {
        let known = SETTINGS.iter().find(|setting| setting.name == name)?;
        [Some(known.name), known.alias]
            .into_iter()
            .flatten()
            .filter_map(|name| self.values.get(name))
            .map(|value| value.trim())
            .find(|value| !value.is_empty())
            .or(known.default)
            .map(str::to_owned)
    }

    fn parse<T: std::str::FromStr>(&mut self, name: &str, rule: &str, fallback: T) -> T {
        if let Some(Ok(value)) = self.text(name).map(|text| text.parse()) {
            value
        } else {
            self.mistakes.push(format!("{name}: {rule}"));
            fallback
        }
    }

    fn number(&mut self, name: &str, low: i64, high: i64) -> i64 {
        let rule = format!("a whole number from {low} to {high}");
        let number = self.parse(name, &rule, low);
        if (low..=high).contains(&number) {
            number
        } else {
            self.mistakes.push(format!("{name}: {rule}"));
            low
        }
    }

    fn seconds(&mut self, name: &str, low: i64, high: i64) -> Duration {
        Duration::from_secs(self.number(name, low, high).unsigned_abs())
    }

    fn milliseconds(&mut self, name: &str, low: i64, high: i64) -> Duration {
        Duration::from_millis(self.number(name, low, high).unsigned_abs())
    }

    fn count(&mut self, name: &str, low: i64, high: i64) -> usize {
        usize::try_from(self.number(name, low, high)).unwrap_or(1)
    }

    /// True or false; anything else is a mistake, and false.
    fn flag(&mut self, name: &str) -> bool {
        match self.text(name).unwrap_or_default().to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.mistakes.push(format!("{name}: true or false"));
                false
            }
        }
    }

    /// 32 bytes in hex. A key that anybody would try protects nothing.
    fn key(&mut self, name: &str) -> Option<SecretString> {
        let text = self.text(name)?;
        match hex::decode(&text).as_deref() {
            Ok([first, rest @ ..]) if rest.len() == 31 => {
                if rest.iter().all(|byte| byte == first) {
                    self.mistakes.push(format!(
                        "{name}: one byte again and again protects nothing: `openssl rand -hex 32`"
                    ));
                }
            }
            _ => self.mistakes.push(format!(
                "{name}: 64 hex digits, such as `openssl rand -hex 32` prints"
            )),
        }
        Some(SecretString::from(text))
    }

    fn secret(&mut self, name: &str, value: &str, strictness: Strictness) -> SecretString {
        if strictness == Strictness::Production
            && PUBLISHED.contains(&value.to_lowercase().as_str())
        {
            self.mistakes.push(format!(
                "{name}: this value stands in documents and protects nothing"
            ));
        }
        SecretString::from(value.to_owned())
    }
}

impl Config {
    /// Reads the settings out of `values`.
    pub fn read(
        values: &HashMap<String, String>,
        strictness: Strictness,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            values,
            mistakes: Vec::new(),
        };
        let listen = reader.parse(
            "HERALD_LISTEN",
            "an address and a port, such as 127.0.0.1:8080",
            SocketAddr::from(([127, 0, 0, 1], 8080)),
        );
        let public_url = reader
            .text("HERALD_PUBLIC_URL")
            .map(|url| url.trim_end_matches('/').to_owned());
        if public_url
            .as_ref()
            .is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://"))
        {
            reader
                .mistakes
                .push("HERALD_PUBLIC_URL: starts with https:// or http://".to_owned());
        }
        let data_dir = PathBuf::from(reader.text("HERALD_DATA_DIR").unwrap_or_default());
        let database_url = reader
            .text("DATABASE_URL")
            .unwrap_or_else(|| format!("sqlite:{}", data_dir.join("herald.sqlite").display()));
        if !["postgres://", "postgresql://", "sqlite:"]
            .iter()
            .any(|scheme| database_url.starts_with(scheme))
        {
            reader
                .mistakes
                .push("DATABASE_URL: starts with postgres:// or sqlite:".to_owned());
        }
        let secret_key = reader.key("HERALD_SECRET_KEY");
        let secret_key_previous = reader.key("HERALD_SECRET_KEY_PREVIOUS");
        let state_mark = reader.text("HERALD_STATE_MARK");
        if state_mark
            .as_ref()
            .is_some_and(|place| *place == database_url || place.starts_with("sqlite:"))
        {
            reader.mistakes.push(
                "HERALD_STATE_MARK: a file's path or postgres://…, and not the database itself"
                    .to_owned(),
            );
        }
        let whatsapp_enabled = reader.flag("WHATSAPP_ENABLED");
        let phone_number_id = reader.text("WHATSAPP_PHONE_NUMBER_ID");
        if phone_number_id
            .as_ref()
            .is_some_and(|id| !id.bytes().all(|byte| byte.is_ascii_digit()))
        {
            reader.mistakes.push(
                "WHATSAPP_PHONE_NUMBER_ID: digits only; it is Meta's id, not the phone number"
                    .to_owned(),
            );
        }
        let waba_id = reader.text("WHATSAPP_WABA_ID");
        let access_token = reader
            .text("WHATSAPP_ACCESS_TOKEN")
            .map(|token| reader.secret("WHATSAPP_ACCESS_TOKEN", &token, strictness));
        let app_secrets = reader
            .text("WHATSAPP_APP_SECRET")
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|secret| !secret.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|secret| reader.secret("WHATSAPP_APP_SECRET", &secret, strictness))
            .collect();
        let verify_token = reader
            .text("WHATSAPP_WEBHOOK_VERIFY_TOKEN")
            .map(|token| reader.secret("WHATSAPP_WEBHOOK_VERIFY_TOKEN", &token, strictness));
        let api_base = reader.text("WHATSAPP_API_BASE").unwrap_or_default();
        if !api_base.starts_with("http://") && !api_base.starts_with("https://") {
            reader
                .mistakes
                .push("WHATSAPP_API_BASE: starts with https:// or http://".to_owned());
        }
        let unknown = reader.text("HERALD_UNKNOWN_POLICY").unwrap_or_default();
        let unknown = UnknownPolicies::parse(&unknown).unwrap_or_else(|| {
            reader.mistakes.push(
                "HERALD_UNKNOWN_POLICY: give_up or resend, perhaps with categories: give_up, utility=resend".to_owned(),
            );
            UnknownPolicies::all(UnknownPolicy::GiveUp)
        });
        let log_json = match reader.text("HERALD_LOG_FORMAT").as_deref() {
            Some("json") => true,
            Some("text") => false,
            _ => {
                reader
                    .mistakes
                    .push("HERALD_LOG_FORMAT: text or json".to_owned());
                false
            }
        };
        let trusted_proxies =
            Proxies::parse(&reader.text("HERALD_TRUSTED_PROXIES").unwrap_or_default())
                .unwrap_or_else(|| {
                    reader.mistakes.push(
                "HERALD_TRUSTED_PROXIES: addresses or networks, such as 127.0.0.1, 10.0.0.0/8"
                    .to_owned(),
            );
                    Proxies::default()
                });
        let day = 24 * 60 * 60;
        let policy = Policy {
            retry: RetryPolicy {
                max_tries: reader.number("HERALD_SEND_TRIES", 1, 20),
                base_seconds: reader.number("HERALD_SEND_RETRY_SECONDS", 1, day),
                cap_seconds: day,
            },
            lease_seconds: reader.number("HERALD_LEASE_SECONDS", 2, 3600),
            unknown_after_seconds: reader.number("HERALD_UNKNOWN_AFTER_SECONDS", 1, 7 * day),
            unknown,
            stale_after_seconds: reader.number("HERALD_STALE_AFTER_SECONDS", 1, 30 * day),
            settle_after_failed_seconds: reader.number(
                "HERALD_SETTLE_AFTER_FAILED_SECONDS",
                -1,
                day,
            ),
        };
        let send_timeout = reader.seconds("HERALD_SEND_TIMEOUT_SECONDS", 1, 120);
        if i64::try_from(send_timeout.as_secs()).unwrap_or(i64::MAX) >= policy.lease_seconds {
            reader.mistakes.push(
                "HERALD_LEASE_SECONDS: longer than HERALD_SEND_TIMEOUT_SECONDS, or a call outlives its lease".to_owned(),
            );
        }
        let config = Self {
            listen,
            public_url,
            data_dir,
            database_url: SecretString::from(database_url),
            database_connections: u32::try_from(reader.number(
                "HERALD_DATABASE_CONNECTIONS",
                2,
                500,
            ))
            .unwrap_or(10),
            database_pooler: if reader.flag("HERALD_DATABASE_POOLED") {
                Pooler::Transaction
            } else {
                Pooler::None
            },
            database_timeout: reader.seconds("HERALD_DATABASE_TIMEOUT_SECONDS", 1, 300),
            secret_key,
            secret_key_previous,
            state_mark: state_mark.map(SecretString::from),
            whatsapp_enabled,
            phone_number_id,
            waba_id,
            access_token,
            app_secrets,
            verify_token,
            api_version: reader.text("WHATSAPP_API_VERSION").unwrap_or_default(),
            api_base,
            send_slots: usize::try_from(reader.number("HERALD_SEND_SLOTS", 1, 1000)).unwrap_or(1),
            send_per_second: reader
                .text("HERALD_SEND_PER_SECOND")
                .is_some()
                .then(|| reader.number("HERALD_SEND_PER_SECOND", 0, 10_000)),
            pair: PairPace {
                interval_seconds: reader.number("HERALD_PAIR_SECONDS", 0, 3600),
                burst: reader.number("HERALD_PAIR_BURST", 1, 1000),
            },
            send_timeout,
            connect_timeout: reader.seconds("HERALD_SEND_CONNECT_SECONDS", 1, 60),
            policy,
            expires_after_seconds: reader.number("HERALD_EXPIRES_AFTER_SECONDS", 1, 30 * day),
            authentication_expires_after_seconds: reader.number(
                "HERALD_AUTHENTICATION_EXPIRES_AFTER_SECONDS",
                1,
                day,
            ),
            parked_seconds: reader.number("HERALD_PARKED_SECONDS", 600, 30 * day),
            words: Words::new(
                reader
                    .text("HERALD_STOP_WORDS")
                    .unwrap_or_default()
                    .split(','),
                reader
                    .text("HERALD_START_WORDS")
                    .unwrap_or_default()
                    .split(','),
            ),
            window_closing_seconds: 60 * reader.number("HERALD_WINDOW_CLOSING_MINUTES", 1, 23 * 60),
            mark_read: reader.flag("WHATSAPP_MARK_READ"),
            identity_patience_seconds: 24
                * 60
                * 60
                * reader.number("HERALD_NEW_ID_DECIDED_DAYS", 1, 365),
            silent_after_seconds: 60 * reader.number("HERALD_SILENT_AFTER_MINUTES", 1, 7 * 24 * 60),
            alarm_failure_percent: reader.number("HERALD_ALARM_FAILURE_PERCENT", 1, 100),
            alarm_stale_percent: reader.number("HERALD_ALARM_STALE_PERCENT", 1, 100),
            alarm_queue_age_seconds: reader.number("HERALD_ALARM_QUEUE_AGE_SECONDS", 10, day),
            // The digest ledger is kept 9 days: Meta repeats for 7, and a body must not be forgotten before.
            bodies_days: reader.number("HERALD_KEEP_BODIES_DAYS", 9, 3650),
            timeline_days: reader.number("HERALD_KEEP_TIMELINE_DAYS", 9, 3650),
            notifications_days: reader.number("HERALD_KEEP_NOTIFICATIONS_DAYS", 9, 3650),
            credential_old_days: reader.number("HERALD_CREDENTIAL_OLD_DAYS", 1, 3650),
            credential_warning_days: reader.number("HERALD_CREDENTIAL_WARNING_DAYS", 1, 365),
            inbox_bytes: usize::try_from(reader.number("HERALD_INBOX_MEGABYTES", 4, 4096))
                .unwrap_or(4)
                * 1024
                * 1024,
            inbox_wait: reader.milliseconds("HERALD_INBOX_WAIT_MILLISECONDS", 10, 60_000),
            http_workers: reader.count("HERALD_HTTP_WORKERS", 1, 64),
            trusted_proxies,
            http_connections: reader.count("HERALD_HTTP_CONNECTIONS", 4, 1_000_000),
            http_connections_per_address: reader.count(
                "HERALD_HTTP_CONNECTIONS_PER_ADDRESS",
                1,
                1_000_000,
            ),
            http_wait: reader.milliseconds("HERALD_HTTP_WAIT_MILLISECONDS", 10, 600_000),
            http_body_wait: reader.milliseconds("HERALD_HTTP_BODY_WAIT_MILLISECONDS", 10, 600_000),
            http_least_rate: u32::try_from(reader.number(
                "HERALD_HTTP_LEAST_BYTES_PER_SECOND",
                1,
                i64::from(u32::MAX),
            ))
            .unwrap_or(1),
            backlog_delay: reader.milliseconds("HERALD_BACKLOG_DELAY_MILLISECONDS", 0, 3000),
            reserved_disk_bytes: 1_000_000
                * reader.number("HERALD_RESERVED_DISK_MEGABYTES", 0, 1_000_000_000),
            backlog_bytes: 1_000_000 * reader.number("HERALD_BACKLOG_MEGABYTES", 1, 1_000_000_000),
            catalogue_values: FOR_CATALOGUES
                .into_iter()
                .map(|name| (name, reader.text(name)))
                .collect(),
            template_suffix: reader.text("META_SYNC_VERSION_SUFFIX"),
            log: reader.text("HERALD_LOG").unwrap_or_default(),
            log_json,
        };
        if reader.mistakes.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(reader.mistakes))
        }
    }

    /// Where people find this server.
    pub fn base_url(&self) -> String {
        self.public_url
            .clone()
            .unwrap_or_else(|| format!("http://{}", self.listen))
    }

    /// What `serve` needs beyond what every command needs.
    pub fn require_secret_key(&self) -> Result<SecretString, ConfigError> {
        self.secret_key.clone().ok_or_else(|| {
            ConfigError(vec![
                "HERALD_SECRET_KEY: missing. Make one with `openssl rand -hex 32` and keep it: without it, what is encrypted is lost"
                    .to_owned(),
            ])
        })
    }

    pub fn is_sqlite(&self) -> bool {
        self.database_url.expose_secret().starts_with("sqlite:")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Config, SETTINGS, Strictness};

    fn read(pairs: &[(&str, &str)]) -> Result<Config, super::ConfigError> {
        let values: HashMap<String, String> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::read(&values, Strictness::Production)
    }

    #[test]
    fn nothing_set_is_a_working_configuration() {
        let config = read(&[]).unwrap();
        assert!(config.is_sqlite() && config.access_token.is_none() && config.whatsapp_enabled);
    }

    #[test]
    fn all_mistakes_are_reported_together_by_name() {
        let error = read(&[
            ("HERALD_LISTEN", "nowhere"),
            ("WHATSAPP_ENABLED", "perhaps"),
            ("WHATSAPP_APP_SECRET", "fine-secret, changeme"),
            ("HERALD_SEND_TRIES", "0"),
            ("DATABASE_URL", "mysql://x"),
            ("HERALD_SECRET_KEY", "abc"),
        ])
        .unwrap_err();
        for name in [
            "HERALD_LISTEN",
            "WHATSAPP_ENABLED",
            "WHATSAPP_APP_SECRET",
            "HERALD_SEND_TRIES",
            "DATABASE_URL",
            "HERALD_SECRET_KEY",
        ] {
            assert!(
                error.0.iter().any(|mistake| mistake.starts_with(name)),
                "{name} in {error}"
            );
        }
        assert!(!error.to_string().contains("mysql") && !error.to_string().contains("nowhere"));
    }

    #[test]
    fn the_names_its_users_know_mean_the_same() {
        let config = read(&[
            ("WHATSAPP_PHONE_ID", "106540352242922"),
            ("WHATSAPP_TOKEN", "t"),
            ("WABA_ID", "1"),
        ])
        .unwrap();
        assert_eq!(
            (
                config.phone_number_id.as_deref(),
                config.waba_id.as_deref(),
                config.access_token.is_some()
            ),
            (Some("106540352242922"), Some("1"), true)
        );
    }

    #[test]
    fn a_call_may_not_outlive_its_lease() {
        assert!(
            read(&[
                ("HERALD_LEASE_SECONDS", "10"),
                ("HERALD_SEND_TIMEOUT_SECONDS", "10")
            ])
            .is_err()
        );
    }

    #[test]
    fn every_setting_stands_once() {
        let mut names: Vec<_> = SETTINGS
            .iter()
            .flat_map(|setting| [Some(setting.name), setting.alias])
            .flatten()
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
