//! Sources of settings: the environment, a file beside it, and files that hold secrets.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
};

use super::{
    Config, ConfigError, SecretStrictness, SettingDeclaration, env_file, setting, settings,
};

/// The file with settings that the environment does not set.
const FILE: &str = ".env";

/// Settings by name, and the lines of those that came from a file.
#[derive(Clone, Debug, Default)]
pub struct SettingValues {
    values: HashMap<String, String>,
    /// Lines of [`FILE`], from 1.
    lines: HashMap<String, usize>,
}

impl Deref for SettingValues {
    type Target = HashMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.values
    }
}

impl DerefMut for SettingValues {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.values
    }
}

impl SettingValues {
    /// Parses the settings; a mistake in a setting from the file names its line.
    pub fn config(&self, strictness: SecretStrictness) -> Result<Config, ConfigError> {
        Config::read(&self.values, strictness).map_err(|error| {
            let located = error.0.into_iter().map(|mistake| self.located(mistake));
            ConfigError(located.collect())
        })
    }

    fn located(&self, mistake: String) -> String {
        let name = mistake.split(':').next().unwrap_or_default();
        let line = setting(name)
            .into_iter()
            .flat_map(SettingDeclaration::names)
            .find_map(|name| self.lines.get(name));
        match line.copied() {
            Some(line) => format!("{mistake} ({FILE}, line {line})"),
            None => mistake,
        }
    }
}

/// The environment, with `.env` filling in what is not set, and the file that `NAME_FILE` names read
/// for the setting `NAME`. The environment wins over `.env`.
pub fn from_environment() -> Result<SettingValues, ConfigError> {
    let mut mistakes = Vec::new();
    let text = match std::fs::read_to_string(FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            mistakes.push(format!("{FILE} is not UTF-8"));
            String::new()
        }
        Err(_) => {
            mistakes.push(format!("{FILE} cannot be read"));
            String::new()
        }
    };
    let mut values = SettingValues::default();
    for line in env_file::parse(&text) {
        match line {
            Ok(line) => {
                values.lines.insert(line.name.clone(), line.number);
                values.insert(line.name, line.value);
            }
            Err(mistake) => {
                mistakes.push(format!("{FILE}, line {}: {}", mistake.number, mistake.rule));
            }
        }
    }
    for (name, value) in std::env::vars_os() {
        if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
            values.lines.remove(&name);
            values.insert(name, value);
        }
    }
    for setting in settings() {
        let file = format!("{}_FILE", setting.name);
        if let Some(path) = values.get(&file) {
            match std::fs::read_to_string(path) {
                Ok(text) => drop(values.insert(setting.name.to_owned(), text.trim().to_owned())),
                Err(_) => mistakes.push(format!("{file}: the file cannot be read")),
            }
        }
    }
    if mistakes.is_empty() {
        Ok(values)
    } else {
        Err(ConfigError(mistakes))
    }
}

/// The operator for the audit log: the operating system's user, whatever the environment says; for
/// root, the user who became root by sudo.
pub fn operator() -> Result<String, ConfigError> {
    let values = from_environment()?;
    let uid = rustix::process::getuid().as_raw();
    let sudo = values
        .get("SUDO_USER")
        .filter(|name| uid == 0 && !name.is_empty());
    Ok(if let Some(name) = sudo {
        name.clone()
    } else {
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        user_name(&users, uid).unwrap_or_else(|| format!("uid {uid}"))
    })
}

/// The name of a user in `/etc/passwd`.
fn user_name(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::user_name;

    #[test]
    fn a_user_is_found_by_number() {
        let users =
            "root:x:0:0::/root:/bin/sh\n# note\nherald:x:998:998::/var/lib/herald:/bin/false\n";
        assert_eq!(user_name(users, 998).as_deref(), Some("herald"));
        assert_eq!(user_name(users, 0).as_deref(), Some("root"));
        assert_eq!(user_name(users, 1), None);
    }
}
