//! Lists of revoked certificates, and which key speaks through each.

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
}

impl List {
    /// Whether both are from one authority with one key.
    pub(super) fn is_of_same_key(&self, other: &Self) -> bool {
        let key = |list: &'_ Self| (list.signer.clone(), list.authority_key_id.clone());
        self.crl.issuer() == other.crl.issuer() && key(self) == key(other)
    }
}

pub(super) struct Read {
    /// The newest first.
    pub(super) lists: Vec<Arc<List>>,
    pub(super) warnings: Vec<String>,
}

/// Every list of these files and directories.
pub(super) fn read(paths: &[PathBuf], files: &Snapshot, authorities: &[Authority]) -> Result<Read, Error> {
    let mut read = Read { lists: Vec::new(), warnings: Vec::new() };
    for path in paths {
        for file in files.files(path).map_err(Error::File)? {
            for der in ders(file, files)? {
                let (list, warning) = List::read(file, &der, authorities)?;
                read.lists.push(Arc::new(list));
                read.warnings.extend(warning);
            }
        }
    }
    read.lists.sort_by_key(|list| std::cmp::Reverse(list.this_update));
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
