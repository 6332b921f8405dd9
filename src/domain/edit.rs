//! A value that may be changed, taken away, or left as it is.

use serde::{Deserialize, Deserializer};

/// What becomes of a value. In a document: an absent field is left, `null` takes the
/// value away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    #[default]
    Keep,
    To(Option<T>),
}

impl<T> Edit<T> {
    /// The value it is to have, if it is to have another.
    pub const fn given(&self) -> Option<&T> {
        match self {
            Self::To(Some(value)) => Some(value),
            Self::Keep | Self::To(None) => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Edit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::To)
    }
}
