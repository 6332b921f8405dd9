//! Decides when a sender is held because its calls fail, and when its provider is probed again.
//!
//! `engine/delivery/health.rs` counts the failures and makes the probes, `store/sender/health.rs`
//! has the rows. When a message is tried again is decided in [`retry`](super::retry).

/// So many consecutive provider failures hold the sender.
pub const BREAKER_THRESHOLD: i64 = 5;

/// How long a sender is held before a call probes the provider again, in microseconds: a second,
/// doubled each time, at most a minute.
pub fn probe_after_micros(failures_in_row: i64) -> i64 {
    let doublings = (failures_in_row - BREAKER_THRESHOLD).clamp(0, 6);
    (1_000_000_i64 << doublings).min(60_000_000)
}

/// Seconds until a sender is probed whose credentials or account are refused.
pub const TROUBLE_PROBE_SECONDS: i64 = 60;

#[cfg(test)]
mod tests {
    use super::probe_after_micros;

    #[test]
    fn probes_back_off_to_a_minute() {
        assert_eq!(probe_after_micros(5), 1_000_000);
        assert_eq!(probe_after_micros(7), 4_000_000);
        assert_eq!(probe_after_micros(500), 60_000_000);
    }
}
