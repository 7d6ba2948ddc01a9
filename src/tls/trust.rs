//! Whom to trust: authorities, and the lists of what they revoked.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Where the authorities and their revocation lists are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// PEM files, or directories of which every `*.crt` and `*.pem` counts.
    pub ca: Vec<PathBuf>,
    /// Revocation lists in PEM or DER, or directories of which every `*.crl` and `*.pem` counts.
    pub crl: Vec<PathBuf>,
}

/// Why the authorities or lists cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not PEM, or cut short.
    #[error("`{}` is not a PEM file with certificates", .0.display())]
    Pem(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// A certificate in it cannot be an authority.
    #[error("`{}` holds something that cannot be trusted", .0.display())]
    Authority(PathBuf, #[source] rustls::Error),
    /// A peer's chain is refused.
    #[error("the certificate is refused")]
    Refused(#[source] rustls::Error),
}

/// The authorities of these files.
pub(super) fn roots(files: &[PathBuf]) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    for file in files {
        let found: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| Error::Pem(file.clone(), error))?;
        for certificate in found {
            roots.add(certificate).map_err(|error| Error::Authority(file.clone(), error))?;
        }
    }
    Ok(Arc::new(roots))
}
