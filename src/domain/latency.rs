//! Latency classes: percentiles without storing every value.

/// Upper bounds of the classes, in milliseconds: 1, 2, 5 and so on, then times that people think
/// in. Longer times have a class of their own.
pub const BOUNDS_MILLIS: [i64; 20] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000,
    900_000, 3_600_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000,
];

/// Number of classes.
pub const CLASSES: usize = BOUNDS_MILLIS.len() + 1;

/// The class of a time in microseconds. Clocks differ: a negative time counts as zero.
pub fn class_of(micros: i64) -> usize {
    let millis = micros.max(0) / 1_000;
    BOUNDS_MILLIS.partition_point(|bound| *bound < millis)
}

/// The code of a class in the counters; sorts as text, too.
pub fn code(class: usize) -> String {
    format!("{class:02}")
}

/// Parses a code.
pub fn class(code: &str) -> Option<usize> {
    code.parse().ok().filter(|class| *class < CLASSES)
}

/// The time in milliseconds that `permille` of all took at most, interpolated within its class;
/// beyond the last bound it is that bound. `None` if nothing was counted.
pub fn percentile_millis(counts: &[i64; CLASSES], permille: i64) -> Option<i64> {
    let total: i64 = counts.iter().map(|count| (*count).max(0)).sum();
    if total == 0 {
        return None;
    }
    // The rank of the wanted value, from 1.
    let wanted = ((total * permille.clamp(0, 1000) + 999) / 1000).max(1);
    let mut before = 0;
    let mut lower = 0;
    for (count, upper) in counts
        .iter()
        .zip(BOUNDS_MILLIS.iter().chain(BOUNDS_MILLIS.last()).copied())
    {
        let count = (*count).max(0);
        if count > 0 && before + count >= wanted {
            return Some(lower + (upper - lower) * (wanted - before) / count);
        }
        before += count;
        lower = upper;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BOUNDS_MILLIS, CLASSES, class, class_of, code, percentile_millis};

    #[test]
    fn a_class_ends_with_its_bound() {
        assert_eq!(class_of(-5), 0);
        assert_eq!(class_of(10_999), 0);
        assert_eq!(class_of(11_000), 1);
        assert_eq!(class_of(86_400_000_000), CLASSES - 2);
        assert_eq!(class_of(i64::MAX), CLASSES - 1);
        assert_eq!(class(&code(7)), Some(7));
        assert_eq!(class("99"), None);
    }

    #[test]
    fn nothing_counted_has_no_percentile() {
        assert_eq!(percentile_millis(&[0; CLASSES], 500), None);
    }

    #[test]
    fn what_took_longest_is_said_to_be_the_last_bound() {
        let mut counts = [0; CLASSES];
        counts[CLASSES - 1] = 3;
        assert_eq!(
            percentile_millis(&counts, 500),
            BOUNDS_MILLIS.last().copied()
        );
    }

    proptest! {
        #[test]
        fn a_percentile_lies_in_the_class_of_the_value_at_its_place(
            mut values in prop::collection::vec(0_i64..100_000_000, 1..200),
            permille in 1_usize..=1000,
        ) {
            let mut counts = [0; CLASSES];
            for value in &values {
                counts[class_of(value * 1_000)] += 1;
            }
            values.sort_unstable();
            let place = (values.len() * permille).div_ceil(1000) - 1;
            let class = class_of(values[place] * 1_000);
            let found = percentile_millis(&counts, i64::try_from(permille).unwrap()).unwrap();
            let lower = if class == 0 { 0 } else { BOUNDS_MILLIS[class - 1] };
            let upper = BOUNDS_MILLIS.get(class).copied().unwrap_or(86_400_000);
            prop_assert!((lower..=upper).contains(&found), "{found} not in {lower}..={upper}");
        }
    }
}
