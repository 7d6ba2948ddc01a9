//! How a relay closes: between two frames, with a half-close and a lingering read, so that nothing that
//! was written is destroyed by what was not read.

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::core::Plan;
use super::in_flight::Stamp;
use super::violation::Side;
use super::{Cause, Peer, Relay};

/// How long the client may take to see the half-close and close its own side.
const LINGER: Duration = Duration::from_secs(2);
/// The same after an end that the client or the broker brought about.
const LINGER_SHORT: Duration = Duration::from_secs(1);
/// How much is read at once while nothing is kept.
const LINGER_READ_BYTES: usize = 16 * 1024;

impl<C, B> Relay<C, B>
where
    C: Peer,
    B: Peer,
{
    /// Closes both sides as the cause asks. Takes at most about five seconds.
    pub(super) async fn close(&mut self, cause: &Cause) {
        match cause {
            Cause::Drained { .. } | Cause::Moved { .. } | Cause::Aged { .. } | Cause::Distrusted { .. } => {
                // A frame cut off by the deadline cannot be closed in order.
                if !self.responses.is_mid_frame() {
                    let _ = timeout(LINGER_SHORT, self.client.shutdown()).await;
                    let _ = timeout(LINGER, self.linger()).await;
                }
                self.close_broker().await;
            }
            Cause::BrokerClosed { .. } | Cause::BrokerFailed(_) => self.close_client().await,
            Cause::Violated(violation) if violation.side() == Side::Broker => {}
            // A client that broke TLS is to read the alert.
            Cause::Violated(_) | Cause::Idle | Cause::ClientFailed(_) => {
                self.close_client().await;
                self.close_broker().await;
            }
            Cause::ClientClosed => {
                let _ = timeout(LINGER_SHORT, self.client.shutdown()).await;
                self.close_broker().await;
            }
            Cause::Slow => self.close_broker().await,
        }
    }

    /// Flushes, half-closes, and reads what the client had already sent.
    async fn close_client(&mut self) {
        let closing = async {
            let client = &mut self.client;
            poll_fn(|cx| self.responses.poll_output(cx, client)).await?;
            client.shutdown().await?;
            discard(client).await
        };
        let _ = timeout(LINGER_SHORT, closing).await;
    }

    /// Half-closes, and reads to the end so that the broker's last bytes are no reset's cause.
    async fn close_broker(&mut self) {
        let closing = async {
            let broker = &mut self.broker;
            poll_fn(|cx| self.requests.poll_output(cx, broker)).await?;
            broker.shutdown().await?;
            discard(broker).await
        };
        let _ = timeout(LINGER, closing).await;
    }

    /// Reads what the client sent before it saw the half-close. Requests that have no response pass,
    /// because their sender counts them as sent; the others their sender will send again.
    async fn linger(&mut self) -> std::io::Result<()> {
        // What was walked comes before what was not.
        let broker = &mut self.broker;
        poll_fn(|cx| self.requests.poll_output(cx, broker)).await?;
        self.core.linger();
        let mut window = self.requests.take_input();
        let (mut pass, mut drop) = self.requests.take_plan();
        loop {
            let walked = (pass + drop).min(window.len() as u64) as usize;
            if pass > 0 {
                self.broker.write_all(window.get(..walked).unwrap_or_default()).await?;
                pass -= walked as u64;
            } else {
                drop -= walked as u64;
            }
            window.drain(..walked);
            if pass == 0 && drop == 0 && !window.is_empty() {
                match self.core.request(&window, Stamp::default()) {
                    Plan::Pass(bytes) => pass = bytes,
                    Plan::Drop(bytes) => drop = bytes,
                    Plan::Need(_) => {}
                    Plan::Replace { .. } | Plan::Wait | Plan::Close(_) => return Ok(()),
                }
                if pass > 0 || drop > 0 {
                    continue;
                }
            }
            window.reserve(LINGER_READ_BYTES);
            if self.client.read_buf(&mut window).await? == 0 {
                return Ok(());
            }
        }
    }
}

/// Reads to the end and keeps nothing.
async fn discard(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
    let mut buffer = vec![0; LINGER_READ_BYTES];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
