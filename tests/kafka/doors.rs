//! The door with TLS in its two shapes, and what a real client does there.

use std::{collections::BTreeSet, path::Path};

use crate::{
    Result,
    certificates::Files,
    clients,
    cluster::{Cluster, NODES, bootstrap},
    gateway::{PORT, quoted},
    lab::{BOOTSTRAP_NAME, DOOR, DOOR_NAME, Lab, Side, broker_name},
    records::{self, Verdict},
    secure::{self, Version},
    wire,
};

/// How a client's connection finds its broker; also the name of the listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// A port for each broker.
    Port,
    /// One port, and a name for each broker.
    Sni,
}

impl Mode {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Port, Self::Sni];

    /// The listener's name in the configuration, in metrics and in topics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Sni => "sni",
        }
    }

    /// What clients are given to bootstrap from.
    pub(crate) fn bootstrap(self) -> String {
        match self {
            Self::Port => format!("{DOOR_NAME}:{PORT}"),
            Self::Sni => format!("{BOOTSTRAP_NAME}:{SNI_PORT}"),
        }
    }

    /// The name and the address at which the harness's own client finds broker `node`.
    pub(crate) fn broker(self, node: i32) -> (String, String) {
        let (name, port) = self.place(node);
        (name, format!("{DOOR}:{port}"))
    }

    /// What clients may see of the brokers.
    pub(crate) fn advertised(self) -> String {
        let nodes = NODES.iter().map(|node| {
            let (name, port) = self.place(*node);
            format!("{node}={name}:{port}")
        });
        nodes.collect::<Vec<_>>().join(",")
    }

    fn place(self, node: i32) -> (String, u16) {
        match self {
            Self::Port => (DOOR_NAME.to_owned(), PORT + 1 + u16::try_from(node).unwrap_or_default()),
            Self::Sni => (broker_name(node), SNI_PORT),
        }
    }

    /// The listener with the settings `tls` beside its certificate, and `more` settings of its own.
    pub(crate) fn listener(self, pair: &Files, tls: &str, more: &str) -> String {
        let way = match self {
            Self::Port => format!("    bind: {DOOR}:{PORT}\n    advertise: {DOOR_NAME}\n"),
            Self::Sni => format!(
                "    bind: {DOOR}:{SNI_PORT}\n    routing: {{ sni: {{ bootstrap: {BOOTSTRAP_NAME}, \
                 brokers: \"b{{node}}.{BOOTSTRAP_NAME}\", nodes: 1-4 }} }}\n"
            ),
        };
        let certificate = format!("{{ cert: {}, key: {} }}", path(&pair.certificate), path(&pair.key));
        format!("  {}:\n{way}    tls: {{ certificates: [ {certificate} ]{tls} }}\n{more}", self.name())
    }
}

/// A path as a value of the configuration.
pub(crate) fn path(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// A gateway's configuration: the cluster at `brokers` with the settings `cluster`, and `listeners`. It looks at its
/// files each second.
pub(crate) fn configuration(brokers: &[String], cluster: &str, listeners: &[String]) -> String {
    format!(
        "clusters:\n  main:\n    bootstrap: [{}]\n{cluster}listeners:\n{}tls: {{ reload_interval: 1s }}\n",
        quoted(brokers),
        listeners.concat()
    )
}

/// One visit of a client program.
pub(crate) struct Visit<'a> {
    /// Where to.
    pub(crate) mode: Mode,
    /// The client, as [`secure::arguments`] names it.
    pub(crate) client: &'a str,
    /// The version of TLS.
    pub(crate) version: Version,
    /// What it presents.
    pub(crate) identity: Option<&'a Files>,
    /// The beginning of the topic's name.
    pub(crate) label: &'a str,
}

impl Visit<'_> {
    /// Describes the cluster, produces, consumes in a group and transacts; what it wrote is read beside the gateway.
    pub(crate) fn run(&self, lab: &Lab, more: &[String]) -> Result<()> {
        let topic = format!(
            "{}-{}-{}-{}",
            self.label,
            self.mode.name(),
            self.version.number(),
            self.client.replace('+', "-")
        );
        lab.inside(Side::Brokers, || {
            wire::create_topic(&bootstrap(), &topic, &wire::spread(3, 3), &[])?;
            wire::create_topic(&bootstrap(), &format!("{topic}-tx"), &wire::spread(3, 3), &[])
        })?;
        let functions = match self.client {
            "kcat" => "describe,produce,consume",
            _ => "describe,produce,consume,transact",
        };
        let mut arguments = vec![
            format!("bootstrap={}", self.mode.bootstrap()),
            format!("functions={functions}"),
            format!("prefix={topic}"),
            format!("count={COUNT}"),
        ];
        arguments.extend(secure::arguments(lab, self.client, self.version, self.identity));
        arguments.extend_from_slice(more);
        for outcome in clients::run(lab, Side::Clients, secure::program(self.client), &topic, &arguments)? {
            let done = match outcome.function.as_str() {
                "describe" => outcome.detail == self.mode.advertised(),
                "produce" => outcome.sent == COUNT,
                "consume" => outcome.read == COUNT,
                _ => (outcome.sent, outcome.read) == (COUNT, COUNT / 2),
            };
            if !outcome.ok || !done {
                return Err(format!("{topic}: {outcome:?}").into());
            }
        }
        let all: BTreeSet<u64> = (0..COUNT).collect();
        let verdict = lab.inside(Side::Brokers, || records::judge(&bootstrap(), &topic, &all))?;
        if verdict != (Verdict { distinct: all.len(), ..Verdict::default() }) {
            return Err(format!("beside the gateway {topic} reads as {verdict:?}").into());
        }
        Ok(())
    }
}

/// Runs every visit, some at a time; the first fault counts.
pub(crate) fn visits(lab: &Lab, visits: &[Visit<'_>]) -> Result<()> {
    let (mut even, mut odd) = (Vec::new(), Vec::new());
    for (number, visit) in visits.iter().enumerate() {
        if number % 2 == 0 { even.push(visit) } else { odd.push(visit) }
    }
    std::thread::scope(|scope| {
        let run = |visits: Vec<&Visit<'_>>| visits.into_iter().try_for_each(|visit| visit.run(lab, &[]));
        let (even, odd) = (scope.spawn(move || run(even)), scope.spawn(move || run(odd)));
        even.join().map_err(|_| "a thread panicked")??;
        odd.join().map_err(|_| "a thread panicked")?
    })
}

/// The port of the listener with names.
pub(crate) const SNI_PORT: u16 = 19492;
/// Records of each function; transactions commit every other batch of 50.
const COUNT: u64 = 100;

/// The brokers' addresses at `port`, and how to trust them.
pub(crate) fn over_tls(lab: &Lab, port: u16) -> (Vec<String>, String) {
    let brokers = NODES.iter().map(|node| Cluster::address(*node, port)).collect();
    (brokers, format!("    tls: {{ ca: {} }}\n", path(&lab.certificates().path("brokers-ca.pem"))))
}
