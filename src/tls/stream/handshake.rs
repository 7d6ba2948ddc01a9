//! Carries a handshake through, and tells the peer when it fails.

use rustls::{AlertDescription, Error as Fault};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Error;
use super::machine::{Machine, Order, Outcome, Sink};
use crate::tls::hello;

/// How much is read at once.
const READ_BYTES: usize = 4 * 1024;

/// The longest handshake message that rustls takes, with the headers of its records.
const KEPT_BYTES_MAX: usize = 64 * 1024 + 20 * 1024;

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
/// and the socket is closed in order, which takes up to two seconds. `answered` is called once the first
/// flight is out.
pub(super) async fn run<S>(
    socket: &mut S,
    machine: &mut Machine,
    incoming: Vec<u8>,
    answered: impl FnOnce(),
) -> Result<Left, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut left = Left { incoming, ..Left::default() };
    let mut told = false;
    let mut answered = Some(answered);
    loop {
        let mut outgoing = Vec::new();
        let outcome = exchange(machine, &mut left, &mut outgoing);
        let fault = match outcome {
            Ok(()) => {
                let finished = !machine.state().is_handshaking();
                if !(finished && machine.ends_with_tickets()) {
                    write(socket, &outgoing).await?;
                    told |= !outgoing.is_empty();
                    outgoing.clear();
                }
                if told && let Some(answered) = answered.take() {
                    answered();
                }
                if finished {
                    left.incoming.shrink_to_fit();
                    return Ok(Left { outgoing, ..left });
                }
                if left.incoming.len() < KEPT_BYTES_MAX {
                    left.incoming.reserve(READ_BYTES);
                    match socket.read_buf(&mut left.incoming).await {
                        Ok(0) => return Err(Error::Closed),
                        Ok(_) => continue,
                        Err(error) => return Err(Error::Io(error)),
                    }
                }
                Fault::General("the handshake is longer than 64 KiB".to_owned())
            }
            Err(fault) => fault,
        };
        drop(answered);
        tell(socket, machine, (outgoing, told), &fault).await;
        return Err(Error::Tls(fault));
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
