//! A cluster: every address of the file, and every broker that one of them tells of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::broker::{Asked, Asking};
use super::report::{Group, Line};
use super::{Time, material};
use crate::config::{self, codes::Code};
use crate::connect::Dialer;
use crate::kafka::NodeId;
use crate::net::HostPort;
use crate::tls::client::{self, Connector, Verify};
use crate::topology::Discovery;
use crate::topology::survey::{Answers, Questions};

/// Brokers that are asked at once.
const TURNS: usize = 64;

/// The most brokers beside the addresses of the file; more are not those of one cluster.
const FOUND_MAX: usize = 1_000;

/// What is known of a cluster after the check.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The nodes that it told of, or that the file names.
    pub(super) nodes: BTreeSet<NodeId>,
    /// The brokers that answered, those of the file first.
    pub(super) answered: Vec<HostPort>,
}

/// A broker that is asked, or was.
struct Row {
    address: HostPort,
    node: Option<NodeId>,
    asked: Option<Asked>,
}

impl Row {
    fn answers(&self) -> Option<&Answers> {
        self.asked.as_ref().and_then(Asked::answers)
    }
}

/// Looks at one cluster. `own` is what the gateway itself binds.
pub(super) async fn look(
    cluster: config::Cluster,
    own: Vec<SocketAddr>,
    client_id: String,
    time: Time,
) -> (Group, Seen) {
    let mut group = Group { name: format!("cluster {}", cluster.name), lines: Vec::new() };
    let (tls, lenient) = match &cluster.tls {
        None => (None, None),
        Some(options) => match material::connector(options.clone(), time).await {
            Ok(connector) => {
                group.lines.extend(material::lines(&connector.status()));
                (Some(connector), lenient(options))
            }
            Err(fault) => {
                group.lines.push(Line::fail(Code::ClusterFiles, fault.words).hint(fault.hint));
                return (group, Seen::default());
            }
        },
    };
    let (credential, asks) = match &cluster.topology.discovery {
        Discovery::Own(credential) => (credential.clone(), true),
        Discovery::Static(_) | Discovery::LearnOnly => (None, false),
    };
    let rows = rows(&cluster);
    let dialer = Dialer::new(cluster.connect.clone(), rows.iter().map(|row| row.address.clone()));
    dialer.policy().forbid_own(own);
    let questions = Questions { client_id, credential, brokers: asks };
    let turns = Arc::new(Semaphore::new(TURNS));
    let shows = cluster.tls.as_ref().is_some_and(|options| options.identity.is_some());
    let asking = Asking { dialer, tls, lenient, shows, questions, time, turns };
    let rows = ask_all(Arc::new(asking), rows).await;
    group.lines.extend(foreign(&rows));
    let seen = Seen {
        nodes: rows.iter().filter_map(|row| row.node).collect(),
        answered: rows.iter().filter(|row| row.answers().is_some()).map(|row| row.address.clone()).collect(),
    };
    if matches!(cluster.topology.discovery, Discovery::LearnOnly) {
        let told = "the brokers are learned from what passes: only the addresses of the file are looked at";
        group.lines.push(Line::ok(told));
    }
    let lines = rows.into_iter().filter_map(|row| Some(row.asked?.line(&row.address.to_string(), row.node)));
    group.lines.extend(lines);
    (group, seen)
}

/// The addresses of the file.
fn rows(cluster: &config::Cluster) -> Vec<Row> {
    let bootstrap = cluster.topology.bootstrap.iter().map(|address| (None, address));
    let fixed: Vec<_> = match &cluster.topology.discovery {
        Discovery::Static(nodes) => nodes.iter().map(|(node, address)| (Some(*node), address)).collect(),
        Discovery::Own(_) | Discovery::LearnOnly => Vec::new(),
    };
    let mut rows: Vec<Row> = Vec::new();
    for (node, address) in bootstrap.chain(fixed) {
        match rows.iter_mut().find(|row| row.address == *address) {
            Some(row) => row.node = row.node.or(node),
            None => rows.push(Row { address: address.clone(), node, asked: None }),
        }
    }
    rows
}

/// Asks each broker as soon as it is known: none waits for another that is silent.
async fn ask_all(asking: Arc<Asking>, mut rows: Vec<Row>) -> Vec<Row> {
    let configured = rows.len();
    let mut asked = JoinSet::new();
    let begin = |asked: &mut JoinSet<_>, at: usize, address: HostPort| {
        let asking = Arc::clone(&asking);
        asked.spawn(async move { (at, asking.ask(address).await) });
    };
    for (at, row) in rows.iter().enumerate() {
        begin(&mut asked, at, row.address.clone());
    }
    while let Some(joined) = asked.join_next().await {
        let Ok((at, answer)) = joined else { continue };
        for broker in answer.brokers() {
            if let Some(row) = rows.iter_mut().find(|row| row.address == broker.address) {
                row.node = Some(broker.node);
            } else if rows.len() < configured + FOUND_MAX {
                begin(&mut asked, rows.len(), broker.address.clone());
                let (node, address) = (Some(broker.node), broker.address.clone());
                rows.push(Row { address, node, asked: None });
            }
        }
        if let Some(row) = rows.get_mut(at) {
            row.asked = Some(answer);
        }
    }
    // Those of the file in its order, then what was found by id.
    if let Some(found) = rows.get_mut(configured..) {
        found.sort_by_key(|row| row.node);
    }
    rows
}

/// Addresses that lead to several clusters.
fn foreign(rows: &[Row]) -> Option<Line> {
    let mut clusters: BTreeMap<&str, &HostPort> = BTreeMap::new();
    for row in rows {
        if let Some(id) = row.answers().and_then(|answers| answers.cluster_id.as_deref()) {
            clusters.entry(id).or_insert(&row.address);
        }
    }
    if clusters.len() < 2 {
        return None;
    }
    let told: Vec<_> = clusters.iter().map(|(id, address)| format!("{address} belongs to {id}")).collect();
    let line = Line::fail(Code::ClusterAnswer, format!("several clusters answer: {}", told.join(", ")));
    Some(
        line.hint("all addresses of a cluster lead to that cluster; make the other one a cluster of its own"),
    )
}

/// Takes any certificate and shows none.
fn lenient(options: &client::Options) -> Option<Arc<Connector>> {
    let options = client::Options { verify: Verify::InsecureNone, identity: None, ..options.clone() };
    Connector::load(options).ok().map(Arc::new)
}
