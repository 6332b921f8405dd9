//! How much one write may do, learned from how long the last one took.

use std::time::Duration;

/// No write transaction lasts longer than this if it can be helped: ingest waits behind it.
pub const LONGEST: Duration = Duration::from_millis(50);

/// A write is sized to last so long, so that a slow one stays under [`LONGEST`].
const AIM: Duration = Duration::from_millis(10);

/// How many things the next write of a kind may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    size: u32,
    most: u32,
}

impl Chunk {
    /// Starts small: nothing is known of the disk yet.
    pub const fn starting_at(size: u32, most: u32) -> Self {
        Self { size, most }
    }

    /// How many, at least one.
    pub const fn size(self) -> u32 {
        self.size
    }

    /// What is allowed next, after a write of this size took so long: half after
    /// one that was too long, an eighth more after a short one.
    #[must_use]
    pub fn after(self, took: Duration) -> Self {
        let size = if took > AIM * 2 {
            self.size / 2
        } else if took < AIM {
            self.size.saturating_add(self.size / 8 + 1)
        } else {
            self.size
        };
        Self {
            size: size.clamp(1, self.most.max(1)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn on_any_disk_the_size_settles_where_a_write_is_short(micros_each in 1_u64..9_000) {
            let mut chunk = Chunk::starting_at(20, 500);
            for _ in 0..60 {
                chunk = chunk.after(Duration::from_micros(micros_each * u64::from(chunk.size())));
            }
            for _ in 0..60 {
                let took = Duration::from_micros(micros_each * u64::from(chunk.size()));
                prop_assert!(took <= LONGEST / 2, "{took:?}");
                chunk = chunk.after(took);
            }
            prop_assert!(chunk.size() >= 1 && chunk.size() <= 500);
        }
    }
}
