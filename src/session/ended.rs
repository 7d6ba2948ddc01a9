//! How connections end: a closed list of side × stage × reason, the same words in log, metric and docs.

use crate::connect;
use crate::logging::chain;
use crate::metrics::cluster::Dial;
use crate::metrics::listener::Side as MetricSide;
use crate::relay::Cause;
use crate::relay::violation::{Side as Violator, Violation};

/// Whose doing the end was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The broker.
    Broker,
    /// The gateway itself, as it was asked to or as its limits say.
    Gateway,
}

impl Side {
    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Broker => "broker",
            Self::Gateway => "gateway",
        }
    }
}

/// How far the connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Accepted, shaking hands.
    Tls,
    /// Let in, waiting for the first request.
    FirstRequest,
    /// Reaching its broker.
    Dial,
    /// Relaying.
    Relay,
}

impl Stage {
    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::FirstRequest => "first_request",
            Self::Dial => "dial",
            Self::Relay => "relay",
        }
    }
}

/// How much an end matters to the person who reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Connections come and go: `debug`.
    Usual,
    /// A peer or a broker did what an operator may want to know of: `warn`.
    Notable,
}

/// The end of a connection.
#[derive(Debug)]
pub struct Ended {
    /// Whose doing it was.
    pub side: Side,
    /// How far the connection had come.
    pub stage: Stage,
    /// Why, one word of the closed list.
    pub reason: &'static str,
    /// How much it matters.
    pub weight: Weight,
    /// The chain of errors, for the log line.
    pub detail: Option<String>,
}

/// Every end that can be, for series that exist from the start.
pub const ALL: &[(&str, &str, &str)] = &[
    ("client", "tls", "no_certificate"),
    ("client", "tls", "certificate_refused"),
    ("client", "tls", "unknown_ca"),
    ("client", "tls", "expired"),
    ("client", "tls", "not_yet_valid"),
    ("client", "tls", "revoked"),
    ("client", "tls", "crl_expired"),
    ("client", "tls", "crl_missing"),
    ("client", "tls", "wrong_name"),
    ("client", "tls", "bad_certificate"),
    ("client", "tls", "bad_signature"),
    ("client", "tls", "no_common_version"),
    ("client", "tls", "no_common_cipher"),
    ("client", "tls", "unknown_name"),
    ("client", "tls", "not_tls"),
    ("client", "tls", "timeout"),
    ("client", "tls", "closed"),
    ("client", "tls", "protocol"),
    ("client", "tls", "distrusted"),
    ("client", "tls", "principal"),
    ("gateway", "tls", "overloaded"),
    ("gateway", "tls", "outdated"),
    ("gateway", "tls", "drained"),
    ("client", "first_request", "closed"),
    ("client", "first_request", "failed"),
    ("client", "first_request", "timeout"),
    ("client", "first_request", "foreign_protocol"),
    ("client", "first_request", "request_too_long"),
    ("client", "first_request", "request_length"),
    ("client", "first_request", "request_malformed"),
    ("client", "first_request", "unknown_api"),
    ("client", "first_request", "refused_api"),
    ("client", "first_request", "unknown_version"),
    ("client", "first_request", "handshake_v0"),
    ("broker", "dial", "unknown_node"),
    ("broker", "dial", "failed"),
    ("broker", "dial", "timeout"),
    ("broker", "dial", "tls"),
    ("gateway", "dial", "forbidden"),
    ("gateway", "dial", "drained"),
    ("gateway", "first_request", "drained"),
    ("client", "relay", "closed"),
    ("client", "relay", "failed"),
    ("client", "relay", "slow"),
    ("client", "relay", "foreign_protocol"),
    ("client", "relay", "request_too_long"),
    ("client", "relay", "request_length"),
    ("client", "relay", "request_malformed"),
    ("client", "relay", "unknown_api"),
    ("client", "relay", "refused_api"),
    ("client", "relay", "unknown_version"),
    ("client", "relay", "handshake_v0"),
    ("broker", "relay", "closed"),
    ("broker", "relay", "truncated"),
    ("broker", "relay", "failed"),
    ("broker", "relay", "response_length"),
    ("broker", "relay", "unexpected_response"),
    ("broker", "relay", "correlation_id"),
    ("broker", "relay", "response_malformed"),
    ("broker", "relay", "moved"),
    ("gateway", "relay", "idle"),
    ("gateway", "relay", "drained"),
    ("gateway", "relay", "drain_forced"),
    ("gateway", "relay", "aged"),
    ("gateway", "relay", "distrusted"),
];

impl Ended {
    /// An end without an error behind it.
    pub fn usual(side: Side, stage: Stage, reason: &'static str) -> Self {
        Self { side, stage, reason, weight: Weight::Usual, detail: None }
    }

    /// An end that an operator may want to know of.
    pub fn notable(side: Side, stage: Stage, reason: &'static str, detail: String) -> Self {
        Self { side, stage, reason, weight: Weight::Notable, detail: Some(detail) }
    }

    /// A broken rule.
    pub fn violated(stage: Stage, violation: &Violation) -> Self {
        let side = match violation.side() {
            Violator::Client => Side::Client,
            Violator::Broker => Side::Broker,
        };
        Self::notable(side, stage, violation.reason(), violation.to_string())
    }

    /// A dial that failed. What the policy forbids is the gateway's doing, all else the broker's.
    pub fn not_dialled(error: &connect::Error) -> Self {
        let dial = error.dial();
        let side = if dial == Dial::Forbidden { Side::Gateway } else { Side::Broker };
        Self::notable(side, Stage::Dial, dial.as_str(), chain(error))
    }

    /// The side whose protocol error it was, for the metric.
    pub fn protocol_error(&self) -> Option<MetricSide> {
        broke_protocol((self.side.as_str(), self.stage.as_str(), self.reason))
    }
}

/// Every end that a connection of one listener can have.
pub fn all(ends_tls: bool) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    ALL.iter().copied().filter(move |(_, stage, _)| ends_tls || *stage != Stage::Tls.as_str())
}

/// Every reason for which a handshake can fail.
pub fn handshake_failures() -> impl Iterator<Item = &'static str> {
    let of_handshake = |(_, stage, reason): &(_, &str, &'static str)| {
        (*stage == Stage::Tls.as_str() && *reason != "drained").then_some(*reason)
    };
    ALL.iter().filter_map(of_handshake)
}

/// Every protocol error that can be, for series that exist from the start.
pub fn protocol_errors() -> impl Iterator<Item = (MetricSide, &'static str)> {
    ALL.iter().filter_map(|words| Some((broke_protocol(*words)?, words.2)))
}

fn broke_protocol(words: (&str, &str, &str)) -> Option<MetricSide> {
    match words {
        // What is wrong with a handshake has a metric of its own.
        (_, "tls", _) => None,
        (_, _, "closed" | "failed" | "timeout" | "slow" | "moved" | "truncated") => None,
        ("client", ..) => Some(MetricSide::Client),
        ("broker", "relay", _) => Some(MetricSide::Broker),
        _ => None,
    }
}

impl From<Cause> for Ended {
    fn from(cause: Cause) -> Self {
        let relay = |side, reason| Self::usual(side, Stage::Relay, reason);
        match cause {
            Cause::ClientClosed => relay(Side::Client, "closed"),
            Cause::ClientFailed(error) => {
                Self { detail: Some(error.to_string()), ..relay(Side::Client, "failed") }
            }
            Cause::BrokerClosed { mid_frame: false } => relay(Side::Broker, "closed"),
            Cause::BrokerClosed { mid_frame: true } => Self::notable(
                Side::Broker,
                Stage::Relay,
                "truncated",
                "the broker closed in the middle of a response".to_owned(),
            ),
            Cause::BrokerFailed(error) => {
                Self::notable(Side::Broker, Stage::Relay, "failed", error.to_string())
            }
            Cause::Violated(violation) => Self::violated(Stage::Relay, &violation),
            Cause::Idle => relay(Side::Gateway, "idle"),
            Cause::Slow => Self::notable(
                Side::Client,
                Stage::Relay,
                "slow",
                "a request came slower than 1 KiB/s for 30 s".to_owned(),
            ),
            Cause::Drained { forced: false } => relay(Side::Gateway, "drained"),
            Cause::Drained { forced: true }
            | Cause::Moved { forced: true }
            | Cause::Aged { forced: true } => Self::notable(
                Side::Gateway,
                Stage::Relay,
                "drain_forced",
                "requests were still in flight when drain_timeout passed".to_owned(),
            ),
            Cause::Moved { forced: false } => relay(Side::Broker, "moved"),
            Cause::Aged { forced: false } => relay(Side::Gateway, "aged"),
            Cause::Distrusted { .. } => Self::notable(
                Side::Gateway,
                Stage::Relay,
                "distrusted",
                "the client's certificate is trusted no more".to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_in_the_list() {
        let violations = [
            Violation::ForeignProtocol { name: "" },
            Violation::RequestTooLong { bytes: 0, limit: 0 },
            Violation::RequestLength { length: 0 },
            Violation::Request { what: "" },
            Violation::UnknownApi { key: 0, version: 0 },
            Violation::RefusedApi { api: "" },
            Violation::Version { api: "", version: 0, newest: 0 },
            Violation::HandshakeV0,
            Violation::ResponseLength { length: 0 },
            Violation::UnexpectedResponse,
            Violation::CorrelationId { expected: 0, found: 0 },
            Violation::Response { api: "", error: crate::patch::Error::TooLarge },
        ];
        let io = || std::io::Error::other("x");
        let causes = [
            Cause::ClientClosed,
            Cause::ClientFailed(io()),
            Cause::BrokerClosed { mid_frame: false },
            Cause::BrokerClosed { mid_frame: true },
            Cause::BrokerFailed(io()),
            Cause::Idle,
            Cause::Slow,
            Cause::Drained { forced: false },
            Cause::Drained { forced: true },
            Cause::Moved { forced: false },
            Cause::Moved { forced: true },
            Cause::Aged { forced: false },
            Cause::Aged { forced: true },
            Cause::Distrusted { forced: false },
            Cause::Distrusted { forced: true },
        ];
        let first = violations.iter().filter(|v| v.side() == Violator::Client);
        let mut ends: Vec<Ended> = first.map(|v| Ended::violated(Stage::FirstRequest, v)).collect();
        ends.extend(violations.iter().map(|v| Ended::violated(Stage::Relay, v)));
        ends.extend(causes.into_iter().map(Ended::from));
        let address = || "kafka:9092".parse().unwrap();
        let dials = [
            connect::Error::NoAddress { address: address() },
            connect::Error::ResolveTimeout { address: address(), timeout: Default::default() },
            connect::Error::Name { address: address() },
        ];
        ends.extend(dials.iter().map(Ended::not_dialled));
        for end in ends {
            let words = (end.side.as_str(), end.stage.as_str(), end.reason);
            assert!(ALL.contains(&words), "{words:?}");
        }
    }

    #[test]
    fn every_reason_of_a_failed_handshake_is_in_the_list() {
        for reason in crate::tls::reason::ALL {
            assert!(ALL.contains(&("client", "tls", reason)), "{reason}");
        }
    }

    #[test]
    fn the_page_explains_every_end() {
        let page = include_str!("../../docs/operations.md");
        let mut explained = Vec::new();
        for row in page.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 4) {
            let mut cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_end_matches(" !"));
            let word = |cell: &'static str| cell.trim_matches('`');
            let side = word(cells.next().unwrap());
            let stages: Vec<_> = cells.next().unwrap().split(", ").map(word).collect();
            let reason = word(cells.next().unwrap());
            explained.extend(stages.into_iter().map(|stage| (side, stage, reason)));
        }
        explained.sort_unstable();
        let mut all = ALL.to_vec();
        all.sort_unstable();
        assert_eq!(explained, all);
    }
}
