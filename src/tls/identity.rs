//! What one side presents: a chain of certificates and the key to the first of them.

mod key;
#[cfg(feature = "keystore")]
mod keystore;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::SecretString;

use crate::tls::files::{self, Kind, Snapshot, Wanted, pem_fault};
use crate::tls::{principal, status, x509};

/// Where a chain and its key are.
#[derive(Clone, Debug)]
pub enum Source {
    /// PEM files; both may be the same one.
    Pem {
        /// The certificate, followed by those of the authorities between it and the root.
        cert: PathBuf,
        /// The private key: PKCS#8, encrypted PKCS#8 (PBES2), PKCS#1, or SEC1.
        key: PathBuf,
        /// What the key is encrypted with.
        password: Option<Password>,
    },
    /// A PKCS#12 key store, by builds with the feature `keystore`.
    Pkcs12 {
        /// The store. It holds one key, with its chain.
        file: PathBuf,
        /// What it is encrypted with.
        password: Password,
    },
}

impl Source {
    /// The files that nobody else should read.
    fn secrets(&self) -> Vec<&Path> {
        let (key, password) = match self {
            Self::Pem { key, password, .. } => (key, password.as_ref()),
            Self::Pkcs12 { file, password } => (file, Some(password)),
        };
        let password = match password {
            Some(Password::File(file)) => Some(file.as_path()),
            Some(Password::Text(_)) | None => None,
        };
        [key.as_path()].into_iter().chain(password).collect()
    }

    /// The files that a load reads.
    pub(super) fn wanted(&self) -> BTreeSet<Wanted> {
        let (mut paths, password) = match self {
            Self::Pem { cert, key, password } => (vec![cert, key], password.as_ref()),
            Self::Pkcs12 { file, password } => (vec![file], Some(password)),
        };
        if let Some(Password::File(file)) = password {
            paths.push(file);
        }
        paths.into_iter().map(|path| Wanted { path: path.clone(), kind: Kind::Single }).collect()
    }
}

/// A password, or where it is. Never printed.
#[derive(Clone, Debug)]
pub enum Password {
    /// Read anew at each load; one line end at its end does not count.
    File(PathBuf),
    /// The password itself.
    Text(SecretString),
}

impl Password {
    fn read(&self, files: &Snapshot) -> Result<SecretString, Error> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(file) => {
                let text = str::from_utf8(files.bytes(file).map_err(Error::File)?)
                    .map_err(|_| Error::NotText(file.clone()))?;
                let text =
                    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
                if text.is_empty() { Err(Error::EmptyPassword(file.clone())) } else { Ok(text.into()) }
            }
        }
    }
}

/// A chain with the key that fits it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What rustls presents.
    pub certified: Arc<CertifiedKey>,
    /// The file that the certificate came from.
    pub file: PathBuf,
    /// What its `subjectAltName` says.
    pub names: Vec<Name>,
    /// Its subject, as Java prints it (RFC 2253).
    pub subject: String,
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub sha256: String,
    /// Valid from.
    pub not_before: SystemTime,
    /// Valid until.
    pub not_after: SystemTime,
    /// What works, but should not stay: a key that others can read. What changes with time is in
    /// [`Self::out_of_time`].
    pub warnings: Vec<String>,
}

impl Identity {
    /// What is wrong with its dates at this time: it ran out, or is not valid yet.
    pub fn out_of_time(&self, now: SystemTime) -> Option<String> {
        let file = self.file.display();
        if now > self.not_after {
            let end = humantime::format_rfc3339_seconds(self.not_after);
            Some(format!(
                "the certificate in `{file}` ran out at {end}: nobody who checks it connects any more"
            ))
        } else if now < self.not_before {
            let start = humantime::format_rfc3339_seconds(self.not_before);
            Some(format!("the certificate in `{file}` is not valid before {start}: is the clock right?"))
        } else {
            None
        }
    }

    /// The same as plain data.
    pub fn status(&self) -> status::Certificate {
        status::Certificate {
            file: self.file.clone(),
            subject: self.subject.clone(),
            names: self.names.iter().map(Name::to_string).collect(),
            not_before: self.not_before,
            not_after: self.not_after,
            serial: self.serial.clone(),
            sha256: self.sha256.clone(),
        }
    }
}

/// A name that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// A DNS name in lower case; its first label may be `*`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// Why a chain or a key cannot be used: the file, the fault, and what to do. Nothing of a key or password is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("a file of the certificate is not there as it should be")]
    File(#[source] files::Error),
    /// PEM that is broken or cut short.
    #[error("`{}` is broken or cut short: {reason}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No certificate where one should be.
    #[error("`{}` holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`){hint}", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
        /// What it seems to be, and what to do about it.
        hint: String,
    },
    /// A certificate that cannot be read.
    #[error("`{}` holds a certificate that cannot be read", .0.display())]
    Certificate(PathBuf),
    /// No key where one should be.
    #[error("`{}` holds no private key in PEM (`-----BEGIN PRIVATE KEY-----`){hint}", file.display())]
    NoKey {
        /// The file.
        file: PathBuf,
        /// What it seems to be, and what to do about it.
        hint: String,
    },
    /// An encrypted key without a password.
    #[error("the key in `{}` is encrypted: set `key_password`", .0.display())]
    NoPassword(PathBuf),
    /// A password that does not open it.
    #[error("the password does not open `{}`", .0.display())]
    WrongPassword(PathBuf),
    /// An encryption that is not read here.
    #[error(
        "the key in `{file}` is encrypted in an old way; this makes one that can be read: \
         `openssl pkcs8 -topk8 -v2 aes-256-cbc -in {file} -out NEW.key`", file = .0.display()
    )]
    Encryption(PathBuf),
    /// A password file that is not text.
    #[error("the password file `{}` is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// A password file with nothing in it.
    #[error("the password file `{}` is empty", .0.display())]
    EmptyPassword(PathBuf),
    /// A key of a kind that TLS does not use, or a broken one.
    #[error("the key in `{}` is not one that TLS uses: RSA of at least 2048 bits, ECDSA on a NIST curve, or Ed25519", .0.display())]
    Key(PathBuf),
    /// The key is another certificate's.
    #[error("the key in `{}` does not belong to the certificate in `{}`: both are renewed together", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The chain does not begin with the certificate of the key.
    #[error("the key belongs to certificate {number} in `{}`: that one must come first, then the authorities above it", cert.display())]
    Order {
        /// The certificate's file.
        cert: PathBuf,
        /// The place of the right one, from 1.
        number: usize,
    },
    /// A Java key store of the old kind.
    #[error(
        "`{file}` is a JKS key store, which only Java reads; this converts it: `keytool -importkeystore \
         -srckeystore {file} -destkeystore {file}.p12 -deststoretype PKCS12`", file = .0.display()
    )]
    Jks(PathBuf),
    /// This build reads no key stores.
    #[error(
        "`{file}`: this build reads no PKCS#12 key stores (the feature `keystore` does); this makes PEM of it: \
         `openssl pkcs12 -in {file} -nodes -out {file}.pem`", file = .0.display()
    )]
    NoKeystore(PathBuf),
    /// A key store that cannot be read.
    #[error("the key store `{}` cannot be read: {reason}", file.display())]
    Keystore {
        /// The store.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads and checks what `source` names. Blocks on the disk for a moment.
pub fn load(source: &Source) -> Result<Identity, Error> {
    build(source, &Snapshot::take(&source.wanted()))
}

/// The same from files that were read before.
pub(super) fn build(source: &Source, files: &Snapshot) -> Result<Identity, Error> {
    let mut warnings = Vec::new();
    let (cert, key, chain, private) = match source {
        Source::Pem { cert, key, password } => {
            let chain = chain(cert, files)?;
            let private = key::read(key, password.as_ref(), files)?;
            if password.is_some() && !private.encrypted {
                warnings
                    .push(format!("the key in `{}` is not encrypted and needs no password", key.display()));
            }
            (cert, key, chain, private.key)
        }
        Source::Pkcs12 { file, password } => {
            let (chain, private) = keystore(file, password, files)?;
            (file, file, chain, private)
        }
    };
    warnings.extend(source.secrets().into_iter().filter_map(|secret| readable_by_others(secret, files)));
    let certified = certify(chain, private, (cert, key))?;
    let leaf = certified.cert.first().ok_or_else(|| Error::Certificate(cert.clone()))?;
    let read = x509::Certificate::read(leaf).ok_or_else(|| Error::Certificate(cert.clone()))?;
    let names = read.names();
    Ok(Identity {
        file: cert.clone(),
        names,
        subject: principal::java_name(leaf).unwrap_or_else(|error| format!("({error})")),
        serial: x509::hex(read.serial),
        sha256: x509::sha256(leaf),
        not_before: read.not_before,
        not_after: read.not_after,
        warnings,
        certified: Arc::new(certified),
    })
}

/// All certificates of a file, in its order.
fn chain(file: &Path, files: &Snapshot) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = files.bytes(file).map_err(Error::File)?;
    refuse_jks(file, bytes)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Pem { file: file.to_path_buf(), reason: pem_fault(&error) })?;
    if chain.is_empty() {
        let shown = file.display();
        let hint = der_hint(bytes, || format!("openssl x509 -inform der -in {shown} -out {shown}.pem"));
        return Err(Error::NoCertificate { file: file.to_path_buf(), hint });
    }
    match chain.iter().all(|certificate| x509::Certificate::read(certificate).is_some()) {
        true => Ok(chain),
        false => Err(Error::Certificate(file.to_path_buf())),
    }
}

/// The chain with its key, which must be that of the first certificate.
fn certify(
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
    (cert, key): (&Path, &Path),
) -> Result<CertifiedKey, Error> {
    let signing = key::signing(key, private)?;
    match chain.iter().position(|certificate| key::fits(&signing, certificate)) {
        Some(0) => Ok(CertifiedKey::new(chain, signing)),
        Some(place) => Err(Error::Order { cert: cert.to_path_buf(), number: place + 1 }),
        None => Err(Error::Mismatch { cert: cert.to_path_buf(), key: key.to_path_buf() }),
    }
}

fn readable_by_others(secret: &Path, files: &Snapshot) -> Option<String> {
    let mode = files.open_to_others(secret).ok().flatten()?;
    let shown = secret.display();
    Some(format!(
        "`{shown}` is secret and open to others than its owner (mode {mode:04o}): `chmod 600 {shown}`"
    ))
}

/// JKS and JCEKS begin with a number of their own.
fn refuse_jks(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] | [0xce, 0xce, 0xce, 0xce, ..] => Err(Error::Jks(file.to_path_buf())),
        _ => Ok(()),
    }
}

/// What to do with a file that is DER and should be PEM.
fn der_hint(bytes: &[u8], command: impl FnOnce() -> String) -> String {
    if bytes.first() == Some(&x509::tag::SEQUENCE) {
        format!(": it is DER, `{}`", command())
    } else {
        String::new()
    }
}

#[cfg(not(feature = "keystore"))]
fn keystore(
    file: &Path,
    _password: &Password,
    files: &Snapshot,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    refuse_jks(file, files.bytes(file).map_err(Error::File)?)?;
    Err(Error::NoKeystore(file.to_path_buf()))
}

#[cfg(feature = "keystore")]
fn keystore(
    file: &Path,
    password: &Password,
    files: &Snapshot,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let bytes = files.bytes(file).map_err(Error::File)?;
    refuse_jks(file, bytes)?;
    keystore::read(file, bytes, &password.read(files)?)
}

#[cfg(test)]
mod tests;
