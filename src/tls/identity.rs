//! What one side presents: a chain of certificates and the key to the first of them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::SecretString;

/// Where a chain and its key are.
#[derive(Clone, Debug)]
pub enum Source {
    /// PEM files; both may be the same one.
    Pem {
        /// The certificate, followed by those of the authorities between it and the root.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
        /// What the key is encrypted with.
        password: Option<Password>,
    },
    /// A PKCS#12 key store.
    Pkcs12 {
        /// The store.
        file: PathBuf,
        /// What it is encrypted with.
        password: Password,
    },
}

/// A password, or where it is. Never printed.
#[derive(Clone, Debug)]
pub enum Password {
    /// Read anew at each load; one line end at its end does not count.
    File(PathBuf),
    /// The password itself.
    Text(SecretString),
}

/// A chain with the key that fits it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What rustls presents.
    pub certified: Arc<CertifiedKey>,
    /// What its `subjectAltName` says.
    pub names: Vec<Name>,
    /// Its subject, as Java prints it (RFC 2253).
    pub subject: String,
    /// Valid from.
    pub not_before: SystemTime,
    /// Valid until.
    pub not_after: SystemTime,
    /// What works, but should not stay.
    pub warnings: Vec<String>,
}

/// A name that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// A DNS name in lower case; its first label may be `*`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// Why a chain or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not PEM, or cut short.
    #[error("`{}` is not a PEM file with what is needed here", .0.display())]
    Pem(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// The key does not belong to the certificate, or is of a kind that TLS does not use.
    #[error("the key in `{}` is not the one of the certificate in `{}`", key.display(), cert.display())]
    Key {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the library says.
        #[source]
        source: rustls::Error,
    },
    /// This build reads no key stores.
    #[error("`{}`: this build reads no PKCS#12 files", .0.display())]
    NoKeystore(PathBuf),
}

/// Reads and checks what `source` names. Blocks on the disk for a moment.
pub fn load(source: &Source) -> Result<Identity, Error> {
    let (cert, key) = match source {
        Source::Pem { cert, key, password: _ } => (cert, key),
        Source::Pkcs12 { file, password: _ } => return Err(Error::NoKeystore(file.clone())),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| Error::Pem(cert.clone(), error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| Error::Pem(key.clone(), error))?;
    let certified = CertifiedKey::from_der(chain, private, &super::provider())
        .map_err(|source| misfit(cert, key, source))?;
    Ok(Identity {
        certified: Arc::new(certified),
        names: Vec::new(),
        subject: String::new(),
        not_before: SystemTime::UNIX_EPOCH,
        not_after: SystemTime::UNIX_EPOCH,
        warnings: Vec::new(),
    })
}

fn misfit(cert: &Path, key: &Path, source: rustls::Error) -> Error {
    Error::Key { cert: cert.to_path_buf(), key: key.to_path_buf(), source }
}
