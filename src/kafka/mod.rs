//! The Kafka wire format: identifiers, the API table, headers, and bounded walkers. No IO.

pub mod api;
pub mod header;
pub mod shape;
pub mod walk;
pub mod wire;

use std::fmt;

/// The id of a broker (`broker.id`, `node.id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number by which a client pairs a response with its request. Clients repeat it (Java reserves
/// eight for SASL), so it identifies nothing: it is only compared with the head of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorrelationId(pub i32);

/// Bytes of the length that precedes each frame.
pub const LENGTH_BYTES: usize = 4;
