//! In TLS 1.3 a client is done before the gateway has looked at its certificate, and writes at once. It must
//! still read why it is refused.

use std::io::Write;
use std::sync::Arc;

use kafka_protocol::messages::ListGroupsRequest;
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::house::House;
use super::peer::Outcome;
use super::pki::{Authority, List};
use crate::client::frame;
use crate::gateway::ADVERTISED;
use crate::poll::{in_time, until};

const RUNS: u32 = 100;

#[tokio::test]
async fn a_client_that_writes_at_once_still_reads_why_it_is_refused() {
    let house = House::mutual("").await;
    let (good, revoked) = (house.material.clients.client("good"), house.material.clients.client("revoked"));
    let stranger = Authority::new("CA of others").client("stranger");
    house.material.revoke(&[&revoked], List::InForce);
    assert_eq!(house.reload().await.0, 200);
    let config = |shows| house.config(shows, &rustls::version::TLS13);
    let before = house.cluster.connections_ever();
    for (reason, alert, config) in [
        ("revoked", AlertDescription::CertificateRevoked, config(Some(&revoked))),
        ("unknown_ca", AlertDescription::UnknownCA, config(Some(&stranger))),
        ("no_certificate", AlertDescription::CertificateRequired, config(None)),
    ] {
        let mut told = 0;
        for _ in 0..RUNS {
            told += u32::from(hasty(&house, &config).await == Some(Error::AlertReceived(alert)));
        }
        assert_eq!(told, RUNS, "{reason}: how many read why");
        until(reason, async || house.failed(reason) == f64::from(RUNS)).await;
    }
    assert_eq!(house.cluster.connections_ever(), before, "no broker heard of them");
    let good = house.outcome(&config(Some(&good))).await;
    assert!(matches!(good, Outcome::Answered(_)), "{good:?}");
}

/// Far more than the gateway reads before it has looked at the certificate.
const REQUESTS: usize = 4_000;

/// Sends certificate, Finished and requests in one write, one more when there is something to read, and only then
/// reads. Every write must be taken: most clients give up at one that is not, and never look at what came.
/// Returns the fault that it ends with; `None` for an answer, a
/// close without a word, or a reset.
async fn hasty(house: &House, config: &Arc<ClientConfig>) -> Option<Error> {
    let name = ADVERTISED.try_into().expect("a name");
    let mut tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let mut socket = TcpStream::connect(house.address()).await.expect("a connection");
    socket.set_nodelay(true).expect("nodelay");
    let mut flight = Vec::new();
    tls.write_tls(&mut flight).expect("a hello");
    socket.write_all(&flight).await.expect("written");
    let mut buffer = [0; 4096];
    while tls.is_handshaking() {
        let read = in_time("the gateway's flight", socket.read(&mut buffer)).await.expect("read");
        assert!(read > 0, "closed within the handshake");
        tls.read_tls(&mut &buffer[..read]).expect("taken");
        tls.process_new_packets().expect("a good flight");
    }
    let request = frame(&ListGroupsRequest::default(), 3, 1);
    tls.set_buffer_limit(None);
    tls.writer().write_all(&request.repeat(REQUESTS)).expect("taken");
    flight.clear();
    while tls.wants_write() {
        tls.write_tls(&mut flight).expect("records");
    }
    if in_time("a write", socket.write_all(&flight)).await.is_err() {
        return None;
    }
    in_time("the alert", socket.readable()).await.expect("something to read");
    tls.writer().write_all(&request).expect("taken");
    flight.clear();
    tls.write_tls(&mut flight).expect("a record");
    if socket.write_all(&flight).await.is_err() {
        return None;
    }
    loop {
        let read = in_time("the alert", socket.read(&mut buffer)).await.unwrap_or(0);
        if read == 0 {
            return None;
        }
        tls.read_tls(&mut &buffer[..read]).expect("taken");
        match tls.process_new_packets() {
            Err(fault) => return Some(fault),
            Ok(state) if state.plaintext_bytes_to_read() > 0 => return None,
            Ok(_) => {}
        }
    }
}
