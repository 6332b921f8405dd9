//! Why the engine did not do what it was asked to do with given fields.

use crate::{
    domain::field_error::FieldError,
    store::{StoreError, TransactionWorkError},
};

/// Why something was not read, made or changed as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Which fields are wrong.
    #[error("{} fields are wrong", .0.len())]
    Invalid(Vec<FieldError>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl InputError {
    /// One field is wrong.
    pub fn field(pointer: &str, rule: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError {
            pointer: pointer.to_owned(),
            rule: rule.into(),
        }])
    }
}

impl TransactionWorkError for InputError {
    fn into_store(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            refused @ Self::Invalid(_) => Err(refused),
        }
    }
}
