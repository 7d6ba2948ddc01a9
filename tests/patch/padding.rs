//! Every size that an emptied list may leave over, those that one tag cannot have among them.

use gatehouse::kafka::api::Patch;
use kafka_protocol::messages::{BrokerId, FetchResponse, ShareFetchResponse};
use kafka_protocol::messages::{fetch_response, share_fetch_response};
use kafka_protocol::protocol::StrBytes;

use crate::message::{Message, text};
use crate::random::INSIDE;
use crate::streamed::streamed;
use crate::{leaks, patched};

/// A host name of so many bytes.
fn host(bytes: usize) -> StrBytes {
    let name = format!("{INSIDE}{}", "h".repeat(bytes.saturating_sub(INSIDE.len())));
    assert_eq!(name.len(), bytes);
    text(&name)
}

fn fetch(endpoints: usize, host_bytes: usize) -> Message {
    let endpoint = |id: usize| {
        fetch_response::NodeEndpoint::default()
            .with_node_id(BrokerId(id as i32))
            .with_host(host(host_bytes))
            .with_port(9092)
    };
    Message::Fetch(FetchResponse::default().with_node_endpoints((0..endpoints).map(endpoint).collect()))
}

fn share_fetch(endpoints: usize, host_bytes: usize) -> Message {
    let endpoint = |id: usize| {
        share_fetch_response::NodeEndpoint::default()
            .with_node_id(BrokerId(id as i32))
            .with_host(host(host_bytes))
            .with_port(9092)
    };
    Message::ShareFetch(
        ShareFetchResponse::default().with_node_endpoints((0..endpoints).map(endpoint).collect()),
    )
}

/// Streams a frame and demands an empty list in a frame of the same length.
fn emptied(patch: Patch, version: i16, frame: &[u8], case: &str) {
    let (out, padded) = streamed(patch, version, frame, 64 * 1024).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert!(padded, "{case}");
    assert_eq!(out.len(), frame.len(), "{case}");
    assert!(!leaks(&out), "{case}");
    let empty = match Message::read(patch, version, &out).unwrap_or_else(|e| panic!("{case}: {e}")) {
        Message::Fetch(m) => m.node_endpoints.is_empty() && !m.unknown_tagged_fields.is_empty(),
        Message::ShareFetch(m) => m.node_endpoints.is_empty() && !m.unknown_tagged_fields.is_empty(),
        other => panic!("{case}: {other:?}"),
    };
    assert!(empty, "{case}");
}

#[test]
fn lists_of_1_to_20_nodes_with_names_of_9_to_123_bytes_are_emptied_at_equal_length() {
    for endpoints in 1..=20 {
        for host_bytes in 9..=123 {
            let case = format!("{endpoints} endpoints, {host_bytes} bytes");
            emptied(Patch::Fetch, 17, &fetch(endpoints, host_bytes).frame(17), &case);
            emptied(Patch::ShareFetch, 1, &share_fetch(endpoints, host_bytes).frame(1), &case);
        }
    }
}

/// A Fetch response whose whole tag section is one tag 0 with a value of `size` bytes, one endpoint with
/// a rack that fills it: the host may be too short to be one, the rack has no limit.
fn fetch_of_tail(size: u32) -> Vec<u8> {
    let mut frame = Message::Fetch(FetchResponse::default()).frame(17);
    assert_eq!(frame.pop(), Some(0), "the empty tag section");
    frame.push(1);
    gatehouse::kafka::wire::put_uvarint(&mut frame, 0);
    gatehouse::kafka::wire::put_uvarint(&mut frame, size);
    frame.extend(std::iter::repeat_n(b'i', size as usize));
    let length = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// One tag of `residual` bytes in all cannot be: the size that it needs takes one byte more, the size
/// below takes one less.
#[test]
fn sizes_that_one_padding_tag_cannot_have_are_filled_by_two() {
    let mut unreachable = Vec::new();
    for around in [130_u32, 16_387, 2_097_156] {
        for residual in around - 6..=around + 6 {
            let fits = (1..=5).any(|width| {
                let size = residual.wrapping_sub(1 + width);
                gatehouse::kafka::wire::uvarint_size(size) as u32 == width
            });
            if !fits {
                unreachable.push(residual);
            }
            // What is replaced: count, tag and size; what comes first in its place: count, tag, size 1, empty.
            let head = 2 + gatehouse::kafka::wire::uvarint_size(residual) as u32;
            let frame = fetch_of_tail(residual + 4 - head);
            emptied(Patch::Fetch, 17, &frame, &format!("residual {residual}"));
        }
    }
    assert_eq!(unreachable, [130, 16_387, 2_097_156]);
}

#[test]
fn a_list_that_is_shorter_than_any_node_is_refused_or_harmless() {
    for size in 0..12 {
        let frame = fetch_of_tail(size);
        match streamed(Patch::Fetch, 17, &frame, 64) {
            Ok((out, padded)) => {
                assert_eq!(out.len(), frame.len());
                assert!(padded || size <= 1, "size {size}");
            }
            Err(error) => assert!(size > 1 && size < 4, "size {size}: {error}"),
        }
    }
}

#[test]
fn more_than_1000_nodes_are_refused_whole_and_emptied_streamed() {
    let frame = fetch(1_001, 40).frame(17);
    assert_eq!(patched(Patch::Fetch, 17, &frame), Err(gatehouse::patch::Error::TooManyNodes(1_001)));
    emptied(Patch::Fetch, 17, &frame, "1001 nodes");
    let frame = fetch(1_000, 40).frame(17);
    let (out, changed) = patched(Patch::Fetch, 17, &frame).unwrap();
    assert!(changed && !leaks(&out));
    emptied(Patch::ShareFetch, 1, &share_fetch(20_000, 60).frame(1), "20000 nodes");
}
