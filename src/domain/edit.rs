//! An optional change of a value: set, remove, or leave unchanged.

use serde::{Deserialize, Deserializer};

/// The change of a value. In JSON, an absent field leaves the value unchanged, and `null` removes
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueEdit<T> {
    #[default]
    Keep,
    To(Option<T>),
}

impl<T> ValueEdit<T> {
    /// The new value, if one is given.
    pub const fn given(&self) -> Option<&T> {
        match self {
            Self::To(Some(value)) => Some(value),
            Self::Keep | Self::To(None) => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ValueEdit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::To)
    }
}
