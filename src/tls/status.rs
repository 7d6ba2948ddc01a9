//! What is loaded, as plain data for pages, metrics and logs. Nothing in it is secret.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

/// The material of one side: what it presents, whom it trusts, and what is wrong with either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What this side presents, in the order of the configuration; the first is the fallback.
    pub certificates: Vec<Certificate>,
    /// The authorities whose certificates are trusted. Empty on a listener without client certificates,
    /// and for a cluster that trusts the roots of the system.
    pub authorities: Vec<Authority>,
    /// The lists of revoked certificates that are enforced.
    pub revocation_lists: Vec<RevocationList>,
    /// What works, but should not stay: a key that others can read, a certificate that ran out.
    pub warnings: Vec<String>,
    /// Set while the files hold something that was refused, so that what was loaded before is still used.
    pub fault: Option<Fault>,
    /// When the material in use was read.
    #[serde(serialize_with = "rfc3339")]
    pub loaded: SystemTime,
}

/// A certificate that is presented.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// The file that it came from.
    pub file: PathBuf,
    /// Its subject, as Java prints it (RFC 2253).
    pub subject: String,
    /// The DNS names and addresses of its `subjectAltName`.
    pub names: Vec<String>,
    /// Valid from.
    #[serde(serialize_with = "rfc3339")]
    pub not_before: SystemTime,
    /// Valid until.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: SystemTime,
    /// The serial number, in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the whole certificate, in hexadecimal digits.
    pub sha256: String,
}

/// An authority that is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Authority {
    /// The file that it came from.
    pub file: PathBuf,
    /// Its subject, as Java prints it (RFC 2253).
    pub subject: String,
    /// Valid from.
    #[serde(serialize_with = "rfc3339")]
    pub not_before: SystemTime,
    /// Valid until. Chains are not refused for it: that is how other implementations treat a trust anchor.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: SystemTime,
    /// SHA-256 of the whole certificate, in hexadecimal digits.
    pub sha256: String,
}

/// A list of revoked certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevocationList {
    /// The file that it came from.
    pub file: PathBuf,
    /// The authority that it speaks for, as Java prints it (RFC 2253).
    pub issuer: String,
    /// When it must be renewed; from then on every certificate of this authority is refused.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub next_update: Option<SystemTime>,
    /// How many certificates it revokes.
    pub revoked: usize,
}

/// Why the files are not what is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, the fault, and what to do.
    pub text: String,
    /// When it was first seen.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
}

/// A time as pages show it.
pub(super) fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*at))
}

/// The same, where there may be none.
#[expect(clippy::ref_option, reason = "serde hands over the field")]
pub(super) fn rfc3339_or_null<S: Serializer>(
    at: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}
