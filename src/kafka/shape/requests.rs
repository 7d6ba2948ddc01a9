//! The fields of the requests that the toy cluster serves, as Apache Kafka's message definitions (4.4)
//! list them: a request is walked to its end before a decoder sees it.

use super::{BOOLEAN, BYTES, Field, INT8, INT16, INT32, INT64, Kind, STRING, TAGS, UUID, field};

/// ProduceRequest, versions 3 to 13.
pub const PRODUCE_REQUEST: &[Field] = &[
    STRING,
    INT16,
    INT32,
    field(Kind::Array(
        const { &[STRING.until(12), UUID.since(13), field(Kind::Array(const { &[INT32, BYTES, TAGS] })), TAGS] },
    )),
    TAGS,
];

/// FetchRequest, versions 4 to 18.
pub const FETCH_REQUEST: &[Field] = &[
    INT32.until(14),
    INT32,
    INT32,
    INT32,
    INT8,
    INT32.since(7),
    INT32.since(7),
    field(Kind::Array(
        const {
            &[
                STRING.until(12),
                UUID.since(13),
                field(Kind::Array(
                    const { &[INT32, INT32.since(9), INT64, INT32.since(12), INT64.since(5), INT32, TAGS] },
                )),
                TAGS,
            ]
        },
    )),
    field(Kind::Array(
        const {
            &[
                STRING.since(7).until(12),
                UUID.since(13),
                field(Kind::Array(const { &[INT32] })).since(7),
                TAGS,
            ]
        },
    ))
    .since(7),
    STRING.since(11),
    TAGS,
];

/// ListOffsetsRequest, versions 1 to 10.
pub const LIST_OFFSETS_REQUEST: &[Field] = &[
    INT32,
    INT8.since(2),
    field(Kind::Array(
        const { &[STRING, field(Kind::Array(const { &[INT32, INT32.since(4), INT64, TAGS] })), TAGS] },
    )),
    INT32.since(10),
    TAGS,
];

/// MetadataRequest, versions 0 to 13.
pub const METADATA_REQUEST: &[Field] = &[
    field(Kind::Array(const { &[UUID.since(10), STRING, TAGS] })),
    BOOLEAN.since(4),
    BOOLEAN.since(8).until(10),
    BOOLEAN.since(8),
    TAGS,
];

/// OffsetCommitRequest, versions 2 to 9.
pub const OFFSET_COMMIT_REQUEST: &[Field] = &[
    STRING,
    INT32,
    STRING,
    STRING.since(7),
    INT64.until(4),
    field(Kind::Array(
        const { &[STRING, field(Kind::Array(const { &[INT32, INT64, INT32.since(6), STRING, TAGS] })), TAGS] },
    )),
    TAGS,
];

/// OffsetFetchRequest, versions 1 to 9.
pub const OFFSET_FETCH_REQUEST: &[Field] = &[
    STRING.until(7),
    field(Kind::Array(const { &[STRING.until(7), field(Kind::Array(const { &[INT32] })).until(7), TAGS] }))
        .until(7),
    field(Kind::Array(
        const {
            &[
                STRING.since(8),
                STRING.since(9),
                INT32.since(9),
                field(Kind::Array(
                    const { &[STRING.since(8), field(Kind::Array(const { &[INT32] })).since(8), TAGS] },
                ))
                .since(8),
                TAGS,
            ]
        },
    ))
    .since(8),
    BOOLEAN.since(7),
    TAGS,
];

/// FindCoordinatorRequest, versions 0 to 6.
pub const FIND_COORDINATOR_REQUEST: &[Field] =
    &[STRING.until(3), INT8.since(1), field(Kind::Array(const { &[STRING] })).since(4), TAGS];

/// JoinGroupRequest, versions 0 to 9.
pub const JOIN_GROUP_REQUEST: &[Field] = &[
    STRING,
    INT32,
    INT32.since(1),
    STRING,
    STRING.since(5),
    STRING,
    field(Kind::Array(const { &[STRING, BYTES, TAGS] })),
    STRING.since(8),
    TAGS,
];

/// HeartbeatRequest, versions 0 to 4.
pub const HEARTBEAT_REQUEST: &[Field] = &[STRING, INT32, STRING, STRING.since(3), TAGS];

/// LeaveGroupRequest, versions 0 to 5.
pub const LEAVE_GROUP_REQUEST: &[Field] = &[
    STRING,
    STRING.until(2),
    field(Kind::Array(const { &[STRING.since(3), STRING.since(3), STRING.since(5), TAGS] })).since(3),
    TAGS,
];

/// SyncGroupRequest, versions 0 to 5.
pub const SYNC_GROUP_REQUEST: &[Field] = &[
    STRING,
    INT32,
    STRING,
    STRING.since(3),
    STRING.since(5),
    STRING.since(5),
    field(Kind::Array(const { &[STRING, BYTES, TAGS] })),
    TAGS,
];

/// DescribeGroupsRequest, versions 0 to 6.
pub const DESCRIBE_GROUPS_REQUEST: &[Field] =
    &[field(Kind::Array(const { &[STRING] })), BOOLEAN.since(3), TAGS];

/// ListGroupsRequest, versions 0 to 5.
pub const LIST_GROUPS_REQUEST: &[Field] = &[
    field(Kind::Array(const { &[STRING] })).since(4),
    field(Kind::Array(const { &[STRING] })).since(5),
    TAGS,
];

/// SaslHandshakeRequest, versions 0 to 1.
pub const SASL_HANDSHAKE_REQUEST: &[Field] = &[STRING];

/// ApiVersionsRequest, versions 0 to 4.
pub const API_VERSIONS_REQUEST: &[Field] = &[STRING.since(3), STRING.since(3), TAGS];

/// CreateTopicsRequest, versions 2 to 7.
pub const CREATE_TOPICS_REQUEST: &[Field] = &[
    field(Kind::Array(
        const {
            &[
                STRING,
                INT32,
                INT16,
                field(Kind::Array(const { &[INT32, field(Kind::Array(const { &[INT32] })), TAGS] })),
                field(Kind::Array(const { &[STRING, STRING, TAGS] })),
                TAGS,
            ]
        },
    )),
    INT32,
    BOOLEAN,
    TAGS,
];

/// DeleteTopicsRequest, versions 1 to 6.
pub const DELETE_TOPICS_REQUEST: &[Field] = &[
    field(Kind::Array(const { &[STRING.since(6), UUID.since(6), TAGS] })).since(6),
    field(Kind::Array(const { &[STRING] })).until(5),
    INT32,
    TAGS,
];

/// DeleteRecordsRequest, versions 0 to 2.
pub const DELETE_RECORDS_REQUEST: &[Field] = &[
    field(Kind::Array(const { &[STRING, field(Kind::Array(const { &[INT32, INT64, TAGS] })), TAGS] })),
    INT32,
    TAGS,
];

/// InitProducerIdRequest, versions 0 to 5.
pub const INIT_PRODUCER_ID_REQUEST: &[Field] = &[STRING, INT32, INT64.since(3), INT16.since(3), TAGS];

/// OffsetForLeaderEpochRequest, versions 2 to 4.
pub const OFFSET_FOR_LEADER_EPOCH_REQUEST: &[Field] = &[
    INT32.since(3),
    field(Kind::Array(const { &[STRING, field(Kind::Array(const { &[INT32, INT32, INT32, TAGS] })), TAGS] })),
    TAGS,
];

/// DescribeConfigsRequest, versions 1 to 4.
pub const DESCRIBE_CONFIGS_REQUEST: &[Field] = &[
    field(Kind::Array(const { &[INT8, STRING, field(Kind::Array(const { &[STRING] })), TAGS] })),
    BOOLEAN,
    BOOLEAN.since(3),
    TAGS,
];

/// SaslAuthenticateRequest, versions 0 to 2.
pub const SASL_AUTHENTICATE_REQUEST: &[Field] = &[BYTES, TAGS];

/// CreatePartitionsRequest, versions 0 to 3.
pub const CREATE_PARTITIONS_REQUEST: &[Field] = &[
    field(Kind::Array(
        const {
            &[
                STRING,
                INT32,
                field(Kind::Array(const { &[field(Kind::Array(const { &[INT32] })), TAGS] })),
                TAGS,
            ]
        },
    )),
    INT32,
    BOOLEAN,
    TAGS,
];

/// DeleteGroupsRequest, versions 0 to 2.
pub const DELETE_GROUPS_REQUEST: &[Field] = &[field(Kind::Array(const { &[STRING] })), TAGS];

/// DescribeQuorumRequest, versions 0 to 2.
pub const DESCRIBE_QUORUM_REQUEST: &[Field] =
    &[field(Kind::Array(const { &[STRING, field(Kind::Array(const { &[INT32, TAGS] })), TAGS] })), TAGS];

/// DescribeClusterRequest, versions 0 to 2.
pub const DESCRIBE_CLUSTER_REQUEST: &[Field] = &[BOOLEAN, INT8.since(1), BOOLEAN.since(2), TAGS];

/// DescribeTopicPartitionsRequest, version 0.
pub const DESCRIBE_TOPIC_PARTITIONS_REQUEST: &[Field] = &[
    field(Kind::Array(const { &[STRING, TAGS] })),
    INT32,
    field(Kind::Nullable(const { &[STRING, INT32, TAGS] })),
    TAGS,
];
