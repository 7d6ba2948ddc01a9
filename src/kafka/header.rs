//! What the gateway reads of every frame: the request header, `acks` of a Produce, the correlation id.

use super::CorrelationId;
use super::api::{self, Api};
use super::wire::{Error, Reader};

/// The start of every request header: API key, version, correlation id (RequestHeader version 0).
pub const FIXED_BYTES: usize = 8;

/// The most tags that a request header may carry. No client sends any; a broker that reads millions of
/// them before it knows the client is CVE-2026-111115.
pub const TAGS_MAX: u32 = 64;

/// The fixed part of a request header, which is valid for every API and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API key.
    pub key: i16,
    /// The version of the request.
    pub version: i16,
    /// What the response will repeat.
    pub correlation_id: CorrelationId,
}

impl RequestHeader {
    /// Reads the fixed part from the start of a frame's payload.
    ///
    /// # Errors
    /// [`Error::Short`] below [`FIXED_BYTES`].
    pub fn read(payload: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(payload);
        Ok(Self { key: reader.i16()?, version: reader.i16()?, correlation_id: CorrelationId(reader.i32()?) })
    }

    /// The API, if its key is known.
    pub fn api(&self) -> Option<&'static Api> {
        api::find(self.key)
    }
}

/// Reads past a whole request header (version 1, or 2 with tags) and returns the reader at the body,
/// with the client id.
///
/// # Errors
/// [`Error::Short`], or [`Error::Malformed`] for a client id or tags that no client may send.
pub fn read_past(payload: &[u8], flexible: bool) -> Result<(Reader<'_>, Option<&[u8]>), Error> {
    let mut reader = Reader::new(payload);
    reader.take(FIXED_BYTES)?;
    // The client id keeps its 16-bit length in every version ("flexibleVersions": "none").
    let client_id = reader.nullable_string(false)?;
    if flexible {
        let mut tags = reader.clone();
        if tags.uvarint()? > TAGS_MAX {
            return Err(Error::Malformed("a request header carries more than 64 tags"));
        }
        reader.skip_tags()?;
    }
    Ok((reader, client_id))
}

/// Reads `acks` of a Produce request, versions 0 to 13: it stands first up to version 2, after the
/// transactional id from 3 on.
///
/// # Errors
/// As [`read_past`].
pub fn produce_acks(payload: &[u8], version: i16) -> Result<i16, Error> {
    let flexible = version >= 9;
    let (mut reader, _) = read_past(payload, flexible)?;
    if version >= 3 {
        reader.nullable_string(flexible)?;
    }
    reader.i16()
}

/// The client software's own name and version, which ApiVersions carries since version 3 (KIP-511).
///
/// # Errors
/// As [`read_past`].
pub fn client_software(payload: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let (mut reader, _) = read_past(payload, true)?;
    Ok((reader.string(true)?, reader.string(true)?))
}

/// The mechanism that a SaslHandshake request names.
///
/// # Errors
/// As [`read_past`].
pub fn sasl_mechanism(payload: &[u8]) -> Result<&[u8], Error> {
    read_past(payload, false)?.0.string(false)
}

/// What the first bytes of a connection are when they are not Kafka's, for a log line that helps.
pub fn foreign_protocol(start: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 8] = [
        (&[0x16, 0x03], "a TLS handshake"),
        (&[0x15, 0x03], "a TLS alert"),
        (b"GET ", "an HTTP request"),
        (b"POST", "an HTTP request"),
        (b"HEAD", "an HTTP request"),
        (b"OPTI", "an HTTP request"),
        (b"SSH-", "an SSH client"),
        (b"PROX", "a PROXY protocol header"),
    ];
    STARTS.iter().find(|(bytes, _)| start.starts_with(bytes)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Produce request up to and with acks.
    fn produce(version: i16, client_id: Option<&str>, transactional_id: Option<&str>, acks: i16) -> Vec<u8> {
        let mut out = vec![0, 0];
        out.extend(version.to_be_bytes());
        out.extend([0, 0, 0, 7]);
        let string = |out: &mut Vec<u8>, text: Option<&str>| {
            out.extend(text.map_or(-1, |t| t.len() as i16).to_be_bytes());
            out.extend(text.unwrap_or_default().bytes());
        };
        string(&mut out, client_id);
        if version >= 9 {
            out.extend([1, 77, 2, 1, 2]);
            out.push(transactional_id.map_or(0, |t| t.len() as u8 + 1));
            out.extend(transactional_id.unwrap_or_default().bytes());
        } else if version >= 3 {
            string(&mut out, transactional_id);
        }
        out.extend(acks.to_be_bytes());
        out
    }

    #[test]
    fn trap_1_acks_are_read_in_every_version_and_with_every_null() {
        for version in 0..=13 {
            for client_id in [None, Some(""), Some("a-client")] {
                for transactional_id in [None, Some(""), Some("tx")] {
                    for acks in [-1, 0, 1] {
                        let payload = produce(version, client_id, transactional_id, acks);
                        assert_eq!(produce_acks(&payload, version), Ok(acks), "version {version}");
                        for end in 0..payload.len() {
                            assert_eq!(produce_acks(&payload[..end], version), Err(Error::Short));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_header_of_many_tags_is_refused_from_its_count_alone() {
        let mut payload = vec![0; FIXED_BYTES];
        payload.extend([0xff, 0xff, 65]);
        assert!(matches!(read_past(&payload, true), Err(Error::Malformed(_))));
    }

    #[test]
    fn trap_19_other_protocols_are_known_by_their_first_bytes() {
        assert_eq!(foreign_protocol(&[0x16, 3, 1, 2, 0]), Some("a TLS handshake"));
        assert_eq!(foreign_protocol(b"GET / HTTP/1.1"), Some("an HTTP request"));
        assert_eq!(foreign_protocol(&[0, 0, 0, 20, 0, 18]), None);
    }
}
