//! The PROXY protocol, versions 1 and 2: how a load balancer tells where a client really comes from.
//!
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the header may take: a balancer sends it at once.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// As much as both versions begin with, at least.
const START_BYTES: usize = 12;
/// What every header of version 2 begins with.
const SIGNATURE_V2: [u8; START_BYTES] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command LOCAL.
const LOCAL_V2: u8 = 0x20;
/// Signature, version and command, family and protocol, length.
const FIXED_BYTES_V2: usize = 16;
/// The longest header of version 1, with its line end.
const BYTES_MAX_V1: usize = 107;
/// The longest header of version 2 that is read. Addresses take 52 bytes at most; the rest are additions
/// that are not looked at.
const BYTES_MAX_V2: usize = 4096;

/// Who must send a header, and may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The networks of the balancers. Whoever comes from elsewhere is turned away: it could claim any
    /// address.
    pub required_from: Vec<IpNet>,
}

impl Options {
    /// Whether a header of this peer is believed. An IPv4 address that came over a dual-stack socket is IPv4.
    pub fn believes(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.required_from.iter().any(|network| network.contains(&peer))
    }
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What came is something else.
    #[error("no PROXY header came first; the load balancer has to send one")]
    Missing,
    /// It is one that cannot be read.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// It is longer than any real one.
    #[error("the PROXY header is longer than {BYTES_MAX_V2} bytes")]
    TooLong,
    /// It did not come in time.
    #[error("no PROXY header came within {TIMEOUT:?}")]
    Timeout,
    /// The peer went away before it was complete.
    #[error("the connection ended before a PROXY header")]
    Closed,
    /// The socket failed.
    #[error("the socket failed before a PROXY header")]
    Io(#[source] io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Closed } else { Self::Io(error) }
    }
}

/// Whose connection a load balancer brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's, from this address.
    Client(SocketAddr),
    /// Its own, such as a health check (`LOCAL` of version 2).
    Balancer,
    /// It does not say: it counts as coming from the balancer's address.
    Unknown,
}

/// Reads the header and not one byte of what follows.
///
/// # Errors
/// Any [`Error`].
pub async fn read(stream: &mut TcpStream) -> Result<Origin, Error> {
    match timeout(TIMEOUT, collect(stream)).await {
        Ok(header) => parse(&header?),
        Err(_) => Err(Error::Timeout),
    }
}

/// The bytes of the header.
async fn collect(stream: &mut TcpStream) -> Result<Vec<u8>, Error> {
    let mut header = vec![0; START_BYTES];
    let mut come = 0;
    while let Some(space) = header.get_mut(come..).filter(|space| !space.is_empty()) {
        come += match stream.read(space).await? {
            0 => return Err(Error::Closed),
            read => read,
        };
        let start = header.get(..come).unwrap_or_default();
        // Somebody who speaks something else may wait for an answer, and would wait for long.
        if !(b"PROXY ".starts_with(start) || start.starts_with(b"PROXY ") || SIGNATURE_V2.starts_with(start))
        {
            return Err(Error::Missing);
        }
    }
    if header == SIGNATURE_V2 {
        header.resize(FIXED_BYTES_V2, 0);
        stream.read_exact(header.get_mut(START_BYTES..).unwrap_or_default()).await?;
        let length = header.last_chunk::<2>().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
        if FIXED_BYTES_V2 + length > BYTES_MAX_V2 {
            return Err(Error::TooLong);
        }
        header.resize(FIXED_BYTES_V2 + length, 0);
        stream.read_exact(header.get_mut(FIXED_BYTES_V2..).unwrap_or_default()).await?;
        return Ok(header);
    }
    while header.last() != Some(&b'\n') {
        // What is only looked at stays in the socket: behind the end of the line stands what the client sent.
        let mut seen = [0; BYTES_MAX_V1];
        let looked = stream.peek(&mut seen).await?;
        let seen = seen.get(..looked).unwrap_or_default();
        let line = seen.iter().position(|byte| *byte == b'\n').map_or(looked, |end| end + 1);
        if looked == 0 {
            return Err(Error::Closed);
        }
        if header.len() + line > BYTES_MAX_V1 {
            return Err(Error::TooLong);
        }
        let known = header.len();
        header.resize(known + line, 0);
        stream.read_exact(header.get_mut(known..).unwrap_or_default()).await?;
    }
    Ok(header)
}

/// The address in a whole header.
///
/// # Errors
/// [`Error::Malformed`].
pub fn parse(header: &[u8]) -> Result<Origin, Error> {
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    let (parsed, length) = ProxyHeader::parse(header, config).map_err(|_| Error::Malformed)?;
    match parsed.proxied_address() {
        _ if length != header.len() => Err(Error::Malformed),
        Some(address) if address.protocol == Protocol::Stream => {
            Ok(Origin::Client(SocketAddr::new(address.source.ip().to_canonical(), address.source.port())))
        }
        Some(_) => Err(Error::Malformed),
        None if header.starts_with(&SIGNATURE_V2) && header.get(START_BYTES) == Some(&LOCAL_V2) => {
            Ok(Origin::Balancer)
        }
        None => Ok(Origin::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_header::{ProxiedAddress, Tlv};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    fn address(client: &str) -> ProxiedAddress {
        let balancer = if client.starts_with('[') { "[2001:db8::9]:9092" } else { "10.0.0.9:9092" };
        ProxiedAddress::stream(client.parse().unwrap(), balancer.parse().unwrap())
    }

    fn header(client: &str, version: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = ProxyHeader::with_address(address(client));
        if version == 1 { header.encode_v1(&mut bytes) } else { header.encode_v2(&mut bytes) }.unwrap();
        bytes
    }

    /// What is read of bytes that come one by one, and what is left in the socket.
    async fn trickle(bytes: &[u8]) -> (Result<Origin, Error>, Vec<u8>) {
        let (mut client, mut server) = pair().await;
        client.set_nodelay(true).unwrap();
        let bytes = bytes.to_vec();
        let sending = tokio::spawn(async move {
            for byte in bytes {
                client.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        });
        let read = read(&mut server).await;
        let mut rest = Vec::new();
        let _ = server.read_to_end(&mut rest).await;
        let _ = sending.await;
        (read, rest)
    }

    #[tokio::test]
    async fn a_header_is_read_to_its_last_byte_and_no_further() {
        for client in ["203.0.113.7:50000", "[2001:db8::7]:50000"] {
            for version in [1, 2] {
                let bytes = [header(client, version), b"\0\0\0\x14kafka\n".to_vec()].concat();
                let (read, rest) = trickle(&bytes).await;
                assert_eq!(read.unwrap(), Origin::Client(client.parse().unwrap()), "version {version}");
                assert_eq!(rest, b"\0\0\0\x14kafka\n");
            }
        }
    }

    #[tokio::test]
    async fn a_check_of_the_balancers_own_and_additions_are_taken() {
        let mut local = Vec::new();
        ProxyHeader::with_local().encode_v2(&mut local).unwrap();
        assert_eq!(trickle(&local).await.0.unwrap(), Origin::Balancer);
        assert_eq!(trickle(b"PROXY UNKNOWN\r\nx").await.0.unwrap(), Origin::Unknown);
        let unspecified = [&SIGNATURE_V2[..], &[0x21, 0, 0, 0]].concat();
        assert_eq!(trickle(&unspecified).await.0.unwrap(), Origin::Unknown);
        assert_eq!(trickle(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n").await.0.unwrap(), Origin::Unknown);
        let more = [Tlv::UniqueId(b"vpce-1".into()), Tlv::Noop(900)];
        let mut bytes = Vec::new();
        ProxyHeader::with_tlvs(Some(address("203.0.113.7:1")), more).encode_v2(&mut bytes).unwrap();
        assert_eq!(trickle(&bytes).await.0.unwrap(), Origin::Client("203.0.113.7:1".parse().unwrap()));
        let mapped = header("[::ffff:203.0.113.7]:1", 2);
        assert_eq!(parse(&mapped).unwrap(), Origin::Client("203.0.113.7:1".parse().unwrap()), "IPv4 in IPv6");
    }

    #[tokio::test]
    async fn what_is_no_header_ends_at_once() {
        let kafka = b"\0\0\0\x14\0\x12\0\x03\0\0\0\0\0\0\0\0";
        assert!(matches!(trickle(kafka).await.0, Err(Error::Missing)));
        assert!(matches!(trickle(b"\x16\x03\x01").await.0, Err(Error::Missing)));
        assert!(matches!(trickle(b"PROXX").await.0, Err(Error::Missing)));
        assert!(matches!(trickle(b"").await.0, Err(Error::Closed)));
        assert!(matches!(trickle(b"PROXY TCP4 203.0.113.7").await.0, Err(Error::Closed)));
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        assert!(matches!(trickle(&long).await.0, Err(Error::TooLong)));
        let long = [&SIGNATURE_V2[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        assert!(matches!(trickle(&long).await.0, Err(Error::TooLong)));
        for wrong in
            ["PROXY TCP4 203.0.113.7 10.0.0.9 1\r\n", "PROXY TCP4 ::1 ::2 1 2\r\n", "PROXY TCP9 a b 1 2\r\n"]
        {
            assert!(matches!(trickle(wrong.as_bytes()).await.0, Err(Error::Malformed)), "{wrong}");
        }
        let datagram = [&SIGNATURE_V2[..], &[0x21, 0x12, 0, 12], &[0; 12]].concat();
        assert!(matches!(trickle(&datagram).await.0, Err(Error::Malformed)));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends() {
        let (_client, mut server) = pair().await;
        assert!(matches!(read(&mut server).await, Err(Error::Timeout)));
    }

    #[test]
    fn only_the_balancers_are_believed() {
        let options = Options { required_from: vec!["10.0.0.0/8".parse().unwrap()] };
        assert!(options.believes("10.1.2.3".parse().unwrap()));
        assert!(options.believes("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!options.believes("203.0.113.7".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), version in 0..3_usize) {
            let start: &[u8] = [&b""[..], b"PROXY TCP4 ", &SIGNATURE_V2].get(version).unwrap();
            let _ = parse(&[start, &bytes].concat());
        }
    }
}
