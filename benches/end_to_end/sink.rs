//! The sink: reads Kafka frames, throws their bodies away and answers in order.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

/// Length, API key, version, correlation id.
const HEAD: usize = 12;

/// Starts the sink on a thread of its own and returns where it listens.
pub(crate) fn start() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback address can be bound");
    listener.set_nonblocking(true).expect("a socket can be made non-blocking");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime.expect("a runtime can be built"), serve(listener, address));
    });
    address
}

async fn serve(listener: std::net::TcpListener, address: SocketAddr) {
    let listener = TcpListener::from_std(listener).expect("a listener can be registered");
    let scratch = Rc::new(RefCell::new(vec![0; 256 * 1024]));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let scratch = Rc::clone(&scratch);
        tokio::task::spawn_local(async move {
            let _ = connection(stream, address, &scratch).await;
        });
    }
}

async fn connection(
    mut stream: TcpStream,
    address: SocketAddr,
    scratch: &RefCell<Vec<u8>>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut head, mut skip, mut answers) = (Vec::with_capacity(HEAD), 0_usize, Vec::new());
    loop {
        stream.readable().await?;
        // One buffer for all connections: an idle one holds nothing.
        let read = {
            let mut scratch = scratch.borrow_mut();
            match stream.try_read(&mut scratch) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    frames(scratch.get(..read).unwrap_or_default(), &mut head, &mut skip, |head| {
                        answer(head, address, &mut answers);
                    });
                    Ok(())
                }
                Err(error) => Err(error),
            }
        };
        match read {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if !answers.is_empty() {
            stream.write_all(&answers).await?;
            answers.clear();
        }
    }
}

/// Calls `done` with the head of each frame whose last byte has come.
fn frames(mut bytes: &[u8], head: &mut Vec<u8>, skip: &mut usize, mut done: impl FnMut(&[u8])) {
    loop {
        let missing = HEAD - head.len();
        if missing > 0 {
            let (start, rest) = bytes.split_at(missing.min(bytes.len()));
            head.extend_from_slice(start);
            bytes = rest;
            if head.len() < HEAD {
                return;
            }
            *skip = (int32(head, 0) as usize + 4).saturating_sub(HEAD);
        }
        let body = (*skip).min(bytes.len());
        bytes = bytes.get(body..).unwrap_or_default();
        *skip -= body;
        if *skip > 0 {
            return;
        }
        done(head);
        head.clear();
    }
}

fn int32(bytes: &[u8], at: usize) -> i32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_be_bytes)
}

/// The response to a request with that head.
fn answer(head: &[u8], address: SocketAddr, out: &mut Vec<u8>) {
    let key = i16::from_be_bytes([head[4], head[5]]);
    let start = out.len();
    out.extend([0; 4]);
    out.extend(&head[8..12]);
    match key {
        // Produce 12: header tags, one topic, one partition without an error, throttle time, tags.
        0 => {
            out.extend([0, 2, 6]);
            out.extend(b"bench");
            out.extend([2, 0, 0, 0, 0, 0, 0]);
            out.extend([0; 24]);
            out.extend([1, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        // Fetch 12: header tags, and as many bytes as the correlation id says.
        1 => {
            let bytes = usize::try_from(int32(head, 8)).unwrap_or(0);
            out.push(0);
            out.resize(start + bytes, 0x5a);
        }
        // The gateway's own question: Metadata with this sink as the one broker.
        3 => metadata(address, i16::from_be_bytes([head[6], head[7]]), out),
        // ApiVersions: it serves Metadata 0 to 12 and itself.
        18 if head[7] < 3 => out.extend([0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 12, 0, 18, 0, 0, 0, 3]),
        18 => {
            out.extend([0, 0, 3, 0, 3, 0, 0, 0, 12, 0, 0, 18, 0, 0, 0, 3, 0]);
            out.extend([0; 5]);
        }
        _ => out.extend([7; 200]),
    }
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn metadata(address: SocketAddr, version: i16, out: &mut Vec<u8>) {
    use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
    use kafka_protocol::messages::{BrokerId, MetadataResponse};
    use kafka_protocol::protocol::{Encodable as _, StrBytes};
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(0))
        .with_host(StrBytes::from_string(address.ip().to_string()))
        .with_port(i32::from(address.port()));
    if version >= 9 {
        out.push(0);
    }
    let response = MetadataResponse::default().with_brokers(vec![broker]).with_controller_id(BrokerId(0));
    response.encode(out, version).expect("a broker list can be encoded in every version");
}
