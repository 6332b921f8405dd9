//! The secret by which callbacks prove where they come from: MyOperator signs nothing, and sends an
//! API key in a header or in the URL, or a password, as set in its panel.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::providers::CallbackProof;

/// Names under which the secret stands in the URL.
const PARAMETERS: [&str; 3] = ["key", "api_key", "apikey"];

/// Headers that carry it.
const HEADERS: [&str; 3] = ["X-API-Key", "apikey", "Authorization"];

/// What a request gives as its secret, from everywhere it may stand.
pub(super) fn given(proof: &CallbackProof<'_>) -> Vec<String> {
    let parameters = PARAMETERS
        .iter()
        .filter_map(|name| proof.parameter(name))
        .map(std::borrow::Cow::into_owned);
    let headers = HEADERS.iter().filter_map(|name| proof.header(name));
    let mut all: Vec<String> = parameters.chain(headers.filter_map(of_header)).collect();
    all.retain(|it| !it.is_empty());
    all
}

/// A header's secret: the password of `Basic`, or what stands after another scheme, or all of it.
fn of_header(header: &str) -> Option<String> {
    let Some((scheme, rest)) = header.trim().split_once(' ') else {
        return Some(header.trim().to_owned());
    };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Some(rest.trim().to_owned());
    }
    let decoded = STANDARD.decode(rest.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (_, password) = text.split_once(':')?;
    Some(password.to_owned())
}

/// The positions of those `secrets` that a request gives. All are compared, each in constant time:
/// as digests, which are equally long.
pub(super) fn fitting(secrets: &[&SecretString], proof: &CallbackProof<'_>) -> Vec<usize> {
    let given: Vec<[u8; 32]> = given(proof)
        .iter()
        .map(|text| Sha256::digest(text.as_bytes()).into())
        .collect();
    let fits = |secret: &SecretString| {
        let expected: [u8; 32] = Sha256::digest(secret.expose_secret().as_bytes()).into();
        given.iter().fold(false, |fits, given| {
            bool::from(given.ct_eq(&expected)) | fits
        })
    };
    let compared: Vec<bool> = secrets.iter().map(|secret| fits(secret)).collect();
    compared
        .into_iter()
        .enumerate()
        .filter_map(|(position, fits)| fits.then_some(position))
        .collect()
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::fitting;
    use crate::providers::CallbackProof;

    fn fits(headers: &[(&str, &str)], query: &str) -> Vec<usize> {
        let secrets = [
            SecretString::from("one-secret-0123"),
            SecretString::from("two-secret-0123"),
        ];
        let header = |name: &str| {
            let mut found = headers
                .iter()
                .filter(|(known, _)| known.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| *value)
        };
        let proof = CallbackProof::new(&header, query);
        fitting(&secrets.iter().collect::<Vec<_>>(), &proof)
    }

    #[test]
    fn the_secret_is_found_wherever_the_panel_can_put_it() {
        assert_eq!(fits(&[], "key=two-secret-0123"), [1]);
        assert_eq!(fits(&[], "a=b&api_key=one%2Dsecret%2D0123"), [0]);
        assert_eq!(fits(&[("X-API-Key", "one-secret-0123")], ""), [0]);
        assert_eq!(
            fits(&[("Authorization", "Bearer two-secret-0123")], ""),
            [1]
        );
        // `herald:two-secret-0123`
        assert_eq!(
            fits(
                &[("Authorization", "Basic aGVyYWxkOnR3by1zZWNyZXQtMDEyMw==")],
                ""
            ),
            [1]
        );
    }

    #[test]
    fn nothing_else_passes() {
        for (headers, query) in [
            (&[][..], ""),
            (&[][..], "key="),
            (&[][..], "key=one-secret-012"),
            (&[][..], "secret=one-secret-0123"),
            (&[("X-API-Key", "One-secret-0123")][..], ""),
            (&[("Authorization", "Basic one-secret-0123")][..], ""),
        ] {
            assert!(fits(headers, query).is_empty(), "{headers:?} {query}");
        }
    }
}
