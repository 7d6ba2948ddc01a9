//! One request on its way through a toy broker: who asks, in which version, and what is told of brokers.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::Shared;
use super::world::{Endpoint, World};
use crate::kafka::NodeId;

/// Why a broker closes a connection without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// One request, apart from its body.
pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    /// The broker that was asked.
    pub(super) node: NodeId,
    pub(super) version: i16,
    pub(super) client_id: &'a str,
    pub(super) client_host: IpAddr,
    /// Brokers to announce in place of those that there are.
    pub(super) announced: Option<&'a [Endpoint]>,
}

impl Call<'_> {
    /// Where the brokers are, as this answer tells it.
    pub(super) fn endpoints(&self, world: &World) -> Vec<Endpoint> {
        self.announced.map_or_else(|| world.endpoints(), <[Endpoint]>::to_vec)
    }

    /// Where one broker is, as this answer tells it.
    pub(super) fn endpoint(&self, world: &World, node: NodeId) -> Option<Endpoint> {
        match self.announced {
            Some(announced) => announced.iter().find(|e| e.node == node).or(announced.first()).cloned(),
            None => world.endpoints().into_iter().find(|endpoint| endpoint.node == node),
        }
    }

    /// Reads a body that was walked to its end before.
    pub(super) fn decode<R: Decodable>(&self, body: &mut Bytes) -> Result<R, Closed> {
        R::decode(body, self.version).map_err(|_| Closed)
    }

    /// Writes the body of an answer.
    pub(super) fn encode<R: Encodable>(&self, answer: &R) -> Result<Bytes, Closed> {
        let mut body = BytesMut::new();
        answer.encode(&mut body, self.version).map_err(|_| Closed)?;
        Ok(body.freeze())
    }
}

/// A text as the messages hold it.
pub(super) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}
