//! What is measured: frames that the core forwards, and one response of each kind that it rewrites.

use std::hint::black_box;
use std::sync::Arc;

use gatehouse::cluster::{PortRange, Ports, Routes};
use gatehouse::kafka::NodeId;
use gatehouse::kafka::api::Patch;
use gatehouse::relay::core::{Core, Options, Plan};
use gatehouse::relay::in_flight::Stamp;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataResponse, TopicName};

use super::dice::Dice;
use super::message::{CORRELATION_ID, Message, api_of, text};
use super::random::{Naming, response};

/// One thing to run again and again.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Frames that one run handles.
    pub(crate) frames: u64,
    pub(crate) run: Box<dyn FnMut()>,
}

/// Every case.
pub(crate) fn every() -> Vec<Case> {
    let mut cases = vec![forwarded("heartbeat", 12, 4), forwarded("produce-acks-all", 0, 12)];
    for (patch, version) in [
        (Patch::ApiVersions, 4),
        (Patch::FindCoordinator, 6),
        (Patch::DescribeCluster, 2),
        (Patch::Produce, 12),
        (Patch::Fetch, 17),
        (Patch::ShareFetch, 1),
        (Patch::ShareAcknowledge, 1),
        (Patch::DescribeQuorum, 2),
        (Patch::Metadata, 13),
    ] {
        // The first seed whose response has something to rewrite and is not tiny.
        let mut frames = (0..500)
            .map(|seed| response(&mut Dice::new(seed), patch, version, Naming::Upstream).frame(version));
        let frame = frames.find(|frame| rewrites(patch, version, frame) && frame.len() > 200).unwrap();
        cases.push(patched(&format!("{patch:?}-{version}"), patch, version, frame));
    }
    for partitions in [0, 300, 3_000, 30_000] {
        let frame = metadata(100, partitions).frame(13);
        let name = format!("Metadata-13-of-100-brokers-and-{partitions}-partitions");
        cases.push(patched(&name, Patch::Metadata, 13, frame));
    }
    cases
}

fn core() -> Core {
    let nodes = PortRange { first: NodeId(0), last: NodeId(999), bind: 9093, advertise: 9093 };
    let routes =
        Routes::Ports(Ports { host: Some("kafka.example.com".into()), bootstrap: 9092, ranges: vec![nodes] });
    Core::new(Arc::new(Options {
        routes: routes.into(),
        pass_unknown_apis: false,
        max_request_bytes: 104_857_600,
        max_in_flight: 128,
    }))
}

/// A request of 200 bytes in that version.
fn request(key: i16, version: i16, produce: bool) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 196];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(CORRELATION_ID.to_be_bytes());
    frame.extend([0, 5]);
    frame.extend(b"bench");
    if api_of_key(key).is_flexible(version) {
        frame.push(0);
    }
    if produce {
        frame.extend([0, 0xff, 0xff]);
    }
    frame.resize(200, 0);
    frame
}

fn api_of_key(key: i16) -> &'static gatehouse::kafka::api::Api {
    gatehouse::kafka::api::find(key).unwrap()
}

/// 64 requests in one window and their 64 answers, none of which has anything to rewrite.
fn forwarded(name: &str, key: i16, version: i16) -> Case {
    let requests = request(key, version, key == 0).repeat(64);
    let answer = if key == 0 {
        let mut answer =
            Message::Produce(kafka_protocol::messages::ProduceResponse::default()).frame(version);
        answer[4..8].copy_from_slice(&CORRELATION_ID.to_be_bytes());
        answer
    } else {
        [&196_i32.to_be_bytes()[..], &CORRELATION_ID.to_be_bytes(), &[0; 192]].concat()
    };
    let answers = answer.repeat(64);
    let mut core = core();
    let run = move || {
        passed(&requests, |window| core.request(window, Stamp(0)));
        passed(&answers, |window| core.response(window));
        let _ = core.take_event();
    };
    Case { name: format!("forward-{name}"), frames: 128, run: Box::new(run) }
}

/// Carries out plans that pass whole frames.
fn passed(mut window: &[u8], mut plan: impl FnMut(&[u8]) -> Plan) {
    while !window.is_empty() {
        match black_box(plan(black_box(window))) {
            Plan::Pass(bytes) => window = &window[bytes as usize..],
            other => panic!("{other:?}"),
        }
    }
}

fn rewrites(patch: Patch, version: i16, frame: &[u8]) -> bool {
    let nodes = PortRange { first: NodeId(0), last: NodeId(999), bind: 9093, advertise: 9093 };
    let routes =
        Routes::Ports(Ports { host: Some("kafka.example.com".into()), bootstrap: 9092, ranges: vec![nodes] });
    let mut context = gatehouse::patch::Context::new(&routes, false);
    let out = gatehouse::patch::whole(patch, api_of(patch), version, frame, &mut context);
    matches!(out, Ok(Some(_)))
}

/// A request, then its answer from a window as the shell reads it: at most 256 KiB of it.
fn patched(name: &str, patch: Patch, version: i16, frame: Vec<u8>) -> Case {
    let request = request(api_of(patch).key, version, patch == Patch::Produce);
    let mut core = core();
    let window = frame.len().min(256 * 1024);
    let run = move || {
        passed(&request, |window| core.request(window, Stamp(0)));
        let mut left = frame.len();
        while left > 0 {
            let position = frame.len() - left;
            match black_box(core.response(black_box(frame.get(position..window).unwrap_or_default()))) {
                Plan::Replace { take, with } => {
                    black_box(&with);
                    left -= take;
                }
                // The shell moves what passes; the core never sees it.
                Plan::Pass(bytes) => left -= bytes as usize,
                other => panic!("{other:?}"),
            }
        }
        let _ = (core.take_event(), core.take_found());
    };
    Case { name: name.to_owned(), frames: 1, run: Box::new(run) }
}

/// A Metadata response of topics with ten partitions of three replicas.
fn metadata(brokers: i32, partitions: i32) -> Message {
    let broker = |id: i32| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(text(&format!("broker-{id}.kafka.internal.example")))
            .with_port(9092)
            .with_rack(Some(text("eu-west-1a")))
    };
    let partition = |index: i32| {
        let replicas = |from: i32| (0..3).map(|n| BrokerId((from + n) % brokers)).collect::<Vec<_>>();
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(index % brokers))
            .with_replica_nodes(replicas(index))
            .with_isr_nodes(replicas(index))
    };
    let topic = |nth: i32| {
        MetadataResponseTopic::default()
            .with_name(Some(TopicName(text(&format!("topic-of-a-usual-length-{nth}")))))
            .with_topic_id(uuid::Uuid::from_u128(nth as u128 + 1))
            .with_partitions((0..10).map(partition).collect())
    };
    Message::Metadata(
        MetadataResponse::default()
            .with_brokers((0..brokers).map(broker).collect())
            .with_cluster_id(Some(text("a-cluster")))
            .with_controller_id(BrokerId(1))
            .with_topics((0..partitions / 10).map(topic).collect()),
    )
}
