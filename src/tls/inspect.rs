//! What certificates and revocation lists say of themselves, as plain data for a person who looks. Nothing here
//! judges.

use std::fmt;
use std::time::SystemTime;

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use serde::Serialize;

use super::identity::Name;
use super::status::{rfc3339, rfc3339_or_null};
use super::{principal, x509};

/// The longest file that is looked at, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// One thing in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Item {
    /// A certificate.
    Certificate(Certificate),
    /// A list of revoked certificates.
    RevocationList(RevocationList),
    /// A private key, of which nothing is told.
    PrivateKey,
}

/// A certificate (RFC 5280 section 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Its subject, as Kafka names the principal before any mapping rules.
    pub subject: String,
    /// Who signed it, written likewise.
    pub issuer: String,
    /// DNS names and addresses of its `subjectAltName`; other kinds with the kind before them.
    pub names: Vec<String>,
    /// Valid from.
    #[serde(serialize_with = "rfc3339")]
    pub not_before: SystemTime,
    /// Valid until.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: SystemTime,
    /// Whether it may sign others.
    pub authority: bool,
    /// The serial number, in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the whole certificate, in hexadecimal digits.
    pub sha256: String,
}

/// A list of revoked certificates (RFC 5280 section 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevocationList {
    /// The authority that it speaks for, written as subjects are.
    pub issuer: String,
    /// When it was made.
    #[serde(serialize_with = "rfc3339")]
    pub this_update: SystemTime,
    /// When there must be a newer one.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub next_update: Option<SystemTime>,
    /// How many certificates it revokes.
    pub revoked: usize,
    /// SHA-256 of the whole list, in hexadecimal digits.
    pub sha256: String,
}

/// Why nothing can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A Java key store.
    #[error("it is a Java key store; list it with `keytool -list -v -keystore FILE`")]
    JavaKeyStore,
    /// Neither PEM nor DER of what is looked for.
    #[error("it holds no certificate and no revocation list, in PEM or in DER")]
    Nothing,
    /// A part in PEM that is cut short, or holds something else than it says.
    #[error("part {0} of it is damaged")]
    Damaged(usize),
}

/// What a file holds, in its order: PEM with any number of parts, or DER of one.
///
/// # Errors
/// [`Error`] where there is nothing in it, or a part of it is damaged.
pub fn read(file: &[u8]) -> Result<Vec<Item>, Error> {
    if file.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        return Err(Error::JavaKeyStore);
    }
    if let Some(item) =
        certificate(file).map(Item::Certificate).or_else(|| list(file).map(Item::RevocationList))
    {
        return Ok(vec![item]);
    }
    let mut items = Vec::new();
    for (number, part) in (1..).zip(<(SectionKind, Vec<u8>)>::pem_slice_iter(file)) {
        let (kind, der) = part.map_err(|_: pem::Error| Error::Damaged(number))?;
        let item = match kind {
            SectionKind::Certificate => certificate(&der).map(Item::Certificate),
            SectionKind::Crl => list(&der).map(Item::RevocationList),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                Some(Item::PrivateKey)
            }
            _ => continue,
        };
        items.push(item.ok_or(Error::Damaged(number))?);
    }
    if items.is_empty() { Err(Error::Nothing) } else { Ok(items) }
}

/// What a certificate in DER says; `None` for anything else.
pub fn certificate(der: &[u8]) -> Option<Certificate> {
    let read = x509::Certificate::read(der)?;
    let mut names: Vec<String> = read.names().iter().map(ToString::to_string).collect();
    names.extend(read.other_names());
    Some(Certificate {
        subject: principal::java_name_of(read.subject).ok()?,
        issuer: principal::java_name_of(read.issuer).ok()?,
        names,
        not_before: read.not_before,
        not_after: read.not_after,
        authority: read.is_authority(),
        serial: x509::hex(read.serial),
        sha256: x509::sha256(der),
    })
}

fn list(der: &[u8]) -> Option<RevocationList> {
    let read = x509::RevocationList::read(der)?;
    Some(RevocationList {
        issuer: principal::java_name_of(read.issuer).ok()?,
        this_update: read.this_update,
        next_update: read.next_update,
        revoked: read.revoked,
        sha256: x509::sha256(der),
    })
}

impl Certificate {
    /// Whether it is for a host: by its name, by a wildcard for the first label, or by its address.
    pub fn covers(&self, host: &str) -> bool {
        covers(&self.names, host)
    }
}

/// Whether one of the names of a certificate is for a host, as clients judge (RFC 6125 section 6.4.3): a wildcard
/// stands for the whole of the first label and nothing else, an address only for itself.
pub fn covers(names: &[String], host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let below = host.parse::<std::net::IpAddr>().is_err().then(|| host.split_once('.')).flatten();
    let by_wildcard = |name: &str| match (name.strip_prefix("*."), below) {
        (Some(suffix), Some((label, rest))) => !label.is_empty() && suffix == rest,
        _ => false,
    };
    names.iter().any(|name| *name == host || by_wildcard(name))
}

/// Whether a client that connects to a host is shown a certificate for it, of those of one listener in their order, each
/// by its names. A client tells the server which name it wants, but no address (RFC 6066 section 3): for an address it
/// is shown the first.
pub fn is_covered<N: AsRef<[String]>>(certificates: &[N], host: &str) -> bool {
    let shown = match host.parse::<std::net::IpAddr>() {
        Ok(_) => certificates.get(..1).unwrap_or_default(),
        Err(_) => certificates,
    };
    shown.iter().any(|names| covers(names.as_ref(), host))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::dev;

    fn made() -> dev::Material {
        let names = ["kafka.example.com", "*.kafka.example.com", "127.0.0.1"].map(str::to_owned).into();
        dev::make(&dev::Options { names, client: "alice, of sales".to_owned(), valid: dev::VALID }).unwrap()
    }

    #[test]
    fn a_bundle_is_told_part_by_part() {
        let made = made();
        let file = format!("# mine\n{}{}{}", *made.client_key, made.client_cert, made.ca);
        let items = read(file.as_bytes()).unwrap();
        let [Item::PrivateKey, Item::Certificate(client), Item::Certificate(ca)] = items.as_slice() else {
            panic!("{items:?}")
        };
        assert_eq!(client.subject, "CN=alice\\, of sales");
        assert_eq!(client.issuer, ca.subject);
        assert!(ca.authority && !client.authority);
        let days = client.not_after.duration_since(client.not_before).unwrap().as_secs() / 86_400;
        assert_eq!((days, client.sha256.len()), (30, 64));
    }

    #[test]
    fn names_cover_as_clients_judge() {
        let items = read(made().server_cert.as_bytes()).unwrap();
        let Some(Item::Certificate(server)) = items.first() else { panic!("{items:?}") };
        assert_eq!(server.names, ["kafka.example.com", "*.kafka.example.com", "127.0.0.1"]);
        for host in ["kafka.example.com", "B0.Kafka.example.com.", "127.0.0.1"] {
            assert!(server.covers(host), "{host}");
        }
        for host in ["example.com", "a.b.kafka.example.com", ".kafka.example.com", "127.0.0.2", "0.0.1", ""] {
            assert!(!server.covers(host), "{host}");
        }
        assert!(!covers(&["*.0.0.1".to_owned()], "127.0.0.1"), "an address is no name");
        let several = [["kafka.example.com".to_owned()], ["127.0.0.1".to_owned()]];
        assert!(is_covered(&several, "kafka.example.com") && !is_covered(&several, "127.0.0.1"));
        assert!(is_covered(&several[1..], "127.0.0.1") && !is_covered(&[[]; 0], "127.0.0.1"));
    }

    #[test]
    fn what_is_none_of_it_is_said_to_be_none() {
        assert_eq!(read(b""), Err(Error::Nothing));
        assert_eq!(read(b"\xfe\xed\xfe\xed\0\0\0\x02"), Err(Error::JavaKeyStore));
        let cut = made().ca.replace("-----END CERTIFICATE-----", "");
        assert_eq!(read(cut.as_bytes()), Err(Error::Damaged(1)));
        let other = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert_eq!(read(other.as_bytes()), Err(Error::Damaged(1)));
    }
}
