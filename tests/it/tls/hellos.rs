//! First bytes of every kind, cut in every way: what is TLS is understood, all else ends clearly, nobody is
//! dialled, and nobody waits for ever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::messages::{ApiVersionsRequest, ListGroupsRequest};
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::house::{House, Material, Plan};
use super::peer::{self, Outcome, VERSIONS};
use crate::client::frame;
use crate::gateway::{ADVERTISED, PORT};
use crate::poll::{in_time, until};

/// A client whose bytes a test has in its own hands.
struct ByHand {
    tls: ClientConnection,
    socket: TcpStream,
}

impl ByHand {
    async fn new(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let name = ADVERTISED.try_into().expect("a name");
        let tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
        let socket = TcpStream::connect(address).await.expect("a connection");
        socket.set_nodelay(true).expect("nodelay");
        Self { tls, socket }
    }

    /// What is to be sent now.
    fn flight(&mut self) -> Vec<u8> {
        let mut flight = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut flight).expect("records");
        }
        flight
    }

    /// Takes part until the handshake is done; `Err` with what went wrong.
    async fn finish(&mut self, mut send: impl AsyncFnMut(&mut TcpStream, &[u8])) -> Result<(), String> {
        let mut buffer = [0; 4096];
        loop {
            let flight = self.flight();
            send(&mut self.socket, &flight).await;
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            let read = in_time("a flight", self.socket.read(&mut buffer)).await.map_err(|e| e.to_string())?;
            if read == 0 {
                return Err("closed".to_owned());
            }
            self.tls.read_tls(&mut &buffer[..read]).expect("taken");
            self.tls.process_new_packets().map_err(|fault| fault.to_string())?;
        }
    }

    /// Whether a request is answered.
    async fn is_answered(&mut self, mut send: impl AsyncFnMut(&mut TcpStream, &[u8])) -> bool {
        use std::io::Write;
        self.tls.writer().write_all(&frame(&ListGroupsRequest::default(), 3, 1)).expect("taken");
        let flight = self.flight();
        send(&mut self.socket, &flight).await;
        let mut buffer = [0; 4096];
        loop {
            match in_time("an answer", self.socket.read(&mut buffer)).await {
                Ok(0) | Err(_) => return false,
                Ok(read) => {
                    self.tls.read_tls(&mut &buffer[..read]).expect("taken");
                    let state = self.tls.process_new_packets().expect("good records");
                    if state.plaintext_bytes_to_read() > 8 {
                        return true;
                    }
                }
            }
        }
    }
}

/// Everything that a record holds, as one record for each byte.
fn in_single_bytes(mut records: &[u8]) -> Vec<u8> {
    let mut cut = Vec::new();
    while let [kind, major, minor, high, low, rest @ ..] = records {
        let (payload, next) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        cut.extend(payload.iter().flat_map(|byte| [*kind, *major, *minor, 0, 1, *byte]));
        records = next;
    }
    cut
}

/// Each byte in a segment of its own.
async fn drip(socket: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        socket.write_all(&[*byte]).await.expect("the gateway reads");
        // The gateway's task runs in between, on the same thread.
        tokio::task::yield_now().await;
    }
}

async fn pour(socket: &mut TcpStream, bytes: &[u8]) {
    socket.write_all(bytes).await.expect("the gateway reads");
}

#[tokio::test]
async fn a_hello_in_records_of_one_byte_and_segments_of_one_byte_is_understood() {
    let house = House::anonymous().await;
    for version in VERSIONS {
        let config = house.config(None, version);
        for dripping in [false, true] {
            let mut client = ByHand::new(house.address(), &config).await;
            let hello = in_single_bytes(&client.flight());
            assert!(hello.len() > 6 * 100, "a record for each byte");
            match dripping {
                true => drip(&mut client.socket, &hello).await,
                false => pour(&mut client.socket, &hello).await,
            }
            client.finish(pour).await.expect("a handshake");
            assert!(client.is_answered(pour).await, "{version:?}");
        }
        // Whole records, but everything in segments of one byte: hello, certificate, Finished, request.
        let mut client = ByHand::new(house.address(), &config).await;
        client.finish(drip).await.expect("a handshake");
        assert!(client.is_answered(drip).await, "{version:?}");
    }
}

#[tokio::test]
async fn hybrid_post_quantum_keys_are_agreed_on() {
    let house = House::anonymous().await;
    let client = house.connect(&house.config(None, &rustls::version::TLS13)).await;
    let group = client.stream.get_ref().1.negotiated_key_exchange_group().expect("a group");
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}

/// Sends bytes to a port and returns what comes back until the end.
async fn send(house: &House, port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect((house.ip, port)).await.expect("a connection");
    // The gateway may have heard enough before it was all sent.
    let _ = socket.write_all(bytes).await;
    let mut back = Vec::new();
    let _ = in_time("the end", socket.read_to_end(&mut back)).await;
    back
}

#[tokio::test]
async fn what_is_no_hello_ends_clearly_and_nobody_is_dialled() {
    let material = Material::new();
    let (door, names) = (material.anonymous(""), material.anonymous(""));
    let listeners = format!(
        "  plain: {{ bind: '$ip:19092', advertise: gate.example, routing: {{ port: {{ ranges: [ {{ nodes: 0-9, bind: 19100 }} ] }} }} }}
  names: {{ bind: '$ip:29092', {names}, routing: {{ sni: {{ bootstrap: gate.example, brokers: 'b{{node}}.gate.example', nodes: 0-9 }} }} }}"
    );
    let plan = Plan { door: &[&door], listeners: &listeners, ..Plan::default() };
    let house = House::build(material, plan).await;
    let before = house.cluster.connections_ever();
    let kafka = frame(&ApiVersionsRequest::default(), 3, 1);
    let long_record = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xfb][..], &[0; 0x4000 - 4]].concat();
    let endless = long_record.repeat(4);
    let alert = |number| vec![21, 3, 3, 0, 2, 2, number];
    for (what, port, bytes, back, reason) in [
        ("plain Kafka", PORT, kafka.to_vec(), vec![], "not_tls"),
        ("HTTP", PORT, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), vec![], "not_tls"),
        ("SSH", PORT, b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), vec![], "not_tls"),
        ("zeros", PORT, vec![0; 64], vec![], "not_tls"),
        ("a hello without end", PORT, endless, alert(22), "protocol"),
        ("a record too long", PORT, [&[22, 3, 1, 0xff, 0xff][..], &[1; 100]].concat(), alert(50), "protocol"),
        ("an empty record", PORT, vec![22, 3, 1, 0, 0], alert(50), "protocol"),
        ("no hello in it", PORT, vec![22, 3, 1, 0, 4, 2, 0, 0, 0], alert(50), "protocol"),
        ("a hello of nothing", PORT, vec![22, 3, 1, 0, 4, 1, 0, 0, 0], alert(50), "protocol"),
        ("plain Kafka where names are", 29_092, kafka.to_vec(), vec![], "not_tls"),
    ] {
        let counted = house.failed(reason);
        let came = send(&house, port, &bytes).await;
        println!("{what:30} {reason:10} {came:?}");
        assert_eq!(came, back, "{what}");
        until(&format!("{reason} of {what}"), async || house.failed(reason) == counted + 1.0).await;
    }
    // A client that goes away is no news, and a probe is no client.
    let counted = house.failed("closed");
    drop(TcpStream::connect(house.address()).await.expect("a connection"));
    until("closed", async || house.failed("closed") == counted + 1.0).await;

    // The other way round: TLS where none is.
    let config = house.config(None, &rustls::version::TLS13);
    let outcome = peer::outcome(SocketAddr::new(house.ip, 19_092), ADVERTISED, &config).await;
    assert_eq!(outcome, Outcome::Closed, "TLS on a plain port");
    house.gateway.until_ended("foreign_protocol").await;
    assert_eq!(house.cluster.connections_ever(), before, "nobody was dialled");
}

#[tokio::test]
async fn a_slow_handshake_ends_at_its_deadline_wherever_it_stands_still() {
    let material = Material::new();
    let door = material.mutual("required", "");
    let plan = Plan { door: &[&door, "limits: { handshake_timeout: 400ms }"], ..Plan::default() };
    let house = House::build(material, plan).await;
    let before = house.cluster.connections_ever();
    let mut expected = 0.0;
    for version in VERSIONS {
        let config = house.config(None, version);
        for (what, part) in [("nothing", 0.0), ("half a hello", 0.5), ("a hello and no more", 1.0)] {
            let began = Instant::now();
            let mut client = ByHand::new(house.address(), &config).await;
            let hello = client.flight();
            let cut = (hello.len() as f64 * part) as usize;
            client.socket.write_all(&hello[..cut]).await.expect("written");
            let mut back = Vec::new();
            let _ = in_time("the deadline", client.socket.read_to_end(&mut back)).await;
            println!("{what:30} {version:?} ended after {:?}", began.elapsed());
            expected += 1.0;
            until(what, async || house.failed("timeout") == expected).await;
        }
    }
    // One byte now and then is no progress either.
    let config = house.config(None, &rustls::version::TLS13);
    let mut client = ByHand::new(house.address(), &config).await;
    let hello = client.flight();
    let mut sent = 0;
    until("an end within the hello", async || {
        let more = client.socket.write_all(&hello[sent..=sent]).await;
        sent += 1;
        assert!(sent < hello.len(), "a hello that took longer than its deadline");
        more.is_err()
    })
    .await;
    until("a timeout", async || house.failed("timeout") == expected + 1.0).await;
    assert_eq!(house.gateway.ended("timeout"), expected + 1.0);
    assert_eq!(house.cluster.connections_ever(), before, "nobody was dialled");
}
