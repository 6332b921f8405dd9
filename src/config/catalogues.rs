//! What catalogues may use.

use std::collections::BTreeMap;

use crate::domain::settings::{SettingDeclaration, SettingsReader, SettingsSection};

/// Settings that a catalogue may use as `${NAME:-default}`; none is secret.
#[derive(Clone, Debug)]
pub struct CataloguePlaceholderSettings {
    /// By name; without a value when they are not set.
    pub values: BTreeMap<&'static str, Option<String>>,
}

const FOR_CATALOGUES: [SettingDeclaration; 3] = [
    for_catalogues(
        "ADMIN_NOTIFICATION_FALLBACK_TEMPLATE_NAME",
        Some("admin_notification_alert"),
        "For catalogues: the template that reaches staff outside their 24-hour window.",
    ),
    for_catalogues(
        "INVOICE_PROCESSED_NOTIFICATION_GROUPS",
        Some("System Admins,Sales Team"),
        "For catalogues: the groups that hear of a processed invoice.",
    ),
    for_catalogues(
        "SOLAR_CRM_SENDER",
        None,
        "For catalogues: the sender whose windows and failed free texts the CRM watches, where other products have senders of their own; all, if absent.",
    ),
];

const fn for_catalogues(
    name: &'static str,
    default: Option<&'static str>,
    meaning: &'static str,
) -> SettingDeclaration {
    SettingDeclaration {
        name,
        alias: None,
        default,
        secret: false,
        meaning,
    }
}

impl SettingsSection for CataloguePlaceholderSettings {
    fn read(reader: &mut SettingsReader<'_>) -> Self {
        let values = FOR_CATALOGUES.map(|setting| (setting.name, reader.optional_text(setting)));
        Self {
            values: BTreeMap::from(values),
        }
    }
}
