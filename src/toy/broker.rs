//! One toy broker: it accepts connections, reads frames within bounds, answers in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Shared;
use super::call::{Call, Closed};
use super::misbehaviour::Act;
use super::sasl::Login;
use super::seen::Request;
use super::served;
use super::world::Running;
use crate::kafka::header::{self, FIXED_BYTES, RequestHeader};
use crate::kafka::{CorrelationId, NodeId};

/// A broker's `socket.request.max.bytes`.
const PRODUCE_BYTES_MAX: usize = 104_857_600;

/// The longest request that is no Produce: the decoded form is several times as large.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// The longest raw SASL token.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// How much a frame's buffer grows ahead of what has come.
const READ_BYTES: usize = 256 << 10;

/// How long a failing `accept` waits before it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the broker is stopped.
pub(super) async fn accept(shared: Arc<Shared>, node: NodeId, listener: TcpListener, running: Running) {
    loop {
        let accepted = tokio::select! {
            () = running.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (shared, stop) = (Arc::clone(&shared), running.stop.clone());
        running.tasks.spawn(async move {
            let connection = Connection::new(&shared, node, stream, peer);
            tokio::select! {
                () = stop.cancelled() => {}
                _ = Box::pin(connection.run()) => {}
            }
        });
    }
}

struct Connection<'a> {
    shared: &'a Shared,
    node: NodeId,
    stream: TcpStream,
    peer: SocketAddr,
    number: u64,
    login: Login,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.shared.connections.send_modify(|open| *open -= 1);
    }
}

impl<'a> Connection<'a> {
    fn new(shared: &'a Shared, node: NodeId, stream: TcpStream, peer: SocketAddr) -> Self {
        shared.connections.send_modify(|open| *open += 1);
        let number = shared.connections_ever.fetch_add(1, Ordering::Relaxed) + 1;
        // Without it small answers wait for the peer's delayed acknowledgement; it fails on dead sockets only.
        let _ = stream.set_nodelay(true);
        Self { shared, node, stream, peer, number, login: Login::new(&shared.options.users) }
    }

    /// Serves requests until either side closes.
    async fn run(mut self) -> Result<(), Closed> {
        loop {
            let frame = self.frame().await?;
            if self.login.takes_raw_tokens() {
                self.token(frame).await?;
            } else {
                self.request(frame).await?;
            }
        }
    }

    /// Reads a frame. The buffer grows by what has come, never by what the length promises.
    async fn frame(&mut self) -> Result<Bytes, Closed> {
        let length = self.stream.read_i32().await.map_err(|_| Closed)?;
        let length = usize::try_from(length).map_err(|_| Closed)?;
        let raw = self.login.takes_raw_tokens();
        if length > if raw { TOKEN_BYTES_MAX } else { PRODUCE_BYTES_MAX } || (length < FIXED_BYTES && !raw) {
            return Err(Closed);
        }
        let mut frame = BytesMut::new();
        while frame.len() < length {
            let left = length - frame.len();
            frame.reserve(left.min(READ_BYTES));
            let read = (&mut self.stream).take(left as u64).read_buf(&mut frame).await;
            if read.map_err(|_| Closed)? == 0 {
                return Err(Closed);
            }
            let is_produce = raw || frame.len() < 2 || frame[..2] == [0, 0];
            if !is_produce && length > REQUEST_BYTES_MAX {
                return Err(Closed);
            }
        }
        Ok(frame.freeze())
    }

    /// A token of SaslHandshake version 0, which has no header.
    async fn token(&mut self, token: Bytes) -> Result<(), Closed> {
        self.shared.seen.add(Request {
            node: self.node,
            connection: self.number,
            api: -1,
            version: 0,
            correlation_id: 0,
            client_id: None,
            header: Vec::new(),
            frame_bytes: token.len(),
        });
        let answer = self.login.token(&token).map_err(|_| Closed)?;
        self.send(&framed(&answer)).await
    }

    async fn request(&mut self, frame: Bytes) -> Result<(), Closed> {
        let header = RequestHeader::read(&frame).map_err(|_| Closed)?;
        let Some(served) = served::find(header.key, header.version) else {
            return match header.key {
                18 => self.unknown_api_versions(&frame, header).await,
                _ => Err(Closed),
            };
        };
        let (body, client_id) = header::read_past(&frame, served.flexible).map_err(|_| Closed)?;
        let client_id = client_id.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let body_at = body.position();
        self.seen(&frame, header, client_id.clone(), body_at);
        served.walk(header.version, &frame[body_at..])?;
        if !self.login.lets_pass(header.key) {
            return Err(Closed);
        }
        let act = self.shared.rules.take(self.node, header.key);
        if matches!(act, Some(Act::DropBefore)) {
            return Err(Closed);
        }
        let announced = match &act {
            Some(Act::Announce(endpoints)) => Some(endpoints.as_slice()),
            _ => None,
        };
        let call = Call {
            shared: self.shared,
            node: self.node,
            version: header.version,
            client_id: client_id.as_deref().unwrap_or_default(),
            client_host: self.peer.ip(),
            announced,
        };
        let answer = tokio::select! {
            biased;
            answer = served::answer(&call, &mut self.login, header.key, frame.slice(body_at..)) => answer?,
            () = hung_up(&self.stream) => return Err(Closed),
        };
        let Some(body) = answer else { return Ok(()) };
        self.reply(header.correlation_id, served.tagged_header, &body, act).await?;
        if self.login.failed() { Err(Closed) } else { Ok(()) }
    }

    fn seen(&self, frame: &[u8], header: RequestHeader, client_id: Option<String>, body_at: usize) {
        self.shared.seen.add(Request {
            node: self.node,
            connection: self.number,
            api: header.key,
            version: header.version,
            correlation_id: header.correlation_id.0,
            client_id,
            header: frame[..body_at].to_vec(),
            frame_bytes: frame.len(),
        });
    }

    /// An ApiVersions request of a version that came later is answered in version 0: error 35 and the
    /// versions of ApiVersions itself.
    async fn unknown_api_versions(&mut self, frame: &[u8], header: RequestHeader) -> Result<(), Closed> {
        self.seen(frame, header, None, FIXED_BYTES);
        let act = self.shared.rules.take(self.node, header.key);
        self.reply(header.correlation_id, false, &served::unsupported_api_versions(), act).await
    }

    /// Sends an answer, or does what a rule says instead.
    async fn reply(
        &mut self,
        id: CorrelationId,
        tagged: bool,
        body: &[u8],
        act: Option<Act>,
    ) -> Result<(), Closed> {
        let id = match act {
            Some(Act::WrongCorrelationId(by)) => id.0.wrapping_add(by),
            _ => id.0,
        };
        let mut payload = BytesMut::with_capacity(5 + body.len());
        payload.put_i32(id);
        if tagged {
            payload.put_u8(0);
        }
        match &act {
            Some(Act::Body(other)) => payload.extend_from_slice(other),
            _ => payload.extend_from_slice(body),
        }
        let frame = framed(&payload);
        match act {
            Some(Act::Delay(time)) => {
                tokio::time::sleep(time).await;
                self.send(&frame).await
            }
            Some(Act::DropBefore | Act::DropAfter) => Err(Closed),
            Some(Act::DropMidFrame(bytes)) => {
                self.send(&frame[..bytes.min(frame.len())]).await?;
                Err(Closed)
            }
            Some(Act::Raw(bytes)) => self.send(&bytes).await,
            Some(Act::Silence) => {
                // Reading on is how the end of the connection is noticed.
                let _ = tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await;
                Err(Closed)
            }
            Some(Act::WrongCorrelationId(_) | Act::Body(_) | Act::Announce(_)) | None => {
                self.send(&frame).await
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        self.stream.write_all(bytes).await.map_err(|_| Closed)
    }
}

/// Waits until the peer closes, so that nobody waits for records on behalf of a client that is gone. Of
/// a peer that has sent more it cannot be told, and is not.
async fn hung_up(stream: &TcpStream) {
    if matches!(stream.peek(&mut [0]).await, Ok(1..)) {
        std::future::pending::<()>().await;
    }
}

/// A payload with its length before it.
fn framed(payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(4 + payload.len());
    frame.put_u32(payload.len() as u32);
    frame.extend_from_slice(payload);
    frame.freeze()
}
