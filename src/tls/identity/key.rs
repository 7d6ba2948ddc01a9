//! Private keys in PEM, in every form that tools write.

use std::path::Path;
use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{Error, Password, der_hint, refuse_jks};
use crate::tls::files::{Snapshot, pem_fault};

/// The first key of a file.
pub(super) struct Read {
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) encrypted: bool,
}

/// Reads the first key of a file, and decrypts it if it is encrypted.
pub(super) fn read(file: &Path, password: Option<&Password>, files: &Snapshot) -> Result<Read, Error> {
    const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
    // How OpenSSL wrote encrypted keys before PKCS#8.
    const ENCRYPTED_BY_HEADER: &str = "Proc-Type: 4,ENCRYPTED";

    let bytes = files.bytes(file).map_err(Error::File)?;
    refuse_jks(file, bytes)?;
    let text = Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
    if text.contains(ENCRYPTED_BY_HEADER) {
        return Err(Error::Encryption(file.to_path_buf()));
    }
    if text.contains(ENCRYPTED) {
        let password = password.ok_or_else(|| Error::NoPassword(file.to_path_buf()))?.read(files)?;
        // The reader of PEM knows keys by the label of the plain ones.
        let relabelled = text.replace("ENCRYPTED PRIVATE KEY-----", "PRIVATE KEY-----");
        let sealed = PrivatePkcs8KeyDer::from_pem_slice(relabelled.as_bytes())
            .map_err(|error| Error::Pem { file: file.to_path_buf(), reason: pem_fault(&error) })?;
        return Ok(Read { key: decrypt(file, &sealed, password.expose_secret())?, encrypted: true });
    }
    match PrivateKeyDer::pem_slice_iter(bytes).next() {
        Some(Ok(key)) => Ok(Read { key, encrypted: false }),
        Some(Err(error)) => Err(Error::Pem { file: file.to_path_buf(), reason: pem_fault(&error) }),
        None => {
            let shown = file.display();
            let hint = der_hint(bytes, || format!("openssl pkey -inform der -in {shown} -out {shown}.pem"));
            Err(Error::NoKey { file: file.to_path_buf(), hint })
        }
    }
}

/// A key that TLS can sign with.
pub(super) fn signing(file: &Path, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
    crate::tls::provider().key_provider.load_private_key(key).map_err(|_| Error::Key(file.to_path_buf()))
}

/// Whether a certificate is for this key.
pub(super) fn fits(key: &Arc<dyn SigningKey>, certificate: &CertificateDer<'static>) -> bool {
    CertifiedKey::new(vec![certificate.clone()], key.clone()).keys_match().is_ok()
}

/// PBES2 (RFC 8018) with AES, which is what OpenSSL has written since 1.1.
fn decrypt(
    file: &Path,
    sealed: &PrivatePkcs8KeyDer<'_>,
    password: &str,
) -> Result<PrivateKeyDer<'static>, Error> {
    let unreadable = || Error::Encryption(file.to_path_buf());
    let sealed = EncryptedPrivateKeyInfoRef::try_from(sealed.secret_pkcs8_der()).map_err(|_| unreadable())?;
    if sealed.encryption_algorithm.pbes2().is_none() {
        return Err(unreadable());
    }
    let plain = sealed.decrypt(password).map_err(|_| Error::WrongPassword(file.to_path_buf()))?;
    Ok(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec()).into())
}
