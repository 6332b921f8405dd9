use std::io::Read;

use proptest::prelude::*;

use super::{
    CallbackBodyHead, EncodedCallbackSegment, MAX_SEGMENT_BODIES, PLAIN, ZSTD, decode_data,
    decode_heads, encode,
};

/// A digest, labels, and the bytes, unless they are erased.
type Body = ([u8; 32], Option<String>, Option<Vec<u8>>);

fn encoded(bodies: &[Body]) -> EncodedCallbackSegment {
    encode(
        bodies
            .iter()
            .map(|(digest, label, body)| (digest, label.as_deref(), body.as_deref())),
    )
}

fn heads(segment: &EncodedCallbackSegment) -> Option<Vec<CallbackBodyHead>> {
    decode_heads(&segment.heads, segment.bodies, segment.size_bytes)
}

fn status(number: usize) -> Body {
    let body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"changes":[{{"field":"messages","value":{{"statuses":[{{"id":"wamid.{number}","status":"read"}}]}}}}]}}]}}"#
    );
    ([number.to_le_bytes()[0]; 32], None, Some(body.into_bytes()))
}

#[test]
fn alike_bodies_become_small_and_a_body_that_does_not_is_stored_plain() {
    let alike = encoded(&(0..64).map(status).collect::<Vec<_>>());
    assert_eq!(alike.data[0], ZSTD);
    let size = usize::try_from(alike.size_bytes).unwrap();
    assert!(
        alike.data.len() * 10 < size,
        "{} of {size}",
        alike.data.len()
    );
    let short = encoded(&[([1; 32], None, Some(b"{}".to_vec()))]);
    assert_eq!(short.data, [&[PLAIN][..], b"{}"].concat());
    // Nothing is stored as something: an empty value would be none to SQLite.
    let empty = encoded(&[([1; 32], None, Some(Vec::new()))]);
    assert_eq!(
        (empty.bodies, empty.size_bytes, empty.data.as_slice()),
        (1, 0, &[PLAIN][..])
    );
    assert_eq!(
        decode_data(&empty.data, &heads(&empty).unwrap()).unwrap(),
        [""]
    );
}

#[test]
fn what_a_damaged_row_claims_is_not_believed() {
    let segment = encoded(&(0..20).map(status).collect::<Vec<_>>());
    let known = heads(&segment).unwrap();
    for bodies in [-1, 0, 19, 21, i64::MAX, i64::MIN] {
        assert_eq!(
            decode_heads(&segment.heads, bodies, segment.size_bytes),
            None
        );
    }
    for size in [
        -1,
        0,
        segment.size_bytes - 1,
        segment.size_bytes + 1,
        i64::MAX,
    ] {
        assert_eq!(decode_heads(&segment.heads, 20, size), None);
    }
    // Sizes that are not those of the data.
    let claims = |size| {
        let mut heads = known.clone();
        heads[3].size = size;
        decode_data(&segment.data, &heads)
    };
    for size in [
        0,
        known[3].size - 1,
        known[3].size + 1,
        1 << 40,
        usize::MAX / 64,
    ] {
        assert_eq!(claims(size), None);
    }
    let many = i64::try_from(MAX_SEGMENT_BODIES).unwrap() + 1;
    assert_eq!(
        decode_heads(&[&[1][..], &vec![0; 40 * 5_000]].concat(), many, 0),
        None
    );
}

#[test]
fn what_decompresses_to_more_than_was_stored_is_stopped() {
    // Zeros of a gigabyte, in a few kilobytes.
    let zeros = zstd::stream::encode_all(std::io::repeat(0).take(1 << 30), 1).unwrap();
    let bomb = [&[ZSTD][..], &zeros].concat();
    let head = CallbackBodyHead {
        size: 1_000,
        is_erased: false,
        digest: [0; 32],
        signed_by: None,
    };
    assert_eq!(decode_data(&bomb, std::slice::from_ref(&head)), None);
    // As large as it says it is, and larger than any segment.
    let heads = vec![
        CallbackBodyHead {
            size: 1 << 24,
            ..head
        };
        64
    ];
    assert_eq!(decode_data(&bomb, &heads), None);
}

fn bodies() -> impl Strategy<Value = Vec<Body>> {
    let body = (
        any::<[u8; 32]>(),
        prop::option::of("[a-z,]{0,40}"),
        prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..2_000)),
    );
    prop::collection::vec(body, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_segment_is_read_as_it_was_written(bodies in bodies()) {
        let segment = encoded(&bodies);
        let heads = heads(&segment).unwrap();
        let data = decode_data(&segment.data, &heads).unwrap();
        let read: Vec<Body> = heads
            .into_iter()
            .zip(data)
            .map(|(head, body)| {
                (head.digest, head.signed_by, (!head.is_erased).then(|| body.to_vec()))
            })
            .collect();
        prop_assert_eq!(read, bodies);
    }

    #[test]
    fn an_erased_body_leaves_the_others_as_they_are_and_nothing_of_itself(
        bodies in bodies(), place in any::<prop::sample::Index>(),
    ) {
        let mut erased = bodies.clone();
        let place = place.index(erased.len());
        erased[place].2 = None;
        let segment = encoded(&erased);
        let heads = heads(&segment).unwrap();
        let data = decode_data(&segment.data, &heads).unwrap();
        prop_assert!(heads[place].is_erased && data[place].is_empty());
        let sizes = erased.iter().map(|body| body.2.as_ref().map_or(0, Vec::len));
        prop_assert_eq!(segment.size_bytes, i64::try_from(sizes.sum::<usize>()).unwrap());
        for (position, body) in bodies.iter().enumerate().filter(|(it, _)| *it != place) {
            prop_assert_eq!(&heads[position].digest, &body.0);
            prop_assert_eq!(&data[position][..], body.2.as_deref().unwrap_or_default());
        }
        prop_assert_eq!(heads[place].digest, bodies[place].0);
    }

    #[test]
    fn a_damaged_segment_is_read_or_refused(
        bodies in bodies(), place in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>(),
    ) {
        let segment = encoded(&bodies);
        let mut changed = segment.clone();
        let at = place.index(changed.heads.len());
        changed.heads[at] = byte;
        let _ = heads(&changed);
        changed.heads.truncate(cut.index(segment.heads.len()));
        prop_assert_eq!(heads(&changed), None);
        let known = heads(&segment).unwrap();
        let mut data = segment.data.clone();
        let at = place.index(data.len());
        data[at] = byte;
        let _ = decode_data(&data, &known);
        data.truncate(cut.index(segment.data.len()));
        prop_assert_eq!(decode_data(&data, &known), None);
    }

    #[test]
    fn any_bytes_are_a_segment_or_none(heads: Vec<u8>, bodies in 0_i64..5, data: Vec<u8>) {
        let head = CallbackBodyHead { size: 10, is_erased: false, digest: [0; 32], signed_by: None };
        let _ = decode_heads(&heads, bodies, 10);
        let _ = decode_data(&data, &[head]);
    }
}
