//! Brokers that come, go and move, and how the doors follow them without a restart.

use std::io::ErrorKind;
use std::net::SocketAddr;

use gatehouse::kafka::NodeId;
use gatehouse::toy::misbehaviour::{Act, Misbehaviour};
use gatehouse::toy::seen::Request;
use gatehouse::toy::world::Endpoint;
use gatehouse::toy::{Cluster, Options, User};
use kafka_protocol::messages::{ListGroupsRequest, MetadataRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{AT_MOST, Client, frame};
use crate::gateway::{Gateway, PORT, Wanted, own_address, toy};
use crate::poll::until;

/// Asks a node's door something, and says which broker was asked.
async fn who_answers(gateway: &Gateway, cluster: &Cluster, node: NodeId) -> Option<NodeId> {
    let mut client = gateway.connect_to(node).await;
    client.try_call(&ListGroupsRequest::default(), 3).await?;
    cluster.seen().of(16).last().map(|request| request.node)
}

fn bound(cluster: &Cluster, node: NodeId) -> Option<SocketAddr> {
    cluster.addresses().into_iter().find(|(id, _)| *id == node).map(|(_, address)| address)
}

#[tokio::test]
async fn each_door_leads_to_its_broker() {
    let cluster = toy(Options { brokers: 10, ..Options::default() }).await;
    let gateway = Gateway::before(&cluster).await;
    for node in (0..10).map(NodeId) {
        assert_eq!(who_answers(&gateway, &cluster, node).await, Some(node));
    }
}

#[tokio::test]
async fn a_new_broker_has_a_door_without_a_restart() {
    let cluster = toy(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let new = NodeId(7);
    assert_eq!(who_answers(&gateway, &cluster, new).await, None, "there is none yet");
    cluster.add_broker(new).await.expect("a fourth broker");
    until("its door", async || who_answers(&gateway, &cluster, new).await == Some(new)).await;
    cluster.remove_broker(new).await;
    until("its end", async || gateway.metric("gatehouse_brokers", &[]) == 3.0).await;
    assert_eq!(who_answers(&gateway, &cluster, new).await, None);
}

/// As by a broker that is not there: an end in order before the first response is no reason for franz-go to ask
/// another broker, but one to fail records.
#[tokio::test]
async fn the_door_of_a_broker_that_is_not_there_resets() {
    let cluster = toy(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let mut socket = TcpStream::connect(gateway.node(NodeId(7))).await.expect("a door");
    let request = frame(&ListGroupsRequest::default(), 3, 1);
    socket.write_all(&request).await.expect("a request");
    let mut rest = [0; 1];
    let read = tokio::time::timeout(AT_MOST, socket.read(&mut rest)).await.expect("an end");
    assert_eq!(read.expect_err("no orderly end").kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_passing_answer_teaches_a_new_broker_at_once() {
    let cluster = toy(Options::default()).await;
    let gateway =
        Gateway::with(&cluster, Wanted { cluster: "metadata_refresh: 1h", ..Wanted::default() }).await;
    let new = NodeId(7);
    cluster.add_broker(new).await.expect("a fourth broker");
    let mut client = gateway.connect().await;
    assert_eq!(client.call(&MetadataRequest::default(), 12).await.brokers.len(), 4);
    until("its door", async || who_answers(&gateway, &cluster, new).await == Some(new)).await;
}

#[tokio::test]
async fn a_broker_that_moved_is_followed_and_its_old_connections_end() {
    let cluster = toy(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let node = NodeId(1);
    let before = bound(&cluster, node).expect("a broker");
    let mut client = gateway.connect_to(node).await;
    client.call(&ListGroupsRequest::default(), 3).await;
    // The same broker elsewhere; the old place is gone.
    let after = cluster.add_broker(node).await.expect("a new port");
    assert_ne!(before, after);
    assert!(client.is_closed().await);
    until("its door", async || who_answers(&gateway, &cluster, node).await == Some(node)).await;
    // It says that it is elsewhere while the old place still answers: its clients are sent there too.
    let mut client = gateway.connect_to(node).await;
    client.call(&ListGroupsRequest::default(), 3).await;
    let elsewhere = bound(&cluster, NodeId(2)).expect("a broker");
    cluster.advertise(node, &elsewhere.ip().to_string(), elsewhere.port().into());
    assert!(client.is_closed().await, "connections to the old address are drained");
    until("the new place", async || who_answers(&gateway, &cluster, node).await == Some(NodeId(2))).await;
}

#[tokio::test]
async fn one_lagging_broker_moves_nothing() {
    let cluster = toy(Options::default()).await;
    // The gateway asks when it has heard something else, and not before: the lie is told once.
    let seldom = Wanted { cluster: "metadata_refresh: 1h", ..Wanted::default() };
    let gateway = Gateway::with(&cluster, seldom).await;
    let mut steady = gateway.connect_to(NodeId(1)).await;
    steady.call(&ListGroupsRequest::default(), 3).await;
    let elsewhere = bound(&cluster, NodeId(2)).expect("a broker");
    let lagging: Vec<Endpoint> = (0..3)
        .map(|node| Endpoint {
            node: NodeId(node),
            host: elsewhere.ip().to_string(),
            port: elsewhere.port().into(),
        })
        .collect();
    // Only a passing answer says it; the gateway's own request hears the truth.
    cluster.behave(Misbehaviour::always(Act::Announce(lagging)).api(3).times(1));
    let mut client = gateway.connect().await;
    cluster.seen().forget();
    let told = client.call(&MetadataRequest::default(), 12).await.brokers.len();
    assert_eq!(told, 3);
    assert!(cluster.seen().until(AT_MOST, |all| !own(all).is_empty()).await, "own requests");
    assert_eq!(steady.call(&ListGroupsRequest::default(), 3).await.error_code, 0, "nothing was drained");
    assert_eq!(who_answers(&gateway, &cluster, NodeId(1)).await, Some(NodeId(1)));
}

/// The gateway's own requests for Metadata.
fn own(all: &[Request]) -> Vec<&Request> {
    all.iter().filter(|r| r.api == 3 && r.client_id.as_deref() != Some("it")).collect()
}

#[tokio::test]
async fn learn_only_asks_nothing_and_learns_from_what_passes() {
    let users = vec![User { name: "alice".into(), password: "secret".into() }];
    let cluster = toy(Options { users, ..Options::default() }).await;
    let gateway =
        Gateway::with(&cluster, Wanted { cluster: "discovery: learn-only", ..Wanted::default() }).await;
    assert!(own(&cluster.seen().all()).is_empty(), "the gateway has no login here");
    let login = async |client: &mut Client| {
        use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
        let handshake = SaslHandshakeRequest::default().with_mechanism(crate::client::text("PLAIN"));
        client.call(&handshake, 1).await;
        let token =
            SaslAuthenticateRequest::default().with_auth_bytes(bytes::Bytes::from_static(b"\0alice\0secret"));
        assert_eq!(client.call(&token, 0).await.error_code, 0);
    };
    // Nobody has taught the gateway yet: the door of a node leads to some broker.
    let mut client = gateway.connect_to(NodeId(2)).await;
    login(&mut client).await;
    assert_eq!(client.call(&MetadataRequest::default(), 12).await.brokers.len(), 3);
    until("the door of each node", async || {
        for node in (0..3).map(NodeId) {
            let mut client = gateway.connect_to(node).await;
            login(&mut client).await;
            client.call(&ListGroupsRequest::default(), 3).await;
            if cluster.seen().of(16).last().map(|r| r.node) != Some(node) {
                return false;
            }
        }
        true
    })
    .await;
    assert!(own(&cluster.seen().all()).is_empty(), "still none");
}

#[tokio::test]
async fn a_static_map_is_the_truth() {
    let cluster = toy(Options::default()).await;
    let nodes: Vec<String> =
        cluster.addresses().iter().map(|(node, address)| format!("{}: {address}", node.0 + 4)).collect();
    let fixed = format!("nodes: {{ {} }}", nodes.join(", "));
    let gateway = Gateway::with(&cluster, Wanted { cluster: &fixed, ..Wanted::default() }).await;
    assert_eq!(who_answers(&gateway, &cluster, NodeId(5)).await, Some(NodeId(1)));
    assert_eq!(who_answers(&gateway, &cluster, NodeId(9)).await, None);
}

#[tokio::test]
async fn two_clusters_behind_three_listeners_stay_apart() {
    let clusters = [
        toy(Options { brokers: 1, ..Options::default() }).await,
        toy(Options { brokers: 2, first_node: NodeId(5), ..Options::default() }).await,
    ];
    let ips = [own_address(), own_address(), own_address()];
    let mut text = "admin: { bind: null }\nclusters:\n".to_owned();
    for (name, cluster) in ["a", "b"].iter().zip(&clusters) {
        text += &format!("  {name}: {{ bootstrap: [{}] }}\n", cluster.addresses()[0].1);
    }
    text += "listeners:\n";
    for (name, (cluster, ip)) in ["one", "two", "three"].iter().zip(["a", "b", "b"].iter().zip(ips)) {
        text += &format!(
            "  {name}: {{ cluster: {cluster}, bind: \"{ip}:{PORT}\", advertise: {name}.example, \
             routing: {{ port: {{ ranges: [ {{ nodes: 0-9, bind: {} }} ] }} }} }}\n",
            PORT + 1,
        );
    }
    let gateway = Gateway::start(&text, ips[0], "nothing".to_owned()).await;
    until("readiness", async || gateway.app.is_ready()).await;
    let expected = [("one.example", vec![0]), ("two.example", vec![5, 6]), ("three.example", vec![5, 6])];
    for (ip, (host, nodes)) in ips.into_iter().zip(expected) {
        let answer = Client::connect((ip, PORT)).await.call(&MetadataRequest::default(), 12).await;
        assert!(answer.brokers.iter().all(|broker| broker.host.as_str() == host));
        assert_eq!(answer.brokers.iter().map(|broker| broker.node_id.0).collect::<Vec<_>>(), nodes);
    }
    let mut wrong = Client::connect((ips[0], PORT + 1 + 5)).await;
    assert!(
        wrong.try_call(&ListGroupsRequest::default(), 3).await.is_none(),
        "node 5 is of the other cluster"
    );
    let mut right = Client::connect((ips[2], PORT + 1 + 5)).await;
    assert!(right.try_call(&ListGroupsRequest::default(), 3).await.is_some());
}
