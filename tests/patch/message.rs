//! The patched responses as `kafka-protocol` knows them: the oracle that shares no code with the gateway.

use gatehouse::kafka::api::{self, Api, Patch, Response};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, DescribeClusterResponse, DescribeQuorumResponse, FetchResponse,
    FindCoordinatorResponse, MetadataResponse, ProduceResponse, ShareAcknowledgeResponse, ShareFetchResponse,
};
use kafka_protocol::protocol::{Decodable as _, Encodable as _, StrBytes};

/// The correlation id of every frame that is made here.
pub(crate) const CORRELATION_ID: i32 = 0x0102_0304;

macro_rules! messages {
    ($($name:ident: $type:ty),* $(,)?) => {
        /// One response.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Message { $($name($type)),* }

        impl Message {
            fn patch(&self) -> Patch {
                match self { $(Self::$name(_) => Patch::$name),* }
            }

            fn body(&self, version: i16) -> Vec<u8> {
                let mut out = Vec::new();
                match self { $(Self::$name(message) => message.encode(&mut out, version)),* }
                    .unwrap_or_else(|error| panic!("{self:?} in version {version}: {error}"));
                out
            }

            fn from_body(patch: Patch, version: i16, body: &mut &[u8]) -> Result<Self, String> {
                match patch {
                    $(Patch::$name => <$type>::decode(body, version).map(Self::$name)),*
                }.map_err(|error| format!("{error:#}"))
            }
        }
    };
}

messages! {
    ApiVersions: ApiVersionsResponse,
    Metadata: MetadataResponse,
    FindCoordinator: FindCoordinatorResponse,
    DescribeCluster: DescribeClusterResponse,
    Produce: ProduceResponse,
    Fetch: FetchResponse,
    ShareFetch: ShareFetchResponse,
    ShareAcknowledge: ShareAcknowledgeResponse,
    DescribeQuorum: DescribeQuorumResponse,
}

/// Every version of every patched response: from the first that `kafka-protocol` knows (for Produce and
/// Fetch the first flexible one) to the newest of the table.
pub(crate) fn every_version() -> Vec<(Patch, i16)> {
    let patched = api::APIS.iter().filter_map(|api| match api.response {
        Response::Patch(patch) => Some((api, patch)),
        Response::Forward => None,
    });
    patched
        .flat_map(|(api, patch)| {
            let first = match patch {
                Patch::Produce => 9,
                Patch::Fetch => 12,
                Patch::ShareFetch | Patch::ShareAcknowledge => 1,
                Patch::ApiVersions
                | Patch::Metadata
                | Patch::FindCoordinator
                | Patch::DescribeCluster
                | Patch::DescribeQuorum => 0,
            };
            (first..=api.newest).map(move |version| (patch, version))
        })
        .collect()
}

/// The row of the table that a patch belongs to.
pub(crate) fn api_of(patch: Patch) -> &'static Api {
    api::APIS.iter().find(|api| api.response == Response::Patch(patch)).unwrap()
}

/// Versions that `kafka-protocol` 0.18 lacks, in terms of one that it has. ShareFetch 2 and ApiVersions 5
/// changed their requests only.
fn known_version(patch: Patch, version: i16) -> i16 {
    match (patch, version) {
        (Patch::ShareFetch | Patch::ShareAcknowledge, 2) => 1,
        (Patch::ApiVersions, 5) => 4,
        (_, version) => version,
    }
}

/// Whether a frame needs the 32 bits of AcquisitionLockTimeoutMs that version 2 added (KIP-1222).
fn has_lock_timeout(patch: Patch, version: i16) -> bool {
    patch == Patch::ShareAcknowledge && version == 2
}

const LOCK_TIMEOUT: [u8; 4] = 30_000_i32.to_be_bytes();

/// Where AcquisitionLockTimeoutMs stands in the body: behind throttle time, error and error message.
fn lock_timeout_at(body: &[u8]) -> usize {
    let length = usize::from(body[6]);
    assert!(length < 0x80, "messages are short here");
    7 + length.saturating_sub(1)
}

impl Message {
    /// The response as a broker sends it: length, header, body.
    pub(crate) fn frame(&self, version: i16) -> Vec<u8> {
        let patch = self.patch();
        let mut body = self.body(known_version(patch, version));
        if has_lock_timeout(patch, version) {
            let at = lock_timeout_at(&body);
            body.splice(at..at, LOCK_TIMEOUT);
        }
        let mut frame = vec![0; 4];
        frame.extend(CORRELATION_ID.to_be_bytes());
        if header_has_tags(patch, version) {
            frame.push(0);
        }
        frame.extend(body);
        let length = frame.len() as i32 - 4;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    }

    /// Reads a frame and demands that it holds the response and nothing behind it.
    pub(crate) fn read(patch: Patch, version: i16, frame: &[u8]) -> Result<Self, String> {
        let (length, rest) = frame.split_first_chunk().ok_or("no length")?;
        if i32::from_be_bytes(*length) as usize != rest.len() {
            return Err(format!("{length:?} is not the length of {} bytes", rest.len()));
        }
        let (correlation_id, rest) = rest.split_first_chunk().ok_or("no correlation id")?;
        if i32::from_be_bytes(*correlation_id) != CORRELATION_ID {
            return Err(format!("correlation id {correlation_id:?}"));
        }
        let rest = if header_has_tags(patch, version) {
            rest.strip_prefix(&[0]).ok_or("no tag section in the header")?
        } else {
            rest
        };
        let mut body = rest.to_vec();
        if has_lock_timeout(patch, version) {
            let at = lock_timeout_at(&body);
            let removed: Vec<u8> = body.splice(at..at + LOCK_TIMEOUT.len(), []).collect();
            if removed != LOCK_TIMEOUT {
                return Err("AcquisitionLockTimeoutMs has changed".to_owned());
            }
        }
        let mut body = body.as_slice();
        let message = Self::from_body(patch, known_version(patch, version), &mut body)?;
        if body.is_empty() { Ok(message) } else { Err(format!("{} bytes are left over", body.len())) }
    }
}

fn header_has_tags(patch: Patch, version: i16) -> bool {
    let version = known_version(patch, version);
    ApiKey::try_from(api_of(patch).key).unwrap().response_header_version(version) > 0
}

/// A string of the oracle's.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
