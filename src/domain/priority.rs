//! Which messages go first.

use super::word_enum::words;

words! {
    /// How important a message is. The most important comes first.
    #[derive(Default)]
    pub enum MessagePriority {
        Otp = "otp",
        High = "high",
        #[default]
        Normal = "normal",
        Bulk = "bulk",
    }
}

impl MessagePriority {
    /// Its lane of the queue, as rows have it: a lower number goes first.
    pub const fn lane(self) -> i64 {
        match self {
            Self::Otp => 0,
            Self::High => 1,
            Self::Normal => 2,
            Self::Bulk => 3,
        }
    }

    /// The priority of a lane.
    pub fn of_lane(lane: i64) -> Self {
        let mut all = Self::ALL.iter().copied();
        all.find(|priority| priority.lane() == lane)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::MessagePriority;

    #[test]
    fn lanes_are_in_the_order_of_importance() {
        let all = MessagePriority::ALL;
        assert!(all.is_sorted() && all.is_sorted_by_key(|priority| priority.lane()));
        for priority in all.iter().copied() {
            assert_eq!(MessagePriority::of_lane(priority.lane()), priority);
        }
    }
}
