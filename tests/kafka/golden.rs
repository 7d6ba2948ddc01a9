//! Captures what real brokers say to real clients, for `tests/golden`: `cargo test --test kafka -- golden`.
//!
//! The clients go through the gateway, and the gateway reaches each broker through a relay that records.

use std::{collections::BTreeMap, fmt::Write as _, fs, sync::Arc};

use gatehouse::{
    cluster::{PortRange, Ports, Routes},
    kafka::{
        NodeId,
        api::{Api, Patch},
        header::RequestHeader,
    },
    patch::{self, Context},
};

use kafka_protocol::{messages::ApiVersionsRequest, protocol::StrBytes};

use crate::{
    Result, clients,
    cluster::{Cluster, NODES, PLAIN_PORT},
    gateway::{Gateway, PORT, door},
    lab::{self, DOOR, Lab, Side},
    relay::{Relay, Tap},
    wire::Connection,
};

/// Runs each client alone against a cluster and writes one file for each response and version that it saw.
pub(crate) fn capture(lab: &Lab, version: &str) -> Result<String> {
    let cluster = Cluster::start(lab, version, "")?;
    let mut files = 0;
    files += asked_by_hand(lab, version)?;
    for (client, functions) in CLIENTS {
        let tap = Tap::default();
        let relays = NODES.map(|node| relay(lab, node, &tap));
        let relays = relays.into_iter().collect::<Result<Vec<_>>>()?;
        let gateway = Gateway::start_with(lab, "golden", &configuration())?;
        let label = format!("golden-{client}-{}", cluster.kafka.version);
        let name = run(lab, client, &label, &["functions=version".to_owned()])?;
        let arguments = ["bootstrap=".to_owned() + &door(), format!("functions={functions}")];
        let more = ["prefix=golden".to_owned(), "count=20".to_owned()];
        run(lab, client, &label, &[arguments, more].concat())?;
        gateway.stop()?;
        drop(relays);
        files += write(&tap, &name, version)?;
    }
    Ok(format!("{files} files"))
}

/// Asks for the versions of ApiVersions that no client of today sends any more.
fn asked_by_hand(lab: &Lab, broker: &str) -> Result<usize> {
    let tap = Tap::default();
    let relay = relay(lab, 1, &tap)?;
    lab.inside(Side::Brokers, || {
        let mut connection = Connection::open(&relay_address(1))?;
        for version in 0..=4 {
            let request = ApiVersionsRequest::default()
                .with_client_software_name(StrBytes::from_static_str("by-hand"))
                .with_client_software_version(StrBytes::from_static_str("1"));
            let newest = connection.call::<ApiVersionsRequest>(version, &request)?;
            let own = newest.api_keys.iter().find(|api| api.api_key == 18);
            if own.is_none_or(|own| own.max_version <= version) {
                break;
            }
        }
        Ok(())
    })?;
    drop(relay);
    write(&tap, "a request by hand", broker)
}

/// Runs a client and gives what its last function says.
fn run(lab: &Lab, client: &str, label: &str, arguments: &[String]) -> Result<String> {
    let outcomes = clients::run(lab, Side::Clients, client, label, arguments)?;
    match outcomes.iter().find(|outcome| !outcome.ok).or(outcomes.last()) {
        Some(outcome) if outcome.ok => Ok(outcome.detail.clone()),
        Some(outcome) => Err(format!("{client} {}: {}", outcome.function, outcome.detail).into()),
        None => Err(format!("{client} says nothing").into()),
    }
}

fn relay(lab: &Lab, node: i32, tap: &Tap) -> Result<Relay> {
    Relay::recording(lab, relay_address(node), move || Cluster::address(node, PLAIN_PORT), Arc::clone(tap))
}

fn relay_address(node: i32) -> String {
    format!("127.0.0.1:{}", 29_000 + node)
}

fn configuration() -> String {
    let mut nodes = String::new();
    for node in NODES {
        let _ = write!(nodes, "{node}: \"{}\", ", relay_address(node));
    }
    format!(
        "clusters:\n  main:\n    bootstrap: [\"{}\"]\n    nodes: {{ {nodes} }}\nlisteners:\n  external:\n    \
         bind: {DOOR}:{PORT}\n    advertise: {DOOR}\n",
        relay_address(1)
    )
}

/// Writes the shortest response of each API and version that a patch is for; one that it changes if there is any.
fn write(tap: &Tap, client: &str, broker: &str) -> Result<usize> {
    let nodes = PortRange { first: NodeId(0), last: NodeId(99), bind: PORT + 1, advertise: PORT + 1 };
    let routes = Routes::Ports(Ports { host: Some(DOOR.into()), bootstrap: PORT, ranges: vec![nodes] });
    let mut chosen: BTreeMap<(i16, i16), Chosen> = BTreeMap::new();
    for stream in tap.lock().map_err(|_| "a relay panicked")?.iter() {
        let stream = stream.lock().map_err(|_| "a relay panicked")?;
        for (api, version, patch, frame) in exchanges(&stream.requests, &stream.responses) {
            let mut context = Context::new(&routes, false);
            let out = patch::whole(patch, api, version, &frame, &mut context)?;
            let candidate = Chosen { unchanged: out.is_none(), out: out.unwrap_or(frame.clone()), frame };
            let key = (api.key, version);
            if chosen.get(&key).is_none_or(|best| candidate.rank() < best.rank()) {
                chosen.insert(key, candidate);
            }
        }
    }
    let directory = lab::repository().join("tests/golden");
    for ((key, version), Chosen { frame, out, .. }) in &chosen {
        let Some(api) = gatehouse::kafka::api::find(*key) else { continue };
        let client_word = client.replace([' ', '/'], "-").to_lowercase();
        let name = format!("{}-{version:02}-{client_word}-kafka-{broker}.txt", api.name.to_lowercase());
        let text = format!(
            "client: {client}\nbroker: Apache Kafka {broker}\napi: {}\nversion: {version}\nadvertise: {DOOR} {}\nin: {}\nout: {}\n",
            api.name,
            PORT + 1,
            hex(frame),
            hex(out),
        );
        fs::write(directory.join(name), text)?;
    }
    Ok(chosen.len())
}

/// A response and what became of it.
struct Chosen {
    unchanged: bool,
    frame: Vec<u8>,
    out: Vec<u8>,
}

impl Chosen {
    /// The least is the best.
    fn rank(&self) -> (bool, usize) {
        (self.unchanged, self.frame.len())
    }
}

/// The responses of one connection that a patch is for, with their versions from the requests.
fn exchanges(requests: &[u8], responses: &[u8]) -> Vec<(&'static Api, i16, Patch, Vec<u8>)> {
    let mut responses = frames(responses).into_iter();
    let mut found = Vec::new();
    for request in frames(requests) {
        let Ok(header) = RequestHeader::read(&request[4..]) else { continue };
        let Some(api) = header.api() else { continue };
        if api.key == 0 && gatehouse::kafka::header::produce_acks(&request[4..], header.version) == Ok(0) {
            continue;
        }
        let Some(response) = responses.next() else { break };
        if let Some(patch) = api.patch(header.version) {
            found.push((api, header.version, patch, response));
        }
    }
    found
}

/// The complete frames of a stream, with their lengths.
fn frames(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(length) = stream.first_chunk() {
        let Some((frame, rest)) = stream.split_at_checked(4 + u32::from_be_bytes(*length) as usize) else {
            break;
        };
        frames.push(frame.to_vec());
        stream = rest;
    }
    frames
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The clients, and what each is asked to do: franz-go asks for every version by itself.
const CLIENTS: [(&str, &str); 3] = [
    ("franz-go", "addresses"),
    ("java-4.4", "describe,create,produce,consume"),
    ("kcat", "describe,produce"),
];
