//! What must hold for any bytes. The fuzz targets try it on new ones; `tests/fuzz_corpus.rs` replays the corpus.

#![allow(dead_code, reason = "a target uses one check, the replay all of them")]

pub(crate) mod certificate;
pub(crate) mod connection;
pub(crate) mod proxy_header;
pub(crate) mod request_header;
pub(crate) mod response_patch;
pub(crate) mod scanner;
mod shell;

use std::sync::Arc;

use gatehouse::cluster::{PortRange, Ports, Routes};
use gatehouse::kafka::NodeId;
use gatehouse::relay::core::{Core, Options};

/// Ids 0 to 9 and 1000 to 1001 have a port.
fn routes() -> Routes {
    let range = |first, last, port| PortRange {
        first: NodeId(first),
        last: NodeId(last),
        bind: port,
        advertise: port,
    };
    Routes::Ports(Ports {
        host: Some("kafka.example.com".into()),
        bootstrap: 9092,
        ranges: vec![range(0, 9, 9093), range(1_000, 1_001, 9_200)],
    })
}

fn core(pass_unknown_apis: bool) -> Core {
    Core::new(Arc::new(Options {
        routes: routes().into(),
        pass_unknown_apis,
        max_request_bytes: 1 << 20,
        max_in_flight: 8,
    }))
}
