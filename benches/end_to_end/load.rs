//! The load generator: closed loops of frames over many connections.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse::tls::stream::{self, Transport};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::tls;

/// What the requests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Requests that the gateway only forwards; answers of 208 bytes.
    Forward,
    /// Produce, of which the gateway reads acks; answers of 56 bytes.
    Produce,
    /// Fetch of 200 bytes; the answers have the size of the row.
    Fetch,
    /// A connection for each request.
    Connect,
}

/// Where a load goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// How its clients encrypt, if they do.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// What one row asks of the generator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Bytes of a request, with its length; of the answer, where it is a Fetch.
    pub(crate) frame_bytes: usize,
    /// Connections.
    pub(crate) connections: usize,
    /// Requests that each connection keeps in flight.
    pub(crate) in_flight: usize,
    pub(crate) kind: Kind,
}

/// What was done between the two marks of a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) requests: u64,
    /// How many of them came over a resumed session.
    pub(crate) resumed: u64,
    /// Round trips in nanoseconds, where one request is in flight.
    pub(crate) round_trips: Vec<u64>,
}

/// A request of that load. The sink answers in order, so the correlation id is free to tell it how many
/// bytes to answer a Fetch with.
fn request(load: Load) -> Vec<u8> {
    let bytes = if load.kind == Kind::Fetch { FETCH } else { load.frame_bytes };
    let mut frame = ((bytes - 4) as i32).to_be_bytes().to_vec();
    let (key, version) = match load.kind {
        Kind::Produce => (0, 12),
        Kind::Fetch => (1, 12),
        Kind::Forward | Kind::Connect => (12, 4),
    };
    frame.extend([0, key, 0, version]);
    frame.extend((load.frame_bytes as i32).to_be_bytes());
    // Client id, header tags; Produce: no transactional id, acks=all.
    frame.extend([0, 5]);
    frame.extend(b"bench");
    frame.push(0);
    if load.kind == Kind::Produce {
        frame.extend([0, 0xff, 0xff]);
    }
    frame.resize(bytes, 0x5a);
    frame
}

/// Runs a load for the warm-up and the round; `mark` is called at both ends of the round.
pub(crate) fn run(load: Load, target: &Target, round: Duration, mut mark: impl FnMut()) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let state = Rc::new(State::default());
        for _ in 0..load.connections {
            let (state, target) = (Rc::clone(&state), target.clone());
            if load.kind == Kind::Connect {
                tokio::task::spawn_local(async move { connections(&target, load, &state).await });
                continue;
            }
            let stream = connect(&target).await.unwrap_or_else(|error| panic!("{target:?}: {error}"));
            tokio::task::spawn_local(async move {
                if let Err(error) = connection(stream, load, &state).await
                    && !state.over.get()
                {
                    panic!("a connection ended in the middle of a round: {error}");
                }
            });
        }
        tokio::time::sleep(round / 5).await;
        state.requests.set(0);
        state.resumed.set(0);
        state.round_trips.borrow_mut().clear();
        mark();
        tokio::time::sleep(round).await;
        let requests = state.requests.get();
        mark();
        state.over.set(true);
        Done { requests, resumed: state.resumed.get(), round_trips: state.round_trips.take() }
    })
}

#[derive(Default)]
struct State {
    requests: Cell<u64>,
    resumed: Cell<u64>,
    round_trips: RefCell<Vec<u64>>,
    over: Cell<bool>,
}

async fn connect(target: &Target) -> std::io::Result<Transport> {
    let stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = &target.tls else { return Ok(Transport::Plain(stream)) };
    let name = ServerName::try_from(tls::NAME).expect("a name");
    let stream = stream::connect(stream, name, Arc::clone(tls)).await.map_err(std::io::Error::other)?;
    Ok(Transport::Tls(Box::new(stream)))
}

async fn connection(mut stream: Transport, load: Load, state: &State) -> std::io::Result<()> {
    let one = request(load);
    let frames = one.repeat(load.in_flight);
    let response_bytes = response_bytes(load);
    let mut buffer = vec![0; if load.kind == Kind::Fetch { 256 * 1024 } else { 16 * 1024 }];
    let (mut sent, mut received) = (Instant::now(), 0);
    stream.write_all(&frames).await?;
    stream.flush().await?;
    while !state.over.get() {
        match stream.read(&mut buffer).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => received += read,
        }
        let answered = received / response_bytes;
        received %= response_bytes;
        if answered == 0 {
            continue;
        }
        state.requests.set(state.requests.get() + answered as u64);
        if load.in_flight == 1 {
            state.round_trips.borrow_mut().push(sent.elapsed().as_nanos() as u64);
            sent = Instant::now();
        }
        stream.write_all(frames.get(..answered * one.len()).unwrap_or_default()).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// One connection after the other, each with one round trip. One that fails does not count.
async fn connections(target: &Target, load: Load, state: &State) {
    let frame = request(load);
    while !state.over.get() {
        let one = async {
            let mut stream = connect(target).await?;
            stream.write_all(&frame).await?;
            stream.flush().await?;
            stream.read_exact(&mut vec![0; RESPONSE]).await?;
            stream.shutdown().await?;
            std::io::Result::Ok(matches!(&stream, Transport::Tls(stream) if stream.resumed()))
        };
        match one.await {
            Ok(resumed) => {
                state.requests.set(state.requests.get() + 1);
                state.resumed.set(state.resumed.get() + u64::from(resumed));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn response_bytes(load: Load) -> usize {
    match load.kind {
        Kind::Produce => RESPONSE_TO_PRODUCE,
        Kind::Fetch => load.frame_bytes,
        Kind::Forward | Kind::Connect => RESPONSE,
    }
}

/// Bytes of a Fetch request, and of the sink's answers.
const FETCH: usize = 200;
const RESPONSE_TO_PRODUCE: usize = 56;
const RESPONSE: usize = 208;

/// Opens connections that do one round trip each and then stay idle while `look` looks.
pub(crate) fn idle<T>(connections: usize, target: &Target, look: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let load = Load { frame_bytes: 200, connections, in_flight: 1, kind: Kind::Forward };
    runtime.expect("a runtime can be built").block_on(async move {
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            let one = async {
                let mut stream = connect(target).await?;
                stream.write_all(&request(load)).await?;
                stream.flush().await?;
                stream.read_exact(&mut [0; RESPONSE]).await?;
                std::io::Result::Ok(stream)
            };
            open.push(one.await.unwrap_or_else(|error| panic!("{target:?}: {error}")));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        look()
    })
}
