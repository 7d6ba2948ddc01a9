//! A relay between two in-memory streams, in simulated time.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{advance, sleep};

use super::*;
use crate::cluster::{PortRange, Ports, Routes};
use crate::kafka::{NodeId, api};
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::tls::Version;
use crate::tls::stream::Stream;
use crate::tls::stream::tests::{configs, pair};

const OPTIONS: Options =
    Options { idle_timeout: Duration::from_secs(660), drain_timeout: Duration::from_secs(30), max_age: None };

/// Room of each in-memory stream, in bytes.
const ROOM: usize = 4 * 1024;

const OFFSET_COMMIT: i16 = 8;
const HEARTBEAT: i16 = 12;
const METADATA: i16 = 3;

impl Peer for DuplexStream {
    fn plain(&self) -> Option<&TcpStream> {
        None
    }
}

impl Peer for Stream<DuplexStream> {
    fn plain(&self) -> Option<&TcpStream> {
        None
    }
}

impl Peer for TcpStream {
    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// A relay under way, seen from both ends.
struct Bench<C = DuplexStream, B = DuplexStream> {
    client: C,
    broker: B,
    task: JoinHandle<Cause>,
    drain: CancellationToken,
    moved: CancellationToken,
    distrusted: CancellationToken,
    held: Arc<HeldBytes>,
    /// What an encrypted client's stream holds.
    of_streams: Option<Arc<HeldBytes>>,
    metrics: Metrics,
}

impl Bench {
    /// Starts with what the client has sent before the dial.
    fn start(first: &[u8]) -> Self {
        Self::with(OPTIONS, first)
    }

    fn with(options: Options, first: &[u8]) -> Self {
        Self::over(options, first, duplex(ROOM), duplex(ROOM))
    }
}

impl<C: Peer + Send + 'static, B: Peer + Send + 'static> Bench<C, B> {
    /// Over a client's end and the relay's end of it, and over a broker's.
    fn over(
        options: Options,
        first: &[u8],
        (client, client_side): (C, C),
        (broker, broker_side): (B, B),
    ) -> Self {
        let names: Vec<_> = api::APIS.iter().map(|api| api.name).collect();
        let metrics = Metrics::new(&names);
        let range = PortRange { first: NodeId(0), last: NodeId(999), bind: 9093, advertise: 9093 };
        let routes = Routes::Ports(Ports { host: Some("door".into()), bootstrap: 9092, ranges: vec![range] });
        let mut core = Core::new(Arc::new(core::Options {
            routes: routes.into(),
            pass_unknown_apis: false,
            max_request_bytes: 100 << 20,
            max_in_flight: 128,
        }));
        let plan = core.request(first, Stamp::default());
        let registry = Arc::new(Registry::default());
        let guard = registry.register(&"door".into(), &"main".into(), ([127, 0, 0, 1], 1).into());
        let cluster = metrics.cluster("main");
        let node = cluster.node(None);
        let observer = Observer::new(metrics.listener("door"), cluster, node, Arc::clone(guard.connection()));
        let held = HeldBytes::new(u64::MAX);
        let [drain, moved, distrusted] = [(); 3].map(|()| CancellationToken::new());
        let parts = Parts {
            core,
            first: first.to_vec(),
            plan,
            options,
            held: Arc::clone(&held),
            observer,
            drain: drain.clone(),
            moved: moved.clone(),
            distrusted: Some(distrusted.clone()),
        };
        let relay = Relay::new(client_side, broker_side, parts);
        let task = tokio::spawn(async move {
            let cause = relay.run(|_| {}).await;
            drop(guard);
            cause
        });
        Self { client, broker, task, drain, moved, distrusted, held, of_streams: None, metrics }
    }

    /// Waits until the broker has these bytes next.
    async fn broker_gets(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        self.broker.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
    }

    async fn client_gets(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        self.client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
    }
}

impl Bench {
    /// What comes until the other side closes.
    async fn rest(stream: &mut DuplexStream) -> Vec<u8> {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        rest
    }
}

fn frame(payload: &[&[u8]]) -> Vec<u8> {
    let payload = payload.concat();
    [&(payload.len() as u32).to_be_bytes()[..], &payload].concat()
}

/// A request in a version that is not flexible, without a client id.
fn request(key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let (key, version) = (key.to_be_bytes(), version.to_be_bytes());
    frame(&[&key, &version, &correlation_id.to_be_bytes(), &[0xff, 0xff], body])
}

fn response(correlation_id: i32, body: &[u8]) -> Vec<u8> {
    frame(&[&correlation_id.to_be_bytes(), body])
}

/// A Produce of version 2 with acks=0.
fn produce0(bytes: usize) -> Vec<u8> {
    let body: Vec<u8> = (0..bytes).map(|index| (index / 7) as u8).collect();
    request(0, 2, 1, &[&[0, 0], &body[..]].concat())
}

#[tokio::test(start_paused = true)]
async fn pipelined_first_requests_pass_and_are_all_counted() {
    let two = [request(HEARTBEAT, 0, 1, b"one"), request(HEARTBEAT, 0, 2, b"two")].concat();
    let mut bench = Bench::start(&two);
    bench.broker_gets(&two).await;
    for id in [1, 2] {
        bench.broker.write_all(&response(id, b"ok")).await.unwrap();
        bench.client_gets(&response(id, b"ok")).await;
    }
    let text = bench.metrics.render();
    assert!(text.contains("gatehouse_requests_total{api=\"Heartbeat\",cluster=\"main\"} 2"), "{text}");
    assert!(text.contains("gatehouse_in_flight_requests{cluster=\"main\"} 0"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_list_that_comes_byte_by_byte_is_rewritten_whole() {
    let mut bench = Bench::start(&request(METADATA, 0, 7, &[0; 4]));
    bench.broker_gets(&request(METADATA, 0, 7, &[0; 4])).await;
    let list = |host: &[u8], port: fn(i32) -> i32| {
        let mut body = 300_i32.to_be_bytes().to_vec();
        for node in 0..300_i32 {
            body.extend(node.to_be_bytes());
            body.extend((host.len() as u16).to_be_bytes());
            body.extend(host);
            body.extend(port(node).to_be_bytes());
        }
        body.extend([0, 0, 0, 0]);
        response(7, &body)
    };
    let sent = list(b"kafka.internal", |_| 9092);
    let expected = list(b"door", |node| 9093 + node);
    let mut broker = bench.broker;
    let sending = tokio::spawn(async move {
        for byte in sent {
            broker.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        broker
    });
    let mut got = vec![0; expected.len()];
    bench.client.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
    drop(sending.await);
    assert!(matches!(bench.task.await.unwrap(), Cause::BrokerClosed { mid_frame: false }));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_what_must_finish() {
    let signals = [
        |bench: &Bench| bench.drain.cancel(),
        |bench: &Bench| bench.moved.cancel(),
        |bench: &Bench| bench.distrusted.cancel(),
    ];
    for signal in signals {
        let mut bench = Bench::start(&request(OFFSET_COMMIT, 2, 1, b"offsets"));
        bench.broker_gets(&request(OFFSET_COMMIT, 2, 1, b"offsets")).await;
        signal(&bench);
        // The signal is heard before the next request comes.
        sleep(Duration::from_millis(1)).await;
        // What comes now has not been begun, so its sender is left to send it again elsewhere.
        bench.client.write_all(&request(HEARTBEAT, 0, 2, b"late")).await.unwrap();
        sleep(Duration::from_secs(20)).await;
        assert!(!bench.task.is_finished());
        bench.broker.write_all(&response(1, b"stored")).await.unwrap();
        bench.client_gets(&response(1, b"stored")).await;
        assert_eq!(Bench::rest(&mut bench.client).await, b"");
        drop(bench.client);
        assert_eq!(Bench::rest(&mut bench.broker).await, b"", "the late request went to the broker");
        drop(bench.broker);
        let cause = bench.task.await.unwrap();
        assert!(
            matches!(
                cause,
                Cause::Drained { forced: false }
                    | Cause::Moved { forced: false }
                    | Cause::Distrusted { forced: false }
            ),
            "{cause:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_abandons_what_can_be_asked_again_and_forces_the_rest_at_its_deadline() {
    for (key, seconds, forced) in [(HEARTBEAT, 1, false), (OFFSET_COMMIT, 30, true)] {
        let mut bench = Bench::start(&request(key, 0, 1, b"body"));
        bench.broker_gets(&request(key, 0, 1, b"body")).await;
        let begin = Instant::now();
        bench.drain.cancel();
        assert_eq!(Bench::rest(&mut bench.client).await, b"");
        assert_eq!(begin.elapsed().as_secs(), seconds);
        drop((bench.client, bench.broker));
        let cause = bench.task.await.unwrap();
        assert!(matches!(cause, Cause::Drained { forced: f } if f == forced), "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forced_drain_sends_the_broker_no_frame_with_a_hole() {
    let sent = produce0(60 * 1024);
    let mut bench = Bench::start(&sent[..100]);
    let (mut reading, mut writing) = tokio::io::split(bench.client);
    let rest = sent[100..].to_vec();
    let sending = tokio::spawn(async move {
        let _ = writing.write_all(&rest).await;
        let _ = writing.shutdown().await;
    });
    // The broker takes nothing until the drain has been forced.
    sleep(Duration::from_secs(1)).await;
    bench.drain.cancel();
    let mut closed = Vec::new();
    reading.read_to_end(&mut closed).await.unwrap();
    let got = Bench::rest(&mut bench.broker).await;
    assert!(got.len() > ROOM && sent.starts_with(&got), "{} of {} bytes", got.len(), sent.len());
    assert_eq!(got.len(), sent.len(), "acks=0 counts as sent, so all of it passes while the broker takes it");
    drop((bench.broker, reading));
    sending.await.unwrap();
    assert!(matches!(bench.task.await.unwrap(), Cause::Drained { forced: true }));
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_without_a_response_reaches_the_broker_in_a_drain() {
    let mut bench = Bench::start(&request(HEARTBEAT, 0, 1, b"x"));
    bench.broker_gets(&request(HEARTBEAT, 0, 1, b"x")).await;
    bench.broker.write_all(&response(1, b"y")).await.unwrap();
    bench.client_gets(&response(1, b"y")).await;
    bench.drain.cancel();
    sleep(Duration::from_millis(1)).await;
    let late = [request(HEARTBEAT, 0, 2, b"dropped"), produce0(100)].concat();
    bench.client.write_all(&late).await.unwrap();
    bench.client.shutdown().await.unwrap();
    assert_eq!(Bench::rest(&mut bench.broker).await, produce0(100));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_costs_a_bounded_part_of_the_budget_and_gives_it_back() {
    let mut bench = Bench::start(&request(HEARTBEAT, 0, 1, b"x"));
    bench.broker_gets(&request(HEARTBEAT, 0, 1, b"x")).await;
    let large = response(1, &vec![5; 4 << 20]);
    let mut broker = std::mem::replace(&mut bench.broker, duplex(1).0);
    let sending = tokio::spawn({
        let large = large.clone();
        async move {
            broker.write_all(&large).await.unwrap();
            broker
        }
    });
    // Nobody reads for as long as a consumer may take between two polls.
    sleep(Duration::from_secs(300)).await;
    assert!(!bench.task.is_finished() && !sending.is_finished());
    assert!(bench.held.bytes() <= 512 * 1024, "{} bytes", bench.held.bytes());
    bench.client_gets(&large).await;
    let _broker = sending.await.unwrap();
    advance(Duration::from_millis(1)).await;
    assert_eq!(bench.held.bytes(), 0);
}

/// Both ends of a connection over TCP.
pub(super) async fn socket_pair() -> (TcpStream, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

/// A relay between two sockets.
async fn sockets(first: &[u8]) -> Bench<TcpStream, TcpStream> {
    let bench = Bench::over(OPTIONS, first, socket_pair().await, socket_pair().await);
    for socket in [&bench.client, &bench.broker] {
        // Far less than a frame, so that every end has to wait for the other.
        socket2::SockRef::from(socket).set_recv_buffer_size(64 * 1024).unwrap();
    }
    bench
}

/// Frames of which some are spliced from their middle on, and the smaller ones between them are not.
fn mixed(frame: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    [5 << 20, 300, 300 << 10, 1 << 20, (1 << 20) + 1, 0, 2 << 20].map(frame).concat()
}

#[tokio::test]
async fn large_frames_come_out_as_they_went_in_however_they_are_moved() {
    let first = request(HEARTBEAT, 0, 1, b"x");
    let mut bench = sockets(&first).await;
    bench.broker_gets(&first).await;
    let requests = mixed(produce0);
    let bytes = |count: usize| (0..count).map(|index| (index / 3) as u8).collect::<Vec<_>>();
    let answers = response(1, &bytes(9 << 20));
    let ((mut client_reads, mut client_writes), (mut broker_reads, mut broker_writes)) =
        (bench.client.split(), bench.broker.split());
    let (mut received, mut answered) = (vec![0; requests.len()], vec![0; answers.len()]);
    let (sent, got, told, heard) = tokio::join!(
        client_writes.write_all(&requests),
        broker_reads.read_exact(&mut received),
        broker_writes.write_all(&answers),
        client_reads.read_exact(&mut answered),
    );
    for moved in [sent.map(|()| 0), got, told.map(|()| 0), heard] {
        moved.unwrap();
    }
    assert!(received == requests && answered == answers);
    let text = bench.metrics.render();
    assert!(text.contains("gatehouse_requests_total{api=\"Produce\",cluster=\"main\"} 7"), "{text}");
}

/// A response of 16 MiB of which the client has read a part; of the rest more is held than by a connection that copies,
/// so it is in a pipe.
struct Piped {
    bench: Bench<TcpStream, TcpStream>,
    sending: JoinHandle<std::io::Result<()>>,
    large: Vec<u8>,
    read: usize,
}

impl Piped {
    async fn start() -> Self {
        let large = response(1, &(0..16 << 20).map(|index| (index / 3) as u8).collect::<Vec<_>>());
        let first = request(HEARTBEAT, 0, 1, b"x");
        // Where the machine stood still for so long that the pipe was left again, it begins anew.
        loop {
            let mut bench = sockets(&first).await;
            bench.broker_gets(&first).await;
            let mut broker = std::mem::replace(&mut bench.broker, socket_pair().await.0);
            let sending = tokio::spawn({
                let large = large.clone();
                async move { broker.write_all(&large).await }
            });
            let (mut read, mut piece) = (0, [0; 4096]);
            while read < large.len() {
                if bench.held.bytes() > 640 * 1024 {
                    return Self { bench, sending, large, read };
                }
                let bytes = bench.client.read(&mut piece).await.unwrap();
                assert!(piece[..bytes] == large[read..read + bytes]);
                read += bytes;
            }
        }
    }

    /// Reads the rest, which ends with the broker.
    async fn rest(&mut self) {
        let mut rest = Vec::new();
        self.bench.client.read_to_end(&mut rest).await.unwrap();
        assert!(rest == self.large[self.read..]);
    }
}

#[tokio::test]
async fn what_is_in_a_pipe_counts_as_held_until_it_is_taken_or_the_connection_ends() {
    for taken in [true, false] {
        let mut piped = Piped::start().await;
        let held = Arc::clone(&piped.bench.held);
        assert!(held.bytes() <= pipe::PIPE_BYTES as u64, "{} bytes", held.bytes());
        if taken {
            piped.rest().await;
            piped.sending.await.unwrap().unwrap();
        }
        drop(piped.bench.client);
        match piped.bench.task.await.unwrap() {
            Cause::BrokerClosed { mid_frame: false } => assert!(taken),
            Cause::ClientFailed(_) => assert!(!taken),
            cause => panic!("taken: {taken}, {cause:?}"),
        }
        assert_eq!(held.bytes(), 0);
    }
}

#[tokio::test]
async fn a_reader_that_stalls_in_a_large_frame_leaves_its_pipe_to_others() {
    let mut piped = Piped::start().await;
    let held = Arc::clone(&piped.bench.held);
    tokio::time::pause();
    advance(2 * pipe::PATIENCE).await;
    // Those of other tests are there for a moment only.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while pipe::in_use() > 0 {
        assert!(std::time::Instant::now() < deadline, "the pipe is still taken");
        tokio::task::yield_now().await;
    }
    assert!((512 * 1024..=pipe::PIPE_BYTES as u64).contains(&held.bytes()), "it is in memory");
    piped.rest().await;
    piped.sending.await.unwrap().unwrap();
    assert!(matches!(piped.bench.task.await.unwrap(), Cause::BrokerClosed { mid_frame: false }));
    assert_eq!(held.bytes(), 0);
}

/// A relay to a client over TLS, which has one heartbeat in flight.
async fn encrypted(room: usize) -> Bench<Stream<DuplexStream>> {
    let (client, mut server) = pair(room, &configs(Version::Tls13)).await;
    let held = HeldBytes::new(u64::MAX);
    server.count_in(&held);
    let first = request(HEARTBEAT, 0, 1, b"x");
    let mut bench = Bench::over(OPTIONS, &first, (client, server), duplex(ROOM));
    bench.of_streams = Some(held);
    bench.broker_gets(&first).await;
    bench
}

#[tokio::test(start_paused = true)]
async fn records_that_are_not_taken_stop_the_reading_and_the_clocks() {
    let mut bench = encrypted(ROOM).await;
    let of_streams = bench.of_streams.clone().unwrap();
    let large = response(1, &vec![5; 4 << 20]);
    let mut broker = std::mem::replace(&mut bench.broker, duplex(1).0);
    let sending = tokio::spawn({
        let large = large.clone();
        async move {
            broker.write_all(&large).await.unwrap();
            broker
        }
    });
    // Longer than an idle connection may be.
    sleep(OPTIONS.idle_timeout * 2).await;
    assert!(!bench.task.is_finished() && !sending.is_finished());
    let held = bench.held.bytes() + of_streams.bytes();
    assert!((1..=600 * 1024).contains(&held), "{held} bytes");
    bench.client_gets(&large).await;
    let _broker = sending.await.unwrap();
    advance(Duration::from_millis(1)).await;
    assert_eq!((bench.held.bytes(), of_streams.bytes()), (0, 0));
    sleep(OPTIONS.idle_timeout * 2).await;
    assert!(matches!(bench.task.await.unwrap(), Cause::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_record_cannot_hold_a_close() {
    let mut bench = encrypted(64).await;
    bench.broker.write_all(&response(1, &[5; 3_000])).await.unwrap();
    let begin = Instant::now();
    bench.drain.cancel();
    let cause = bench.task.await.unwrap();
    assert!(matches!(cause, Cause::Drained { forced: true }), "{cause:?}");
    assert!(begin.elapsed() < OPTIONS.drain_timeout + Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_broken_record_closes_both_sides_and_is_told() {
    let mut bench = encrypted(64 * 1024).await;
    bench.client.socket_mut().write_all(&[23, 3, 3, 0, 30, 1]).await.unwrap();
    bench.client.socket_mut().write_all(&[1; 60]).await.unwrap();
    let alert = bench.client.read_u8().await.unwrap_err();
    assert!(alert.to_string().contains("BadRecordMac"), "{alert}");
    drop(bench.client);
    assert!(Bench::<DuplexStream>::rest(&mut bench.broker).await.is_empty());
    drop(bench.broker);
    let cause = bench.task.await.unwrap();
    assert!(matches!(cause, Cause::ClientFailed(_)), "{cause:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_idleness_unless_something_is_owed() {
    let mut bench = Bench::start(&request(HEARTBEAT, 0, 1, b"x"));
    bench.broker_gets(&request(HEARTBEAT, 0, 1, b"x")).await;
    sleep(OPTIONS.idle_timeout * 3).await;
    assert!(!bench.task.is_finished(), "a response is owed");
    bench.broker.write_all(&response(1, b"y")).await.unwrap();
    bench.client_gets(&response(1, b"y")).await;
    let begin = Instant::now();
    assert_eq!(Bench::rest(&mut bench.client).await, b"");
    let idle = begin.elapsed();
    assert!(idle >= OPTIONS.idle_timeout && idle < OPTIONS.idle_timeout * 2, "{idle:?}");
    drop((bench.client, bench.broker));
    assert!(matches!(bench.task.await.unwrap(), Cause::Idle));
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_ends_between_two_frames_give_or_take_a_tenth() {
    let age = Duration::from_secs(500);
    let request = request(HEARTBEAT, 0, 1, b"");
    let mut bench = Bench::with(Options { max_age: Some(age), ..OPTIONS }, &request);
    bench.broker_gets(&request).await;
    advance(age - age / 10 - Duration::from_secs(1)).await;
    bench.broker.write_all(&response(1, b"")).await.unwrap();
    bench.client_gets(&response(1, b"")).await;
    assert!(!bench.task.is_finished());
    sleep(age / 5 + Duration::from_secs(2)).await;
    assert_eq!(Bench::rest(&mut bench.client).await, b"");
    drop((bench.client, bench.broker));
    assert!(matches!(bench.task.await.unwrap(), Cause::Aged { forced: false }));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_trickles_ends_but_one_that_flows_may_take_its_time() {
    for (bytes_a_second, slow) in [(100, true), (4_000, false)] {
        let sent = produce0(200_000);
        let mut bench = Bench::start(&sent[..50]);
        let mut broker = bench.broker;
        let taking = tokio::spawn(async move { Bench::rest(&mut broker).await });
        for piece in sent[50..].chunks(bytes_a_second) {
            sleep(Duration::from_secs(1)).await;
            if bench.client.write_all(piece).await.is_err() {
                break;
            }
        }
        assert_eq!(bench.task.is_finished(), slow, "{bytes_a_second} bytes a second");
        drop(bench.client);
        assert_eq!(taking.await.unwrap().len() == sent.len(), !slow);
        assert_eq!(matches!(bench.task.await.unwrap(), Cause::Slow), slow);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_half_closes_gets_what_it_could_not_ask_for_again() {
    let mut bench = Bench::start(&request(OFFSET_COMMIT, 2, 1, b"x"));
    bench.client.shutdown().await.unwrap();
    bench.broker_gets(&request(OFFSET_COMMIT, 2, 1, b"x")).await;
    bench.broker.write_all(&response(1, b"y")).await.unwrap();
    bench.client_gets(&response(1, b"y")).await;
    assert_eq!(Bench::rest(&mut bench.broker).await, b"");
    drop(bench.broker);
    assert!(matches!(bench.task.await.unwrap(), Cause::ClientClosed));
}

#[tokio::test(start_paused = true)]
async fn half_a_response_is_told_apart_from_a_close_between_two() {
    for cut in [3, 10] {
        let mut bench = Bench::start(&request(HEARTBEAT, 0, 1, b"x"));
        bench.broker_gets(&request(HEARTBEAT, 0, 1, b"x")).await;
        bench.broker.write_all(&response(1, b"twelve bytes")[..cut]).await.unwrap();
        drop(bench.broker);
        Bench::rest(&mut bench.client).await;
        drop(bench.client);
        let cause = bench.task.await.unwrap();
        assert!(matches!(cause, Cause::BrokerClosed { mid_frame: true }), "{cut}: {cause:?}");
    }
}
