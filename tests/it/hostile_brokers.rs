//! Brokers that lie, stop or rave: the connection ends clearly, nothing forbidden is dialled, and the
//! gateway goes on.

use bytes::{BufMut, Bytes, BytesMut};
use gatehouse::kafka::NodeId;
use gatehouse::toy::misbehaviour::{Act, Misbehaviour};
use gatehouse::toy::world::Endpoint;
use gatehouse::toy::{Cluster, Options};
use kafka_protocol::messages::{ListGroupsRequest, MetadataRequest};
use tokio::net::TcpListener;

use crate::client::{AT_MOST, frame};
use crate::gateway::{Gateway, Wanted, toy};
use crate::poll::until;

/// A gateway whose own requests do not come while a test makes the brokers misbehave.
async fn quiet(cluster: &Cluster) -> Gateway {
    Gateway::with(cluster, Wanted { cluster: "metadata_refresh: 1h", ..Wanted::default() }).await
}

/// What clients are told works again: one connection from the door to the answer.
async fn works(gateway: &Gateway) {
    let mut client = gateway.connect().await;
    assert_eq!(client.call(&MetadataRequest::default(), 12).await.brokers.len(), 3);
}

#[tokio::test]
async fn an_answer_to_another_request_ends_the_connection_without_a_byte() {
    let cluster = toy(Options::default()).await;
    let gateway = quiet(&cluster).await;
    for (count, api) in [3, 16, 18].into_iter().enumerate() {
        cluster.behave(Misbehaviour::always(Act::WrongCorrelationId(1)).api(api).times(1));
        let mut client = gateway.connect().await;
        client.send(&bare(api, if api == 3 { 12 } else { 3 })).await;
        assert!(client.read().await.is_none(), "the wrong answer does not pass");
        drop(client);
        until("the ending", async || gateway.ended("correlation_id") == count as f64 + 1.0).await;
    }
    works(&gateway).await;
}

#[tokio::test]
async fn half_an_answer_ends_the_connection_as_truncated() {
    let cluster = toy(Options::default()).await;
    let gateway = quiet(&cluster).await;
    let mut expected = 0.0;
    for (api, cuts) in [(16, [5, 8, 12]), (3, [5, 9, 40]), (60, [5, 9, 40])] {
        for cut in cuts {
            cluster.behave(Misbehaviour::always(Act::DropMidFrame(cut)).api(api).times(1));
            let mut client = gateway.connect().await;
            let request = match api {
                16 => frame(&ListGroupsRequest::default(), 3, 1),
                3 => frame(&MetadataRequest::default(), 12, 1),
                _ => frame(&kafka_protocol::messages::DescribeClusterRequest::default(), 0, 1),
            };
            client.send(&request).await;
            let mut all = BytesMut::new();
            let read = async {
                while tokio::io::AsyncReadExt::read_buf(&mut client.stream, &mut all)
                    .await
                    .is_ok_and(|n| n > 0)
                {}
            };
            crate::poll::in_time("the end", read).await;
            assert!(all.len() <= cut, "nothing is added to what the broker sent");
            // The gateway lingers until the client has closed too, and counts then.
            drop(client);
            expected += 1.0;
            until("the ending", async || gateway.ended("truncated") == expected).await;
        }
    }
    works(&gateway).await;
}

#[tokio::test]
async fn lengths_that_no_answer_has_and_answers_that_nobody_wanted_end_the_connection() {
    let cluster = toy(Options::default()).await;
    let gateway = quiet(&cluster).await;
    let cases: [(&[u8], &str); 5] = [
        (&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1], "response_length"),
        (&[0x80, 0, 0, 0, 0, 0, 0, 1], "response_length"),
        (&[0, 0, 0, 0, 0, 0, 0, 1], "response_length"),
        (&[0, 0, 0, 3, 0, 0, 0, 1], "response_length"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "correlation_id"),
    ];
    for (bytes, reason) in cases {
        let before = gateway.ended(reason);
        cluster.behave(Misbehaviour::always(Act::Raw(Bytes::from_static(bytes))).api(3).times(1));
        let mut client = gateway.connect().await;
        assert!(client.try_call(&MetadataRequest::default(), 12).await.is_none());
        drop(client);
        until(reason, async || gateway.ended(reason) > before).await;
    }
    // One answer twice: the first is the client's, the second nobody's.
    let mut twice = BytesMut::new();
    for _ in 0..2 {
        twice.put_slice(&[0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
    cluster.behave(Misbehaviour::always(Act::Raw(twice.freeze())).api(16).times(1));
    let mut client = gateway.connect().await;
    client.ask(&ListGroupsRequest::default(), 1).await;
    assert_eq!(client.read().await.map(|answer| answer.len()), Some(12));
    assert!(client.is_closed().await);
    gateway.until_ended("unexpected_response").await;
    works(&gateway).await;
}

#[tokio::test]
async fn counts_without_end_take_no_memory_and_end_the_connection() {
    let cluster = toy(Options::default()).await;
    let gateway = quiet(&cluster).await;
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    // The body of each answer up to its first count, which is as large as can be.
    let bodies: [(i16, i16, Vec<u8>); 6] = [
        (3, 12, [&[0; 4][..], &huge].concat()),
        (3, 1, vec![0x7f, 0xff, 0xff, 0xff]),
        (10, 4, [&[0; 4][..], &huge].concat()),
        (60, 0, [&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0][..], &huge].concat()),
        (18, 3, [&[0, 0][..], &huge].concat()),
        (55, 2, [&[0, 0, 0][..], &huge].concat()),
    ];
    for (count, (api, version, body)) in bodies.into_iter().enumerate() {
        // Enough bytes behind the count that some elements could be there.
        let body = [body, vec![0; 100_000]].concat();
        cluster.behave(Misbehaviour::always(Act::Body(body.into())).api(api).times(1));
        let mut client = gateway.connect().await;
        client.send(&bare(api, version)).await;
        assert_eq!(client.read().await, None, "API {api}");
        drop(client);
        until(&format!("the ending of API {api}"), async || {
            gateway.ended("response_malformed") == count as f64 + 1.0
        })
        .await;
    }
    works(&gateway).await;
}

/// The smallest request of an API in a flexible version or not.
fn bare(api: i16, version: i16) -> Bytes {
    use kafka_protocol::messages::{
        ApiVersionsRequest, DescribeClusterRequest, DescribeQuorumRequest, FindCoordinatorRequest,
    };
    match api {
        3 => frame(&MetadataRequest::default(), version, 1),
        16 => frame(&ListGroupsRequest::default(), version, 1),
        10 => frame(&FindCoordinatorRequest::default(), version, 1),
        60 => frame(&DescribeClusterRequest::default(), version, 1),
        55 => frame(&DescribeQuorumRequest::default(), version, 1),
        _ => {
            let text = crate::client::text("it");
            let request = ApiVersionsRequest::default()
                .with_client_software_name(text.clone())
                .with_client_software_version(text);
            frame(&request, version, 1)
        }
    }
}

#[tokio::test]
async fn a_hundred_thousand_brokers_are_no_cluster() {
    let cluster = toy(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let many = (0..100_000).map(|node| Endpoint { node: NodeId(node), host: "10.0.0.1".into(), port: 9092 });
    cluster.behave(Misbehaviour::always(Act::Announce(many.collect())).api(3));
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        assert!(client.try_call(&MetadataRequest::default(), 12).await.is_none());
        client = gateway.connect().await;
    }
    gateway.until_ended("response_malformed").await;
    // The gateway's own requests get the same answer; the brokers that it knows stay.
    until("an own request that failed", async || {
        gateway.metric("gatehouse_metadata_refresh_failures_total", &[]) > 0.0
    })
    .await;
    assert!(gateway.app.is_ready());
    assert_eq!(gateway.metric("gatehouse_brokers", &[]), 3.0);
    cluster.behave_well();
    works(&gateway).await;
}

#[tokio::test]
async fn addresses_that_no_broker_has_are_never_dialled() {
    let canary = TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let port: i32 = canary.local_addr().expect("an address").port().into();
    let cluster = toy(Options::default()).await;
    let gateway = Gateway::with(&cluster, Wanted { nodes: "0-29", ..Wanted::default() }).await;
    let own = gateway.bootstrap();
    let hosts = [
        ("169.254.169.254", 80),
        ("0.0.0.0", port),
        ("::", port),
        ("::ffff:0.0.0.0", port),
        ("::ffff:169.254.169.254", 80),
        ("fe80::1", port),
        ("224.0.0.1", port),
        ("255.255.255.255", port),
        (&own.ip().to_string(), i32::from(own.port())),
    ];
    // One node for each, so that an ending is that of this address and of none before it.
    for (evil, (host, port)) in (10..).map(NodeId).zip(hosts) {
        let dials = |result: &str| {
            let parts = [&*format!("node=\"{evil}\""), &*format!("result=\"{result}\"")];
            gateway.metric("gatehouse_upstream_connects_total", &parts)
        };
        cluster.add_broker(evil).await.expect("another broker");
        cluster.advertise(evil, host, port);
        until(&format!("a judgement of {host}"), async || {
            let mut client = gateway.connect_to(evil).await;
            let _ = client.try_call(&ListGroupsRequest::default(), 3).await;
            dials("forbidden") + dials("ok") + dials("failed") + dials("timeout") > 0.0
        })
        .await;
        assert!(dials("forbidden") > 0.0 && dials("ok") == 0.0, "{host}");
        cluster.remove_broker(evil).await;
    }
    let evil = NodeId(5);
    cluster.add_broker(evil).await.expect("another broker");
    let nobody = tokio::time::timeout(std::time::Duration::ZERO, canary.accept()).await;
    assert!(nobody.is_err(), "somebody came to an address that is nobody's");
    // What is no address at all is no address to dial either.
    for host in ["", "a\0b", "a b", &"x".repeat(300), "http://10.0.0.1", "-"] {
        cluster.advertise(evil, host, port);
        let mut client = gateway.connect().await;
        let answer = client.call(&MetadataRequest::default(), 12).await;
        assert_eq!(answer.brokers.len(), 4, "it is told by its id");
    }
    for impossible in [0, -1, 65_536, i32::MIN] {
        cluster.advertise(evil, "10.0.0.1", impossible);
        let mut client = gateway.connect().await;
        assert_eq!(client.call(&MetadataRequest::default(), 12).await.brokers.len(), 4);
    }
    cluster.remove_broker(evil).await;
    works(&gateway).await;
}

#[tokio::test]
async fn a_silent_broker_holds_its_client_and_nobody_else() {
    let cluster = toy(Options::default()).await;
    let gateway = quiet(&cluster).await;
    let connections = cluster.connections();
    cluster.behave(Misbehaviour::always(Act::Silence).api(16).times(1));
    let mut client = gateway.connect().await;
    client.ask(&ListGroupsRequest::default(), 3).await;
    assert!(cluster.seen().until(AT_MOST, |all| all.iter().any(|r| r.api == 16)).await);
    works(&gateway).await;
    drop(client);
    assert!(cluster.until_connections(AT_MOST, |open| *open <= connections).await);
}
