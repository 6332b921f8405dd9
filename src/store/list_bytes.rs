//! Long bytes of the rows in a list parameter: one parameter holds those of all rows, one after the
//! other, and each row names its part. In the JSON they would be hex digits, which cost as much as
//! the rest of a statement.

use sea_orm::{DbBackend, DbErr, Value};
use serde::Serialize;

use super::StoreError;

/// Bits of a [`ListSlice`] that hold a length.
const LENGTH_BITS: u32 = 24;

/// The longest bytes that a row may have.
const MAX_LENGTH: usize = (1 << LENGTH_BITS) - 1;

/// The bytes of all rows of a list: the parameter `$2` of its statement.
#[derive(Clone, Debug, Default)]
pub struct ListBytes(Vec<u8>);

/// A part of a [`ListBytes`]: its position times 2^24, plus its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ListSlice(i64);

impl ListBytes {
    /// Adds the bytes of a row.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] if they are 16 MiB or more.
    pub fn add(&mut self, bytes: &[u8]) -> Result<ListSlice, StoreError> {
        let too_long = || {
            let text = format!("more than {MAX_LENGTH} bytes in a row");
            StoreError::Refused(DbErr::Custom(text))
        };
        if bytes.len() > MAX_LENGTH {
            return Err(too_long());
        }
        let position = i64::try_from(self.0.len()).map_err(|_no_room| too_long())?;
        let length = i64::try_from(bytes.len()).map_err(|_no_room| too_long())?;
        self.0.extend_from_slice(bytes);
        Ok(ListSlice(position << LENGTH_BITS | length))
    }
}

impl From<ListBytes> for Value {
    fn from(bytes: ListBytes) -> Self {
        bytes.0.into()
    }
}

/// The bytes that `slice`, the number of a [`ListSlice`], names in `$2`.
pub(super) fn bytes_of(backend: DbBackend, slice: &str) -> String {
    let (position, length) = (
        format!("({slice} >> {LENGTH_BITS})"),
        format!("({slice} & {MAX_LENGTH})"),
    );
    if backend == DbBackend::Postgres {
        format!("substring($2::bytea FROM {position}::integer + 1 FOR {length}::integer)")
    } else {
        format!("substr($2, {position} + 1, {length})")
    }
}

#[cfg(test)]
mod tests {
    use super::{ListBytes, ListSlice, MAX_LENGTH};

    #[test]
    fn each_row_names_its_part() {
        let mut bytes = ListBytes::default();
        assert_eq!(bytes.add(b"one").unwrap(), ListSlice(3));
        assert_eq!(bytes.add(b"").unwrap(), ListSlice(3 << 24));
        assert_eq!(bytes.add(b"three").unwrap(), ListSlice((3 << 24) + 5));
        assert_eq!(bytes.0, b"onethree");
    }

    #[test]
    fn bytes_whose_length_has_no_room_are_refused() {
        let mut bytes = ListBytes::default();
        let longest = vec![7; MAX_LENGTH];
        assert!(bytes.add(&longest).is_ok());
        let longer = vec![7; MAX_LENGTH + 1];
        assert!(bytes.add(&longer).is_err());
        assert_eq!(bytes.0.len(), MAX_LENGTH);
    }
}
