//! The gateway's own requests to one broker: login, ApiVersions, Metadata.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiVersionsRequest, MetadataRequest, MetadataResponse, RequestHeader, SaslAuthenticateRequest,
    SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable as _, Encodable as _, Request, StrBytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::table::NODES_MAX;
use crate::kafka::walk::{Field, Step, Walker};
use crate::kafka::wire::{self, Reader};
use crate::kafka::{api, header, shape};
use crate::tls::stream::Transport;
use crate::{connect, sasl};

/// The time for one request and its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: i32 = 64 << 20;

/// The most fields and tags of an answer. `kafka-protocol` makes up to some hundred bytes of each, so
/// this bounds what it takes; 1,000 brokers have 5,000.
const FIELDS_MAX: usize = 20_000;

/// The most of a broker's own words that are told, in characters.
const WORDS_MAX: usize = 200;

/// UNSUPPORTED_SASL_MECHANISM.
const UNSUPPORTED_MECHANISM: i16 = 33;

/// Why a broker did not answer the gateway's own request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection.
    #[error("no connection")]
    Dial(#[source] connect::Error),
    /// The connection broke.
    #[error("the connection broke at {during}")]
    Io {
        /// The request, by Kafka's name.
        during: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The broker hung up.
    #[error("the broker closed the connection at {during}: {hint}")]
    Closed {
        /// The request, by Kafka's name.
        during: &'static str,
        /// What is most often the reason.
        hint: &'static str,
    },
    /// The broker did not answer in time.
    #[error("no answer to {during} within 10 s")]
    Timeout {
        /// The request, by Kafka's name.
        during: &'static str,
    },
    /// What came is no answer of a broker.
    #[error("the answer to {during} has a length of {length} bytes{}{}", if foreign.is_empty() { "" } else { ": this is " }, foreign)]
    Length {
        /// The request, by Kafka's name.
        during: &'static str,
        /// The length that stands there.
        length: i32,
        /// What speaks there, where it is known.
        foreign: &'static str,
    },
    /// The answer is to another request.
    #[error("the answer to {during} carries correlation id {received}, not {sent}")]
    Correlation {
        /// The request, by Kafka's name.
        during: &'static str,
        /// The id of the request.
        sent: i32,
        /// The id of the answer.
        received: i32,
    },
    /// The answer is malformed.
    #[error("the answer to {during} is malformed")]
    Malformed {
        /// The request, by Kafka's name.
        during: &'static str,
        /// The fault.
        source: wire::Error,
    },
    /// The two readers of the answer disagree.
    #[error("the answer to {during} cannot be decoded")]
    Undecodable {
        /// The request, by Kafka's name.
        during: &'static str,
    },
    /// The broker answered with an error.
    #[error("the broker answered {during} with error {code}{}{words}", if words.is_empty() { "" } else { ": " })]
    Refused {
        /// The request, by Kafka's name.
        during: &'static str,
        /// Kafka's error code.
        code: i16,
        /// What the broker says about it.
        words: String,
    },
    /// The broker has other mechanisms.
    #[error("the broker offers no {asked}, but {offered}")]
    Mechanism {
        /// The configured mechanism.
        asked: sasl::Mechanism,
        /// What the broker offers.
        offered: String,
    },
    /// The login failed.
    #[error("the login failed")]
    Login(#[source] sasl::Error),
    /// The broker is older than Kafka 0.10, or no broker.
    #[error("the broker offers no version of Metadata that the gateway speaks")]
    Version,
    /// More brokers than a table holds.
    #[error("the cluster claims {0} brokers, more than 1000: the known ones stay")]
    TooManyNodes(u32),
    /// A cluster that starts may know no broker yet.
    #[error("the broker lists no broker that has a valid address")]
    NoBrokers,
    /// The address belongs to somebody else now.
    #[error("the broker belongs to cluster {received}, not {known}")]
    OtherCluster {
        /// The cluster that answered before.
        known: String,
        /// The cluster that answers now.
        received: String,
    },
    /// The program itself failed to do it.
    #[error("the request could not be made")]
    Internal,
}

/// A request that a broker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Its key.
    pub key: i16,
    /// Its newest version.
    pub newest: i16,
}

/// A connection to a broker that serves the gateway's own requests alone.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Transport,
    client_id: StrBytes,
    correlation_id: i32,
    metadata_version: i16,
    logged_in: bool,
}

impl Connection {
    /// Logs in, where there is a credential, and learns what the broker speaks.
    pub(super) async fn open(
        stream: Transport,
        client_id: &str,
        credential: Option<&sasl::Credential>,
    ) -> Result<Self, Error> {
        Ok(Self::introduced(stream, client_id, credential).await?.0)
    }

    /// The same, with the versions that the broker offers.
    pub(super) async fn introduced(
        stream: Transport,
        client_id: &str,
        credential: Option<&sasl::Credential>,
    ) -> Result<(Self, Vec<Offered>), Error> {
        let client_id = StrBytes::from_string(client_id.to_owned());
        let mut connection =
            Self { stream, client_id, correlation_id: 0, metadata_version: 0, logged_in: false };
        if let Some(credential) = credential {
            connection.log_in(credential).await?;
            connection.logged_in = true;
        }
        // Version 0 is the one that every broker answers, whatever it speaks besides.
        let request = ApiVersionsRequest::default();
        let body = connection.ask(&request, 0).await?;
        let versions = decode::<ApiVersionsRequest>(body, 0, shape::API_VERSIONS_RESPONSE)?;
        refused("ApiVersions", versions.error_code, None)?;
        let metadata = versions.api_keys.iter().find(|api| api.api_key == MetadataRequest::KEY);
        let (least, most) = metadata.map(|api| (api.min_version, api.max_version)).ok_or(Error::Version)?;
        // In version 0 an empty list of topics means all of them.
        let version = most.min(METADATA_NEWEST);
        if version < least.max(1) {
            return Err(Error::Version);
        }
        connection.metadata_version = version;
        let offered = |api: &ApiVersion| Offered { key: api.api_key, newest: api.max_version };
        Ok((connection, versions.api_keys.iter().map(offered).collect()))
    }

    /// Asks which brokers there are, and about no topic.
    pub(super) async fn metadata(&mut self) -> Result<MetadataResponse, Error> {
        let version = self.metadata_version;
        // Before version 4 the field is not there, and stands for true.
        let request = MetadataRequest::default()
            .with_topics(Some(Vec::new()))
            .with_allow_auto_topic_creation(version < 4);
        let body = self.ask(&request, version).await?;
        let brokers =
            broker_count(&body, version).map_err(|source| Error::Malformed { during: "Metadata", source })?;
        if brokers as usize > NODES_MAX {
            return Err(Error::TooManyNodes(brokers));
        }
        let response = decode::<MetadataRequest>(body, version, shape::METADATA_RESPONSE)?;
        refused("Metadata", response.error_code, None)?;
        Ok(response)
    }

    async fn log_in(&mut self, credential: &sasl::Credential) -> Result<(), Error> {
        let mechanism = StrBytes::from_static_str(credential.mechanism.as_str());
        let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
        let body = self.ask(&request, 1).await?;
        let handshake = decode::<SaslHandshakeRequest>(body, 1, shape::SASL_HANDSHAKE_RESPONSE)?;
        if handshake.error_code == UNSUPPORTED_MECHANISM {
            let offered: Vec<_> = handshake.mechanisms.iter().map(|name| &**name).collect();
            return Err(Error::Mechanism {
                asked: credential.mechanism,
                offered: words(&offered.join(", ")),
            });
        }
        refused("SaslHandshake", handshake.error_code, None)?;
        let (mut login, mut message) = sasl::Login::start(credential).map_err(Error::Login)?;
        loop {
            let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
            let body = self.ask(&request, 0).await?;
            let answer = decode::<SaslAuthenticateRequest>(body, 0, shape::SASL_AUTHENTICATE_RESPONSE)?;
            refused("SaslAuthenticate", answer.error_code, answer.error_message.as_deref())?;
            // A broker chooses how long the proof is computed; health checks share this thread.
            let stepped = tokio::task::spawn_blocking(move || (login.step(&answer.auth_bytes), login)).await;
            let (step, unfinished) = stepped.map_err(|_| Error::Internal)?;
            login = unfinished;
            match step.map_err(Error::Login)? {
                sasl::Step::Done => return Ok(()),
                sasl::Step::Send(next) => message = next,
            }
        }
    }

    /// Sends a request and returns the body of its answer.
    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes, Error> {
        let during = name::<R>();
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let sent = self.correlation_id;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(sent)
            .with_client_id(Some(self.client_id.clone()));
        let mut frame = BytesMut::from(&[0; 4][..]);
        let encoded = header
            .encode(&mut frame, R::header_version(version))
            .and_then(|()| request.encode(&mut frame, version));
        encoded.map_err(|_| Error::Internal)?;
        let length = u32::try_from(frame.len() - 4).map_err(|_| Error::Internal)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());

        let exchange = async {
            self.stream.write_all(&frame).await?;
            self.answer(during).await
        };
        let answer = match timeout(ANSWER_WITHIN, exchange).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(source)) => return Err(self.broken(during, source)),
            Err(_) => return Err(Error::Timeout { during }),
        };
        let mut reader = Reader::new(&answer);
        let malformed = |source| Error::Malformed { during, source };
        let received = reader.i32().map_err(malformed)?;
        if received != sent {
            return Err(Error::Correlation { during, sent, received });
        }
        if api::find(R::KEY).is_some_and(|api| api.response_header_has_tags(version)) {
            reader.skip_tags().map_err(malformed)?;
        }
        let body = reader.position();
        Ok(answer.slice(body..))
    }

    /// Reads one answer. What is held grows with what has come, never with the length that was claimed.
    async fn answer(&mut self, during: &'static str) -> io::Result<Result<Bytes, Error>> {
        let length = self.stream.read_i32().await?;
        if !(4..=ANSWER_BYTES_MAX).contains(&length) {
            let foreign = header::foreign_protocol(&length.to_be_bytes());
            let foreign =
                foreign.unwrap_or(if length.to_be_bytes() == *b"HTTP" { "an HTTP server" } else { "" });
            return Ok(Err(Error::Length { during, length, foreign }));
        }
        let mut answer = Vec::new();
        (&mut self.stream).take(length as u64).read_to_end(&mut answer).await?;
        if answer.len() < length as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Ok(answer.into()))
    }

    fn broken(&self, during: &'static str, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                let hint = if self.logged_in {
                    "it is going down, or it is overloaded"
                } else {
                    "it may want TLS, or a login by SASL"
                };
                Error::Closed { during, hint }
            }
            _ => Error::Io { during, source },
        }
    }
}

/// The newest version of Metadata that the walker and `kafka-protocol` both read.
const METADATA_NEWEST: i16 = 13;

fn name<R: Request>() -> &'static str {
    api::find(R::KEY).map_or("a request", |api| api.name)
}

/// The number of brokers that a MetadataResponse claims, which nothing was allocated for yet.
fn broker_count(body: &[u8], version: i16) -> Result<u32, wire::Error> {
    let mut reader = Reader::new(body);
    if version >= 3 {
        reader.i32()?;
    }
    reader.array_length(version >= 9)
}

/// Decodes an answer that our own walker has passed first: the decoder reserves memory by the counts it
/// finds, and here they are known to be true and few.
fn decode<R: Request>(mut body: Bytes, version: i16, fields: &'static [Field]) -> Result<R::Response, Error>
where
    R::Response: kafka_protocol::protocol::Decodable,
{
    let during = name::<R>();
    let flexible = api::find(R::KEY).is_some_and(|api| api.is_flexible(version));
    walk(fields, version, flexible, &body).map_err(|source| Error::Malformed { during, source })?;
    R::Response::decode(&mut body, version).map_err(|_| Error::Undecodable { during })
}

fn walk(
    fields: &'static [Field],
    version: i16,
    flexible: bool,
    mut message: &[u8],
) -> Result<(), wire::Error> {
    let mut walker = Walker::new(fields, version, flexible);
    for _ in 0..FIELDS_MAX {
        match walker.step(message)? {
            Step::Done if message.is_empty() => return Ok(()),
            Step::Done => return Err(wire::Error::Malformed("bytes are left over")),
            Step::Need(_) => return Err(wire::Error::Short),
            Step::Skip(bytes) => {
                let bytes = usize::try_from(bytes).map_err(|_| wire::Error::Short)?;
                message = message.get(bytes..).ok_or(wire::Error::Short)?;
            }
        }
    }
    Err(wire::Error::Malformed("it has more than 20000 fields"))
}

fn refused(during: &'static str, code: i16, said: Option<&str>) -> Result<(), Error> {
    if code == 0 {
        Ok(())
    } else {
        Err(Error::Refused { during, code, words: words(said.unwrap_or_default()) })
    }
}

/// A broker's own words, fit for a log line.
fn words(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_metadata_is_one_that_all_readers_know() {
        use kafka_protocol::protocol::Message as _;
        assert_eq!(METADATA_NEWEST, MetadataRequest::VERSIONS.max);
        assert_eq!(METADATA_NEWEST, api::find(MetadataRequest::KEY).unwrap().newest);
    }

    #[test]
    fn an_answer_of_many_tags_is_not_decoded() {
        let mut body = vec![0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0];
        let tags = 30_000_u32;
        wire::put_uvarint(&mut body, tags);
        for tag in 0..tags {
            wire::put_uvarint(&mut body, tag);
            body.push(0);
        }
        let fault = walk(shape::METADATA_RESPONSE, 13, true, &body);
        assert_eq!(fault, Err(wire::Error::Malformed("it has more than 20000 fields")));
    }

    #[test]
    fn left_over_bytes_are_a_fault() {
        assert_eq!(walk(shape::SASL_HANDSHAKE_RESPONSE, 1, false, &[0; 6]), Ok(()));
        assert!(walk(shape::SASL_HANDSHAKE_RESPONSE, 1, false, &[0; 7]).is_err());
        assert_eq!(walk(shape::SASL_HANDSHAKE_RESPONSE, 1, false, &[0; 5]), Err(wire::Error::Short));
    }

    #[test]
    fn words_of_a_broker_are_short_and_plain() {
        assert_eq!(words("no\x1b[31m\r\n"), "no[31m");
        assert_eq!(words(&"x".repeat(1_000)).len(), WORDS_MAX);
    }
}
