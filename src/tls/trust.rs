//! Whom to trust: authorities, and the lists of what they revoked.

mod lists;
mod verifier;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{self, Context, Digest};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};

use crate::tls::files::{self, Kind, Snapshot, Wanted, pem_fault};
use crate::tls::x509::{self, Element, tag};
use crate::tls::{principal, status};

use lists::List;
pub(super) use verifier::{ClientVerifier, take_refused};

/// How long the chain of a client may be: it is kept for as long as the connection is open.
pub(super) const CHAIN_BYTES_MAX: usize = 32 * 1024;
/// How many certificates it may have. Whoever makes up authorities of one name that sign each other has every order
/// of them tried: seven take some 10,000 steps, fifty would stop a worker for a second. Java takes as many.
const CHAIN_CERTIFICATES_MAX: usize = 8;

/// Where the authorities and their revocation lists are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// PEM files, or directories of which every `*.crt` and `*.pem` counts.
    pub ca: Vec<PathBuf>,
    /// Revocation lists in PEM or DER, or directories of which every `*.crl` and `*.pem` counts. A certificate is
    /// looked up in the newest list of the authority that signed it; one whose authority has no list here is not.
    pub crl: Vec<PathBuf>,
}

impl Options {
    /// The files that a load reads.
    pub(super) fn wanted(&self) -> BTreeSet<Wanted> {
        let want = |kind| move |path: &PathBuf| Wanted { path: path.clone(), kind };
        let ca = self.ca.iter().map(want(Kind::Authorities));
        ca.chain(self.crl.iter().map(want(Kind::RevocationLists))).collect()
    }
}

/// Why authorities or lists cannot be used, or why a certificate is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory cannot be read.
    #[error("a file of the authorities is not there as it should be")]
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
    #[error("`{}` holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)", .0.display())]
    NoCertificate(PathBuf),
    /// There is no authority at all, so that every peer would be refused.
    #[error("no authority is named")]
    NoAuthority,
    /// The system has no authorities, as in a container from scratch.
    #[error(
        "the system has no trusted certificates: name a file of them in the variable SSL_CERT_FILE, \
         or the cluster's own authority in the configuration"
    )]
    NoSystemRoots(#[source] Option<rustls_native_certs::Error>),
    /// A certificate cannot be that of an authority.
    #[error("certificate {number} in `{}` cannot be trusted", file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// Its place in the file, from 1.
        number: usize,
        /// What the library says.
        #[source]
        source: rustls::Error,
    },
    /// No revocation list where one should be.
    #[error("`{}` holds no revocation list (`-----BEGIN X509 CRL-----`, or DER)", .0.display())]
    NoList(PathBuf),
    /// A revocation list that cannot be used.
    #[error("`{}` holds a revocation list that cannot be used: {reason}", file.display())]
    List {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A revocation list by somebody else than it says.
    #[error("`{}` holds a revocation list that `{issuer}`, which it names, has not signed", file.display())]
    ForeignList {
        /// The file.
        file: PathBuf,
        /// The authority that it names.
        issuer: String,
    },
    /// A peer's chain is refused.
    #[error("the certificate is refused")]
    Refused(#[source] rustls::Error),
    /// A client shows more than anybody needs.
    #[error(
        "the chain has {certificates} certificates and {bytes} bytes, more than \
         {CHAIN_CERTIFICATES_MAX} or {CHAIN_BYTES_MAX}"
    )]
    Long {
        /// How many certificates there are.
        certificates: usize,
        /// Their length together.
        bytes: usize,
    },
    /// A peer has no certificate, and needs one.
    #[error("there is no certificate")]
    Missing,
}

/// Authorities and lists that were read and checked together.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) roots: Arc<RootCertStore>,
    authorities: Vec<status::Authority>,
    /// The newest first.
    lists: Vec<Arc<List>>,
    warnings: Vec<String>,
    /// One number for all certificates of authorities.
    digest: Digest,
}

impl Trust {
    /// Reads and checks authorities and lists.
    pub(super) fn build(options: &Options, files: &Snapshot) -> Result<Self, Error> {
        let authorities = read_authorities(&options.ca, files)?;
        let mut roots = RootCertStore::empty();
        let mut sum = Context::new(&digest::SHA256);
        for authority in &authorities {
            let refused = |source| authority.refused(source);
            roots.add(authority.certificate.clone()).map_err(refused)?;
            sum.update(&authority.certificate);
        }
        let read = lists::read(&options.crl, files, &authorities)?;
        Ok(Self {
            roots: Arc::new(roots),
            authorities: authorities.iter().map(Authority::status).collect(),
            lists: read.lists,
            warnings: read.warnings,
            digest: sum.finish(),
        })
    }

    /// The authorities of the system. They are read anew when something else of this side changes, and at a start.
    pub(super) fn system() -> Result<Self, Error> {
        let mut found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let mut sum = Context::new(&digest::SHA256);
        found.certs.iter().for_each(|certificate| sum.update(certificate));
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(Error::NoSystemRoots(found.errors.pop()));
        }
        Ok(Self {
            roots: Arc::new(roots),
            authorities: Vec::new(),
            lists: Vec::new(),
            warnings: Vec::new(),
            digest: sum.finish(),
        })
    }

    /// Whether the same authorities and lists are trusted.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let lists =
            |trust: &Self| -> Vec<String> { trust.lists.iter().map(|list| list.sha256.clone()).collect() };
        self.digest.as_ref() == other.digest.as_ref() && lists(self) == lists(other)
    }

    /// Takes over what was in use of lists whose authority is still trusted, where nothing [stands for] them any more:
    /// a file that was lost, or an older one put back, must not let in who was revoked. Answers with these.
    ///
    /// [stands for]: List::stands_for
    pub(super) fn keep_lists(&mut self, before: &Self, now: SystemTime) -> Vec<status::RevocationList> {
        let is_trusted = |list: &List| {
            let mut roots = self.roots.roots.iter();
            // Which authority an intermediate one is below shows only when a client comes with it.
            let is_below = list.signer.is_none() && list.authority_key_id.is_some();
            let is_of = |root: &TrustAnchor<'_>| list.may_be_of(&root.subject, &root.subject_public_key_info);
            is_below || (list.signer.is_some() && roots.any(is_of))
        };
        let is_lost =
            |list: &&Arc<List>| is_trusted(list) && !self.lists.iter().any(|new| new.stands_for(list, now));
        let lost: Vec<_> = before.lists.iter().filter(is_lost).cloned().collect();
        self.lists.retain(|new| !lost.iter().any(|lost| new.is_about_same(lost)));
        self.lists.extend_from_slice(&lost);
        self.lists.sort_by_key(|list| list.newest_first());
        lost.iter().map(|list| list.status.clone()).collect()
    }

    /// The first time at which one of the lists must have been renewed.
    pub(super) fn next_update(&self) -> Option<SystemTime> {
        self.lists.iter().filter_map(|list| list.status.next_update).min()
    }

    /// Adds what is trusted, and what is wrong with it at this time.
    pub(super) fn describe(&self, status: &mut status::Status, now: SystemTime) {
        status.authorities.clone_from(&self.authorities);
        status.revocation_lists = self.lists.iter().map(|list| list.status.clone()).collect();
        status.warnings.extend(self.warnings.iter().cloned());
        for authority in self.authorities.iter().filter(|authority| authority.not_after < now) {
            let (file, end) =
                (authority.file.display(), humantime::format_rfc3339_seconds(authority.not_after));
            status
                .warnings
                .push(format!("the authority `{}` in `{file}` ran out at {end}", authority.subject));
        }
        for list in self.lists.iter().map(|list| &list.status) {
            let Some(next) = list.next_update.filter(|next| *next <= now) else { continue };
            let (file, next) = (list.file.display(), humantime::format_rfc3339_seconds(next));
            status.warnings.push(format!(
                "the revocation list in `{file}` ran out at {next}: every certificate of `{}` is refused",
                list.issuer
            ));
        }
    }
}

/// A trusted certificate and where it came from.
struct Authority {
    file: PathBuf,
    number: usize,
    certificate: CertificateDer<'static>,
    subject: String,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Authority {
    fn refused(&self, source: rustls::Error) -> Error {
        Error::Authority { file: self.file.clone(), number: self.number, source }
    }

    fn status(&self) -> status::Authority {
        status::Authority {
            file: self.file.clone(),
            subject: self.subject.clone(),
            not_before: self.not_before,
            not_after: self.not_after,
            sha256: x509::sha256(&self.certificate),
        }
    }
}

/// Every certificate once, in the order of the files.
fn read_authorities(paths: &[PathBuf], files: &Snapshot) -> Result<Vec<Authority>, Error> {
    let mut authorities: Vec<Authority> = Vec::new();
    for path in paths {
        for file in files.files(path).map_err(Error::File)? {
            for (place, certificate) in certificates(file, files)?.into_iter().enumerate() {
                let unreadable = || Error::Authority {
                    file: file.to_path_buf(),
                    number: place + 1,
                    source: rustls::CertificateError::BadEncoding.into(),
                };
                let read = x509::Certificate::read(&certificate).ok_or_else(unreadable)?;
                let (subject, not_before, not_after) =
                    (printed(read.subject), read.not_before, read.not_after);
                if authorities.iter().all(|known| known.certificate != certificate) {
                    let (file, number) = (file.to_path_buf(), place + 1);
                    authorities.push(Authority { file, number, certificate, subject, not_before, not_after });
                }
            }
        }
    }
    if authorities.is_empty() { Err(Error::NoAuthority) } else { Ok(authorities) }
}

fn certificates(file: &Path, files: &Snapshot) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(files.bytes(file).map_err(Error::File)?)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Pem { file: file.to_path_buf(), reason: pem_fault(&error) })?;
    if found.is_empty() { Err(Error::NoCertificate(file.to_path_buf())) } else { Ok(found) }
}

/// A name as Java prints it.
fn printed(name: Element<'_>) -> String {
    principal::java_name_of(name).unwrap_or_else(|error| format!("({error})"))
}

/// A time for webpki as one of the standard library.
pub(super) fn system_time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

/// The content of a DER sequence, which is how webpki compares names and keys.
fn content(sequence: &[u8]) -> &[u8] {
    x509::Elements(sequence).expect(tag::SEQUENCE).map_or(sequence, |sequence| sequence.value)
}

#[cfg(test)]
mod tests;
