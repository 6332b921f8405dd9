//! How long tests took: the slowest are named at the end of a run of many.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many are named.
const NAMED: usize = 20;

/// Runs of fewer tests name none.
const MANY: usize = 300;

static ALL: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// Notes how long a test took that began then.
pub fn note(name: &str, began: Instant) {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.push((began.elapsed(), name.to_owned()));
}

/// The slowest, if there were many: a line each. Each ran beside others.
pub fn slowest() -> Vec<String> {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() < MANY {
        return Vec::new();
    }
    all.sort_unstable_by(|one, other| other.cmp(one));
    let named = all.iter().take(NAMED);
    named
        .map(|(took, name)| format!("{:>6.1} s  {name}", took.as_secs_f64()))
        .collect()
}
