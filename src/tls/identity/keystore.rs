//! Key stores in PKCS#12, as keytool and OpenSSL write them.

use std::path::Path;

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as StoreError;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::{ExposeSecret, SecretString};

use super::{Error, key};
use crate::tls::x509::{self, Elements, tag};

/// The one key of a store, and its chain: the certificate of the key, then who signed whom. The root is left out,
/// as whoever trusts it has it.
pub(super) fn read(
    file: &Path,
    bytes: &[u8],
    password: &SecretString,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let refused = |reason: String| Error::Keystore { file: file.to_path_buf(), reason };
    if Elements(bytes).expect(tag::SEQUENCE).is_none() {
        return Err(refused("it is not PKCS#12, or cut short".to_owned()));
    }
    let store = Pkcs12Archive::from_pkcs12(bytes, password.expose_secret()).map_err(|error| match error {
        StoreError::MacError(_) | StoreError::UnpadError => Error::WrongPassword(file.to_path_buf()),
        other => refused(other.to_string()),
    })?;
    let private = match store.keys.as_slice() {
        [one] => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(one.key.as_der().to_vec())),
        [] => return Err(refused("it holds no key".to_owned())),
        [..] => {
            return Err(refused("it holds more than one key, and nothing says which is meant".to_owned()));
        }
    };
    let mut rest: Vec<CertificateDer<'static>> =
        store.certs.iter().map(|bag| bag.cert.as_der().to_vec().into()).collect();
    let signing = key::signing(file, private.clone_key())?;
    let first = rest.iter().position(|certificate| key::fits(&signing, certificate));
    let mut chain =
        vec![rest.swap_remove(first.ok_or_else(|| refused("its key has no certificate".to_owned()))?)];
    while let Some(next) = chain.last().and_then(|last| rest.iter().position(|other| has_signed(other, last)))
    {
        chain.push(rest.swap_remove(next));
    }
    Ok((chain, private))
}

/// Whether `authority` is named as the issuer of `certificate`, and is no root itself.
fn has_signed(authority: &CertificateDer<'_>, certificate: &CertificateDer<'_>) -> bool {
    match (x509::Certificate::read(authority), x509::Certificate::read(certificate)) {
        (Some(authority), Some(certificate)) => {
            authority.subject.whole == certificate.issuer.whole
                && authority.subject.whole != authority.issuer.whole
        }
        (Some(_) | None, _) => false,
    }
}
