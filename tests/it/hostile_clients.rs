//! Clients that are none, or lie: the connection ends clearly, and no broker hears of it.

use bytes::{BufMut, BytesMut};
use gatehouse::toy::Options;
use kafka_protocol::messages::{ApiVersionsRequest, ListGroupsRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{AT_MOST, Client, frame, framed};
use crate::gateway::{Gateway, Wanted, toy};
use crate::poll::{in_time, until};

/// A request header: key, version, correlation id 1, no client id.
fn header(key: i16, version: i16) -> Vec<u8> {
    [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 1, 0xff, 0xff]].concat()
}

/// Everything that must end a connection, and the word for it.
fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let many_tags = {
        let mut tags = header(3, 12);
        tags.push(65);
        tags.extend((0..65).flat_map(|tag| [tag, 0]));
        tags
    };
    let endless_tags = [&header(3, 12)[..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    let negative_client = [&[0, 0, 0, 9, 0, 0, 0, 1, 0x80, 0][..], &[0; 8]].concat();
    vec![
        ("request_too_long", vec![0x7f, 0xff, 0xff, 0xff, 0, 3]),
        ("request_too_long", [&104_857_601_u32.to_be_bytes()[..], &header(0, 9)].concat()),
        ("request_length", vec![0xff, 0xff, 0xff, 0xff]),
        ("request_length", vec![0x80, 0, 0, 0]),
        ("request_length", vec![0, 0, 0, 0]),
        ("request_length", vec![0, 0, 0, 7, 0, 3, 0, 1, 0, 0, 0]),
        ("foreign_protocol", vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01]),
        ("foreign_protocol", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("foreign_protocol", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        ("unknown_api", framed(&header(95, 0)).to_vec()),
        ("unknown_api", framed(&header(1_000, 0)).to_vec()),
        ("unknown_api", framed(&header(-1, 0)).to_vec()),
        ("refused_api", framed(&header(4, 0)).to_vec()),
        ("refused_api", framed(&header(58, 0)).to_vec()),
        ("unknown_version", framed(&header(3, 14)).to_vec()),
        ("unknown_version", framed(&header(0, 14)).to_vec()),
        ("unknown_version", framed(&header(1, i16::MAX)).to_vec()),
        ("unknown_version", framed(&header(60, -1)).to_vec()),
        ("request_malformed", framed(&many_tags).to_vec()),
        ("request_malformed", framed(&endless_tags).to_vec()),
        ("request_malformed", framed(&header(0, 9)).to_vec()),
        ("handshake_v0", framed(&[&header(17, 0)[..], &[0, 6], b"GSSAPI"].concat()).to_vec()),
        ("request_malformed", framed(&[&header(17, 0)[..], &[0, 9], b"PLAIN"].concat()).to_vec()),
        ("request_malformed", framed(&negative_client).to_vec()),
    ]
}

#[tokio::test]
async fn what_no_client_sends_ends_the_connection_before_a_broker_is_dialled() {
    let cluster = toy(Options::default()).await;
    let gateway =
        Gateway::with(&cluster, Wanted { cluster: "metadata_refresh: 1h", ..Wanted::default() }).await;
    cluster.seen().forget();
    for (reason, bytes) in bad() {
        let before = gateway.ended(reason);
        let mut client = gateway.connect().await;
        client.send(&bytes).await;
        assert!(client.is_closed().await, "{reason}: {bytes:?}");
        // The gateway lingers until the client has closed too, and counts then.
        drop(client);
        until(&format!("{reason} of {bytes:?}, but: {}", gateway.endings()), async || {
            gateway.ended(reason) > before
        })
        .await;
    }
    assert!(cluster.seen().all().is_empty(), "a broker heard of it");
    assert_eq!(gateway.metric("gatehouse_connections_closed_total", &["stage=\"relay\""]), 0.0);
}

#[tokio::test]
async fn what_no_client_sends_ends_a_connection_that_was_good_so_far() {
    let cluster = toy(Options::default()).await;
    let gateway =
        Gateway::with(&cluster, Wanted { cluster: "metadata_refresh: 1h", ..Wanted::default() }).await;
    for (reason, bytes) in bad() {
        let before = gateway.metric("gatehouse_connections_closed_total", &[reason, "stage=\"relay\""]);
        let mut client = gateway.connect().await;
        client.call(&ListGroupsRequest::default(), 1).await;
        cluster.seen().forget();
        client.send(&bytes).await;
        assert!(client.is_closed().await, "{reason}: {bytes:?}");
        // The gateway lingers until the client has closed too, and counts then.
        drop(client);
        until(&format!("{reason} of {bytes:?}, but: {}", gateway.endings()), async || {
            gateway.metric("gatehouse_connections_closed_total", &[reason, "stage=\"relay\""]) > before
        })
        .await;
        assert!(cluster.seen().all().is_empty(), "a broker heard of {bytes:?}");
    }
}

#[tokio::test]
async fn the_answers_that_are_due_come_before_the_close() {
    let cluster = toy(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let mut client = gateway.connect().await;
    let good = frame(&ListGroupsRequest::default(), 1, 7);
    client.send(&[&good[..], &good, &framed(&header(95, 0))].concat()).await;
    for _ in 0..2 {
        let answer = client.read().await.expect("an answer that was due");
        assert_eq!(answer[..4], [0, 0, 0, 7]);
    }
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_flood_of_small_requests_is_answered_in_order_and_held_back() {
    const REQUESTS: i32 = 30_000;
    let cluster = toy(Options { seen_max: 0, ..Options::default() }).await;
    let gateway = Gateway::before(&cluster).await;
    let client = gateway.connect().await;
    let (mut read, mut write) = client.stream.into_split();
    let flood = tokio::spawn(async move {
        let mut buffer = BytesMut::new();
        for id in 0..REQUESTS {
            buffer.put_slice(&frame(&ApiVersionsRequest::default(), 0, id));
            if buffer.len() > 64 << 10 {
                write.write_all(&buffer.split()).await.expect("a gateway that reads on");
            }
        }
        write.write_all(&buffer).await.expect("a gateway that reads on");
        write
    });
    let (mut most, mut held): (f64, f64) = (0.0, 0.0);
    let answers = async {
        for id in 0..REQUESTS {
            let length = read.read_u32().await.expect("an answer");
            assert_eq!(read.read_i32().await.expect("an id"), id);
            let mut body = vec![0; length as usize - 4];
            read.read_exact(&mut body).await.expect("a body");
            if id % 1_000 == 0 {
                most = most.max(gateway.metric("gatehouse_in_flight_requests", &[]));
                held = held.max(gateway.metric("gatehouse_buffered_bytes", &[]));
            }
        }
    };
    tokio::time::timeout(AT_MOST * 4, answers).await.expect("all answers");
    flood.await.expect("the flood");
    assert!(most <= 128.0 && held <= f64::from(2 << 20), "in flight {most}, held {held}");
}

#[tokio::test]
async fn who_never_finishes_a_first_request_is_closed() {
    let cluster = toy(Options::default()).await;
    let listener = "limits: { first_request_timeout: 1s }";
    let gateway = Gateway::with(&cluster, Wanted { listener, ..Wanted::default() }).await;
    cluster.seen().forget();
    // One says nothing, one half a header, one a byte now and then.
    let mut silent = gateway.connect().await;
    let mut half = gateway.connect().await;
    half.send(&frame(&ListGroupsRequest::default(), 1, 1)[..9]).await;
    let slow = gateway.connect().await;
    let (mut read, mut write) = slow.stream.into_split();
    let long = framed(&[&header(16, 3)[..8], &[0x7f, 0xff], &[b'x'; 2_000]].concat());
    let mut drops = long.iter();
    let dripping = until("the end of the slow one", async || {
        let Some(byte) = drops.next() else { return false };
        write.write_all(&[*byte]).await.is_err()
    });
    let closed = async {
        let mut rest = [0; 1];
        assert!(matches!(read.read(&mut rest).await, Ok(0) | Err(_)));
    };
    in_time("the end of the slow one", async {
        tokio::select! { () = dripping => {}, () = closed => {} }
    })
    .await;
    assert!(silent.is_closed().await && half.is_closed().await);
    until(&format!("three endings, but: {}", gateway.endings()), async || gateway.ended("timeout") == 3.0)
        .await;
    assert!(cluster.seen().all().iter().all(|request| request.api != 16), "a broker heard of it");
}

#[tokio::test]
async fn a_client_that_never_reads_holds_nobody_else() {
    let cluster = toy(Options::default()).await;
    let gateway = Gateway::before(&cluster).await;
    let mut deaf = gateway.connect().await;
    for _ in 0..100 {
        deaf.ask(&ApiVersionsRequest::default(), 0).await;
    }
    let mut other = gateway.connect().await;
    for _ in 0..100 {
        other.call(&ListGroupsRequest::default(), 1).await;
    }
    drop(deaf);
    let mut again: Client = gateway.connect().await;
    again.call(&ListGroupsRequest::default(), 1).await;
}
