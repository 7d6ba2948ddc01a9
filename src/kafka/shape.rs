//! The fields of the messages that are walked, as Apache Kafka's message definitions (4.4) list them.

pub mod requests;

use super::walk::{Field, Kind, field};

const INT16: Field = field(Kind::Fixed(2));
const INT32: Field = field(Kind::Fixed(4));
const INT64: Field = field(Kind::Fixed(8));
const UUID: Field = field(Kind::Fixed(16));
const INT8: Field = field(Kind::Fixed(1));
const BOOLEAN: Field = field(Kind::Fixed(1));
const STRING: Field = field(Kind::String);
const BYTES: Field = field(Kind::Bytes);
const TAGS: Field = field(Kind::Tags);

/// ResponseHeader after the correlation id: nothing in version 0, a tag section in version 1.
pub const RESPONSE_HEADER: &[Field] = &[TAGS];

/// ProduceResponse up to the body's tag section, versions 9 to 13.
pub const PRODUCE_RESPONSE: &[Field] = &[
    field(Kind::Array(
        const {
            &[
                STRING.until(12),
                UUID.since(13),
                field(Kind::Array(
                    const {
                        &[
                            INT32,
                            INT16,
                            INT64,
                            INT64,
                            INT64,
                            field(Kind::Array(const { &[INT32, STRING, TAGS] })),
                            STRING,
                            TAGS,
                        ]
                    },
                )),
                TAGS,
            ]
        },
    )),
    INT32,
];

/// FetchResponse up to the body's tag section, versions 12 to 18.
pub const FETCH_RESPONSE: &[Field] = &[
    INT32,
    INT16,
    INT32,
    field(Kind::Array(
        const {
            &[
                STRING.until(12),
                UUID.since(13),
                field(Kind::Array(
                    const {
                        &[
                            INT32,
                            INT16,
                            INT64,
                            INT64,
                            INT64,
                            field(Kind::Array(const { &[INT64, INT64, TAGS] })),
                            INT32,
                            BYTES,
                            TAGS,
                        ]
                    },
                )),
                TAGS,
            ]
        },
    )),
];

/// ShareFetchResponse up to NodeEndpoints, versions 1 and 2.
pub const SHARE_FETCH_RESPONSE: &[Field] = &[
    INT32,
    INT16,
    STRING,
    INT32.since(1),
    field(Kind::Array(
        const {
            &[
                UUID,
                field(Kind::Array(
                    const {
                        &[
                            INT32,
                            INT16,
                            STRING,
                            INT16,
                            STRING,
                            INT32,
                            INT32,
                            TAGS,
                            BYTES,
                            field(Kind::Array(const { &[INT64, INT64, INT16, TAGS] })),
                            TAGS,
                        ]
                    },
                )),
                TAGS,
            ]
        },
    )),
];

/// ShareAcknowledgeResponse up to NodeEndpoints, versions 1 and 2.
pub const SHARE_ACKNOWLEDGE_RESPONSE: &[Field] = &[
    INT32,
    INT16,
    STRING,
    INT32.since(2),
    field(Kind::Array(
        const { &[UUID, field(Kind::Array(const { &[INT32, INT16, STRING, INT32, INT32, TAGS, TAGS] })), TAGS] },
    )),
];

/// `NodeEndpoint` of Produce, Fetch, ShareFetch and ShareAcknowledge (KIP-951).
pub const NODE_ENDPOINT: &[Field] = &[INT32, STRING, INT32, STRING, TAGS];

/// Replica state of DescribeQuorumResponse.
const REPLICA_STATE: &[Field] = &[INT32, UUID.since(2), INT64, INT64.since(1), INT64.since(1), TAGS];

/// DescribeQuorumResponse up to Nodes, versions 0 to 2.
pub const DESCRIBE_QUORUM_RESPONSE: &[Field] = &[
    INT16,
    STRING.since(2),
    field(Kind::Array(
        const {
            &[
                STRING,
                field(Kind::Array(
                    const {
                        &[
                            INT32,
                            INT16,
                            STRING.since(2),
                            INT32,
                            INT32,
                            INT64,
                            field(Kind::Array(REPLICA_STATE)),
                            field(Kind::Array(REPLICA_STATE)),
                            TAGS,
                        ]
                    },
                )),
                TAGS,
            ]
        },
    )),
];

/// A listener of DescribeQuorumResponse: name, host, and a port of 16 bits.
pub const QUORUM_LISTENER: &[Field] = &[STRING, STRING, INT16, TAGS];

/// MetadataResponse, versions 0 to 13.
pub const METADATA_RESPONSE: &[Field] = &[
    INT32.since(3),
    field(Kind::Array(const { &[INT32, STRING, INT32, STRING.since(1), TAGS] })),
    STRING.since(2),
    INT32.since(1),
    field(Kind::Array(
        const {
            &[
                INT16,
                STRING,
                UUID.since(10),
                BOOLEAN.since(1),
                field(Kind::Array(
                    const {
                        &[
                            INT16,
                            INT32,
                            INT32,
                            INT32.since(7),
                            field(Kind::Array(const { &[INT32] })),
                            field(Kind::Array(const { &[INT32] })),
                            field(Kind::Array(const { &[INT32] })).since(5),
                            TAGS,
                        ]
                    },
                )),
                INT32.since(8),
                TAGS,
            ]
        },
    )),
    INT32.since(8).until(10),
    INT16.since(13),
    TAGS,
];

/// ApiVersionsResponse, versions 0 to 5.
pub const API_VERSIONS_RESPONSE: &[Field] =
    &[INT16, field(Kind::Array(const { &[INT16, INT16, INT16, TAGS] })), INT32.since(1), TAGS];

/// SaslHandshakeResponse, versions 0 and 1.
pub const SASL_HANDSHAKE_RESPONSE: &[Field] = &[INT16, field(Kind::Array(const { &[STRING] }))];

/// SaslAuthenticateResponse, versions 0 to 2.
pub const SASL_AUTHENTICATE_RESPONSE: &[Field] = &[INT16, STRING, BYTES, INT64.since(1), TAGS];

#[cfg(test)]
mod tests {
    use super::*;

    /// The fewest bytes that the fields can take in a version.
    fn least(fields: &[Field], version: i16, flexible: bool) -> usize {
        fields
            .iter()
            .filter(|f| (f.since..=f.until).contains(&version))
            .map(|f| match f.kind {
                Kind::Fixed(bytes) => bytes.into(),
                Kind::Tags => usize::from(flexible),
                Kind::String | Kind::Bytes | Kind::Array(_) | Kind::Nullable(_) => 1,
            })
            .sum()
    }

    fn elements_take_bytes(fields: &[Field], version: i16, flexible: bool) {
        for field in fields {
            if let Kind::Array(element) = field.kind {
                assert!(
                    least(element, version, flexible) > 0,
                    "an element of {element:?} may be empty in {version}"
                );
                elements_take_bytes(element, version, flexible);
            }
        }
    }

    #[test]
    fn no_count_can_make_a_walker_spin() {
        for fields in [
            PRODUCE_RESPONSE,
            FETCH_RESPONSE,
            SHARE_FETCH_RESPONSE,
            SHARE_ACKNOWLEDGE_RESPONSE,
            DESCRIBE_QUORUM_RESPONSE,
            METADATA_RESPONSE,
            API_VERSIONS_RESPONSE,
            SASL_HANDSHAKE_RESPONSE,
            SASL_AUTHENTICATE_RESPONSE,
        ] {
            for version in 0..=20 {
                elements_take_bytes(fields, version, false);
                elements_take_bytes(fields, version, true);
            }
        }
    }
}
