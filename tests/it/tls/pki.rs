//! Authorities of the tests' own, which sign whatever a test wishes, right or wrong.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use gatehouse::tls::provider;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Who signs.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What is to be signed.
#[derive(Clone)]
pub(crate) struct Wish<'a> {
    pub(crate) subject: &'a [(DnType, &'a str)],
    pub(crate) names: &'a [&'a str],
    pub(crate) usage: ExtendedKeyUsagePurpose,
    pub(crate) from: SystemTime,
    pub(crate) until: SystemTime,
}

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) serial: u64,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

/// Whether a list of revoked certificates still holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    InForce,
    Expired,
    Until(SystemTime),
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A certificate for a server of these names.
    pub(crate) fn server(&self, names: &[&str]) -> Pair {
        let subject = [(DnType::CommonName, names.first().copied().unwrap_or("server"))];
        self.issue(&Wish { names, usage: ExtendedKeyUsagePurpose::ServerAuth, ..Wish::of(&subject) })
    }

    /// A certificate for a client of that common name.
    pub(crate) fn client(&self, name: &str) -> Pair {
        self.issue(&Wish::of(&[(DnType::CommonName, name)]))
    }

    pub(crate) fn issue(&self, wish: &Wish<'_>) -> Pair {
        static SERIAL: AtomicU64 = AtomicU64::new(1000);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let names: Vec<String> = wish.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in wish.subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![wish.usage.clone()];
        params.use_authority_key_identifier_extension = true;
        params.not_before = wish.from.into();
        params.not_after = wish.until.into();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            cert: certificate.pem(),
            key: key.serialize_pem(),
            serial,
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// The list of what this authority revokes.
    pub(crate) fn revoke(&self, pairs: &[&Pair], list: List) -> String {
        let now = SystemTime::now();
        let next_update = match list {
            List::InForce => now + DAY,
            List::Expired => now - HOUR,
            List::Until(at) => at,
        };
        let revoked = |pair: &&Pair| RevokedCertParams {
            serial_number: SerialNumber::from(pair.serial),
            revocation_time: (now - 3 * HOUR).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: (now - 2 * HOUR).into(),
            next_update: next_update.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: pairs.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }
}

impl<'a> Wish<'a> {
    /// A client's certificate that is good since yesterday.
    pub(crate) fn of(subject: &'a [(DnType, &'a str)]) -> Self {
        let now = SystemTime::now();
        Self {
            subject,
            names: &[],
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            from: now - DAY,
            until: now + 30 * DAY,
        }
    }
}

impl Pair {
    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// As rustls presents it, whether it fits its purpose or not.
    pub(crate) fn certified(&self) -> CertifiedKey {
        let key = PrivateKeyDer::try_from(self.key_der.clone()).expect("a key");
        CertifiedKey::from_der(vec![self.der.clone()], key, &provider()).expect("a pair")
    }
}
