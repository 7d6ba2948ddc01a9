//! What a peer may not do, as a closed list: each entry is a reason in logs and metrics.

use crate::kafka::header;
use crate::patch;

/// Who broke the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The broker.
    Broker,
}

/// A breach of the protocol that ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The first bytes are those of another protocol.
    #[error("the client speaks {name}, not the Kafka protocol; this port expects plain Kafka")]
    ForeignProtocol {
        /// What it speaks.
        name: &'static str,
    },
    /// A request is longer than the limit.
    #[error("a request of {bytes} bytes is longer than max_request_bytes ({limit})")]
    RequestTooLong {
        /// Its length.
        bytes: u32,
        /// The limit.
        limit: u32,
    },
    /// A length that no request can have.
    #[error("a request has the impossible length {length}")]
    RequestLength {
        /// The length.
        length: i32,
    },
    /// A request header that cannot be read.
    #[error("a request cannot be read: {what}")]
    Request {
        /// What is wrong.
        what: &'static str,
    },
    /// An API that the table does not know.
    #[error(
        "API key {key} (version {version}) is not known, so it does not pass; `unknown_apis: pass` lets it"
    )]
    UnknownApi {
        /// The key.
        key: i16,
        /// The version.
        version: i16,
    },
    /// An API that only brokers and controllers speak.
    #[error("{api} is spoken between brokers and controllers only")]
    RefusedApi {
        /// The API.
        api: &'static str,
    },
    /// A version that the table does not know, although ApiVersions did not offer it.
    #[error("{api} version {version} is above {newest}, the newest that was offered")]
    Version {
        /// The API.
        api: &'static str,
        /// The version.
        version: i16,
        /// The newest that passes.
        newest: i16,
    },
    /// SaslHandshake version 0 with a mechanism whose number of tokens is not fixed.
    #[error(
        "SaslHandshake version 0 passes with PLAIN, SCRAM and OAUTHBEARER only; use a client that sends version 1"
    )]
    HandshakeV0,
    /// A length that no response can have.
    #[error("a response has the impossible length {length}")]
    ResponseLength {
        /// The length.
        length: i32,
    },
    /// Bytes from a broker that was asked nothing.
    #[error("the broker sent a response that nobody asked for")]
    UnexpectedResponse,
    /// A response that is not the next one.
    #[error("the broker answered correlation id {found} where {expected} was next")]
    CorrelationId {
        /// The id at the head of the queue.
        expected: i32,
        /// The id that came.
        found: i32,
    },
    /// A response whose addresses cannot be rewritten.
    #[error("the response to {api} cannot be rewritten, so it does not pass: {error}")]
    Response {
        /// The API.
        api: &'static str,
        /// Why.
        error: patch::Error,
    },
}

impl Violation {
    /// A request whose length is above the limit, or another protocol that looks like one.
    pub fn too_long(start: &[u8], bytes: u32, limit: u32) -> Self {
        header::foreign_protocol(start)
            .map_or(Self::RequestTooLong { bytes, limit }, |name| Self::ForeignProtocol { name })
    }

    /// Who broke the rule.
    pub fn side(&self) -> Side {
        match self {
            Self::ForeignProtocol { .. }
            | Self::RequestTooLong { .. }
            | Self::RequestLength { .. }
            | Self::Request { .. }
            | Self::UnknownApi { .. }
            | Self::RefusedApi { .. }
            | Self::Version { .. }
            | Self::HandshakeV0 => Side::Client,
            Self::ResponseLength { .. }
            | Self::UnexpectedResponse
            | Self::CorrelationId { .. }
            | Self::Response { .. } => Side::Broker,
        }
    }

    /// The word in logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ForeignProtocol { .. } => "foreign_protocol",
            Self::RequestTooLong { .. } => "request_too_long",
            Self::RequestLength { .. } => "request_length",
            Self::Request { .. } => "request_malformed",
            Self::UnknownApi { .. } => "unknown_api",
            Self::RefusedApi { .. } => "refused_api",
            Self::Version { .. } => "unknown_version",
            Self::HandshakeV0 => "handshake_v0",
            Self::ResponseLength { .. } => "response_length",
            Self::UnexpectedResponse => "unexpected_response",
            Self::CorrelationId { .. } => "correlation_id",
            Self::Response { .. } => "response_malformed",
        }
    }
}
