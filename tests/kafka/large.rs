//! Frames far larger than what the gateway may hold: its peak memory must not grow with them.

use std::{io::Read as _, time::Duration};

use bytes::Bytes;
use kafka_protocol::messages::{FetchRequest, ProduceRequest};

use crate::{
    Result,
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

/// 96 MiB written and 256 MiB read slowly, in frames of 1 MiB and then in frames as large as they come.
pub(crate) fn run(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let batch = |bytes: usize| records::batch(&[&vec![b'x'; bytes - 1024]]);
    let small =
        Shape { topic: "large-1", batch: batch(MIB)?, batches: 96, fetch_bytes: MIB - 1024, fetches: 256 };
    let large =
        Shape { topic: "large-96", batch: batch(96 * MIB)?, batches: 1, fetch_bytes: 256 * MIB, fetches: 1 };
    // What the fetches read is written beside the gateway.
    lab.inside(Side::Brokers, || fill(&small, 256).and_then(|()| fill(&large, 3)))?;
    let (with_small, with_large) = (peak(lab, &small)?, peak(lab, &large)?);
    no_leaks(lab)?;
    let remark = format!("peak {with_small} KiB with frames of 1 MiB, {with_large} KiB with 96 and 256 MiB");
    if with_large > with_small + 2048 { Err(remark.into()) } else { Ok(remark) }
}

fn fill(shape: &Shape, batches: usize) -> Result<()> {
    wire::create_topic(&bootstrap(), shape.topic, &[vec![1]], &[("max.message.bytes", "104857600")])?;
    let leader = wire::leaders(&bootstrap(), shape.topic)?.remove(&0).ok_or("no leader")?.1;
    let mut broker = Connection::open(&leader)?;
    (0..batches).try_for_each(|_| produce(&mut broker, shape))
}

/// The peak memory in KiB of a fresh gateway that carried frames of that shape.
fn peak(lab: &Lab, shape: &Shape) -> Result<u64> {
    let gateway = Gateway::start(lab)?;
    lab.inside(Side::Clients, || {
        let mut broker = Connection::open(&format!("{DOOR}:{}", PORT + 2))?;
        (0..shape.batches).try_for_each(|_| produce(&mut broker, shape))?;
        let mut until_pause = STEP;
        (0..)
            .take(shape.fetches)
            .try_for_each(|offset| fetch_slowly(&mut broker, shape, offset, &mut until_pause))
    })?;
    let peak = gateway.peak_kib()?;
    gateway.stop()?;
    Ok(peak)
}

fn produce(broker: &mut Connection, shape: &Shape) -> Result<()> {
    let request = records::produce_request(shape.topic, 0, shape.batch.clone());
    let response = broker.call::<ProduceRequest>(7, &request)?;
    match response.responses[0].partition_responses[0].error_code {
        0 => Ok(()),
        code => Err(format!("produce of {} bytes: error {code}", shape.batch.len()).into()),
    }
}

/// Reads one response with a pause after each step of bytes: for a reader, slowness is the input.
fn fetch_slowly(broker: &mut Connection, shape: &Shape, offset: i64, until_pause: &mut usize) -> Result<()> {
    let request = records::fetch_request(shape.topic, &[(0, offset)], i32::try_from(shape.fetch_bytes)?);
    broker.send::<FetchRequest>(11, &request)?;
    let length = broker.receive_length()?;
    if length < shape.fetch_bytes {
        return Err(format!("a response of {length} bytes instead of {}", shape.fetch_bytes).into());
    }
    let mut step = vec![0; STEP];
    let mut rest = length;
    while rest > 0 {
        let part = rest.min(*until_pause);
        broker.stream().read_exact(&mut step[..part])?;
        rest -= part;
        *until_pause -= part;
        if *until_pause == 0 {
            std::thread::sleep(PAUSE);
            *until_pause = STEP;
        }
    }
    Ok(())
}

const MIB: usize = 1 << 20;
const STEP: usize = 4 * MIB;
const PAUSE: Duration = Duration::from_millis(100);
