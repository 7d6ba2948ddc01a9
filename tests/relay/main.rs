//! The core of a connection under a shell without sockets: traps that concern the order of frames.

mod frames;
mod order;
#[path = "../../fuzz/checks/shell.rs"]
mod shell;
mod traps;

use std::sync::Arc;

use gatehouse::cluster::{PortRange, Ports, Routes};
use gatehouse::kafka::NodeId;
use gatehouse::relay::core::{Core, Options};

use shell::Shell;

/// A connection whose clients know nodes 0 to 9 as `kafka.example.com`, ports from 31090.
fn connection() -> Shell {
    let nodes = PortRange { first: NodeId(0), last: NodeId(9), bind: 9093, advertise: 31_090 };
    let routes =
        Routes::Ports(Ports { host: Some("kafka.example.com".into()), bootstrap: 9092, ranges: vec![nodes] });
    Shell::new(Core::new(Arc::new(Options {
        routes: routes.into(),
        pass_unknown_apis: false,
        max_request_bytes: 104_857_600,
        max_in_flight: 128,
    })))
}
