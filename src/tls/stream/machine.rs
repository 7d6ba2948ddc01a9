//! One side of a TLS connection without a socket: bytes of records in, bytes of records out.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, HandshakeKind, ProtocolVersion, ServerConfig};

/// Either end of rustls' unbuffered API, which leaves it to its caller where bytes are kept.
pub(super) enum Machine {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Client(_) => "Client",
        })
    }
}

/// What is wanted besides reading on.
pub(super) enum Order<'a> {
    /// Nothing.
    Read,
    /// These bytes as records.
    Write(&'a [u8], &'a mut [u8]),
    /// The record that ends this side's stream.
    Close,
}

/// What one step did.
#[derive(Debug)]
pub(super) struct Step {
    /// How many bytes of what was shown are done with.
    pub(super) discard: usize,
    pub(super) outcome: Result<Outcome, Error>,
}

/// How things stand after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something moved; there may be more.
    Moved,
    /// All that can be read has been read. During a handshake, the peer is next.
    Drained,
    /// The order was carried out and gave this many bytes.
    Done(usize),
    /// The peer has ended its stream.
    PeerClosed,
}

impl Machine {
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config).map(Self::Server)
    }

    pub(super) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        UnbufferedClientConnection::new(config, name).map(Self::Client)
    }

    pub(super) fn state(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    /// Whether the first flight of this side was only a wish for another hello of the peer.
    pub(super) fn asked_for_another_hello(&self) -> bool {
        let retried = self.state().handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
        retried && matches!(self, Self::Server(_))
    }

    /// Whether the last thing this side says in a handshake is nothing that the peer waits for.
    pub(super) fn ends_with_tickets(&self) -> bool {
        let newest = self.state().protocol_version() == Some(ProtocolVersion::TLSv1_3);
        newest && matches!(self, Self::Server(_))
    }

    /// Does the next thing there is to do: reads one record of `incoming`, which is decrypted in place and
    /// given to `plain`; appends what the peer must be told to `outgoing`; or carries out the order.
    pub(super) fn step(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Sink<'_>,
        outgoing: &mut Vec<u8>,
        order: Order<'_>,
    ) -> Step {
        match self {
            Self::Server(connection) => {
                take(connection.process_tls_records(incoming), plain, outgoing, order)
            }
            Self::Client(connection) => {
                take(connection.process_tls_records(incoming), plain, outgoing, order)
            }
        }
    }
}

fn take<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut Sink<'_>,
    outgoing: &mut Vec<u8>,
    order: Order<'_>,
) -> Step {
    let mut discard = status.discard;
    let outcome = status.state.and_then(|state| match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                plain.put(record.payload);
            }
            Ok(Outcome::Moved)
        }
        ConnectionState::EncodeTlsData(mut data) => encode(&mut data, outgoing).map(|()| Outcome::Moved),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Outcome::Moved)
        }
        ConnectionState::BlockedHandshake | ConnectionState::Closed => Ok(Outcome::Drained),
        ConnectionState::PeerClosed => Ok(Outcome::PeerClosed),
        ConnectionState::WriteTraffic(mut traffic) => match order {
            Order::Read => Ok(Outcome::Drained),
            Order::Write(bytes, into) => {
                let written = traffic.encrypt(bytes, into).map_err(|_| Error::EncryptError)?;
                Ok(Outcome::Done(written))
            }
            Order::Close => {
                // One alert, and an answer to a key update that may wait in front of it.
                let mut records = [0; 256];
                let written = traffic.queue_close_notify(&mut records).map_err(|_| Error::EncryptError)?;
                outgoing.extend_from_slice(records.get(..written).unwrap_or_default());
                Ok(Outcome::Done(written))
            }
        },
        _ => Err(Error::General("a state that was not asked for".to_owned())),
    });
    Step { discard, outcome }
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) -> Result<(), Error> {
    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else { return Ok(()) };
    let start = outgoing.len();
    outgoing.resize(start + size.required_size, 0);
    let encoded = data.encode(outgoing.get_mut(start..).unwrap_or_default());
    encoded.map(drop).map_err(|_| Error::EncryptError)
}

/// Takes decrypted bytes: first into the space of whoever reads, then into memory of its own.
pub(super) struct Sink<'a> {
    space: &'a mut [u8],
    filled: usize,
    spill: &'a mut Vec<u8>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(space: &'a mut [u8], spill: &'a mut Vec<u8>) -> Self {
        Self { space, filled: 0, spill }
    }

    /// How much of the space is used.
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Whether the space did not suffice.
    pub(super) fn has_spilt(&self) -> bool {
        !self.spill.is_empty()
    }

    fn put(&mut self, bytes: &[u8]) {
        let spilt = self.has_spilt();
        let space = self.space.get_mut(self.filled..).unwrap_or_default();
        let fits = if spilt { 0 } else { bytes.len().min(space.len()) };
        let (now, later) = bytes.split_at(fits);
        if let Some(space) = space.get_mut(..fits) {
            space.copy_from_slice(now);
        }
        self.filled += fits;
        self.spill.extend_from_slice(later);
    }
}
