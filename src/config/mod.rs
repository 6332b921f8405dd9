//! All settings: their names, defaults and meanings. The only place that reads the environment; all
//! mistakes are reported together, by name.
//!
//! A setting is declared once, in its section: here when only a process needs it, in
//! [`domain::settings`](crate::domain::settings) when rules or the engine decide by it.

use std::{collections::HashMap, fmt, sync::LazyLock};

use secrecy::{ExposeSecret, SecretString};

mod calls;
mod catalogues;
mod database;
pub mod env_file;
mod environment;
mod http;
mod inbox;
mod log;
mod secrets;
mod server;

pub use calls::ProviderCallTimeouts;
pub use catalogues::CataloguePlaceholderSettings;
pub use database::DatabaseSettings;
pub use environment::{SettingValues, from_environment, operator};
pub use http::HttpSettings;
pub use inbox::CallbackInboxSettings;
pub use log::LogSettings;
pub use secrets::SecretSettings;
pub use server::ServerSettings;

use crate::domain::settings::{
    EmailSettings, EngineSettings, MyOperatorSettings, SettingsReader, SettingsSection,
    WhatsAppNumberSettings, section,
};
pub use crate::domain::settings::{SecretStrictness, SettingDeclaration};

/// All mistakes in the settings.
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

section! {
    /// The settings, read and checked, in the order of the documentation.
    #[derive(Clone, Debug)]
    pub struct Config {
        /// Where this server is.
        pub server: ServerSettings,
        /// Where the database is.
        pub database: DatabaseSettings,
        /// What this installation is known by.
        pub secrets: SecretSettings,
        /// The account of the environment.
        pub whatsapp: WhatsAppNumberSettings,
        /// The number of the environment at MyOperator.
        pub myoperator: MyOperatorSettings,
        /// The mail server of the environment.
        pub email: EmailSettings,
        /// How long a call may take.
        pub calls: ProviderCallTimeouts,
        /// What the engine decides by.
        pub engine: EngineSettings,
        /// Callbacks on their way into the database.
        pub inbox: CallbackInboxSettings,
        /// How HTTP is answered.
        pub http: HttpSettings,
        /// What is logged.
        pub log: LogSettings,
        /// What catalogues may use.
        pub catalogues: CataloguePlaceholderSettings,
    }
}

/// All settings, in the order of the documentation: those that are read are those that there are.
pub fn settings() -> &'static [SettingDeclaration] {
    static SETTINGS: LazyLock<Vec<SettingDeclaration>> = LazyLock::new(|| {
        let values = HashMap::new();
        let mut reader = SettingsReader::new(&values, SecretStrictness::Production);
        let _defaults: Config = SettingsSection::read(&mut reader);
        reader.settings
    });
    &SETTINGS
}

/// The setting of a name.
pub fn setting(name: &str) -> Option<&'static SettingDeclaration> {
    settings().iter().find(|setting| setting.name == name)
}

impl Config {
    /// Parses the settings from `values`.
    pub fn read(
        values: &HashMap<String, String>,
        strictness: SecretStrictness,
    ) -> Result<Self, ConfigError> {
        let mut reader = SettingsReader::new(values, strictness);
        let config: Self = SettingsSection::read(&mut reader);
        config.check(&mut reader);
        if reader.mistakes.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(reader.mistakes))
        }
    }

    /// What one setting alone does not show.
    fn check(&self, reader: &mut SettingsReader<'_>) {
        let database_url = self.database_url();
        let database_url = database_url.expose_secret();
        if !["postgres://", "postgresql://", "sqlite:"]
            .iter()
            .any(|scheme| database_url.starts_with(scheme))
        {
            reader.refuse("DATABASE_URL", "starts with postgres:// or sqlite:");
        }
        let state_mark = self.secrets.state_mark.as_ref();
        if state_mark
            .map(ExposeSecret::expose_secret)
            .is_some_and(|place| place == database_url || place.starts_with("sqlite:"))
        {
            reader.refuse(
                "HERALD_STATE_MARK",
                "a file's path or postgres://…, and not the database itself",
            );
        }
        let other = &self.myoperator;
        if other.phone_number.is_some() && other.company_id.is_none() {
            reader.refuse(
                "MYOPERATOR_ACCOUNT_ID",
                "needed with MYOPERATOR_PHONE_NUMBER: MyOperator's id of the company",
            );
        }
        match (&self.email.smtp_url, &self.email.from) {
            (Some(_), None) => reader.refuse(
                "SMTP_FROM",
                "needed with SMTP_URL: the address that mails come from",
            ),
            (None, Some(_)) => {
                reader.refuse("SMTP_URL", "needed with SMTP_FROM: the mail server");
            }
            _ => {}
        }
        let lease = self.engine.policy.lease_seconds.unsigned_abs();
        if self.calls.timeout.as_secs() >= lease {
            reader.refuse(
                "HERALD_LEASE_SECONDS",
                "longer than HERALD_SEND_TIMEOUT_SECONDS, or a call outlives its lease",
            );
        }
    }

    /// Where the database is: as set, or a SQLite file among this server's files.
    pub fn database_url(&self) -> SecretString {
        self.database.url.clone().unwrap_or_else(|| {
            let file = self.server.data_dir.join("herald.sqlite");
            SecretString::from(format!("sqlite:{}", file.display()))
        })
    }

    /// The address of this server for people.
    pub fn base_url(&self) -> String {
        self.server
            .public_url
            .clone()
            .unwrap_or_else(|| format!("http://{}", self.server.listen))
    }

    /// The settings that `serve` needs beyond those of every command.
    pub fn require_secret_key(&self) -> Result<SecretString, ConfigError> {
        self.secrets.key.clone().ok_or_else(|| {
            ConfigError(vec![
                "HERALD_SECRET_KEY: missing. Make one with `openssl rand -hex 32` and keep it: without it, what is encrypted is lost"
                    .to_owned(),
            ])
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use secrecy::ExposeSecret;

    use super::{Config, SecretStrictness, SettingDeclaration, settings};

    fn read(pairs: &[(&str, &str)]) -> Result<Config, super::ConfigError> {
        let values: HashMap<String, String> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::read(&values, SecretStrictness::Production)
    }

    #[test]
    fn nothing_set_is_a_working_configuration() {
        let config = read(&[]).unwrap();
        assert_eq!(
            config.database_url().expose_secret(),
            "sqlite:./data/herald.sqlite"
        );
        assert!(config.whatsapp.access_token.is_none() && config.engine.sending.enabled);
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
                config.whatsapp.phone_number_id.as_deref(),
                config.whatsapp.waba_id.as_deref(),
                config.whatsapp.access_token.is_some()
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
        let mut names: Vec<_> = settings()
            .iter()
            .flat_map(SettingDeclaration::names)
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
