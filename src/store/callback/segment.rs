//! A segment as bytes: the bodies that were stored together, and a head for each of them.
//!
//! `heads`: a version byte; then for each body one more than its size, or zero if it was erased; its
//! digest; and the labels of its signature. `data`: a byte that says whether they are compressed, and
//! the bodies one after the other. Whatever a damaged row says, reading it takes no more memory than
//! the largest segment.
//!
//! An erased body keeps its position and its digest: the positions of the others are part of their
//! ids, and it is recognized when it comes again.

use std::io::Read;

use bytes::Bytes;

use super::varint::{self, DamagedBytesReader};

/// The first byte of the heads.
const VERSION: u8 = 1;

/// The first byte of the data.
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// The fastest level that is worth it: a higher one takes longer and saves hardly more.
const LEVEL: i32 = 1;

/// No segment has more bodies.
pub const MAX_SEGMENT_BODIES: usize = 4_096;

/// No segment is larger, in bytes of bodies: several times of what is stored together.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The window that decompressing may use, as a power of two: of the largest segment.
const MAX_WINDOW_LOG: u32 = 24;

/// Bytes of a digest.
const DIGEST: usize = 32;

/// The least bytes of a head.
const LEAST_HEAD: usize = 2 + DIGEST;

/// What is known of a body without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackBodyHead {
    /// In bytes; zero for one that was erased, and for one that came empty.
    pub size: usize,
    /// Its bytes were erased, as a person whom it concerns was deleted.
    pub is_erased: bool,
    pub digest: [u8; 32],
    /// Labels of the secrets that signed it, if there are several apps.
    pub signed_by: Option<String>,
}

/// A segment as it is stored.
#[derive(Clone, Debug)]
pub struct EncodedCallbackSegment {
    pub bodies: i64,
    pub size_bytes: i64,
    pub heads: Vec<u8>,
    pub data: Vec<u8>,
}

/// Encodes bodies with their digests and labels, in the order of their positions. Without bytes: one
/// that is erased.
pub fn encode<'a>(
    bodies: impl IntoIterator<Item = (&'a [u8; 32], Option<&'a str>, Option<&'a [u8]>)>,
) -> EncodedCallbackSegment {
    let mut heads = vec![VERSION];
    let mut plain = vec![PLAIN];
    let mut count = 0;
    for (digest, signed_by, body) in bodies {
        varint::push(&mut heads, body.map_or(0, |body| body.len() as u64 + 1));
        heads.extend_from_slice(digest);
        match signed_by {
            None => varint::push(&mut heads, 0),
            Some(label) => {
                varint::push(&mut heads, label.len() as u64 + 1);
                heads.extend_from_slice(label.as_bytes());
            }
        }
        plain.extend_from_slice(body.unwrap_or_default());
        count += 1;
    }
    let size = plain.len() - 1;
    EncodedCallbackSegment {
        bodies: count,
        size_bytes: i64::try_from(size).unwrap_or(i64::MAX),
        heads,
        data: compressed(&plain).unwrap_or(plain),
    }
}

/// The data of a segment in compressed form, if that is smaller.
fn compressed(plain: &[u8]) -> Option<Vec<u8>> {
    let (_, bodies) = plain.split_first()?;
    let packed = zstd::bulk::compress(bodies, LEVEL).ok()?;
    (packed.len() < bodies.len()).then(|| [&[ZSTD], packed.as_slice()].concat())
}

/// Reads the heads of a segment with so many bodies of so many bytes in total. None if they are
/// damaged.
pub fn decode_heads(heads: &[u8], bodies: i64, size_bytes: i64) -> Option<Vec<CallbackBodyHead>> {
    let count = usize::try_from(bodies).ok()?;
    if count > MAX_SEGMENT_BODIES {
        return None;
    }
    let mut reader = DamagedBytesReader::of_version(heads, VERSION)?;
    let mut decoded = Vec::with_capacity(count.min(heads.len() / LEAST_HEAD));
    let mut size_left = u64::try_from(size_bytes).ok()?;
    for _ in 0..count {
        let stored = reader.number()?.checked_sub(1);
        let size = stored.unwrap_or(0);
        size_left = size_left.checked_sub(size)?;
        let digest = reader.take(DIGEST)?.try_into().ok()?;
        let signed_by = match reader.number()?.checked_sub(1) {
            None => None,
            Some(length) => {
                let label = reader.take(usize::try_from(length).ok()?)?;
                Some(String::from_utf8(label.to_vec()).ok()?)
            }
        };
        decoded.push(CallbackBodyHead {
            size: usize::try_from(size).ok()?,
            is_erased: stored.is_none(),
            digest,
            signed_by,
        });
    }
    (size_left == 0 && reader.is_at_end()).then_some(decoded)
}

/// Reads the bodies of a segment with these heads. None if they are damaged.
pub fn decode_data(data: &[u8], heads: &[CallbackBodyHead]) -> Option<Vec<Bytes>> {
    let sizes = heads.iter().map(|head| head.size as u64);
    let size = sizes.fold(0_u64, u64::saturating_add);
    let (flag, stored) = data.split_first()?;
    if size > MAX_BYTES {
        return None;
    }
    let mut all = match *flag {
        PLAIN => Bytes::copy_from_slice(stored),
        ZSTD => decompressed(stored, size)?.into(),
        _ => return None,
    };
    if all.len() as u64 != size {
        return None;
    }
    Some(heads.iter().map(|head| all.split_to(head.size)).collect())
}

/// Grows as bytes come, and stops after one more than `size`.
fn decompressed(packed: &[u8], size: u64) -> Option<Vec<u8>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).ok()?;
    decoder.window_log_max(MAX_WINDOW_LOG).ok()?;
    let mut plain = Vec::new();
    decoder.take(size + 1).read_to_end(&mut plain).ok()?;
    Some(plain)
}

#[cfg(test)]
mod tests;
