//! Who a certificate stands for, in the very words of a Kafka broker.

use rustls::pki_types::CertificateDer;

use crate::tls::rules::{self, Rules};
use crate::tls::x509::{self, Element, Elements, tag};

/// The longest name, in bytes. Longer ones are refused: they would go into every log line.
pub const NAME_BYTES_MAX: usize = 4096;

/// Why a certificate has no principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its subject cannot be read.
    #[error("the subject of the client certificate cannot be read")]
    Subject,
    /// Its subject is longer than [`NAME_BYTES_MAX`].
    #[error("the subject of the client certificate is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// The mapping rules refuse it.
    #[error("the mapping rules give the client certificate no name")]
    Rules(#[source] rules::Error),
}

/// The name of the principal, without the `User:` that Kafka puts before it.
pub fn of(certificate: &CertificateDer<'_>, rules: &Rules) -> Result<String, Error> {
    rules.apply(&java_name(certificate)?).map_err(Error::Rules)
}

/// The subject of a certificate, exactly as Java's `X500Principal.getName()` prints it: RFC 2253 with Java's own
/// escapes. Strings in Latin-1 (T61) or UTF-16 (BMP) are read as Java 25 does; Java 17 takes their bytes for
/// UTF-8, so that what is not ASCII in them has another name there.
pub fn java_name(certificate: &CertificateDer<'_>) -> Result<String, Error> {
    let certificate = x509::Certificate::read(certificate).ok_or(Error::Subject)?;
    java_name_of(certificate.subject)
}

/// The same for a `Name` in DER (RFC 5280 section 4.1.2.4).
pub(super) fn java_name_of(name: Element<'_>) -> Result<String, Error> {
    let mut parts = Vec::new();
    let mut list = name.elements();
    while !list.is_empty() {
        let attributes = list.expect(tag::SET).ok_or(Error::Subject)?;
        parts.push(relative_name(attributes.elements()).ok_or(Error::Subject)?);
    }
    parts.reverse();
    let name = parts.join(",");
    if name.len() > NAME_BYTES_MAX { Err(Error::TooLong) } else { Ok(name) }
}

/// One set of attributes, in the order that they have in the certificate.
fn relative_name(mut attributes: Elements<'_>) -> Option<String> {
    let mut parts = Vec::new();
    while !attributes.is_empty() {
        let mut attribute = attributes.expect(tag::SEQUENCE)?.elements();
        let (kind, value) = (attribute.expect(tag::OID)?, attribute.next()?);
        if !attribute.is_empty() {
            return None;
        }
        let value = match keyword(kind.value) {
            None => format!("{}=#{}", dotted(kind.value)?, x509::hex(value.whole)),
            Some(keyword) => match text(value)? {
                Some(text) => format!("{keyword}={}", escape(&text)),
                None => format!("{keyword}=#{}", x509::hex(value.whole)),
            },
        };
        parts.push(value);
    }
    Some(parts.join("+"))
}

/// The attributes that RFC 2253 section 2.3 has a keyword for.
fn keyword(oid: &[u8]) -> Option<&'static str> {
    Some(match oid {
        [0x55, 0x04, 0x03] => "CN",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x09] => "STREET",
        [0x55, 0x04, 0x0a] => "O",
        [0x55, 0x04, 0x0b] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01] => "UID",
        _ => return None,
    })
}

/// The text of a string. Inside is none for what Java prints in hexadecimal digits; outside for a BMP string that
/// is none: implementations do not agree what its name would be.
fn text(value: Element<'_>) -> Option<Option<String>> {
    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const T61: u8 = 0x14;
    const IA5: u8 = 0x16;
    const GENERAL: u8 = 0x1b;
    const BMP: u8 = 0x1e;
    Some(match value.tag {
        UTF8 => Some(String::from_utf8_lossy(value.value).into_owned()),
        PRINTABLE | T61 | IA5 | GENERAL => Some(value.value.iter().map(|&byte| char::from(byte)).collect()),
        BMP => {
            let (units, []) = value.value.as_chunks::<2>() else { return None };
            let text = units.iter().map(|&unit| char::from_u32(u16::from_be_bytes(unit).into()));
            Some(text.collect::<Option<String>>()?)
        }
        _ => None,
    })
}

/// Backslashes where Java puts them: `=` and `#` everywhere, spaces and carriage returns at both ends.
fn escape(text: &str) -> String {
    let is_space = |c: char| c == ' ' || c == '\r';
    let lead = text.len() - text.trim_start_matches(is_space).len();
    let trail = text.trim_end_matches(is_space).len();
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '\0' => escaped.push_str("\\00"),
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => escaped.extend(['\\', c]),
            _ if at < lead || at >= trail => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// An object identifier in dots. Arcs above 2^64 are in no certificate that means well.
fn dotted(oid: &[u8]) -> Option<String> {
    if oid.last().is_none_or(|last| last & 0x80 != 0) {
        return None;
    }
    let mut dotted = String::new();
    let mut arc = 0_u64;
    for byte in oid {
        arc = arc.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if dotted.is_empty() {
            let first = (arc / 40).min(2);
            dotted = format!("{first}.{}", arc - first * 40);
        } else {
            dotted.push_str(&format!(".{arc}"));
        }
        arc = 0;
    }
    Some(dotted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const IA5: u8 = 0x16;
    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];
    const OU: &[u8] = &[0x55, 4, 11];
    const UID: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01];
    const DC: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19];
    const EMAIL: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];

    /// A DER element.
    fn der(tag: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        let mut whole = match length {
            [0, short @ 0..=0x7f] => vec![tag, short],
            [0, long] => vec![tag, 0x81, long],
            [high, low] => vec![tag, 0x82, high, low],
        };
        whole.extend(value);
        whole
    }

    type Attribute<'a> = (&'a [u8], u8, &'a [u8]);

    /// A `Name`: sets of attributes, in the order of the certificate.
    fn name(sets: &[&[Attribute<'_>]]) -> Vec<u8> {
        let attribute =
            |&(kind, tag, value): &Attribute<'_>| der(0x30, &[der(6, kind), der(tag, value)].concat());
        let set = |set: &&[Attribute<'_>]| der(0x31, &set.iter().flat_map(attribute).collect::<Vec<_>>());
        der(0x30, &sets.iter().flat_map(set).collect::<Vec<_>>())
    }

    fn printed(name: &[u8]) -> Result<String, Error> {
        java_name_of(Elements(name).next().unwrap())
    }

    /// Printed by Java 17 and 25 for the certificate that OpenSSL made of it.
    #[test]
    fn names_are_printed_as_java_does() {
        let all = name(&[
            &[(&[0x55, 4, 6], PRINTABLE, b"DE")],
            &[(&[0x55, 4, 8], UTF8, b"Bayern")],
            &[(&[0x55, 4, 7], UTF8, "München".as_bytes())],
            &[(O, UTF8, b"Ex, ample Inc <x>;+\\")],
            &[(OU, UTF8, b"Team A")],
            &[(OU, UTF8, b" lead")],
            &[(&[0x55, 4, 9], UTF8, b"Main 1")],
            &[(DC, IA5, b"example")],
            &[(UID, UTF8, b"u42")],
            &[(&[0x55, 4, 5], PRINTABLE, b"77")],
            &[(EMAIL, IA5, b"a@b.c")],
            &[(&[0x55, 4, 12], UTF8, b"Dr")],
            &[(&[0x55, 4, 4], UTF8, b"Sur")],
            &[(&[0x55, 4, 42], UTF8, b"Giv")],
            &[(CN, UTF8, b"#svc=pay")],
        ]);
        let expected = concat!(
            r"CN=\#svc\=pay,2.5.4.42=#0c03476976,2.5.4.4=#0c03537572,2.5.4.12=#0c024472,",
            r"1.2.840.113549.1.9.1=#16056140622e63,2.5.4.5=#13023737,UID=u42,DC=example,STREET=Main 1,",
            r"OU=\ lead,OU=Team A,O=Ex\, ample Inc \<x\>\;\+\\,L=München,ST=Bayern,C=DE",
        );
        assert_eq!(printed(&all).unwrap(), expected);

        let together = name(&[
            &[(&[0x55, 4, 6], PRINTABLE, b"US")],
            &[(O, UTF8, b"Acme")],
            &[(OU, UTF8, b"Ops"), (UID, UTF8, b"7")],
            &[(CN, UTF8, b"svc")],
        ]);
        assert_eq!(printed(&together).unwrap(), "CN=svc,OU=Ops+UID=7,O=Acme,C=US");
    }

    /// Each was printed by Java 25; 60,000 random names agreed when this was written.
    #[test]
    fn odd_values_are_printed_as_java_does() {
        let one = |tag, value: &[u8]| printed(&name(&[&[(CN, tag, value)]]));
        assert_eq!(one(UTF8, b"").unwrap(), "CN=");
        assert_eq!(one(UTF8, b"   ").unwrap(), r"CN=\ \ \ ");
        assert_eq!(one(UTF8, b"\r a\0b \r").unwrap(), "CN=\\\r\\ a\\00b\\ \\\r");
        assert_eq!(one(UTF8, b"a\nb\tc").unwrap(), "CN=a\nb\tc");
        assert_eq!(one(UTF8, b"a\"b\"").unwrap(), r#"CN=a\"b\""#);
        assert_eq!(one(UTF8, b"\xff\xe2\x82z").unwrap(), "CN=\u{fffd}\u{fffd}z");
        assert_eq!(one(0x14, b"M\xfcnchen").unwrap(), "CN=München", "T61");
        assert_eq!(one(0x1e, b"\0A\x20\xac").unwrap(), "CN=A€", "BMP");
        assert_eq!(one(0x1b, b"general").unwrap(), "CN=general");
        assert_eq!(one(0x1c, b"\0\0\0A").unwrap(), "CN=#1c0400000041", "Universal");
        assert_eq!(one(0x04, b"octets").unwrap(), "CN=#04066f6374657473");
        assert_eq!(printed(&name(&[])).unwrap(), "");
        assert_eq!(printed(&name(&[&[(&[0x88, 0x37, 3], UTF8, b"")]])).unwrap(), "2.999.3=#0c00");
        assert_eq!(
            printed(&name(&[&[(&[0x28], UTF8, b"")], &[(&[0x27], UTF8, b"")]])).unwrap(),
            "0.39=#0c00,1.0=#0c00"
        );
    }

    #[test]
    fn what_has_no_one_name_is_refused() {
        let one = |kind, tag, value: &[u8]| printed(&name(&[&[(kind, tag, value)]]));
        assert_eq!(one(CN, 0x1e, b"odd"), Err(Error::Subject));
        assert_eq!(one(CN, 0x1e, b"\xd8\x3d\xde\x00"), Err(Error::Subject));
        assert_eq!(one(&[0x80], UTF8, b""), Err(Error::Subject), "an object identifier that does not end");
        assert_eq!(one(&[], UTF8, b""), Err(Error::Subject));
        assert_eq!(one(&[0xff; 20], UTF8, b""), Err(Error::Subject));
        assert!(one(CN, UTF8, &[b'a'; NAME_BYTES_MAX - 3]).is_ok());
        assert_eq!(one(CN, UTF8, &[b'a'; NAME_BYTES_MAX - 2]), Err(Error::TooLong));
        assert_eq!(java_name(&CertificateDer::from(vec![0x30, 0x80])), Err(Error::Subject));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_names_are_bounded(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            cut in 0_usize..200,
            flip in (0_usize..200, any::<u8>()),
        ) {
            let _ = java_name(&CertificateDer::from(bytes));
            let mut der = name(&[&[(O, UTF8, b"Acme"), (EMAIL, IA5, b"a@b.c")], &[(CN, 0x1e, b"\0A\0B")]]);
            if let Some(byte) = der.get_mut(flip.0) {
                *byte = flip.1;
            }
            der.truncate(cut);
            if let Some(name) = Elements(&der).next().and_then(|name| java_name_of(name).ok()) {
                prop_assert!(name.len() <= NAME_BYTES_MAX);
            }
        }
    }
}
