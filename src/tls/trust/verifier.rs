//! Checks the certificates of clients: the chain first, then the list of the very key that signed.
//!
//! The verifier of rustls looks a certificate up in the first list that has the name of its issuer. Two authorities
//! of one name, as there are while one is replaced, each with a list, then refuse each other's certificates; and
//! "refuse what no list covers" cannot be had for those authorities alone that have one.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertRevocationListError, CertificateError, DigitallySignedStruct, DistinguishedName, OtherError,
    SignatureScheme,
};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::lists::List;
use super::{CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX, Error, Trust, content};
use crate::logging::printable::Printable;
use crate::tls::{principal, x509};

thread_local! {
    /// Who was refused by the handshake that this thread is at. The errors of rustls decide on the alert and have no
    /// room for it, and of a connection that failed rustls keeps no certificate.
    static REFUSED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The subject of the certificate for which the last step of a handshake on this thread failed, as a peer's text is
/// printed: short and harmless. Nobody has vouched for it.
pub(in crate::tls) fn take_refused() -> Option<String> {
    REFUSED.take()
}

/// What clients are told of the authorities. The field has a length of two bytes (RFC 8446, section 4.2.4), all
/// clients are told each time, and some stop at 16 KiB.
const HINT_BYTES_MAX: usize = 16 * 1024;

/// Takes the clients of some authorities, but for those that are revoked.
pub(in crate::tls) struct ClientVerifier {
    trust: Trust,
    required: bool,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    pub(in crate::tls) fn new(trust: Trust, required: bool) -> Arc<Self> {
        let mut hints = trust.roots.subjects();
        if hints.iter().map(|hint| hint.as_ref().len() + 2).sum::<usize>() > HINT_BYTES_MAX {
            hints.clear();
        }
        let algorithms = crate::tls::provider().signature_verification_algorithms;
        Arc::new(Self { trust, required, hints, algorithms })
    }

    /// Whether a client may come without a certificate.
    pub(in crate::tls) fn is_required(&self) -> bool {
        self.required
    }

    /// Whether clients are told which authorities are trusted.
    pub(in crate::tls) fn tells_authorities(&self) -> bool {
        !self.hints.is_empty()
    }

    /// An error for a chain that is to be refused now.
    pub(in crate::tls) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let (certificates, bytes) =
            rest.iter().fold((1, leaf.len()), |(count, bytes), next| (count + 1, bytes + next.len()));
        if certificates > CHAIN_CERTIFICATES_MAX || bytes > CHAIN_BYTES_MAX {
            let error = Error::Long { certificates, bytes };
            return Err(CertificateError::Other(OtherError(Arc::new(error))).into());
        }
        let leaf = EndEntityCert::try_from(leaf).map_err(refusal)?;
        let (all, usage) = (self.algorithms.all, KeyUsage::client_auth());
        let path = leaf
            .verify_for_usage(all, &self.trust.roots.roots, rest, now, usage, None, None)
            .map_err(refusal)?;
        let above = path.intermediate_certificates().next().map(|above| above.subject_public_key_info());
        let key = match &above {
            Some(key) => content(key),
            None => path.anchor().subject_public_key_info.as_ref(),
        };
        self.verify_not_revoked(&leaf, key, now)
    }

    /// Looks a certificate up in the newest list that its issuer signed with this key, the content of a
    /// `SubjectPublicKeyInfo`. To hand webpki the issuer as the only authority is to ask for the list's signature,
    /// dates and scope too. It hashes the whole list for that, so one whose signer is known is looked into directly.
    fn verify_not_revoked(
        &self,
        leaf: &EndEntityCert<'_>,
        key: &[u8],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let issuer = [TrustAnchor {
            subject: leaf.issuer().into(),
            subject_public_key_info: key.into(),
            name_constraints: None,
        }];
        let claimed =
            x509::Certificate::read(&leaf.der()).and_then(|leaf| Some(leaf.authority_key_id()?.to_vec()));
        let mut uncovered = false;
        for list in self.trust.lists.iter().filter(|list| list.may_be_of(leaf.issuer(), key)) {
            let (all, usage) = (self.algorithms.all, KeyUsage::client_auth());
            let lists = [&list.crl];
            let looked_up = match list.is_known_and_for_all() {
                true => list.look_up(leaf.serial(), now),
                false => {
                    leaf.verify_for_usage(all, &issuer, &[], now, usage, options(&lists), None).map(drop)
                }
            };
            match looked_up {
                Ok(()) => return Ok(()),
                // A list for another part of the certificates.
                Err(webpki::Error::UnknownRevocationStatus) => uncovered = true,
                // The list of another key with the same name: of the same, should both say so.
                Err(error) if list.signer.is_none() && is_by_another_key(&error) => {
                    if claimed.is_some() && claimed == list.authority_key_id {
                        return Err(refusal(error));
                    }
                }
                Err(error) => return Err(refusal(error)),
            }
        }
        if uncovered { Err(CertificateError::UnknownRevocationStatus.into()) } else { Ok(()) }
    }
}

impl List {
    fn is_known_and_for_all(&self) -> bool {
        self.signer.is_some() && self.crl.issuing_distribution_point().is_none()
    }

    fn look_up(&self, serial: &[u8], now: UnixTime) -> Result<(), webpki::Error> {
        let end = self.status.next_update.and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok());
        let next_update = UnixTime::since_unix_epoch(end.unwrap_or_default());
        if now >= next_update {
            return Err(webpki::Error::CrlExpired { time: now, next_update });
        }
        match self.crl.find_serial(serial)? {
            Some(_) => Err(webpki::Error::CertRevoked),
            None => Ok(()),
        }
    }

    pub(super) fn may_be_of(&self, issuer: &[u8], key: &[u8]) -> bool {
        self.crl.issuer() == issuer && self.signer.as_deref().is_none_or(|signer| content(signer) == key)
    }
}

fn options<'a>(lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
    let options = RevocationOptionsBuilder::new(lists).ok()?;
    Some(
        options
            .with_depth(RevocationCheckDepth::EndEntity)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build(),
    )
}

fn is_by_another_key(error: &webpki::Error) -> bool {
    matches!(
        error,
        webpki::Error::InvalidCrlSignatureForPublicKey
            | webpki::Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
    )
}

/// The error of webpki as the one that rustls has an alert for, as in rustls' own verifier.
fn refusal(error: webpki::Error) -> rustls::Error {
    use webpki::Error as E;
    match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding.into(),
        E::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }.into()
        }
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after }.into(),
        E::InvalidCertValidity => CertificateError::Expired.into(),
        E::UnknownIssuer => CertificateError::UnknownIssuer.into(),
        E::CertRevoked => CertificateError::Revoked.into(),
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus.into(),
        E::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time, next_update }.into()
        }
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature.into(),
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose.into(),
        E::IssuerNotCrlSigner => CertRevocationListError::IssuerInvalidForCrl.into(),
        E::InvalidCrlSignatureForPublicKey => CertRevocationListError::BadSignature.into(),
        other => CertificateError::Other(OtherError(Arc::new(other))).into(),
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.verify(leaf, rest, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(error) => {
                let subject = principal::java_name(leaf).ok();
                REFUSED.set(subject.map(|subject| Printable::from(subject.as_str()).to_string()));
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier").field("required", &self.required).finish_non_exhaustive()
    }
}
