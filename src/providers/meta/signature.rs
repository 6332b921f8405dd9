//! Verifies `X-Hub-Signature-256`: HMAC-SHA256 over the raw bytes of a callback, with the secret of
//! the subscribed app (Meta, "Webhooks: getting started").

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The header that carries the signature.
pub const HEADER: &str = "X-Hub-Signature-256";

const PREFIX: &str = "sha256=";
const DIGEST_BYTES: usize = 32;

/// The indexes of those `secrets` with which `header` signs `body`.
///
/// Every secret is tried, each in constant time, so that the duration reveals neither a byte of the
/// digest nor which secret matches.
pub fn fitting<'a>(
    secrets: impl IntoIterator<Item = &'a SecretString>,
    header: Option<&str>,
    body: &[u8],
) -> Vec<usize> {
    let Some(claimed) = header.and_then(parse) else {
        return Vec::new();
    };
    let fits = |secret| digest(secret, body).is_some_and(|it| it.as_slice().ct_eq(&claimed).into());
    secrets
        .into_iter()
        .map(fits)
        // All of them are compared before any result is used.
        .collect::<Vec<bool>>()
        .into_iter()
        .enumerate()
        .filter_map(|(position, fits)| fits.then_some(position))
        .collect()
}

/// Whether a header could be a signature: otherwise the body need not be read to be refused.
pub fn is_well_formed(header: Option<&str>) -> bool {
    header.is_some_and(|header| parse(header).is_some())
}

fn parse(header: &str) -> Option<[u8; DIGEST_BYTES]> {
    let mut claimed = [0; DIGEST_BYTES];
    hex::decode_to_slice(header.strip_prefix(PREFIX)?, &mut claimed).ok()?;
    Some(claimed)
}

fn digest(secret: &SecretString, body: &[u8]) -> Option<[u8; DIGEST_BYTES]> {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(body);
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::{digest, fitting};

    fn verify(secrets: &[SecretString], header: Option<&str>, body: &[u8]) -> bool {
        !fitting(secrets, header, body).is_empty()
    }

    fn secrets(names: &[&str]) -> Vec<SecretString> {
        names.iter().map(|name| SecretString::from(*name)).collect()
    }

    #[test]
    fn the_published_vectors_hold() {
        for (secret, body, expected) in [
            (
                "test_app_secret",
                r#"{"object":"whatsapp_business_account","entry":[]}"#,
                "dec6a680679a968e7e0319355b23599cbfc54502c0784668e9618baa0c633756",
            ),
            (
                "test_app_secret",
                r#"{"object": "whatsapp_business_account", "entry": []}"#,
                "56cbbaf4961c6cfdae48b7f116c047e5eb513d2c931baae63a2bc1afd26f803a",
            ),
            (
                "otro_secreto",
                r#"{"object":"whatsapp_business_account","entry":[]}"#,
                "769b03d8c2ae6498f2d1e1f7299c0ba55448c69d741e7b0bb243d852d8a8d8c7",
            ),
            (
                "test_app_secret",
                r#"{"text":"\u00e4\u00f6\u00e5","u":"https:\/\/x"}"#,
                "7b7aa3446d3d22e936bb1a1a66285f5cc2fcba1b36ff8b00559619e5981a73d8",
            ),
            (
                "test_app_secret",
                r#"{"text":"äöå","u":"https://x"}"#,
                "0ca792a26965cf8d6271b1ed3633911b55748e2e414377e7faffefa09b2aca6f",
            ),
        ] {
            let header = format!("sha256={expected}");
            assert!(verify(
                &secrets(&["other", secret]),
                Some(&header),
                body.as_bytes()
            ));
            assert!(!verify(
                &secrets(&["other"]),
                Some(&header),
                body.as_bytes()
            ));
            assert!(!verify(&[], Some(&header), body.as_bytes()));
        }
    }

    #[test]
    fn a_missing_or_malformed_header_never_passes() {
        let secrets = secrets(&["s"]);
        let right = hex::encode(digest(&secrets[0], b"x").unwrap());
        for header in [
            None,
            Some(String::new()),
            Some("sha256=".to_owned()),
            Some(right.clone()),
            Some(format!("sha1={right}")),
            Some(format!("sha256={right}00")),
            Some(format!("sha256={}", &right[..62])),
            Some(format!("sha256={right} ")),
        ] {
            assert!(!verify(&secrets, header.as_deref(), b"x"), "{header:?}");
        }
        assert!(verify(&secrets, Some(&format!("sha256={right}")), b"x"));
    }

    proptest! {
        #[test]
        fn changing_any_byte_breaks_the_signature(
            body in prop::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let secrets = secrets(&["one", "two"]);
            let header = format!("sha256={}", hex::encode(digest(&secrets[1], &body).unwrap()));
            prop_assert!(verify(&secrets, Some(&header), &body));
            let mut changed = body.clone();
            changed[at.index(body.len())] ^= 1 << bit;
            prop_assert!(!verify(&secrets, Some(&header), &changed));
        }
    }
}
