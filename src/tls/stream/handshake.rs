//! Carries a handshake through, and tells the peer when it fails.

use rustls::{AlertDescription, Error as Fault};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::machine::{Machine, Order, Outcome, Sink};
use super::{Error, RECORD_BYTES_MAX};
use crate::tls::hello;
use crate::tls::trust::{CHAIN_BYTES_MAX, take_refused};

/// How much is read at once.
const READ_BYTES: usize = 4 * 1024;

/// How much of a peer's messages is kept until they are whole. Whoever speaks here is not known yet, so it is as
/// little as what is asked of it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// A client that shows no certificate: a hello, or one record.
    Hello,
    /// A client that may show one: a chain of the length that is taken, and the headers around it.
    Certificates,
    /// A server: the longest message that rustls takes, and the headers of its records.
    Any,
}

impl Kept {
    pub(super) fn bytes_max(self) -> usize {
        match self {
            Self::Hello => 20 * 1024,
            Self::Certificates => CHAIN_BYTES_MAX + 1024,
            Self::Any => 64 * 1024 + 20 * 1024,
        }
    }
}

/// How long a peer may take to accept the alert of a handshake that failed.
const ALERT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

/// What a handshake leaves behind.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Records that came after it.
    pub(super) incoming: Vec<u8>,
    /// What was already decrypted of them.
    pub(super) plain: Vec<u8>,
    /// Tickets: no peer waits for them.
    pub(super) outgoing: Vec<u8>,
}

/// Runs the handshake on a socket of which `incoming` was read already. When it fails, the peer is told
/// and the socket is closed in order, which takes up to two seconds. `answered` is called once the flight
/// is out that takes the computing; a request for another hello is none.
pub(super) async fn run<S>(
    socket: &mut S,
    machine: &mut Machine,
    incoming: Vec<u8>,
    kept: Kept,
    answered: impl FnOnce(),
) -> Result<Left, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut left = Left { incoming, ..Left::default() };
    let mut flights = 0;
    let mut answered = Some(answered);
    loop {
        let mut outgoing = Vec::new();
        let outcome = exchange(machine, &mut left, &mut outgoing);
        let fault = match outcome {
            Ok(()) => {
                let finished = !machine.state().is_handshaking();
                if !(finished && machine.ends_with_tickets()) {
                    write(socket, &outgoing).await?;
                    flights += usize::from(!outgoing.is_empty());
                    outgoing.clear();
                }
                if flights > usize::from(machine.asked_for_another_hello())
                    && let Some(answered) = answered.take()
                {
                    answered();
                }
                if finished {
                    left.incoming.shrink_to_fit();
                    return Ok(Left { outgoing, ..left });
                }
                let room = kept.bytes_max().saturating_sub(left.incoming.len());
                if room > 0 {
                    read(socket, &mut left.incoming, room).await?;
                    continue;
                }
                cut_off(machine, &mut left, &mut outgoing);
                Fault::General(format!("a handshake message is longer than {} bytes", kept.bytes_max()))
            }
            Err(fault) => fault,
        };
        let refused = take_refused();
        drop((answered, left));
        tell(socket, machine, (outgoing, flights > 0), &fault).await;
        return Err(match refused {
            Some(subject) => Error::Refused { subject: subject.into(), fault: Box::new(fault) },
            None => Error::Tls(fault),
        });
    }
}

/// Takes in what was read and collects what is to be sent, until the peer is next.
fn exchange(machine: &mut Machine, left: &mut Left, outgoing: &mut Vec<u8>) -> Result<(), Fault> {
    let mut done = 0;
    let outcome = loop {
        // What follows the handshake is for whoever reads the stream.
        let finished = !machine.state().is_handshaking() && !machine.state().wants_write();
        if finished {
            break Ok(());
        }
        let incoming = left.incoming.get_mut(done..).unwrap_or_default();
        let mut sink = Sink::new(&mut [], &mut left.plain);
        let step = machine.step(incoming, &mut sink, outgoing, Order::Read);
        done += step.discard;
        match step.outcome {
            Ok(Outcome::Moved) => {}
            Ok(Outcome::Drained | Outcome::Done(_) | Outcome::PeerClosed) => break Ok(()),
            Err(fault) => break Err(fault),
        }
    };
    left.incoming.drain(..done.min(left.incoming.len()));
    outcome
}

/// Reads once, and takes no more memory than for what it may read.
pub(super) async fn read<S: AsyncRead + Unpin>(
    socket: &mut S,
    incoming: &mut Vec<u8>,
    room: usize,
) -> Result<(), Error> {
    if incoming.is_empty() {
        // The hello may have left much space behind.
        incoming.shrink_to(READ_BYTES);
    }
    if incoming.len() == incoming.capacity() {
        incoming.reserve_exact(room.min(READ_BYTES));
    }
    match socket.take(room as u64).read_buf(incoming).await {
        Ok(0) => Err(Error::Closed),
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Io(error)),
    }
}

/// Collects the alert for a message that is too long. Only rustls can write one that may have to be encrypted, so it
/// is shown what it refuses: the record that is under way ends in zeros, and behind it is none.
fn cut_off(machine: &mut Machine, left: &mut Left, outgoing: &mut Vec<u8>) {
    left.incoming.reserve_exact(2 * RECORD_BYTES_MAX);
    left.incoming.resize(left.incoming.len() + 2 * RECORD_BYTES_MAX, 0);
    let _ = exchange(machine, left, outgoing);
}

async fn write<S: AsyncWrite + Unpin>(socket: &mut S, bytes: &[u8]) -> Result<(), Error> {
    if bytes.is_empty() {
        return Ok(());
    }
    socket.write_all(bytes).await.map_err(Error::Io)?;
    socket.flush().await.map_err(Error::Io)
}

/// Sends the alert of a failed handshake, and closes so that the peer gets to read it.
async fn tell<S>(socket: &mut S, machine: &mut Machine, sent: (Vec<u8>, bool), fault: &Fault)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut outgoing, told) = sent;
    let queued = machine.state().wants_write();
    while machine.state().wants_write() {
        let mut spill = Vec::new();
        let mut sink = Sink::new(&mut [], &mut spill);
        if machine.step(&mut [], &mut sink, &mut outgoing, Order::Read).outcome.is_err() {
            break;
        }
    }
    // For some faults rustls has no alert. Before the first record of ours one can be written by hand.
    if !queued && !told && outgoing.is_empty() && !matches!(fault, Fault::AlertReceived(_)) {
        outgoing.extend_from_slice(&hello::alert_record(AlertDescription::UnexpectedMessage));
    }
    let _ = timeout(ALERT_TIMEOUT, write(socket, &outgoing)).await;
    hello::finish(socket).await;
}
