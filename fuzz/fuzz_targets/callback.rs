//! Whatever bytes are signed and posted, taking them apart must end without a panic.
//!
//! `cargo +nightly fuzz run callback`

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let parsed = herald::providers::meta::callback::parse(
        body,
        herald::domain::time::Timestamp::from_unix_seconds(1_767_225_600),
    );
    // Nothing stands for two things: a pointer is of an item or of a dead one.
    for dead in &parsed.dead {
        assert!(parsed.items.iter().all(|item| item.pointer != dead.pointer));
    }
});
