//! Streams over duplex pipes: every byte arrives, whatever cuts it, and nothing is kept that need not be.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::unbuffered::ConnectionState;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::handshake::{self, Kept};
use super::machine::{Machine, Order, Outcome, Sink};
use super::{End, Error, RECORD_BYTES_MAX, Stream, accept, connect};
use crate::limits::held::HeldBytes;
use crate::limits::spare;
use crate::tls::{Version, hello, provider, reason};

const NAME: &str = "broker.test";

const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// What the tests make their configurations of.
struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, name);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { ca: CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        Arc::new(roots)
    }

    fn server(&self, version: Version, asks_for_certificate: bool) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([NAME.to_owned()]).unwrap().signed_by(&key, &self.ca).unwrap();
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(only(version)).unwrap();
        let builder = if asks_for_certificate {
            let provider = provider();
            let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }

    /// A client that shows its certificate, and so many of a kilobyte behind it.
    fn client_of_chain(&self, version: Version, more: usize) -> Arc<ClientConfig> {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::default().signed_by(&key, &self.ca).unwrap();
        let mut long = CertificateParams::default();
        long.distinguished_name.push(DnType::CommonName, "x".repeat(600));
        let long = long.signed_by(&KeyPair::generate().unwrap(), &self.ca).unwrap();
        let chain = [vec![leaf.der().clone()], vec![long.der().clone(); more]].concat();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder =
            ClientConfig::builder_with_provider(provider()).with_protocol_versions(only(version)).unwrap();
        Arc::new(builder.with_root_certificates(self.roots()).with_client_auth_cert(chain, key).unwrap())
    }

    fn client(&self, version: Version) -> Arc<ClientConfig> {
        let builder =
            ClientConfig::builder_with_provider(provider()).with_protocol_versions(only(version)).unwrap();
        Arc::new(builder.with_root_certificates(self.roots()).with_no_client_auth())
    }
}

fn only(version: Version) -> &'static [&'static rustls::SupportedProtocolVersion] {
    static TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
    static TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
    match version {
        Version::Tls12 => TLS12,
        Version::Tls13 => TLS13,
    }
}

pub(crate) type Configs = (Arc<ServerConfig>, Arc<ClientConfig>);

/// A server and a client that trusts it.
pub(crate) fn configs(version: Version) -> Configs {
    let authority = Authority::new("ours");
    (authority.server(version, false), authority.client(version))
}

pub(crate) type Pair = (Stream<DuplexStream>, Stream<DuplexStream>);

/// A client's and a server's end over a pipe that holds `space` bytes each way.
pub(crate) async fn pair(space: usize, configs: &Configs) -> Pair {
    let (near, far) = duplex(space);
    let (client, server) =
        tokio::join!(connect(near, name(), configs.1.clone()), accepted(far, configs.0.clone()),);
    (client.unwrap(), server)
}

fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).unwrap()
}

async fn accepted<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, config: Arc<ServerConfig>) -> Stream<S> {
    let hello = hello::read(&mut socket).await.unwrap();
    assert_eq!(hello.server_name.as_deref(), Some(NAME));
    accept(socket, hello, config, true, || ()).await.unwrap()
}

#[tokio::test]
async fn bytes_go_both_ways_in_both_versions() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(1 << 20, &configs(version)).await;
        assert_eq!((client.version(), server.version()), (version, version));
        client.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
        server.write_all(&[7; 300_000]).await.unwrap();
        server.shutdown().await.unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [7; 300_000]);
    }
}

#[tokio::test]
async fn a_second_connection_is_resumed_and_still_knows_the_certificates() {
    for version in VERSIONS {
        let configs = configs(version);
        let (mut client, mut server) = pair(1 << 16, &configs).await;
        assert!(!client.resumed() && !server.resumed());
        let first = client.peer_certificates().to_vec();
        assert_eq!(first.len(), 1);
        // Tickets come behind the handshake and are read with the first bytes.
        server.write_all(b"x").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'x');
        let (client, server) = pair(1 << 16, &configs).await;
        assert!(client.resumed() && server.resumed(), "{version:?}");
        assert_eq!(client.peer_certificates(), first);
        assert!(server.peer_certificates().is_empty());
    }
}

/// Writes `bytes` in pieces, reads them in pieces, and says what came.
async fn through(
    pair: (&mut Stream<DuplexStream>, &mut Stream<DuplexStream>),
    bytes: &[u8],
    cuts: Cuts,
) -> Vec<u8> {
    let (writer, reader) = pair;
    let writing = async {
        for piece in bytes.chunks(cuts.written) {
            writer.write_all(piece).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    };
    let reading = async {
        let mut all = Vec::new();
        let mut piece = vec![0; cuts.read];
        loop {
            let read = reader.read(&mut piece).await.unwrap();
            if read == 0 {
                return all;
            }
            all.extend_from_slice(&piece[..read]);
        }
    };
    tokio::join!(writing, reading).1
}

#[derive(Clone, Copy, Debug)]
struct Cuts {
    /// How much the pipe holds, and so how the records are cut.
    carried: usize,
    written: usize,
    read: usize,
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![1_usize..40, 40_usize..5_000, 5_000_usize..70_000, 70_000_usize..400_000]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read_however_it_is_cut(
        // A socket takes the few bytes that one side says while the other still speaks.
        (carried, written, read) in (sizes().prop_map(|size| size.max(8)), sizes(), sizes()),
        reply in sizes(),
        new in any::<bool>(),
    ) {
        let version = if new { Version::Tls13 } else { Version::Tls12 };
        // A case is to take milliseconds; each written piece is a record with 30 bytes of its own.
        let smallest = written.min(reply);
        let length = 600_000.min(carried * smallest / (smallest + 30) * 5_000).min(smallest.min(read) * 5_000);
        let bytes: Vec<u8> = (0..length).map(|index| (index / 3) as u8).collect();
        let cuts = Cuts { carried, written, read };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let (mut client, mut server) = pair(cuts.carried, &configs(version)).await;
            let held = HeldBytes::new(u64::MAX);
            server.count_in(&held);
            client.count_in(&held);
            let requests = through((&mut client, &mut server), &bytes, cuts).await;
            assert!(requests == bytes, "{} of {} bytes", requests.len(), bytes.len());
            let cuts = Cuts { written: reply, ..cuts };
            let responses = through((&mut server, &mut client), &bytes, cuts).await;
            assert!(responses == bytes, "{} of {} bytes", responses.len(), bytes.len());
            assert_eq!(held.bytes(), 0);
        });
    }
}

#[tokio::test]
async fn a_reader_that_stalls_costs_one_write_and_its_memory_is_given_back() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(16 * 1024, &configs(version)).await;
        let held = HeldBytes::new(u64::MAX);
        server.count_in(&held);
        let bytes = vec![9; 256 * 1024];
        assert_eq!(server.write(&bytes).await.unwrap(), bytes.len());
        assert_eq!(held.bytes(), spare::BYTES as u64);
        // What the peer has not taken is told by the flush, and stops the next write.
        assert!(is_pending(server.flush()).await);
        assert!(is_pending(server.write(b"more")).await);
        assert!(is_pending(server.shutdown()).await);
        let mut read = vec![0; bytes.len()];
        let (flushed, read_all) = tokio::join!(server.flush(), client.read_exact(&mut read));
        flushed.unwrap();
        read_all.unwrap();
        assert_eq!((held.bytes(), read), (0, bytes));
    }
}

impl<S> Stream<S> {
    /// To write what is no record.
    pub(crate) fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }
}

/// Polls once and says whether there is nothing yet.
async fn is_pending(future: impl Future) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[tokio::test]
async fn part_of_a_record_is_kept_and_given_back() {
    let (mut client, mut server) = pair(1 << 16, &configs(Version::Tls13)).await;
    let held = HeldBytes::new(u64::MAX);
    let (mut middle, far) = duplex(1 << 16);
    server.write_all(&[1; 3_000]).await.unwrap();
    let mut records = vec![0; 16 * 1024];
    let read = client.socket.read(&mut records).await.unwrap();
    client.socket = far;
    client.count_in(&held);
    let (first, last) = records[..read].split_at(read - 1);
    middle.write_all(first).await.unwrap();
    let mut space = vec![0; 256 * 1024];
    assert!(is_pending(client.read(&mut space)).await);
    assert!(held.bytes() > 0);
    middle.write_all(last).await.unwrap();
    assert_eq!(client.read(&mut space).await.unwrap(), 3_000);
    assert_eq!(held.bytes(), 0);
    // A small reader has the rest of the record kept for it, and a large one gets that first.
    server.socket = middle;
    server.write_all(&[2; 3_000]).await.unwrap();
    assert_eq!(client.read(&mut space[..1_000]).await.unwrap(), 1_000);
    assert!(held.bytes() > 0);
    assert_eq!(client.read(&mut space).await.unwrap(), 2_000);
    assert_eq!(held.bytes(), 0);
}

#[tokio::test]
async fn an_end_is_announced_before_it_comes() {
    let (mut client, mut server) = pair(1 << 16, &configs(Version::Tls12)).await;
    server.shutdown().await.unwrap();
    assert_eq!(server.write(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    let mut record = Vec::new();
    client.socket.read_to_end(&mut record).await.unwrap();
    // Behind the last records of the handshake: an alert, which is encrypted.
    assert!(record.windows(3).any(|start| start == [21, 3, 3]), "{record:02x?}");
}

#[tokio::test]
async fn an_end_between_records_is_an_end_and_one_inside_is_a_fault() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(1 << 16, &configs(version)).await;
        client.write_all(b"whole").await.unwrap();
        drop(client);
        let mut read = Vec::new();
        assert_eq!(server.read_to_end(&mut read).await.unwrap(), 5);
        for bytes in [1, 5, 20] {
            let (mut client, mut server) = pair(1 << 16, &configs(version)).await;
            client
                .socket
                .write_all(&[23, 3, 3, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..bytes])
                .await
                .unwrap();
            drop(client);
            let error = server.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        }
    }
}

#[tokio::test]
async fn garbage_is_answered_with_an_alert_and_then_read_to_its_end() {
    for version in VERSIONS {
        for garbage in [&[23, 3, 3, 0, 32, 7][..], b"GET / HTTP/1.1\r\n", &[23, 3, 3, 255, 255]] {
            let (mut client, mut server) = pair(1 << 16, &configs(version)).await;
            client.write_all(b"good").await.unwrap();
            client.socket.write_all(&[garbage, &[7; 40]].concat()).await.unwrap();
            let mut read = [0; 4];
            server.read_exact(&mut read).await.unwrap();
            assert_eq!(server.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
            assert_eq!(server.write(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
            server.shutdown().await.unwrap();
            let error = client.read_u8().await.unwrap_err();
            assert!(error.to_string().contains("received fatal alert"), "{error}");
            client.socket.write_all(&[1; 100_000][..60_000]).await.unwrap();
            drop(client);
            assert_eq!(server.read(&mut read).await.unwrap(), 0);
        }
    }
}

/// Has a client change its keys.
async fn update_keys(client: &mut Stream<DuplexStream>) {
    let drain = |client: &mut Stream<DuplexStream>| loop {
        let mut sink = Sink::new(&mut [], &mut client.plain);
        let step = client.machine.step(&mut [], &mut sink, &mut client.outgoing, Order::Read);
        if step.outcome.unwrap() == Outcome::Drained {
            break;
        }
    };
    drain(client);
    let Machine::Client(connection) = &mut client.machine else { panic!("not a client") };
    let Ok(ConnectionState::WriteTraffic(traffic)) = connection.process_tls_records(&mut []).state else {
        panic!("not ready to write");
    };
    traffic.refresh_traffic_keys().unwrap();
    drain(client);
    client.flush().await.unwrap();
}

#[tokio::test]
async fn keys_may_change_but_not_for_ever() {
    let (mut client, mut server) = pair(1 << 16, &configs(Version::Tls13)).await;
    let mut read = [0; 4];
    for _ in 0..100 {
        update_keys(&mut client).await;
        client.write_all(b"ping").await.unwrap();
        client.flush().await.unwrap();
        server.read_exact(&mut read).await.unwrap();
        server.write_all(b"pong").await.unwrap();
        server.flush().await.unwrap();
        client.read_exact(&mut read).await.unwrap();
    }
    assert_eq!(&read, b"pong");
    // Nothing but key updates is an attack.
    for _ in 0..40 {
        update_keys(&mut client).await;
    }
    assert_eq!(server.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_handshake_that_fails_has_a_reason_on_both_sides() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let cases = [
        // The client's view first.
        (Version::Tls13, foreign.client(Version::Tls13), name(), "unknown_ca", "certificate_refused"),
        (Version::Tls12, foreign.client(Version::Tls12), name(), "unknown_ca", "certificate_refused"),
        (Version::Tls13, ours.client(Version::Tls12), name(), "no_common_version", "no_common_version"),
        (Version::Tls12, ours.client(Version::Tls13), name(), "no_common_version", "no_common_version"),
        (
            Version::Tls13,
            ours.client(Version::Tls13),
            ServerName::try_from("other.test").unwrap(),
            "wrong_name",
            "certificate_refused",
        ),
    ];
    for (version, client, name, client_reason, server_reason) in cases {
        let (near, mut far) = duplex(1 << 16);
        let config = ours.server(version, false);
        let serving = async {
            let hello = hello::read(&mut far).await.unwrap();
            accept(far, hello, config, false, || ()).await
        };
        let (client, server) = tokio::join!(connect(near, name, client), serving);
        let (client, server) = (client.unwrap_err(), server.unwrap_err());
        assert_eq!((client.reason(), server.reason()), (client_reason, server_reason));
        assert!(reason::ALL.contains(&client_reason) && reason::ALL.contains(&server_reason));
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_closed() {
    let (mut near, far) = duplex(1 << 16);
    let hello = hello_of(&configs(Version::Tls13).1).await;
    near.write_all(&hello).await.unwrap();
    let (server, ()) = tokio::join!(
        async {
            let mut far = far;
            let hello = hello::read(&mut far).await.unwrap();
            accept(far, hello, configs(Version::Tls13).0, false, || ()).await
        },
        async {
            near.read_u8().await.unwrap();
            drop(near);
        }
    );
    assert!(matches!(server, Err(Error::Closed | Error::Io(_))), "{server:?}");
}

/// A client that is asked for another hello costs the computing only when that came.
#[tokio::test]
async fn a_request_for_another_hello_is_no_answer() {
    let authority = Authority::new("ours");
    let groups = vec![kx_group::MLKEM768, kx_group::X25519];
    let offers_another = CryptoProvider { kx_groups: groups, ..(*provider()).clone() };
    let client = ClientConfig::builder_with_provider(offers_another.into())
        .with_protocol_versions(only(Version::Tls13))
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    let (near, mut far) = duplex(1 << 16);
    let mut connecting = pin!(connect(near, name(), client.into()));
    assert!(is_pending(connecting.as_mut()).await);
    let hello = hello::read(&mut far).await.unwrap();
    let answered = Cell::new(false);
    let config = authority.server(Version::Tls13, false);
    let mut accepting = pin!(accept(far, hello, config, false, || answered.set(true)));
    assert!(is_pending(accepting.as_mut()).await);
    assert!(!answered.get(), "only asked for another hello");
    assert!(is_pending(connecting.as_mut()).await);
    assert!(is_pending(accepting.as_mut()).await);
    assert!(answered.get(), "waits for the client alone");
    let (client, server) = tokio::join!(connecting, accepting);
    assert!(client.is_ok() && server.is_ok());
}

#[tokio::test]
async fn a_chain_is_taken_up_to_a_length() {
    let authority = Authority::new("ours");
    for version in VERSIONS {
        for (certificates, taken) in [(9, true), (64, false)] {
            let (near, far) = duplex(1 << 17);
            let client = connect(near, name(), authority.client_of_chain(version, certificates));
            let serving = async {
                let mut far = far;
                let hello = hello::read(&mut far).await.unwrap();
                accept(far, hello, authority.server(version, true), true, || ()).await
            };
            let reading = async {
                let mut client = client.await.map_err(|error| format!("{error:?}"))?;
                client.read_u8().await.map_err(|error| error.to_string())
            };
            let serving = async {
                let mut server = serving.await.map_err(|error| crate::logging::chain(&error))?;
                server.write_all(b"x").await.unwrap();
                server.flush().await.unwrap();
                Ok::<(), String>(())
            };
            let (read, served) = tokio::join!(reading, serving);
            if taken {
                assert_eq!((read, served), (Ok(b'x'), Ok(())));
            } else {
                let (read, served) = (read.unwrap_err(), served.unwrap_err());
                assert!(served.contains("a handshake message is longer than 33792 bytes"), "{served}");
                assert!(read.to_lowercase().contains("alert"), "{read}");
            }
        }
    }
}

/// One that is not known yet must not have much kept, whatever it announces.
#[tokio::test]
async fn a_client_that_is_not_asked_may_not_say_much() {
    let (server, client) = configs(Version::Tls12);
    let (mut near, mut far) = duplex(1 << 20);
    near.write_all(&hello_of(&client).await).await.unwrap();
    // A key exchange of 64 KiB.
    near.write_all(&[&[22, 3, 3, 64, 0, 16, 0, 255, 255][..], &[7; 16_380]].concat()).await.unwrap();
    near.write_all(&[&[22, 3, 3, 64, 0][..], &[7; 16_384]].concat()).await.unwrap();
    let hello = hello::read(&mut far).await.unwrap();
    let serving = async { accept(far, hello, server, false, || ()).await.unwrap_err() };
    let reading = async {
        let mut said = Vec::new();
        near.read_buf(&mut said).await.unwrap();
        near.shutdown().await.unwrap();
        near.read_to_end(&mut said).await.unwrap();
        said
    };
    let (refused, said) = tokio::join!(serving, reading);
    let refused = crate::logging::chain(&refused);
    assert!(refused.contains("a handshake message is longer than 20480 bytes"), "{refused}");
    assert_eq!(&said[said.len() - 7..said.len() - 1], [21, 3, 3, 0, 2, 2], "a fatal alert");
}

/// No client of rustls says anything long after the handshake, so the bytes are put where they would be kept.
#[tokio::test]
async fn what_comes_after_the_handshake_is_a_record_or_little_more() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(1 << 16, &configs(version)).await;
        for side in [&mut client, &mut server] {
            side.fresh = false;
            side.incoming = vec![0; RECORD_BYTES_MAX + 1024];
            side.stand(Ok(Outcome::Drained));
            assert!(matches!(side.end, End::Open));
            side.incoming.push(0);
            side.stand(Ok(Outcome::Drained));
        }
        assert!(matches!(client.end, End::Open), "tickets and chains of servers may be long");
        assert_eq!(server.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
        assert_eq!(server.incoming.capacity(), 0);
    }
}

#[tokio::test]
async fn no_more_memory_is_taken_than_may_be_kept() {
    for kept in [Kept::Hello, Kept::Certificates] {
        for piece in [1, 700, 50_000] {
            let (mut near, mut far) = duplex(piece);
            let most = kept.bytes_max();
            let writing = async { near.write_all(&vec![0; most]).await.unwrap() };
            let reading = async {
                let mut incoming = Vec::new();
                while incoming.len() < most {
                    let room = most - incoming.len();
                    handshake::read(&mut far, &mut incoming, room).await.unwrap();
                    assert!(incoming.capacity() <= most);
                }
            };
            tokio::join!(writing, reading);
        }
    }
}

/// The first flight of a client.
async fn hello_of(config: &Arc<ClientConfig>) -> Vec<u8> {
    let (near, mut far) = duplex(1 << 16);
    let connecting = connect(near, name(), Arc::clone(config));
    let mut hello = vec![0; 16 * 1024];
    tokio::select! {
        _ = connecting => panic!("nobody answered"),
        read = far.read(&mut hello) => hello.truncate(read.unwrap()),
    }
    hello
}

#[tokio::test]
async fn a_client_that_writes_at_once_still_reads_why_it_was_refused() {
    let authority = Authority::new("ours");
    let (server, client) = (authority.server(Version::Tls13, true), authority.client(Version::Tls13));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..50 {
        let config = server.clone();
        let serving = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let hello = hello::read(&mut socket).await.unwrap();
            accept(socket, hello, config, true, || ()).await.unwrap_err()
        };
        let asking = async {
            let socket = TcpStream::connect(address).await.unwrap();
            let mut stream = connect(socket, name(), client.clone()).await.unwrap();
            stream.write_all(&[1; 1_000]).await.unwrap();
            stream.flush().await.unwrap();
            stream.read_u8().await.unwrap_err()
        };
        let (refused, error) = tokio::join!(serving, asking);
        assert_eq!(refused.reason(), "no_certificate");
        assert!(error.to_string().contains("CertificateRequired"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_cannot_hold_a_failed_handshake() {
    let (mut near, mut far) = duplex(4 * 1024);
    near.write_all(&hello_of(&configs(Version::Tls12).1).await).await.unwrap();
    let hello = hello::read(&mut far).await.unwrap();
    let refused = accept(far, hello, configs(Version::Tls13).0, false, || ());
    let refused = timeout(Duration::from_secs(3), refused).await.unwrap();
    assert_eq!(refused.unwrap_err().reason(), "no_common_version");
}
