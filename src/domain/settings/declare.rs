//! How a setting is declared.

use std::collections::HashMap;

use super::SettingsReader;

/// A setting as people see it.
#[derive(Clone, Copy, Debug)]
pub struct SettingDeclaration {
    /// The variable.
    pub name: &'static str,
    /// An older or shorter name that means the same.
    pub alias: Option<&'static str>,
    pub default: Option<&'static str>,
    /// Its value is never shown, and may be read from a file.
    pub secret: bool,
    pub meaning: &'static str,
}

impl SettingDeclaration {
    /// The name and the alias.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [Some(self.name), self.alias].into_iter().flatten()
    }

    /// What is set, by name or alias, without blanks around it. Blank is not set.
    pub fn value_in<'a>(&self, values: &'a HashMap<String, String>) -> Option<&'a str> {
        self.names()
            .filter_map(|name| values.get(name))
            .map(|value| value.trim())
            .find(|value| !value.is_empty())
    }
}

/// Settings that are read together.
pub trait SettingsSection {
    /// Reads them, in the order of the documentation. What cannot be read is noted in the reader
    /// and has any value.
    fn read(reader: &mut SettingsReader<'_>) -> Self;
}

/// Declares a [`SettingsSection`]: a struct whose fields are settings, or sections themselves.
///
/// ```ignore
/// section! {
///     /// How long rows are kept.
///     #[derive(Clone, Copy, Debug)]
///     pub struct RetentionSettings {
///         /// Raw callbacks are kept so long.
///         #[setting("HERALD_KEEP_BODIES_DAYS" = "14", number(9, 3650))]
///         pub bodies_days: i64,
///     }
/// }
/// ```
///
/// The comment of a setting is its meaning in the documents. After the variable there may be
/// `or "ALIAS"` and `= "DEFAULT"`; after the comma stands the method of [`SettingsReader`] that reads it,
/// with its arguments.
macro_rules! section {
    (
        $(#[$about:meta])*
        pub struct $SettingsSection:ident {
            $(
                $(#[doc = $meaning:literal])+
                $(#[setting($($setting:tt)+)])?
                pub $field:ident: $Type:ty,
            )+
        }
    ) => {
        $(#[$about])*
        pub struct $SettingsSection {
            $(
                $(#[doc = $meaning])+
                $(#[doc = $crate::domain::settings::section!(@variable $($setting)+)])?
                pub $field: $Type,
            )+
        }

        impl $crate::domain::settings::SettingsSection for $SettingsSection {
            fn read(reader: &mut $crate::domain::settings::SettingsReader<'_>) -> Self {
                Self {
                    $($field: $crate::domain::settings::section!(
                        @read reader [$($meaning),+] $($($setting)+)?
                    ),)+
                }
            }
        }
    };
    // The line of a field's documentation that names its variable.
    (@variable $name:literal $(or $alias:literal)? $(= $default:literal)?, $($kind:tt)+) => {
        concat!(
            "\n\n`", $name, "`" $(, " or `", $alias, "`")? $(, ", default `", $default, "`")?
        )
    };
    (@read $reader:ident [$($meaning:literal),+]) => {
        $crate::domain::settings::SettingsSection::read($reader)
    };
    (
        @read $reader:ident [$($meaning:literal),+]
        $name:literal $(or $alias:literal)? $(= $default:literal)?,
        $kind:ident $(($($argument:expr),+))?
    ) => {
        $reader.$kind(
            $crate::domain::settings::SettingDeclaration {
                name: $name,
                alias: $crate::domain::settings::section!(@optional $($alias)?),
                default: $crate::domain::settings::section!(@optional $($default)?),
                secret: false,
                meaning: concat!($($meaning),+).trim_start(),
            }
            $($(, $argument)+)?
        )
    };
    (@optional) => { None };
    (@optional $value:literal) => { Some($value) };
}

pub(crate) use section;
