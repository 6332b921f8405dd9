//! Numbers of variable length, and reading them from bytes that may be damaged.

/// Bits in each byte; the highest one says that more follow.
const BITS: u32 = 7;

/// Appends a number: seven bits a byte, the lowest first.
pub(super) fn push(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= BITS;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Reads bytes from the front. What is not there is `None`.
pub(super) struct DamagedBytesReader<'a>(&'a [u8]);

impl<'a> DamagedBytesReader<'a> {
    /// Reads after the first byte, if that is the version.
    pub(super) fn of_version(bytes: &'a [u8], version: u8) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        (*first == version).then_some(Self(rest))
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for place in 0..u64::BITS.div_ceil(BITS) {
            let byte = *self.take(1)?.first()?;
            let part = u64::from(byte & 0x7f);
            // The last byte has room for a single bit.
            let shifted = part.checked_shl(place * BITS)?;
            if shifted >> (place * BITS) != part {
                return None;
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DamagedBytesReader, push};

    fn read(bytes: &[u8]) -> Option<u64> {
        let mut reader = DamagedBytesReader(bytes);
        reader.number().filter(|_| reader.is_at_end())
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(number: u64) {
            let mut bytes = Vec::new();
            push(&mut bytes, number);
            prop_assert!(bytes.len() <= 10);
            prop_assert_eq!(read(&bytes), Some(number));
        }
    }

    #[test]
    fn a_number_that_does_not_end_or_does_not_fit_is_none() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0x80]), None);
        assert_eq!(read(&[0xff; 10]), None);
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            Some(u64::MAX)
        );
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
            None
        );
    }
}
