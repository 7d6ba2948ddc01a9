//! The load generator: closed loops of frames over many connections.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// What one row asks of the generator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Bytes of a request, with its length.
    pub(crate) frame_bytes: usize,
    /// Connections.
    pub(crate) connections: usize,
    /// Requests that each connection keeps in flight.
    pub(crate) in_flight: usize,
    /// Whether the requests are Produce, of which the gateway reads acks, or ones that it only forwards.
    pub(crate) produce: bool,
}

/// What was done between the two marks of a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) requests: u64,
    /// Round trips in nanoseconds, where one request is in flight.
    pub(crate) round_trips: Vec<u64>,
}

/// A request of that load. Its correlation id is always 1: the sink answers in order.
fn request(load: Load) -> Vec<u8> {
    let mut frame = ((load.frame_bytes - 4) as i32).to_be_bytes().to_vec();
    let (key, version) = if load.produce { (0, 12) } else { (12, 4) };
    frame.extend([0, key, 0, version, 0, 0, 0, 1]);
    // Client id, header tags; Produce: no transactional id, acks=all.
    frame.extend([0, 5]);
    frame.extend(b"bench");
    frame.push(0);
    if load.produce {
        frame.extend([0, 0xff, 0xff]);
    }
    frame.resize(load.frame_bytes, 0x5a);
    frame
}

/// Runs a load for the warm-up and the round; `mark` is called at both ends of the round.
pub(crate) fn run(load: Load, target: SocketAddr, round: Duration, mut mark: impl FnMut()) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let state = Rc::new(State::default());
        for _ in 0..load.connections {
            let stream = connect(target).await;
            let state = Rc::clone(&state);
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
        state.round_trips.borrow_mut().clear();
        mark();
        tokio::time::sleep(round).await;
        let requests = state.requests.get();
        mark();
        state.over.set(true);
        Done { requests, round_trips: state.round_trips.take() }
    })
}

#[derive(Default)]
struct State {
    requests: Cell<u64>,
    round_trips: RefCell<Vec<u64>>,
    over: Cell<bool>,
}

async fn connect(target: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(target).await.unwrap_or_else(|error| panic!("{target}: {error}"));
    stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
    stream
}

async fn connection(mut stream: TcpStream, load: Load, state: &State) -> std::io::Result<()> {
    let frames = request(load).repeat(load.in_flight);
    let response_bytes = if load.produce { RESPONSE_TO_PRODUCE } else { RESPONSE };
    let mut buffer = vec![0; 16 * 1024];
    let (mut sent, mut received) = (Instant::now(), 0);
    stream.write_all(&frames).await?;
    while !state.over.get() {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => received += read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
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
        stream.write_all(frames.get(..answered * load.frame_bytes).unwrap_or_default()).await?;
    }
    Ok(())
}

/// Bytes of the sink's answers.
const RESPONSE_TO_PRODUCE: usize = 56;
const RESPONSE: usize = 208;

/// Opens connections that do one round trip each and then stay idle while `look` looks.
pub(crate) fn idle<T>(connections: usize, target: SocketAddr, look: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let load = Load { frame_bytes: 200, connections, in_flight: 1, produce: false };
    runtime.expect("a runtime can be built").block_on(async move {
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            let mut stream = connect(target).await;
            stream.write_all(&request(load)).await.unwrap_or_else(|error| panic!("{target}: {error}"));
            let mut left = RESPONSE;
            while left > 0 {
                stream.readable().await.expect("an open socket becomes readable");
                match stream.try_read(&mut [0; RESPONSE]) {
                    Ok(0) => panic!("{target} closed an idle connection"),
                    Ok(read) => left -= read,
                    Err(_) => {}
                }
            }
            open.push(stream);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        look()
    })
}
