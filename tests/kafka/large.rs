//! Frames far larger than what the gateway may hold: its peak memory must not grow with them.

use std::{io::Read as _, time::Duration};

use bytes::Bytes;
use kafka_protocol::{
    messages::{FetchRequest, FetchResponse, ProduceRequest, ResponseHeader},
    protocol::{Decodable as _, HeaderVersion as _},
};

use crate::{
    Fault, Result,
    cluster::{Cluster, bootstrap},
    gateway::{Gateway, PORT},
    lab::{DOOR, Lab, Side},
    records,
    suite::no_leaks,
    wire::{self, Connection},
};

/// What the brokers need for it.
pub(crate) const SETTINGS: &str = "message.max.bytes=104857600\nfetch.max.bytes=314572800\n";

/// Frames of one size: what is written, and how it is read back.
struct Shape {
    topic: &'static str,
    batch: Bytes,
    batches: usize,
    fetch_bytes: usize,
    fetches: usize,
}

/// 96 MiB written and 256 MiB read slowly, in frames of 1 MiB and then, through the same gateway, in frames as
/// large as they come.
pub(crate) fn run(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let batch = |bytes: usize| records::batch(&[&vec![b'x'; bytes - 1024]]);
    let small =
        Shape { topic: "large-1", batch: batch(MIB)?, batches: 96, fetch_bytes: MIB - 1024, fetches: 256 };
    let large =
        Shape { topic: "large-96", batch: batch(96 * MIB)?, batches: 1, fetch_bytes: 256 * MIB, fetches: 1 };
    // What the fetches read is written beside the gateway.
    lab.inside(Side::Brokers, || fill(&small, 256).and_then(|()| fill(&large, 3)))?;
    let gateway = Gateway::start(lab)?;
    // One process: what the allocator keeps for itself differs from start to start.
    // Twice, because the first round does not always bring the allocator to its height.
    peak_after(lab, &gateway, &small)?;
    let with_small = peak_after(lab, &gateway, &small)?;
    let with_large = peak_after(lab, &gateway, &large)?;
    gateway.stop()?;
    no_leaks(lab)?;
    let remark =
        format!("peak {with_small} KiB after frames of 1 MiB, {with_large} KiB after 96 and 256 MiB");
    if with_large > with_small + 2048 { Err(remark.into()) } else { Ok(remark) }
}

/// Writes one frame of 96 MiB through a gateway at `address` to broker 1, from beside it.
pub(crate) fn write_one(lab: &Lab, address: &str) -> Result<()> {
    let batch = records::batch(&[&vec![b'x'; 96 * MIB - 1024]])?;
    let shape = Shape { topic: "large-one", batch, batches: 1, fetch_bytes: 0, fetches: 0 };
    lab.inside(Side::Brokers, || {
        fill(&shape, 0)?;
        produce(&mut Connection::open(&format!("{address}:{}", PORT + 2))?, &shape)
    })
}

fn fill(shape: &Shape, batches: usize) -> Result<()> {
    wire::create_topic(&bootstrap(), shape.topic, &[vec![1]], &[("max.message.bytes", "104857600")])?;
    let leader = wire::leaders(&bootstrap(), shape.topic)?.remove(&0).ok_or("no leader")?.1;
    let mut broker = Connection::open(&leader)?;
    (0..batches).try_for_each(|_| produce(&mut broker, shape))
}

/// The gateway's peak memory in KiB after it carried frames of that shape.
fn peak_after(lab: &Lab, gateway: &Gateway<'_>, shape: &Shape) -> Result<u64> {
    lab.inside(Side::Clients, || {
        let mut broker = Connection::open(&format!("{DOOR}:{}", PORT + 2))?;
        (0..shape.batches).try_for_each(|_| produce(&mut broker, shape))?;
        fetch_slowly(&mut broker, shape)
    })?;
    gateway.peak_kib()
}

fn produce(broker: &mut Connection, shape: &Shape) -> Result<()> {
    let request = records::produce_request(shape.topic, 0, shape.batch.clone());
    let response = broker.call::<ProduceRequest>(7, &request)?;
    match response.responses[0].partition_responses[0].error_code {
        0 => Ok(()),
        code => Err(format!("produce of {} bytes: error {code}", shape.batch.len()).into()),
    }
}

/// Reads all responses with a pause after each step of bytes: for a reader, slowness is the input. Requests go
/// ahead of the responses, so that small ones stall the gateway as large ones do.
fn fetch_slowly(broker: &mut Connection, shape: &Shape) -> Result<()> {
    let mut offsets = (0..).take(shape.fetches);
    let mut send = |broker: &mut Connection| match offsets.next() {
        Some(offset) => {
            let max_bytes = i32::try_from(shape.fetch_bytes)?;
            broker
                .send::<FetchRequest>(FETCH, &records::fetch_request(shape.topic, &[(0, offset)], max_bytes))
        }
        None => Ok(()),
    };
    (0..AHEAD).try_for_each(|_| send(broker))?;
    let mut step = vec![0; STEP];
    let mut until_pause = STEP;
    for _ in 0..shape.fetches {
        let length = broker.receive_length()?;
        if length < shape.fetch_bytes {
            return Err(short(broker, length)?);
        }
        let mut rest = length;
        while rest > 0 {
            let part = rest.min(until_pause);
            broker.stream().read_exact(&mut step[..part])?;
            rest -= part;
            until_pause -= part;
            if until_pause == 0 {
                std::thread::sleep(PAUSE);
                until_pause = STEP;
            }
        }
        send(broker)?;
    }
    Ok(())
}

/// What a response says that is shorter than the records asked for.
fn short(broker: &mut Connection, length: usize) -> Result<Fault> {
    let mut frame = vec![0; length];
    broker.stream().read_exact(&mut frame)?;
    let mut frame = Bytes::from(frame);
    let id = ResponseHeader::decode(&mut frame, FetchResponse::header_version(FETCH))?.correlation_id;
    let response = FetchResponse::decode(&mut frame, FETCH)?;
    let partition = response.responses.first().and_then(|topic| topic.partitions.first());
    let partition = partition.ok_or("no partition in the answer")?;
    Ok(format!(
        "fetch {id}: {length} bytes, error {}, high watermark {}, log start {}",
        partition.error_code, partition.high_watermark, partition.log_start_offset
    )
    .into())
}

/// Fetch requests sent before the first response is read.
const AHEAD: usize = 16;
const FETCH: i16 = 11;
const MIB: usize = 1 << 20;
const STEP: usize = 4 * MIB;
const PAUSE: Duration = Duration::from_millis(100);
