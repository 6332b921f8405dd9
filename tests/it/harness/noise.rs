//! Content that compressing does not make smaller.

/// Bytes that look random, others for each seed.
pub fn noise_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[4]
        })
        .collect()
}

/// A text that is stored in so many bytes, hardly less.
pub fn noise(seed: u64, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // Each letter has six bits.
    noise_bytes(seed, bytes * 4 / 3)
        .into_iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 64)]))
        .collect()
}
