#!/usr/bin/env bash
# lettre takes a PEM file without any certificate for a good one.
#
# Certificate::from_pem of lettre 0.11 (with rustls) collects what is a certificate in the text and leaves
# out the rest. An empty file, a private key, a certificate request, a file in DER and a note are each Ok:
# an authority that consists of nothing. TlsParametersBuilder takes it, and build_rustls() is Ok as well.
# Only text that begins like a certificate and is none is refused, and not by from_pem but by
# build_rustls(), whose message is about an invalid peer certificate before any peer was called.
#
# A notification service that is told to trust the authority of a private mail server reads such a file at
# its start. If an operator names the key instead of the certificate, or an empty mount, the start
# succeeds and the check of the settings too. Then every mail fails on the handshake with an unknown
# issuer, which points to the mail server and not to the file. Look for a certificate in the file yourself.
#
# Needs cargo and openssl. Opens no port. Exits with 1 if any of this behaves differently.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=an authority" -keyout key.pem -out authority.pem 2>/dev/null
openssl req -new -key key.pem -subj "/CN=a request" -out request.pem 2>/dev/null
openssl x509 -in authority.pem -outform der -out authority.der
: >empty.pem
echo "the certificate is in the other file" >note.pem
printf '%s\n' '-----BEGIN CERTIFICATE-----' 'AAAA' '-----END CERTIFICATE-----' >other-bytes.pem

mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "takes"
version = "0.0.0"
edition = "2021"

[dependencies]
lettre = { version = "=0.11.23", default-features = false, features = ["builder", "smtp-transport", "rustls", "ring", "webpki-roots"] }
TOML
cat >src/main.rs <<'RUST'
use lettre::transport::smtp::client::{Certificate, TlsParameters};

fn main() {
    for name in std::env::args().skip(1) {
        let text = std::fs::read(&name).unwrap();
        let said = match Certificate::from_pem(&text) {
            Err(error) => format!("refused: {error}"),
            Ok(certificate) => {
                let builder = TlsParameters::builder("mail.example.com".to_owned());
                match builder.add_root_certificate(certificate).build_rustls() {
                    Ok(_) => "taken, and built".to_owned(),
                    Err(error) => format!("taken, not built: {error}"),
                }
            }
        };
        println!("{name}: {said}");
    }
}
RUST
cargo build --quiet
{
    echo "lettre $(sed -n '/^name = "lettre"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)"
    target/debug/takes authority.pem empty.pem key.pem request.pem authority.der note.pem other-bytes.pem
} >seen.txt
cat seen.txt

cat >expected.txt <<'TEXT'
lettre 0.11.23
authority.pem: taken, and built
empty.pem: taken, and built
key.pem: taken, and built
request.pem: taken, and built
authority.der: taken, and built
note.pem: taken, and built
other-bytes.pem: taken, not built: tls error: invalid peer certificate: BadEncoding
TEXT
diff expected.txt seen.txt >differences.txt || {
    echo "lettre has changed (< as described, > as seen):"
    cat differences.txt
    exit 1
}
echo "as described: a file without a certificate is taken for one"
