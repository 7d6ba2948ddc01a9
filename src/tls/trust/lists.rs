//! Lists of revoked certificates, and which key speaks through each.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use webpki::{CertRevocationList, OwnedCertRevocationList};

use super::{Authority, Error, printed};
use crate::tls::files::{Snapshot, pem_fault};
use crate::tls::{status, x509};

/// One list.
#[derive(Debug)]
pub(super) struct List {
    pub(super) crl: CertRevocationList<'static>,
    /// The key of the trusted authority that signed it, a `SubjectPublicKeyInfo`; none when its authority is not
    /// trusted by itself, but may come between in the chain of a client.
    pub(super) signer: Option<Vec<u8>>,
    /// Which key of its authority it claims to be from.
    pub(super) authority_key_id: Option<Vec<u8>>,
    pub(super) status: status::RevocationList,
    pub(super) sha256: String,
    this_update: SystemTime,
    number: Option<Vec<u8>>,
}

impl List {
    /// Whether both are about the same certificates: of one authority, one key, and one part of what it issues.
    pub(super) fn is_about_same(&self, other: &Self) -> bool {
        self.is_by_same(other) && self.part() == other.part()
    }

    /// Whether this one says all that the other one says, or newer: it is about the same certificates or about all of
    /// the authority, is neither older by its date and its number, nor has run out while the other one has not.
    pub(super) fn stands_for(&self, other: &Self, now: SystemTime) -> bool {
        let has_later_number = is_later_number(self.number.as_deref(), other.number.as_deref());
        let is_older = self.this_update < other.this_update && !has_later_number;
        let is_of_no_use = self.ran_out(now) && !other.ran_out(now);
        let covers = self.part().is_none() || self.part() == other.part();
        self.sha256 == other.sha256 || (self.is_by_same(other) && covers && !is_older && !is_of_no_use)
    }

    /// Whether both are of one authority and one key. Where nothing tells the key, there is no saying.
    fn is_by_same(&self, other: &Self) -> bool {
        let is_same_key = match (&self.signer, &other.signer) {
            (Some(one), Some(two)) => one == two,
            (Some(_), None) | (None, _) => {
                self.authority_key_id.is_some() && self.authority_key_id == other.authority_key_id
            }
        };
        is_same_key && self.crl.issuer() == other.crl.issuer()
    }

    /// What lists are sorted by, so that the same ones always come in one order.
    pub(super) fn newest_first(&self) -> impl Ord + use<> {
        (Reverse((self.this_update, self.status.next_update)), self.sha256.clone())
    }

    fn part(&self) -> Option<&[u8]> {
        self.crl.issuing_distribution_point()
    }

    fn ran_out(&self, now: SystemTime) -> bool {
        self.status.next_update.is_some_and(|next| next <= now)
    }
}

pub(super) struct Read {
    /// The newest first.
    pub(super) lists: Vec<Arc<List>>,
    pub(super) warnings: Vec<String>,
}

/// The lists of these files and directories. One that has a newer one beside it is as good as not there, as
/// everywhere else where whoever adds a list may remove the old one later.
pub(super) fn read(paths: &[PathBuf], files: &Snapshot, authorities: &[Authority]) -> Result<Read, Error> {
    let mut found = Vec::new();
    for path in paths {
        for file in files.files(path).map_err(Error::File)? {
            for der in ders(file, files)? {
                found.push(List::read(file, &der, authorities)?);
            }
        }
    }
    found.sort_by_key(|(list, _)| list.newest_first());
    let mut read = Read { lists: Vec::new(), warnings: Vec::new() };
    for (list, warning) in found {
        if !read.lists.iter().any(|newer: &Arc<List>| newer.is_about_same(&list)) {
            read.lists.push(Arc::new(list));
            read.warnings.extend(warning);
        }
    }
    Ok(read)
}

/// All lists of a PEM file, or the one that a file in DER is.
fn ders(file: &Path, files: &Snapshot) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let bytes = files.bytes(file).map_err(Error::File)?;
    if bytes.first() == Some(&x509::tag::SEQUENCE) {
        return Ok(vec![bytes.to_vec().into()]);
    }
    let found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Pem { file: file.to_path_buf(), reason: pem_fault(&error) })?;
    if found.is_empty() { Err(Error::NoList(file.to_path_buf())) } else { Ok(found) }
}

impl List {
    fn read(file: &Path, der: &[u8], authorities: &[Authority]) -> Result<(Self, Option<String>), Error> {
        let refused = |reason: String| Error::List { file: file.to_path_buf(), reason };
        let read =
            x509::RevocationList::read(der).ok_or_else(|| refused("it is broken or cut short".to_owned()))?;
        let crl = OwnedCertRevocationList::from_der(der).map_err(|error| refused(reason(&error)))?;
        let issuer = printed(read.issuer);
        let algorithms = crate::tls::provider().signature_verification_algorithms.all;
        if !read.is_of_one_of(algorithms) {
            return Err(refused(
                "it is signed with an algorithm that is not safe or not known, such as SHA-1: have its \
                 authority sign it with SHA-256"
                    .to_owned(),
            ));
        }
        let named: Vec<_> = authorities
            .iter()
            .filter_map(|authority| x509::Certificate::read(&authority.certificate))
            .filter(|authority| authority.subject.whole == read.issuer.whole)
            .collect();
        let signer = named.iter().find(|authority| read.is_signed_by(authority.key, algorithms));
        let claims_one = read.authority_key_id().is_none_or(|id| {
            named.iter().any(|authority| authority.subject_key_id().is_none_or(|other| other == id))
        });
        let warning = match (signer, named.is_empty()) {
            (Some(_), _) => None,
            (None, true) => Some(format!(
                "the revocation list in `{}` is by `{issuer}`, which is not trusted: it counts only for clients \
                 that show its certificate in their chain",
                file.display()
            )),
            // The key that its authority had before, or will have.
            (None, false) if !claims_one => Some(format!(
                "the revocation list in `{}` is by another key of `{issuer}` than the trusted one",
                file.display()
            )),
            (None, false) => return Err(Error::ForeignList { file: file.to_path_buf(), issuer }),
        };
        let list = Self {
            crl: crl.into(),
            signer: signer.map(|authority| authority.key.whole.to_vec()),
            authority_key_id: read.authority_key_id().map(<[u8]>::to_vec),
            sha256: x509::sha256(der),
            this_update: read.this_update,
            number: read.number().map(<[u8]>::to_vec),
            status: status::RevocationList {
                file: file.to_path_buf(),
                issuer,
                next_update: read.next_update,
                revoked: read.revoked,
            },
        };
        Ok((list, warning))
    }
}

/// Whether a list comes after another one by their numbers, integers without leading zeros. Where one has none, they
/// say nothing.
pub(super) fn is_later_number(number: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    let by_size = |number: &[u8]| (number.len(), number.to_vec());
    matches!((number.map(by_size), other.map(by_size)), (Some(number), Some(other)) if number > other)
}

/// What to do about a list that webpki does not take.
fn reason(error: &webpki::Error) -> String {
    match error {
        // It could be read here, so it is DER, and something that it must have is not there.
        webpki::Error::UnsupportedCrlVersion
        | webpki::Error::MalformedExtensions
        | webpki::Error::BadDer
        | webpki::Error::BadDerTime => {
            "it lacks what RFC 5280 asks for: version 2, `nextUpdate`, and extensions \
            (OpenSSL needs `crl_extensions` with `authorityKeyIdentifier` in its configuration)"
                .to_owned()
        }
        webpki::Error::UnsupportedDeltaCrl => {
            "it lists only what changed, and the whole list is needed".to_owned()
        }
        webpki::Error::UnsupportedIndirectCrl => "it speaks for other authorities than its own".to_owned(),
        other => other.to_string(),
    }
}
