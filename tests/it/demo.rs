//! `gatehouse demo`, from its start to its stop.

use std::net::Ipv6Addr;

use gatehouse::app::Runtimes;
use gatehouse::config::Surroundings;
use gatehouse::config::yaml::Environment;
use gatehouse::demo::{Demo, Options};
use gatehouse::kafka::NodeId;
use gatehouse::limits::machine::Machine;
use kafka_protocol::messages::MetadataRequest;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::client::Client;
use crate::poll::in_time;

#[tokio::test]
async fn records_flow_through_the_gateway_beside_a_busy_port() {
    let busy = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let busy_too = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = busy.local_addr().expect("an address").port();
    let wanted = Options { port, admin: busy_too.local_addr().expect("an address").port() };
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
    let gone = tokio::net::TcpStream::connect(("127.0.0.1", found.port)).await;
    assert!(gone.is_err(), "the port is closed");
}
