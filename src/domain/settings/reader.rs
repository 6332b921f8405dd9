//! Reads the text of settings. A method for each kind of value; what is wrong is noted by name,
//! never by value, and all of it is found in one go.

use std::{collections::HashMap, fmt::Display, path::PathBuf, time::Duration};

use secrecy::SecretString;

use super::SettingDeclaration;
use crate::domain::credential::PUBLISHED;

/// How strict to be about secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretStrictness {
    /// A blank or published secret is refused.
    Production,
    /// `herald dev`: everything is on one laptop.
    Development,
}

/// Reads settings one after the other.
#[derive(Debug)]
pub struct SettingsReader<'a> {
    values: &'a HashMap<String, String>,
    strictness: SecretStrictness,
    /// What was read so far.
    pub settings: Vec<SettingDeclaration>,
    /// What is wrong so far: the name of a setting, and a rule.
    pub mistakes: Vec<String>,
}

impl<'a> SettingsReader<'a> {
    pub fn new(values: &'a HashMap<String, String>, strictness: SecretStrictness) -> Self {
        Self {
            values,
            strictness,
            settings: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    /// Notes that a setting breaks a rule.
    pub fn refuse(&mut self, name: &str, rule: impl Display) {
        self.mistakes.push(format!("{name}: {rule}"));
    }

    /// A text; none when it is not set and has no default.
    pub fn optional_text(&mut self, setting: SettingDeclaration) -> Option<String> {
        self.value(setting).map(str::to_owned)
    }

    /// A text.
    pub fn text(&mut self, setting: SettingDeclaration) -> String {
        self.optional_text(setting).unwrap_or_default()
    }

    /// A path.
    pub fn path(&mut self, setting: SettingDeclaration) -> PathBuf {
        PathBuf::from(self.text(setting))
    }

    /// What `read` makes of the text; `rule` says what it takes.
    pub fn parsed<T: Default>(
        &mut self,
        setting: SettingDeclaration,
        read: impl FnOnce(&str) -> Option<T>,
        rule: &str,
    ) -> T {
        let text = self.value(setting).unwrap_or_default();
        read(text).unwrap_or_else(|| {
            self.refuse(setting.name, rule);
            T::default()
        })
    }

    /// True or false.
    pub fn flag(&mut self, setting: SettingDeclaration) -> bool {
        let read = |text: &str| match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        };
        self.parsed(setting, read, "true or false")
    }

    /// A whole number from `low` to `high`.
    pub fn number<T: TryFrom<i64> + Default>(
        &mut self,
        setting: SettingDeclaration,
        low: i64,
        high: i64,
    ) -> T {
        self.times(setting, 1, low, high)
    }

    /// The same, none when it is not set.
    pub fn optional_number(
        &mut self,
        setting: SettingDeclaration,
        low: i64,
        high: i64,
    ) -> Option<i64> {
        let text = self.value(setting)?;
        Some(self.whole(setting.name, text, low, high))
    }

    /// A whole number from `low` to `high`, times `unit`: minutes as seconds, megabytes as bytes.
    pub fn times<T: TryFrom<i64> + Default>(
        &mut self,
        setting: SettingDeclaration,
        unit: i64,
        low: i64,
        high: i64,
    ) -> T {
        let text = self.value(setting).unwrap_or_default();
        let number = self.whole(setting.name, text, low, high);
        T::try_from(unit * number).unwrap_or_default()
    }

    /// Whole seconds.
    pub fn seconds(&mut self, setting: SettingDeclaration, low: i64, high: i64) -> Duration {
        Duration::from_secs(self.number(setting, low, high))
    }

    /// Whole milliseconds.
    pub fn milliseconds(&mut self, setting: SettingDeclaration, low: i64, high: i64) -> Duration {
        Duration::from_millis(self.number(setting, low, high))
    }

    /// An address of the web.
    pub fn url(&mut self, setting: SettingDeclaration) -> String {
        self.optional_url(setting).unwrap_or_default()
    }

    /// The same, none when it is not set.
    pub fn optional_url(&mut self, setting: SettingDeclaration) -> Option<String> {
        let url = self.optional_text(setting)?;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            self.refuse(setting.name, "starts with https:// or http://");
        }
        Some(url)
    }

    /// A text that is never shown.
    pub fn secret(&mut self, setting: SettingDeclaration) -> Option<SecretString> {
        self.secret_text(setting).map(SecretString::from)
    }

    /// A secret that is worth its name.
    pub fn credential(&mut self, setting: SettingDeclaration) -> Option<SecretString> {
        let text = self.secret_text(setting)?;
        Some(self.unpublished(setting.name, text))
    }

    /// The same, several of them, separated by commas.
    pub fn credentials(&mut self, setting: SettingDeclaration) -> Vec<SecretString> {
        let text = self.secret_text(setting).unwrap_or_default();
        text.split(',')
            .map(str::trim)
            .filter(|secret| !secret.is_empty())
            .map(|secret| self.unpublished(setting.name, secret))
            .collect()
    }

    /// 32 bytes in hex. A key that anyone would try protects nothing.
    pub fn key(&mut self, setting: SettingDeclaration) -> Option<SecretString> {
        let text = self.secret_text(setting)?;
        match hex::decode(text).as_deref() {
            Ok([first, rest @ ..]) if rest.len() == 31 => {
                if rest.iter().all(|byte| byte == first) {
                    self.refuse(
                        setting.name,
                        "one byte again and again protects nothing: `openssl rand -hex 32`",
                    );
                }
            }
            _ => self.refuse(
                setting.name,
                "64 hex digits, such as `openssl rand -hex 32` prints",
            ),
        }
        Some(SecretString::from(text))
    }

    fn whole(&mut self, name: &str, text: &str, low: i64, high: i64) -> i64 {
        match text.parse() {
            Ok(number) if (low..=high).contains(&number) => number,
            _ => {
                self.refuse(name, format!("a whole number from {low} to {high}"));
                low
            }
        }
    }

    fn unpublished(&mut self, name: &str, secret: &str) -> SecretString {
        if self.strictness == SecretStrictness::Production
            && PUBLISHED.contains(&secret.to_lowercase().as_str())
        {
            self.refuse(name, "this value stands in documents and protects nothing");
        }
        SecretString::from(secret)
    }

    fn secret_text(&mut self, setting: SettingDeclaration) -> Option<&'a str> {
        self.value(SettingDeclaration {
            secret: true,
            ..setting
        })
    }

    /// What is set, or the default. Every setting is read through here, once.
    fn value(&mut self, setting: SettingDeclaration) -> Option<&'a str> {
        self.settings.push(setting);
        setting.value_in(self.values).or(setting.default)
    }
}
