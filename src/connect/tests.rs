//! Dials to sockets that answer, refuse and stay silent.

use super::*;
use std::error::Error as _;
use tokio::net::TcpListener;

fn dialer(options: Options, configured: &[&str]) -> Dialer {
    Dialer::new(options, configured.iter().map(|text| text.parse().unwrap()))
}

fn soon() -> Instant {
    Instant::now() + Options::default().timeout
}

/// A socket that does not listen, and its address: nobody else can have it, and whoever dials it is refused.
pub(crate) fn closed() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A listening socket whose queue is full, so that further connections get no answer.
async fn silent() -> (Socket, Vec<TcpStream>, SocketAddr) {
    let (socket, address) = closed();
    socket.listen(0).unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        queued.push(stream);
        assert!(queued.len() < 8);
    }
    (socket, queued, address)
}

#[tokio::test]
async fn a_configured_loopback_broker_is_reached_with_its_options_set() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: HostPort = listener.local_addr().unwrap().to_string().parse().unwrap();
    let connected = dialer(Options::default(), &["127.0.0.1:1"]).dial(&address, None).await.unwrap();
    assert_eq!(connected.peer, listener.local_addr().unwrap());
    let socket = SockRef::from(connected.stream.socket());
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
}

#[tokio::test]
async fn a_name_is_resolved_and_opens_its_own_class() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address: HostPort = format!("localhost:{port}").parse().unwrap();
    assert!(dialer(Options::default(), &[&address.to_string()]).dial(&address, None).await.is_ok());
    let refused = dialer(Options::default(), &["10.0.0.1:9092"]).dial(&address, None).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_holds_a_dial_until_its_timeout_alone() {
    let dialer = dialer(Options::default(), &["kafka-0:9092"]);
    let hanging = dialer.0.lookups.acquire_many(LOOKUPS_MAX as u32).await.unwrap();
    let broker = "kafka-0:9092".parse().unwrap();
    let error = dialer.dial(&broker, None).await.unwrap_err();
    assert_eq!(error.to_string(), "kafka-0:9092 was not resolved within 5s");
    drop(hanging);
}

#[tokio::test]
async fn the_source_address_is_used_and_leaves_the_port_to_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: HostPort = listener.local_addr().unwrap().to_string().parse().unwrap();
    let source: IpAddr = [127, 0, 7, 9].into();
    let options = Options { source_address: Some(source), ..Options::default() };
    let dialer = dialer(options, &["127.0.0.1:1"]);
    let connected = dialer.dial(&address, None).await.unwrap();
    assert_eq!(connected.stream.socket().local_addr().unwrap().ip(), source);
    #[cfg(target_os = "linux")]
    let no_port = nix::sys::socket::getsockopt(
        connected.stream.socket(),
        nix::sys::socket::sockopt::IpBindAddressNoPort,
    );
    #[cfg(target_os = "linux")]
    assert_eq!(no_port, Ok(true));
    let other_family = "[::1]:9092".parse().unwrap();
    let resolved = ["[2001:db8::1]:9092".parse().unwrap()];
    let error = dialer.dial_resolved(&other_family, &resolved, soon()).await;
    assert!(matches!(error, Err(Error::NoAddress { .. })));
}

#[tokio::test]
async fn a_refused_port_says_which_broker_which_address_and_why() {
    let (_closed, peer) = closed();
    let dialer = dialer(Options::default(), &["kafka-0:9092", "127.0.0.1:1"]);
    let error = dialer.dial_resolved(&"kafka-0:9092".parse().unwrap(), &[peer], soon()).await;
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), format!("kafka-0:9092 could not be reached at {peer}"));
    assert!(error.source().unwrap().to_string().contains("refused"), "{:?}", error.source());
}

#[tokio::test]
async fn an_address_that_fails_or_is_silent_does_not_hide_the_next_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = listener.local_addr().unwrap();
    let (_closed, closed) = closed();
    let (_socket, _queued, silent) = silent().await;
    let dialer = dialer(Options::default(), &["127.0.0.1:1"]);
    let broker = "kafka-0:9092".parse().unwrap();
    let (_, peer) = dialer.dial_resolved(&broker, &[closed, silent, good], soon()).await.unwrap();
    assert_eq!(peer, good, "the silent address took all the time");
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let (_socket, _queued, silent) = silent().await;
    let timeout = Duration::from_millis(100);
    let dialer = dialer(Options { timeout, ..Options::default() }, &["127.0.0.1:1"]);
    let broker = "kafka-0:9092".parse().unwrap();
    let error = dialer.dial_resolved(&broker, &[silent], Instant::now() + timeout).await.unwrap_err();
    assert_eq!(error.to_string(), format!("kafka-0:9092 did not answer at {silent} within 100ms"));
}

#[tokio::test]
async fn only_what_was_checked_is_dialled() {
    let hostile = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = hostile.local_addr().unwrap();
    let dialer = dialer(Options::default(), &["10.0.0.1:9092"]);
    let broker = "kafka-7:9092".parse().unwrap();
    let error = dialer.dial_resolved(&broker, &[peer], soon()).await.unwrap_err();
    assert_eq!(error.to_string(), "kafka-7:9092 may not be dialled at 127.0.0.1");
    let accepted = hostile.into_std().unwrap().accept();
    assert_eq!(accepted.unwrap_err().kind(), io::ErrorKind::WouldBlock, "somebody connected");
}

#[tokio::test]
async fn a_gateway_does_not_dial_itself() {
    let own = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = own.local_addr().unwrap().port();
    let dialer = dialer(Options::default(), &["127.0.0.1:1"]);
    dialer.policy().forbid_own(vec![own.local_addr().unwrap()]);
    for host in ["127.0.0.1", "127.9.9.9", "localhost"] {
        let error = dialer.dial(&format!("{host}:{port}").parse().unwrap(), None).await.unwrap_err();
        let source = error.source().unwrap().to_string();
        assert!(matches!(error, Error::Refused { source: Refused::Own, .. }), "{host}: {source}");
    }
}
