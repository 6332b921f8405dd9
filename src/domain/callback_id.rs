//! Ids of callbacks, and of the segments that they are stored in.
//!
//! A segment's id is the upper half of a UUID of version 7: 48 bits of milliseconds, the version,
//! and 12 bits of sub-millisecond time. A callback's id is the whole UUID: its segment, the variant,
//! and its position in the segment. So it is in order of time, and says where the callback is.

use uuid::Uuid;

use super::time::Timestamp;

/// The version of a UUID, in its upper half.
const VERSION: i64 = 0x7000;

/// The bits of the sub-millisecond time.
const FRACTION: i64 = 0x0fff;

/// The variant of a UUID, in its lower half.
const VARIANT: u64 = 0b10 << 62;

/// More milliseconds do not fit: this is in the year 6429.
const MAX_MILLIS: i64 = (1 << 47) - 1;

/// A new id may be so much ahead of the clock, to come after the last one. A clock that was put back
/// by more is followed.
const MOST_AHEAD_MICROS: i64 = 1_000_000;

/// The id of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallbackSegmentId(i64);

impl CallbackSegmentId {
    /// An id as the database has it.
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// The id as the database has it.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The id of a moment: no later than those of all later moments.
    pub fn at(moment: Timestamp) -> Self {
        let micros = moment.micros().max(0);
        let millis = (micros / 1000).min(MAX_MILLIS);
        let fraction = micros % 1000 * 4096 / 1000;
        Self(millis << 16 | VERSION | fraction)
    }

    /// The next id, a quarter of a microsecond later.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 & FRACTION == FRACTION {
            Self((self.0 | 0xffff).saturating_add(1) | VERSION)
        } else {
            Self(self.0 + 1)
        }
    }

    /// The id of a new segment in a process whose last one is `last`.
    pub fn after(last: Self, now: Timestamp) -> Self {
        let own = Self::at(now);
        // A clock that was put back counts: later ids say the time they were made.
        let is_close = last.received_at().micros_since(now) < MOST_AHEAD_MICROS;
        if last >= own && is_close {
            last.next()
        } else {
            own
        }
    }

    /// When its callbacks were received: to the microsecond, rounded down.
    pub const fn received_at(self) -> Timestamp {
        let fraction = (self.0 & FRACTION) * 1000 / 4096;
        Timestamp::from_micros((self.0 >> 16).saturating_mul(1000).saturating_add(fraction))
    }

    /// The segment of a callback's id. An id that is no callback's names a segment that does not
    /// exist, before or after the same ones as the id itself.
    pub fn of(callback: Uuid) -> Self {
        let (upper, _) = callback.as_u64_pair();
        Self(i64::try_from(upper).unwrap_or(i64::MAX))
    }

    /// The ids of all callbacks that the segment can have: the first and the last.
    pub fn callbacks(self) -> (Uuid, Uuid) {
        let id = |position| CallbackId::new(self, position).uuid();
        (id(0), id(u32::MAX))
    }
}

/// The id of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallbackId {
    pub segment: CallbackSegmentId,
    pub position: u32,
}

impl CallbackId {
    pub const fn new(segment: CallbackSegmentId, position: u32) -> Self {
        Self { segment, position }
    }

    /// Reads an id. None if it is no callback's.
    pub fn read(id: Uuid) -> Option<Self> {
        let (upper, lower) = id.as_u64_pair();
        let segment = CallbackSegmentId::from_number(i64::try_from(upper).ok()?);
        let position = u32::try_from(lower.checked_sub(VARIANT)?).ok()?;
        (segment.number() & 0xf000 == VERSION).then_some(Self { segment, position })
    }

    pub fn uuid(self) -> Uuid {
        let upper = self.segment.number().cast_unsigned();
        Uuid::from_u64_pair(upper, VARIANT | u64::from(self.position))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_123_456);

    #[test]
    fn ids_are_uuids_of_version_7_that_say_where_a_callback_is() {
        let id = CallbackId::new(CallbackSegmentId::at(NOW), 7);
        assert_eq!(id.uuid().get_version_num(), 7);
        assert_eq!(id.uuid().get_variant(), uuid::Variant::RFC4122);
        assert_eq!(CallbackId::read(id.uuid()), Some(id));
        assert_eq!(CallbackSegmentId::of(id.uuid()), id.segment);
        let (first, last) = id.segment.callbacks();
        assert!(first < id.uuid() && id.uuid() < last);
    }

    #[test]
    fn other_ids_are_no_callbacks() {
        for id in [
            Uuid::nil(),
            Uuid::max(),
            Uuid::from_u64_pair(u64::MAX, VARIANT),
            // Of a random UUID, and of one with a random lower half.
            "0b7b0fd0-3b0b-4c6e-9a0c-1d3f5a7b9c0e".parse().unwrap(),
            "01990f2e-0000-7000-8a3c-1d3f5a7b9c0e".parse().unwrap(),
        ] {
            assert_eq!(CallbackId::read(id), None, "{id}");
        }
    }

    #[test]
    fn the_next_id_after_the_last_of_a_millisecond_is_of_the_next_one() {
        let last = CallbackSegmentId::at(Timestamp::from_micros(5_000)).number() | FRACTION;
        let next = CallbackSegmentId::from_number(last).next();
        assert_eq!(next, CallbackSegmentId::at(Timestamp::from_micros(6_000)));
    }

    #[test]
    fn ids_of_one_moment_are_in_order_and_a_clock_put_back_counts() {
        let first = CallbackSegmentId::after(CallbackSegmentId::default(), NOW);
        assert_eq!(first, CallbackSegmentId::at(NOW));
        let second = CallbackSegmentId::after(first, NOW);
        assert!(first < second);
        assert!(second < CallbackSegmentId::after(second, NOW.plus_micros(-1)));
        let back = NOW.plus_seconds(-3600);
        assert_eq!(
            CallbackSegmentId::after(second, back),
            CallbackSegmentId::at(back)
        );
    }

    proptest! {
        #[test]
        fn ids_are_in_the_order_of_time_and_position(
            one in 0_i64..4_000_000_000_000_000, other in 0_i64..4_000_000_000_000_000,
            first in any::<u32>(), second in any::<u32>(),
        ) {
            let id = |micros, position| {
                CallbackId::new(CallbackSegmentId::at(Timestamp::from_micros(micros)), position)
            };
            let ids = (id(one, first), id(other, second));
            prop_assert_eq!(ids.0.cmp(&ids.1), ids.0.uuid().cmp(&ids.1.uuid()));
            if one < other {
                prop_assert!(ids.0.segment < ids.1.segment);
            }
            prop_assert_eq!(CallbackId::read(ids.0.uuid()), Some(ids.0));
        }

        #[test]
        fn the_time_of_an_id_is_right_to_the_microsecond(micros in 0_i64..4_000_000_000_000_000) {
            let id = CallbackSegmentId::at(Timestamp::from_micros(micros));
            let error = micros - id.received_at().micros();
            prop_assert!((0..=1).contains(&error), "{error}");
        }

        #[test]
        fn the_next_id_is_later_and_of_the_same_version(number in 0_i64..1 << 62) {
            let id = CallbackSegmentId::from_number(number & !0xf000 | VERSION);
            let next = id.next();
            prop_assert!(id < next);
            prop_assert_eq!(CallbackId::new(next, 0).uuid().get_version_num(), 7);
        }
    }
}
