//! What real brokers said to real clients, in and out: `tests/golden`, captured by `tests/kafka/golden.rs`.

use std::path::Path;

use gatehouse::cluster::{PortRange, Ports, Routes};
use gatehouse::kafka::NodeId;
use gatehouse::kafka::api::{self, Api, Patch};
use gatehouse::patch::{self, Context};

use crate::message::{CORRELATION_ID, Message, every_version};
use crate::streamed::streamed;

/// One captured response.
struct Golden {
    name: String,
    client: String,
    broker: String,
    api: &'static Api,
    version: i16,
    routes: Routes,
    frame: Vec<u8>,
    out: Vec<u8>,
}

impl Golden {
    fn patch(&self) -> Patch {
        self.api.patch(self.version).unwrap_or_else(|| panic!("{} is no patched version", self.name))
    }

    fn patched(&self, frame: &[u8]) -> (Option<Vec<u8>>, Context<'_>) {
        let mut context = Context::new(&self.routes, false);
        let out = patch::whole(self.patch(), self.api, self.version, frame, &mut context);
        (out.unwrap_or_else(|error| panic!("{}: {error}", self.name)), context)
    }
}

fn every_file() -> Vec<Golden> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| parse(path)).collect()
}

fn parse(path: &Path) -> Golden {
    let text = std::fs::read_to_string(path).unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{} has no {name}", path.display())).to_owned()
    };
    let (host, port) =
        field("advertise").split_once(' ').map(|(h, p)| (h.into(), p.parse().unwrap())).unwrap();
    let nodes = PortRange { first: NodeId(0), last: NodeId(99), bind: port, advertise: port };
    Golden {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        client: field("client"),
        broker: field("broker"),
        api: api::APIS.iter().find(|api| api.name == field("api")).unwrap(),
        version: field("version").parse().unwrap(),
        routes: Routes::Ports(Ports { host: Some(host), bootstrap: port - 1, ranges: vec![nodes] }),
        frame: bytes(&field("in")),
        out: bytes(&field("out")),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn every_captured_response_becomes_what_it_became() {
    for golden in every_file() {
        let (out, context) = golden.patched(&golden.frame);
        assert_eq!(out.as_deref().unwrap_or(&golden.frame), golden.out, "{}", golden.name);
        assert_eq!(out.is_some(), context.changed, "{}", golden.name);
        assert!(!golden.client.is_empty() && golden.broker.starts_with("Apache Kafka "), "{}", golden.name);
    }
}

#[test]
fn what_became_of_a_captured_response_names_the_gateway_alone_and_stays() {
    for golden in every_file() {
        let (again, context) = golden.patched(&golden.out);
        assert_eq!(again, None, "{}", golden.name);
        for broker in &context.learned {
            let address = (broker.address.host.as_str().into(), broker.address.port);
            assert_eq!(golden.routes.advertised(broker.node), Some(address), "{}", golden.name);
        }
    }
}

#[test]
fn kafka_protocol_reads_every_captured_response_and_what_became_of_it() {
    for golden in every_file() {
        // An error of ApiVersions comes in the layout of version 0, whatever was asked.
        if golden.patch() == Patch::ApiVersions && golden.frame[8..10] != [0, 0] {
            assert_eq!(golden.frame, golden.out, "{}", golden.name);
            continue;
        }
        for mut frame in [golden.frame.clone(), golden.out.clone()] {
            frame[4..8].copy_from_slice(&CORRELATION_ID.to_be_bytes());
            let read = Message::read(golden.patch(), golden.version, &frame);
            assert!(read.is_ok(), "{}: {}", golden.name, read.unwrap_err());
        }
    }
}

#[test]
fn a_captured_response_may_be_streamed_too() {
    let mut emptied = 0;
    for golden in every_file() {
        if patch::endpoints::layout(golden.patch()).is_some() {
            let (out, padded) = streamed(golden.patch(), golden.version, &golden.frame, 9).unwrap();
            assert_eq!(out.len(), golden.frame.len());
            assert_eq!(padded, golden.frame != golden.out, "{}", golden.name);
            emptied += u32::from(padded);
        }
    }
    assert!(emptied >= 8, "{emptied} captured lists were emptied");
}

#[test]
fn every_version_of_every_patched_response_has_been_captured() {
    let captured: Vec<_> = every_file().iter().map(|golden| (golden.patch(), golden.version)).collect();
    let patched = every_version().into_iter().filter(|(patch, version)| patch.since() <= *version);
    let missing: Vec<_> = patched.filter(|row| !captured.contains(row)).collect();
    println!("{} captured responses", captured.len());
    assert!(missing.is_empty(), "never captured: {missing:?}");
}
