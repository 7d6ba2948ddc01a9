//! `gatehouse demo`, from its start to its stop.

use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use gatehouse::app::Runtimes;
use gatehouse::config::Surroundings;
use gatehouse::config::yaml::Environment;
use gatehouse::demo::{Demo, Options};
use gatehouse::kafka::NodeId;
use gatehouse::limits::machine::Machine;
use gatehouse::tls::client::{self, Connector, Roots};
use gatehouse::tls::stream;
use kafka_protocol::messages::MetadataRequest;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use crate::client::Client;
use crate::poll::in_time;

#[tokio::test]
async fn records_flow_through_the_gateway_beside_a_busy_port() {
    let busy = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let busy_too = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = busy.local_addr().expect("an address").port();
    let wanted = Options { port, admin: busy_too.local_addr().expect("an address").port(), tls: false };
    let surroundings = Surroundings {
        environment: Environment::default(),
        machine: Machine { descriptors: 4_096, memory_bytes: 1 << 30 },
        host_name: "it".to_owned(),
        elsewhere: false,
        certificates: false,
    };
    let runtimes = Runtimes { data: Handle::current(), control: Handle::current() };
    let demo = Demo::start(wanted, &surroundings, &runtimes).await.expect("free ports");
    let found = demo.options();
    assert!(found.port > port, "the busy port is passed over");
    assert!(demo.text().contains(&format!("kcat -b localhost:{} -L", found.port)));
    in_time("records", demo.until(|records| records.written >= 3 && records.read >= 3)).await;
    let mut client = Client::connect(([127, 0, 0, 1], found.port)).await;
    let answer = client.call(&MetadataRequest::default().with_topics(None), 12).await;
    assert_eq!(answer.topics[0].partitions.len(), 3);
    for broker in &answer.brokers {
        let node = NodeId(broker.node_id.0);
        assert_eq!((broker.host.as_str(), broker.port), ("localhost", i32::from(found.port) + 1 + node.0));
    }
    drop(client);
    // `localhost` may be either; where there is IPv6, both lead in.
    if TcpListener::bind("[::1]:0").await.is_ok() {
        let mut client = Client::connect((Ipv6Addr::LOCALHOST, found.port)).await;
        client.call(&MetadataRequest::default(), 12).await;
    }
    in_time("the stop", demo.stop()).await;
    let gone = TcpStream::connect(("127.0.0.1", found.port)).await;
    assert!(gone.is_err(), "the port is closed");
}

#[tokio::test]
async fn behind_tls_records_flow_and_the_certificates_are_thrown_away() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let wanted = Options { port: free.port(), admin: 9910, tls: true };
    let surroundings = Surroundings {
        environment: Environment::default(),
        machine: Machine { descriptors: 4_096, memory_bytes: 1 << 30 },
        host_name: "it".to_owned(),
        elsewhere: false,
        certificates: true,
    };
    let runtimes = Runtimes { data: Handle::current(), control: Handle::current() };
    let demo = Demo::start(wanted, &surroundings, &runtimes).await.expect("free ports");
    in_time("records", demo.until(|records| records.written >= 3 && records.read >= 3)).await;
    let text = demo.text();
    let ca = text.split("ssl.ca.location=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let ca = PathBuf::from(ca.expect("a command that names the authority"));
    let java = std::fs::read_to_string(ca.with_file_name("client.properties")).expect("settings for Java");
    assert!(java.contains(&format!("ssl.truststore.location={}\n", ca.display())), "{java}");
    let mode = std::fs::metadata(ca.parent().expect("a directory")).expect("it is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o700);

    // Whoever trusts the authority gets in without a certificate; whoever speaks plaintext does not.
    let roots = Roots::Files(vec![ca.clone()]);
    let connector = Connector::load(client::Options { roots, ..client::Options::default() }).expect("the CA");
    let port = demo.options().port;
    let socket = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    let name = "localhost".try_into().expect("a name");
    let stream = stream::connect(socket, name, connector.config()).await.expect("a handshake");
    assert_eq!(stream.peer_certificates().len(), 1);
    let mut plain = Client::connect(([127, 0, 0, 1], port)).await;
    assert!(plain.try_call(&MetadataRequest::default(), 12).await.is_none());

    in_time("the stop", demo.stop()).await;
    assert!(!ca.exists());
}
