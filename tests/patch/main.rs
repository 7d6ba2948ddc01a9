//! The patches against random, real and hostile responses, with `kafka-protocol` as the oracle.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

mod bounds;
mod dice;
mod expected;
mod golden;
mod message;
mod oracle;
mod padding;
mod random;
mod streamed;
mod traps;

use gatehouse::cluster::{PortRange, Ports, Routes};
use gatehouse::kafka::NodeId;
use gatehouse::kafka::api::Patch;
use gatehouse::patch::{self, Context};

/// Ids 0 to 9 and 1000 to 1001 have a port.
fn routes() -> Routes {
    let range = |first, last, bind, advertise| PortRange {
        first: NodeId(first),
        last: NodeId(last),
        bind,
        advertise,
    };
    Routes::Ports(Ports {
        host: Some(random::HOST.into()),
        bootstrap: 9092,
        ranges: vec![range(0, 9, 9093, 31_090), range(1_000, 1_001, 9_200, 9_200)],
    })
}

/// The frame that goes out, and whether anything was changed. A version that the table does not patch passes.
fn patched(patch: Patch, version: i16, frame: &[u8]) -> Result<(Vec<u8>, bool), patch::Error> {
    let routes = routes();
    let mut context = Context::new(&routes, false);
    let api = message::api_of(patch);
    let Some(patch) = api.patch(version) else { return Ok((frame.to_vec(), false)) };
    let out = patch::whole(patch, api, version, frame, &mut context)?;
    assert_eq!(out.is_some(), context.changed, "a frame is written anew when it changes, and only then");
    Ok((out.unwrap_or_else(|| frame.to_vec()), context.changed))
}

/// Whether bytes hold a part of every upstream host name.
fn leaks(bytes: &[u8]) -> bool {
    let mark = random::INSIDE.as_bytes();
    bytes.windows(mark.len()).any(|window| window == mark)
}
