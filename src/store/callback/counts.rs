//! How many items each callback of a segment had, as bytes.

use super::varint::{self, DamagedBytesReader};

/// The first byte.
const VERSION: u8 = 1;

/// The items of a callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallbackItemCounts {
    pub items: u64,
    /// Those among them that could not be applied.
    pub dead_items: u64,
}

/// The counts of all callbacks of a segment, as they are stored.
pub(super) fn encode(counts: &[CallbackItemCounts]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + counts.len() * 2);
    bytes.push(VERSION);
    for count in counts {
        varint::push(&mut bytes, count.items);
        varint::push(&mut bytes, count.dead_items);
    }
    bytes
}

/// None if these are no counts.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<CallbackItemCounts>> {
    let mut reader = DamagedBytesReader::of_version(bytes, VERSION)?;
    let mut counts = Vec::new();
    while !reader.is_at_end() {
        counts.push(CallbackItemCounts {
            items: reader.number()?,
            dead_items: reader.number()?,
        });
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CallbackItemCounts, decode, encode};

    proptest! {
        #[test]
        fn counts_are_read_as_they_were_written(all in prop::collection::vec(any::<(u64, u64)>(), 0..600)) {
            let counts: Vec<CallbackItemCounts> = all
                .into_iter()
                .map(|(items, dead_items)| CallbackItemCounts { items, dead_items })
                .collect();
            prop_assert_eq!(decode(&encode(&counts)), Some(counts));
        }

        #[test]
        fn any_bytes_are_counts_or_none(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn an_item_costs_two_bytes() {
        let counts = [CallbackItemCounts {
            items: 1,
            dead_items: 0,
        }; 3];
        assert_eq!(encode(&counts), [1, 1, 0, 1, 0, 1, 0]);
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[2]), None);
        assert_eq!(decode(&[1, 1]), None);
    }
}
