//! What the toy brokers serve: each API with its versions, the shape of its requests, and its handler.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, api_versions_response::ApiVersion};

use super::call::{Call, Closed};
use super::sasl::Login;
use super::{
    commits, configs, coordinator, describe, fetch, groups, membership, metadata, offsets, produce, topics,
};
use crate::kafka::api;
use crate::kafka::shape::requests as shape;
use crate::kafka::walk::{Field, Step, Walker};

/// How many steps a walk over a request may take: it bounds how many elements a decoder makes, each of
/// which is larger than the bytes it came in.
const STEPS_MAX: usize = 1 << 20;

/// The versions of an API that are served, and the shape of its requests.
struct Row {
    key: i16,
    oldest: i16,
    newest: i16,
    shape: &'static [Field],
}

const fn row(key: i16, oldest: i16, newest: i16, shape: &'static [Field]) -> Row {
    Row { key, oldest, newest, shape }
}

/// Every API that is served. Versions are those that kafka-protocol knows.
const ROWS: [Row; 27] = [
    row(0, 3, 13, shape::PRODUCE_REQUEST),
    row(1, 4, 18, shape::FETCH_REQUEST),
    row(2, 1, 10, shape::LIST_OFFSETS_REQUEST),
    row(3, 0, 13, shape::METADATA_REQUEST),
    row(8, 2, 9, shape::OFFSET_COMMIT_REQUEST),
    row(9, 1, 9, shape::OFFSET_FETCH_REQUEST),
    row(10, 0, 6, shape::FIND_COORDINATOR_REQUEST),
    row(11, 0, 9, shape::JOIN_GROUP_REQUEST),
    row(12, 0, 4, shape::HEARTBEAT_REQUEST),
    row(13, 0, 5, shape::LEAVE_GROUP_REQUEST),
    row(14, 0, 5, shape::SYNC_GROUP_REQUEST),
    row(15, 0, 6, shape::DESCRIBE_GROUPS_REQUEST),
    row(16, 0, 5, shape::LIST_GROUPS_REQUEST),
    row(17, 0, 1, shape::SASL_HANDSHAKE_REQUEST),
    row(18, 0, 4, shape::API_VERSIONS_REQUEST),
    row(19, 2, 7, shape::CREATE_TOPICS_REQUEST),
    row(20, 1, 6, shape::DELETE_TOPICS_REQUEST),
    row(21, 0, 2, shape::DELETE_RECORDS_REQUEST),
    row(22, 0, 5, shape::INIT_PRODUCER_ID_REQUEST),
    row(23, 2, 4, shape::OFFSET_FOR_LEADER_EPOCH_REQUEST),
    row(32, 1, 4, shape::DESCRIBE_CONFIGS_REQUEST),
    row(36, 0, 2, shape::SASL_AUTHENTICATE_REQUEST),
    row(37, 0, 3, shape::CREATE_PARTITIONS_REQUEST),
    row(42, 0, 2, shape::DELETE_GROUPS_REQUEST),
    row(55, 0, 2, shape::DESCRIBE_QUORUM_REQUEST),
    row(60, 0, 2, shape::DESCRIBE_CLUSTER_REQUEST),
    row(75, 0, 0, shape::DESCRIBE_TOPIC_PARTITIONS_REQUEST),
];

/// One version of an API that is served.
pub(super) struct Served {
    shape: &'static [Field],
    /// Whether requests are in the flexible encoding (KIP-482).
    pub(super) flexible: bool,
    /// Whether the header of the answer carries tags.
    pub(super) tagged_header: bool,
}

/// An API in a version, if it is served.
pub(super) fn find(key: i16, version: i16) -> Option<Served> {
    let row = ROWS.iter().find(|row| row.key == key && (row.oldest..=row.newest).contains(&version))?;
    let api = api::find(key)?;
    Some(Served {
        shape: row.shape,
        flexible: api.is_flexible(version),
        tagged_header: api.response_header_has_tags(version),
    })
}

impl Served {
    /// Walks a body to its end: what it counts is there, and it is not so much that decoding it would
    /// take memory without bound. Bytes after the end are refused: no client sends any.
    pub(super) fn walk(&self, version: i16, body: &[u8]) -> Result<(), Closed> {
        let mut walker = Walker::new(self.shape, version, self.flexible);
        let mut position = 0_u64;
        for _ in 0..STEPS_MAX {
            let window = usize::try_from(position).ok().and_then(|at| body.get(at..)).ok_or(Closed)?;
            match walker.step(window).map_err(|_| Closed)? {
                Step::Done if window.is_empty() => return Ok(()),
                Step::Done | Step::Need(_) => return Err(Closed),
                Step::Skip(bytes) => position += bytes,
            }
        }
        Err(Closed)
    }
}

/// Answers a request. `None` is the answer to a Produce with acks=0.
pub(super) async fn answer(
    call: &Call<'_>,
    login: &mut Login,
    key: i16,
    mut body: Bytes,
) -> Result<Option<Bytes>, Closed> {
    let body = &mut body;
    let answer = match key {
        0 => return produce::produce(call, call.decode(body)?)?.map(|r| call.encode(&r)).transpose(),
        1 => call.encode(&fetch::fetch(call, call.decode(body)?).await),
        2 => call.encode(&offsets::list(call, call.decode(body)?)),
        3 => call.encode(&metadata::metadata(call, call.decode(body)?)),
        8 => call.encode(&commits::commit(call, call.decode(body)?)),
        9 => call.encode(&commits::fetch(call, call.decode(body)?)),
        10 => call.encode(&coordinator::find(call, call.decode(body)?)),
        11 => call.encode(&membership::join(call, call.decode(body)?).await),
        12 => call.encode(&membership::heartbeat(call, &call.decode(body)?)),
        13 => call.encode(&membership::leave(call, call.decode(body)?)),
        14 => call.encode(&membership::sync(call, call.decode(body)?).await),
        15 => call.encode(&groups::describe(call, call.decode(body)?)),
        16 => call.encode(&groups::list(call, &call.decode(body)?)),
        17 => call.encode(&login.handshake(&call.decode(body)?, call.version)),
        18 => call.encode(&api_versions(call, &call.decode(body)?)),
        19 => call.encode(&topics::create(call, call.decode(body)?)),
        20 => call.encode(&topics::delete(call, call.decode(body)?)),
        21 => call.encode(&topics::delete_records(call, call.decode(body)?)),
        22 => call.encode(&produce::init_producer_id(call, &call.decode(body)?)),
        23 => call.encode(&offsets::end_of_epoch(call, call.decode(body)?)),
        32 => call.encode(&configs::describe(call, call.decode(body)?)),
        36 => call.encode(&login.authenticate(&call.decode(body)?)),
        37 => call.encode(&topics::grow(call, call.decode(body)?)),
        42 => call.encode(&groups::delete(call, call.decode(body)?)),
        55 => call.encode(&describe::quorum(call, call.decode(body)?)),
        60 => call.encode(&describe::cluster(call, &call.decode(body)?)),
        75 => call.encode(&describe::topic_partitions(call, call.decode(body)?)),
        _ => Err(Closed),
    };
    answer.map(Some)
}

/// The versions that are advertised. Produce is advertised from 0 on, as brokers do though they refuse
/// what is below 3: old librdkafka would not compress otherwise (KAFKA-18659).
fn api_versions(call: &Call<'_>, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let edge = |b: u8| b.is_ascii_alphanumeric();
    let legal = |name: &str| {
        let bytes = name.as_bytes();
        bytes.first().is_some_and(|b| edge(*b))
            && bytes.last().is_some_and(|b| edge(*b))
            && bytes.iter().all(|b| edge(*b) || matches!(b, b'-' | b'.'))
    };
    if call.version >= 3 && !(legal(&request.client_software_name) && legal(&request.client_software_version))
    {
        return ApiVersionsResponse::default()
            .with_error_code(kafka_protocol::error::ResponseError::InvalidRequest.code());
    }
    let keys = ROWS.iter().map(|row| {
        let oldest = if row.key == 0 { 0 } else { row.oldest };
        ApiVersion::default().with_api_key(row.key).with_min_version(oldest).with_max_version(row.newest)
    });
    ApiVersionsResponse::default().with_api_keys(keys.collect())
}

/// The body, in the layout of version 0, that answers an ApiVersions request of an unknown version.
pub(super) fn unsupported_api_versions() -> Bytes {
    let newest = ROWS.iter().find(|row| row.key == 18).map_or(0, |row| row.newest);
    let mut body = BytesMut::new();
    body.put_i16(kafka_protocol::error::ResponseError::UnsupportedVersion.code());
    body.put_i32(1);
    body.put_i16(18);
    body.put_i16(0);
    body.put_i16(newest);
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::ApiKey;

    #[test]
    fn what_is_served_is_what_the_decoders_know() {
        for row in &ROWS {
            let versions = ApiKey::try_from(row.key).unwrap().valid_versions();
            assert!(versions.min <= row.oldest && row.newest <= versions.max, "{}", row.key);
            assert!(api::find(row.key).unwrap().newest >= row.newest);
            assert!(find(row.key, row.newest + 1).is_none() && find(row.key, row.newest).is_some());
        }
    }

    #[test]
    fn a_body_that_counts_more_than_it_holds_is_refused_before_it_is_decoded() {
        let served = find(3, 12).unwrap();
        assert_eq!(served.walk(12, &[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(Closed));
        let served = find(3, 1).unwrap();
        assert_eq!(served.walk(1, &[0x7f, 0xff, 0xff, 0xff]), Err(Closed));
        assert_eq!(served.walk(1, &[0, 0, 0, 0]), Ok(()));
        assert_eq!(served.walk(1, &[0, 0, 0, 0, 0]), Err(Closed));
    }

    #[test]
    fn a_body_of_too_many_elements_is_refused() {
        let topics = STEPS_MAX as u32 + 1;
        let mut body = topics.to_be_bytes().to_vec();
        body.resize(4 + 2 * topics as usize, 0);
        assert_eq!(find(3, 1).unwrap().walk(1, &body), Err(Closed));
    }
}
