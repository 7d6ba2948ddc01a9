//! What certificates and revocation lists say of themselves: the fields that rustls does not tell.
//!
//! Nothing here judges: chains, signatures and validity are the business of webpki. Whatever is not DER (ITU-T
//! X.690) as RFC 5280 wants it is `None`, never a panic, and nothing is copied by a length that was read.
//!
//! No library's types stand here, because they decode what must stay as it is: a subject is printed from the bytes
//! of each attribute, whatever its string type, and names and keys are compared as webpki does, byte by byte.

use std::net::IpAddr;
use std::time::SystemTime;

use aws_lc_rs::digest;
use pkcs8::der::Decode;
use pkcs8::der::asn1::{GeneralizedTime, UtcTime};
use rustls::pki_types::SignatureVerificationAlgorithm;

use crate::tls::identity::Name;

/// The tags that are looked for.
pub(super) mod tag {
    pub(in crate::tls) const BOOLEAN: u8 = 0x01;
    pub(in crate::tls) const INTEGER: u8 = 0x02;
    pub(in crate::tls) const BIT_STRING: u8 = 0x03;
    pub(in crate::tls) const OCTET_STRING: u8 = 0x04;
    pub(in crate::tls) const OID: u8 = 0x06;
    pub(in crate::tls) const UTC_TIME: u8 = 0x17;
    pub(in crate::tls) const GENERALIZED_TIME: u8 = 0x18;
    pub(in crate::tls) const SEQUENCE: u8 = 0x30;
    pub(in crate::tls) const SET: u8 = 0x31;

    /// `[n] EXPLICIT`, or `[n] IMPLICIT` of something constructed.
    pub(in crate::tls) const fn constructed(number: u8) -> u8 {
        0xa0 | number
    }

    /// `[n] IMPLICIT` of something primitive.
    pub(in crate::tls) const fn primitive(number: u8) -> u8 {
        0x80 | number
    }
}

/// One DER element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) value: &'a [u8],
    /// Tag, length and value.
    pub(super) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// What is inside.
    pub(super) fn elements(self) -> Elements<'a> {
        Elements(self.value)
    }
}

/// Elements that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Elements<'a> {
    /// The next element. Only tags of one byte and definite, shortest lengths, as webpki takes them.
    pub(super) fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().fold(0_u32, |length, &digit| (length << 8) | u32::from(digit));
                if digits.first() == Some(&0) || length < 0x80 {
                    return None;
                }
                (usize::try_from(length).ok()?, rest)
            }
            _ => return None,
        };
        let (value, after) = rest.split_at_checked(length)?;
        let (whole, _) = self.0.split_at(self.0.len() - after.len());
        self.0 = after;
        Some(Element { tag, value, whole })
    }

    /// The next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }

    /// The next element if it has this tag; otherwise nothing is taken.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.0.first() == Some(&tag) { self.next() } else { None }
    }

    /// Whether nothing follows.
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// A certificate (RFC 5280 section 4.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Certificate<'a> {
    pub(super) serial: &'a [u8],
    /// The `Name` of who signed it, in DER, from its `SEQUENCE` on.
    pub(super) issuer: Element<'a>,
    /// The `Name` in DER, from its `SEQUENCE` on.
    pub(super) subject: Element<'a>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// The `SubjectPublicKeyInfo` in DER, from its `SEQUENCE` on.
    pub(super) key: Element<'a>,
    extensions: Extensions<'a>,
}

impl<'a> Certificate<'a> {
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut fields = Elements(der).expect(tag::SEQUENCE)?.elements().expect(tag::SEQUENCE)?.elements();
        fields.optional(tag::constructed(0));
        let serial = fields.expect(tag::INTEGER)?.value;
        let _algorithm = fields.expect(tag::SEQUENCE)?;
        let issuer = fields.expect(tag::SEQUENCE)?;
        let mut validity = fields.expect(tag::SEQUENCE)?.elements();
        let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = fields.expect(tag::SEQUENCE)?;
        let key = fields.expect(tag::SEQUENCE)?;
        fields.optional(tag::primitive(1));
        fields.optional(tag::primitive(2));
        let extensions = Extensions::of(fields.optional(tag::constructed(3)));
        Some(Self { serial, issuer, subject, not_before, not_after, key, extensions })
    }

    /// The DNS names, in lower case, and addresses of its `subjectAltName`.
    pub(super) fn names(&self) -> Vec<Name> {
        let mut names = Vec::new();
        let found = self.extensions.find(oid::SUBJECT_ALT_NAME);
        let Some(list) = found.and_then(|value| Elements(value).expect(tag::SEQUENCE)) else { return names };
        let mut list = list.elements();
        while let Some(name) = list.next() {
            match (name.tag, str::from_utf8(name.value)) {
                (DNS_NAME, Ok(text)) => names.push(Name::Dns(text.to_ascii_lowercase())),
                (IP_ADDRESS, _) => names.extend(address(name.value).map(Name::Ip)),
                _ => {}
            }
        }
        names
    }

    /// The addresses of mail and the URIs of its `subjectAltName`, each with its kind before it.
    pub(super) fn other_names(&self) -> Vec<String> {
        let found = self.extensions.find(oid::SUBJECT_ALT_NAME);
        let list = found.and_then(|value| Elements(value).expect(tag::SEQUENCE));
        let mut list = list.map_or(Elements(&[]), Element::elements);
        std::iter::from_fn(|| list.next())
            .filter_map(|name| {
                let kind = match name.tag {
                    MAIL => "email",
                    URI => "URI",
                    _ => return None,
                };
                Some(format!("{kind}:{}", str::from_utf8(name.value).ok()?))
            })
            .collect()
    }

    /// Whether it says that it may sign others.
    pub(super) fn is_authority(&self) -> bool {
        let found = self.extensions.find(oid::BASIC_CONSTRAINTS);
        let list = found.and_then(|value| Elements(value).expect(tag::SEQUENCE));
        list.and_then(|list| list.elements().optional(tag::BOOLEAN)).is_some_and(|is| is.value == [0xff])
    }

    /// Which key of the issuer signed it, if it says so.
    pub(super) fn authority_key_id(&self) -> Option<&'a [u8]> {
        self.extensions.authority_key_id()
    }

    /// What its own key is called, if it says so.
    pub(super) fn subject_key_id(&self) -> Option<&'a [u8]> {
        let found = self.extensions.find(oid::SUBJECT_KEY_IDENTIFIER)?;
        Some(Elements(found).expect(tag::OCTET_STRING)?.value)
    }
}

const MAIL: u8 = tag::primitive(1);
const URI: u8 = tag::primitive(6);
const DNS_NAME: u8 = tag::primitive(2);
const IP_ADDRESS: u8 = tag::primitive(7);

/// A list of revoked certificates (RFC 5280 section 5.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct RevocationList<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// The `Name` in DER, from its `SEQUENCE` on.
    pub(super) issuer: Element<'a>,
    pub(super) this_update: SystemTime,
    pub(super) next_update: Option<SystemTime>,
    pub(super) revoked: usize,
    extensions: Extensions<'a>,
}

impl<'a> RevocationList<'a> {
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut parts = Elements(der).expect(tag::SEQUENCE)?.elements();
        let body = parts.expect(tag::SEQUENCE)?;
        let algorithm = parts.expect(tag::SEQUENCE)?.value;
        let signature = bits(parts.expect(tag::BIT_STRING)?)?;
        let mut fields = body.elements();
        fields.optional(tag::INTEGER);
        let _algorithm = fields.expect(tag::SEQUENCE)?;
        let issuer = fields.expect(tag::SEQUENCE)?;
        let this_update = time(fields.next()?)?;
        let next_update = fields.optional(tag::UTC_TIME).or_else(|| fields.optional(tag::GENERALIZED_TIME));
        let mut entries = fields.optional(tag::SEQUENCE).map_or(Elements(&[]), Element::elements);
        let revoked = std::iter::from_fn(|| entries.next()).count();
        Some(Self {
            signed: body.whole,
            algorithm,
            signature,
            issuer,
            this_update,
            next_update: next_update.and_then(time),
            revoked,
            extensions: Extensions::of(fields.optional(tag::constructed(0))),
        })
    }

    /// Which key of the issuer signed it, if it says so.
    pub(super) fn authority_key_id(&self) -> Option<&'a [u8]> {
        self.extensions.authority_key_id()
    }

    /// Its number, which grows from list to list (RFC 5280 section 5.2.3): the bytes of an integer without sign.
    pub(super) fn number(&self) -> Option<&'a [u8]> {
        let bytes = Elements(self.extensions.find(oid::CRL_NUMBER)?).expect(tag::INTEGER)?.value;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.get(zeros..)
    }

    /// Whether one of these algorithms could be that of its signature.
    pub(super) fn is_of_one_of(&self, algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        algorithms.iter().any(|algorithm| algorithm.signature_alg_id().as_ref() == self.algorithm)
    }

    /// Whether this key, a whole `SubjectPublicKeyInfo`, signed it. Hashes all of the list.
    pub(super) fn is_signed_by(
        &self,
        key: Element<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let mut parts = key.elements();
        let (Some(kind), Some(public)) =
            (parts.expect(tag::SEQUENCE), parts.expect(tag::BIT_STRING).and_then(bits))
        else {
            return false;
        };
        algorithms
            .iter()
            .filter(|algorithm| {
                algorithm.signature_alg_id().as_ref() == self.algorithm
                    && algorithm.public_key_alg_id().as_ref() == kind.value
            })
            .any(|algorithm| algorithm.verify_signature(public, self.signed, self.signature).is_ok())
    }
}

/// `SEQUENCE OF SEQUENCE { OID, critical BOOLEAN OPTIONAL, OCTET STRING }`, or nothing.
#[derive(Clone, Copy, Debug)]
struct Extensions<'a>(Elements<'a>);

impl<'a> Extensions<'a> {
    fn of(field: Option<Element<'a>>) -> Self {
        let list = field.and_then(|field| field.elements().expect(tag::SEQUENCE));
        Self(list.map_or(Elements(&[]), Element::elements))
    }

    fn find(self, wanted: &[u8]) -> Option<&'a [u8]> {
        let mut all = self.0;
        while let Some(extension) = all.next() {
            let mut parts = extension.elements();
            if parts.expect(tag::OID)?.value == wanted {
                return std::iter::from_fn(|| parts.next())
                    .find(|part| part.tag == tag::OCTET_STRING)
                    .map(|part| part.value);
            }
        }
        None
    }

    fn authority_key_id(self) -> Option<&'a [u8]> {
        let found = Elements(self.find(oid::AUTHORITY_KEY_IDENTIFIER)?).expect(tag::SEQUENCE)?;
        Some(found.elements().optional(tag::primitive(0))?.value)
    }
}

mod oid {
    /// 2.5.29.14
    pub(super) const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
    /// 2.5.29.17
    pub(super) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    /// 2.5.29.19
    pub(super) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
    /// 2.5.29.20
    pub(super) const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
    /// 2.5.29.35
    pub(super) const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
}

fn bits(element: Element<'_>) -> Option<&[u8]> {
    match element.value.split_first() {
        Some((0, bits)) => Some(bits),
        Some(_) | None => None,
    }
}

fn time(element: Element<'_>) -> Option<SystemTime> {
    match element.tag {
        tag::UTC_TIME => UtcTime::from_der(element.whole).ok().map(|time| time.to_system_time()),
        tag::GENERALIZED_TIME => {
            GeneralizedTime::from_der(element.whole).ok().map(|time| time.to_system_time())
        }
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Hexadecimal digits in lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::tls::testing::{Authority, DAY};

    #[test]
    fn elements_are_read_as_webpki_reads_them() {
        let first =
            |bytes: &'static [u8]| Elements(bytes).next().map(|element| (element.value, element.whole));
        assert_eq!(first(b"\x04\x01xy"), Some((&b"x"[..], &b"\x04\x01x"[..])));
        assert_eq!(first(b"\x04\x00"), Some((&b""[..], &b"\x04\x00"[..])));
        let long = [&[4, 0x81, 0x80][..], &[7; 0x80]].concat();
        assert_eq!(Elements(&long).next().unwrap().value, [7; 0x80]);
        for (wrong, why) in [
            (&b""[..], "nothing"),
            (b"\x04", "no length"),
            (b"\x04\x02x", "cut short"),
            (b"\x04\x80x\0\0", "no definite length"),
            (b"\x04\x81\x01x", "a length in more bytes than it needs"),
            (b"\x04\x82\x00\x80", "a length with a leading zero"),
            (b"\x04\x84\xff\xff\xff\xff", "more than there is"),
            (b"\x04\x85\x01\x00\x00\x00\x00", "a length of five bytes"),
            (b"\x1f\x01\x00", "a tag of several bytes"),
        ] {
            assert!(Elements(wrong).next().is_none(), "{why}");
        }
    }

    #[test]
    fn lists_tell_who_signed_them_and_what_they_hold() {
        let (authority, other) = (Authority::new("CA"), Authority::new("CA"));
        let list = authority.revoke(&[&authority.client("a"), &authority.client("b")]);
        let read = RevocationList::read(list.der()).unwrap();
        assert_eq!(read.revoked, 2);
        assert!(read.next_update.unwrap().duration_since(read.this_update).unwrap() >= DAY);
        let algorithms = crate::tls::provider().signature_verification_algorithms.all;
        for (authority, is_signer) in [(&authority, true), (&other, false)] {
            let der = &Authority::certificates(&authority.pem())[0];
            let certificate = Certificate::read(der).unwrap();
            assert_eq!(certificate.subject.whole, read.issuer.whole);
            assert_eq!(certificate.subject_key_id() == read.authority_key_id(), is_signer);
            assert_eq!(read.is_signed_by(certificate.key, algorithms), is_signer);
        }
    }

    #[test]
    fn dates_of_both_forms_are_read() {
        let authority = Authority::new("CA");
        for years in [1, 60] {
            let end = SystemTime::UNIX_EPOCH + Duration::from_secs((2026 - 1970 + years) * 31_557_600);
            let pair = authority.pair(|params| params.not_after = end.into());
            let read = Certificate::read(&pair.der).unwrap();
            let apart = read.not_after.max(end).duration_since(read.not_after.min(end)).unwrap();
            assert!(apart < Duration::from_secs(1), "{years}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            fn read(der: &[u8]) {
                if let Some(certificate) = Certificate::read(der) {
                    let _ = (certificate.names(), certificate.authority_key_id(), certificate.subject_key_id());
                    let _ = (certificate.other_names(), certificate.is_authority());
                }
                if let Some(list) = RevocationList::read(der) {
                    let _ = (list.authority_key_id(), list.revoked);
                }
            }
            static MADE: std::sync::LazyLock<[Vec<u8>; 2]> = std::sync::LazyLock::new(|| {
                let authority = Authority::new("CA");
                let pair = authority.server(&["a.example.com", "10.0.0.1", "::1"]);
                [pair.der.to_vec(), authority.revoke(&[&pair]).der().to_vec()]
            });
            read(&bytes);
            for der in &*MADE {
                let mut der = der.clone();
                for (place, byte) in &changes {
                    *place.get_mut(&mut der) = *byte;
                }
                read(&der);
            }
        }
    }
}
