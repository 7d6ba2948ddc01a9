//! The rows P1 to P9 of `docs/performance.md`: which load, which figure, which targets.

use std::collections::BTreeMap;

use super::load::{self, Kind, Load};
use super::peers::{
    AWSLC, AWSLC_BUFFERS, DIRECT, GATEWAY, HAPROXY, HAPROXY_BUFFERS, HAPROXY_SPLICE, NGINX, NGINX_BUFFERS,
    Peer,
};
use super::tls::Secure;
use super::{Plan, measure};

/// What is measured of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// CPU-seconds of the proxy for each GiB.
    PerGib,
    /// CPU-microseconds of the proxy for each request.
    PerRequest,
    /// CPU-microseconds of the proxy for each connection: handshake, one round trip, close.
    PerConnection,
    /// Microseconds that the proxy adds to a round trip: median and 99th percentile.
    Added,
    /// KiB of user space for each idle connection.
    Idle,
}

/// A ratio that the gateway is to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Against the best of these.
    pub(crate) peers: &'static [&'static str],
    pub(crate) ratio: f64,
}

/// One row.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) figure: Figure,
    pub(crate) load: Load,
    /// How clients encrypt, if they do.
    pub(crate) secure: Option<Secure>,
    pub(crate) targets: &'static [Target],
    /// A value that the gateway is to stay below.
    pub(crate) limit: Option<f64>,
}

const fn target(peers: &'static [&'static str], ratio: f64) -> Target {
    Target { peers, ratio }
}

const fn load(frame_bytes: usize, connections: usize, in_flight: usize, kind: Kind) -> Load {
    Load { frame_bytes, connections, in_flight, kind }
}

const BEST_NGINX: &[&str] = &[NGINX, NGINX_BUFFERS];

pub(crate) static ROWS: [Row; 14] = [
    Row {
        name: "P1",
        title: "produce 64 KiB, 8 connections x 5 in flight",
        figure: Figure::PerGib,
        load: load(64 * 1024, 8, 5, Kind::Produce),
        secure: None,
        targets: &[target(&[HAPROXY], 0.35), target(BEST_NGINX, 1.0), target(&[HAPROXY_SPLICE], 1.05)],
        limit: None,
    },
    Row {
        name: "P2",
        title: "produce 1 MiB, 8 connections x 5 in flight",
        figure: Figure::PerGib,
        load: load(1024 * 1024, 8, 5, Kind::Produce),
        secure: None,
        targets: &[target(&[HAPROXY], 0.20), target(BEST_NGINX, 0.65), target(&[HAPROXY_SPLICE], 1.0)],
        limit: None,
    },
    Row {
        name: "P3",
        title: "produce 1 KiB, 8 connections x 5 in flight",
        figure: Figure::PerRequest,
        load: load(1024, 8, 5, Kind::Produce),
        secure: None,
        targets: &[target(&[HAPROXY], 0.90), target(&[NGINX], 1.0)],
        limit: None,
    },
    Row {
        name: "P4",
        title: "200 B there and back, 64 connections x 5 in flight",
        figure: Figure::PerRequest,
        load: load(200, 64, 5, Kind::Forward),
        secure: None,
        targets: &[target(&[HAPROXY], 0.85), target(&[NGINX], 0.97)],
        limit: None,
    },
    Row {
        name: "P5",
        title: "200 B there and back, one connection, one in flight",
        figure: Figure::Added,
        load: load(200, 1, 1, Kind::Forward),
        secure: None,
        targets: &[target(&[NGINX], 1.0)],
        limit: None,
    },
    Row {
        name: "P9",
        title: "idle connections after one round trip",
        figure: Figure::Idle,
        load: load(200, 0, 1, Kind::Forward),
        secure: None,
        targets: &[],
        limit: Some(8.0),
    },
    bulk("P6", "TLS, produce 64 KiB, 8 connections x 5 in flight", 64 * 1024, Kind::Produce),
    bulk("P6", "TLS, fetch 64 KiB, 8 connections x 5 in flight", 64 * 1024, Kind::Fetch),
    bulk("P7", "TLS, produce 1 MiB, 8 connections x 5 in flight", 1024 * 1024, Kind::Produce),
    bulk("P7", "TLS, fetch 1 MiB, 8 connections x 5 in flight", 1024 * 1024, Kind::Fetch),
    handshakes("full handshakes, X25519", Secure::Full, &FULL),
    handshakes("resumed handshakes, X25519", Secure::Resumed, &RESUMED),
    handshakes("full handshakes, X25519MLKEM768", Secure::Hybrid, &[]),
    Row {
        name: "P9",
        title: "TLS, idle connections after one round trip",
        figure: Figure::Idle,
        load: load(200, 0, 1, Kind::Forward),
        secure: Some(Secure::Full),
        targets: &[],
        limit: Some(15.0),
    },
];

const BEST_AWSLC: &[&str] = &[AWSLC, AWSLC_BUFFERS];

static SMALL: [Target; 2] = [target(BEST_AWSLC, 0.60), target(&[HAPROXY], 0.30)];
static LARGE: [Target; 1] = [target(BEST_AWSLC, 0.48)];
// Of handshakes per CPU-second, 1.3, 2.5, 1.25 and 2.1 times as many.
static FULL: [Target; 2] = [target(&[AWSLC], 0.77), target(&[HAPROXY], 0.40)];
static RESUMED: [Target; 2] = [target(&[AWSLC], 0.80), target(&[HAPROXY], 0.48)];

const fn bulk(name: &'static str, title: &'static str, frame_bytes: usize, kind: Kind) -> Row {
    let targets: &[Target] = if frame_bytes > 64 * 1024 { &LARGE } else { &SMALL };
    let load = load(frame_bytes, 8, 5, kind);
    Row { name, title, figure: Figure::PerGib, load, secure: Some(Secure::Full), targets, limit: None }
}

const fn handshakes(title: &'static str, secure: Secure, targets: &'static [Target]) -> Row {
    let load = load(200, 8, 1, Kind::Connect);
    Row { name: "P8", title, figure: Figure::PerConnection, load, secure: Some(secure), targets, limit: None }
}

/// The values of one peer: one for each round that counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    pub(crate) first: Vec<f64>,
    /// The 99th percentile, where the first is a median.
    pub(crate) second: Vec<f64>,
}

/// What a row gave.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// By peer; `None` for one that is absent.
    pub(crate) peers: Vec<(&'static str, Option<Values>)>,
    /// Rounds that were thrown away because the rest of the machine took over 5 % of a core.
    pub(crate) thrown_away: usize,
    /// Rounds that count although it did, because there were no others.
    pub(crate) noisy: usize,
}

/// Runs a row in interleaved rounds.
pub(crate) fn run(row: &Row, peers: &[Peer], plan: &Plan) -> Measured {
    let mut measured = Measured::default();
    if row.figure == Figure::Idle {
        measured.peers =
            peers.iter().filter(|p| p.name != DIRECT).map(|p| (p.name, idle(p, row, plan))).collect();
        return measured;
    }
    let mut values: BTreeMap<&str, Values> = BTreeMap::new();
    let (mut kept, mut tried) = (0, 0);
    while kept < plan.rounds {
        let (round, foreign) = interleaved(row, peers, plan);
        tried += 1;
        let quiet = foreign <= 0.05;
        if !quiet && tried <= plan.rounds {
            // As many again are tried before a disturbed round has to do.
            measured.thrown_away += 1;
            if measured.thrown_away < plan.rounds {
                continue;
            }
            measured.thrown_away -= 1;
        }
        measured.noisy += usize::from(!quiet);
        kept += 1;
        for (name, first, second) in round {
            let of_peer = values.entry(name).or_default();
            of_peer.first.push(first);
            of_peer.second.push(second);
        }
    }
    let value = |peer: &Peer| (peer.name, peer.address.map(|_| values.remove(peer.name).unwrap_or_default()));
    measured.peers = peers.iter().map(value).collect();
    measured
}

/// One round of each peer, and the share of a core that the rest of the machine took.
fn interleaved(row: &Row, peers: &[Peer], plan: &Plan) -> (Vec<(&'static str, f64, f64)>, f64) {
    let (mut out, mut foreign, mut direct) = (Vec::new(), 0.0_f64, (0.0, 0.0));
    for peer in peers {
        let Some(target) = peer.target(row.secure) else { continue };
        let own = std::process::id();
        let mut marks = Vec::new();
        let done = load::run(row.load, &target, plan.round, || {
            let of_peer = peer.id().map_or(0, measure::cpu_ns);
            marks.push((of_peer, measure::busy_ns(), of_peer + measure::cpu_ns(own)));
        });
        let [start, end] = marks[..] else { panic!("a round has two marks") };
        let cpu = end.0.saturating_sub(start.0) as f64;
        let others = (end.1 - start.1) as f64 - (end.2 - start.2) as f64;
        foreign = foreign.max(others / plan.round.as_nanos() as f64);
        if done.requests == 0 {
            println!("  {} carried nothing in a round of {}: it does not count", peer.name, row.name);
            continue;
        }
        let figures = match row.figure {
            Figure::PerGib => {
                let bytes = done.requests as f64 * row.load.frame_bytes as f64;
                (cpu / 1e9 / (bytes / f64::from(1 << 30)), done.requests as f64)
            }
            Figure::PerRequest => (cpu / 1e3 / done.requests as f64, done.requests as f64),
            Figure::PerConnection => {
                let requests = done.requests as f64;
                (cpu / 1e3 / requests, 100.0 * done.resumed as f64 / requests)
            }
            Figure::Added | Figure::Idle => {
                let percentile = |share| measure::percentile(&done.round_trips, share) / 1e3;
                (percentile(0.5) - direct.0, percentile(0.99) - direct.1)
            }
        };
        if peer.name == DIRECT {
            direct = figures;
        }
        out.push((peer.name, figures.0, figures.1));
    }
    (out, foreign)
}

fn idle(peer: &Peer, row: &Row, plan: &Plan) -> Option<Values> {
    let (target, process) = (peer.target(row.secure)?, peer.id()?);
    let before = measure::pss_bytes(process);
    let after = load::idle(plan.idle, &target, || measure::pss_bytes(process));
    let kib = after.saturating_sub(before) as f64 / 1024.0 / plan.idle as f64;
    Some(Values { first: vec![kib], second: Vec::new() })
}

/// The columns of a table, the gateway first.
pub(crate) const ORDER: [&str; 9] =
    [GATEWAY, HAPROXY, HAPROXY_BUFFERS, HAPROXY_SPLICE, AWSLC, AWSLC_BUFFERS, NGINX, NGINX_BUFFERS, DIRECT];
