//! Behind a load balancer that sends PROXY headers: clients count by their own addresses.

use std::net::{IpAddr, SocketAddr};

use gatehouse::kafka::NodeId;
use gatehouse::toy::{Cluster, Options};
use kafka_protocol::messages::ListGroupsRequest;
use proxy_header::{ProxiedAddress, ProxyHeader};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::gateway::{Gateway, PORT, own_address, toy};
use crate::poll::until;

/// A gateway that requires headers from `required_from`, with lines of the listener and its admin pages on.
async fn behind(cluster: &Cluster, required_from: &str, listener: &str) -> Gateway {
    let ip = own_address();
    let (_, broker) = cluster.addresses()[0];
    let text = format!(
        "clusters:
  toy: {{ bootstrap: ['{broker}'], metadata_refresh: 1s }}
listeners:
  door:
    bind: {ip}:{PORT}
    advertise: gate.example
    routing: {{ port: {{ ranges: [ {{ nodes: 0-9, bind: {} }} ] }} }}
    proxy_protocol: {{ required_from: [ '{required_from}' ] }}
    {listener}
admin: {{ bind: '{ip}:9910' }}
shutdown: {{ ready_delay: 0s, drain_timeout: 10s, hard_stop_after: 20s }}
",
        PORT + 1,
    );
    let gateway = Gateway::start(&text, ip, broker.ip().to_string()).await;
    until("readiness", async || gateway.app.is_ready()).await;
    gateway
}

fn header(client: &str, version: u8) -> Vec<u8> {
    let client: SocketAddr = client.parse().expect("as the test made it");
    let balancer = if client.is_ipv4() { "10.0.0.9:9092" } else { "[2001:db8::9]:9092" };
    let header = ProxyHeader::with_address(ProxiedAddress::stream(
        client,
        balancer.parse().expect("as the test made it"),
    ));
    let mut bytes = Vec::new();
    if version == 1 { header.encode_v1(&mut bytes) } else { header.encode_v2(&mut bytes) }
        .expect("as the test made it");
    bytes
}

/// A client that the balancer introduces so.
async fn introduced(gateway: &Gateway, header: &[u8]) -> Client {
    let mut client = gateway.connect().await;
    client.send(header).await;
    client
}

async fn connections(gateway: &Gateway) -> serde_json::Value {
    let admin = gateway.app.bound().admin.expect("as the test made it");
    let mut stream = TcpStream::connect(admin).await.expect("as the test made it");
    stream
        .write_all(b"GET /api/v1/connections HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("as the test made it");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("as the test made it");
    serde_json::from_str(answer.split_once("\r\n\r\n").expect("as the test made it").1)
        .expect("as the test made it")
}

fn rejected(gateway: &Gateway, reason: &str) -> f64 {
    gateway.metric("gatehouse_connections_rejected_total", &[&format!("reason=\"{reason}\"")])
}

fn list() -> ListGroupsRequest {
    ListGroupsRequest::default()
}

#[tokio::test]
async fn clients_are_who_the_balancer_says() {
    let cluster = toy(Options::default()).await;
    let gateway = behind(&cluster, "127.0.0.0/8", "").await;
    let mut clients = Vec::new();
    let addresses = ["203.0.113.7:50001", "[2001:db8::7]:50002", "203.0.113.8:50003"];
    for (address, version) in addresses.into_iter().zip([1, 2, 2]) {
        let mut client = introduced(&gateway, &header(address, version)).await;
        assert_eq!(client.call(&list(), 3).await.error_code, 0);
        clients.push(client);
    }
    let listed = connections(&gateway).await;
    let listed: Vec<_> = listed["connections"]
        .as_array()
        .expect("as the test made it")
        .iter()
        .map(|c| c["client"].clone())
        .collect();
    assert_eq!(listed, addresses);
}

#[tokio::test]
async fn a_port_of_a_broker_wants_the_header_too() {
    let cluster = toy(Options::default()).await;
    let gateway = behind(&cluster, "127.0.0.0/8", "").await;
    let mut client = gateway.connect_to(NodeId(0)).await;
    client.send(&header("203.0.113.7:50001", 2)).await;
    assert_eq!(client.call(&list(), 3).await.error_code, 0);
    let mut without = gateway.connect_to(NodeId(0)).await;
    assert!(without.try_call(&list(), 3).await.is_none());
    assert_eq!(rejected(&gateway, "proxy_header"), 1.0);
}

#[tokio::test]
async fn networks_and_limits_judge_the_client_and_not_the_balancer() {
    let cluster = toy(Options::default()).await;
    let listener = "networks: { allow: [ 203.0.113.0/24 ] }\n    limits: { max_connections_per_ip: 1 }";
    let gateway = behind(&cluster, "127.0.0.0/8", listener).await;
    let mut first = introduced(&gateway, &header("203.0.113.7:1", 2)).await;
    assert_eq!(first.call(&list(), 3).await.error_code, 0);
    let mut second = introduced(&gateway, &header("203.0.113.7:2", 2)).await;
    assert!(second.is_closed().await);
    let mut other = introduced(&gateway, &header("203.0.113.8:1", 2)).await;
    assert_eq!(other.call(&list(), 3).await.error_code, 0, "another client of the same balancer");
    let mut foreign = introduced(&gateway, &header("198.51.100.7:1", 2)).await;
    assert!(foreign.is_closed().await);
    assert_eq!((rejected(&gateway, "per_ip"), rejected(&gateway, "network")), (1.0, 1.0));
    drop(first);
    until("room for the first address", async || {
        let mut again = introduced(&gateway, &header("203.0.113.7:3", 2)).await;
        again.try_call(&list(), 3).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn whoever_comes_past_the_balancer_is_turned_away_before_a_byte_is_read() {
    let cluster = toy(Options::default()).await;
    let gateway = behind(&cluster, "10.0.0.0/8", "").await;
    cluster.seen().forget();
    let mut client = gateway.connect().await;
    assert!(client.is_closed().await, "a header that would be believed is not even waited for");
    assert_eq!(rejected(&gateway, "proxy_header"), 1.0);
    assert!(cluster.seen().of(16).is_empty());
}

#[tokio::test]
async fn a_check_of_the_balancers_own_is_let_in_under_its_address() {
    let cluster = toy(Options::default()).await;
    let gateway = behind(&cluster, "127.0.0.0/8", "networks: { allow: [ 203.0.113.0/24 ] }").await;
    let mut local = Vec::new();
    ProxyHeader::with_local().encode_v2(&mut local).expect("as the test made it");
    let mut check = introduced(&gateway, &local).await;
    assert_eq!(check.call(&list(), 3).await.error_code, 0);
    let listed = connections(&gateway).await;
    let client: SocketAddr = listed["connections"][0]["client"]
        .as_str()
        .expect("as the test made it")
        .parse()
        .expect("as the test made it");
    assert_eq!(client.ip(), IpAddr::from([127, 0, 0, 1]));
    // A look whether the port is open is nobody's fault.
    drop(gateway.connect().await);
    assert_eq!(rejected(&gateway, "proxy_header"), 0.0);
}
