//! Tries everything that a configuration names, as the gateway would, and says what it found: ports, certificates,
//! names, and each broker. It changes nothing.

mod broker;
mod clusters;
mod doors;
mod fault;
mod host;
mod material;
mod ports;
mod releases;
pub mod report;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use clusters::Seen;
use doors::Around;
use ports::Admin;
use report::{Group, Line, Report};

use crate::config::Config;
use crate::config::diagnostic::{Diagnostics, Severity};
use crate::limits::machine::Machine;

/// The time that there is.
#[derive(Clone, Copy, Debug)]
struct Time {
    /// How much it was at the start.
    given: Duration,
    end: Instant,
}

impl Time {
    fn from_now(given: Duration) -> Self {
        Self { given, end: Instant::now() + given }
    }
}

/// A file that cannot be used: nothing else was looked at.
pub fn refused(file: &str, faults: &Diagnostics) -> Report {
    let group = Group { name: "config".to_owned(), lines: file_lines(file, faults) };
    Report { groups: vec![group], took: Duration::ZERO }
}

/// Looks at everything that a file names. Brokers, all together, have the time of `timeout`, and then the names that
/// clients are told have it again. Must be called within a tokio runtime; what hangs may outlive it there.
pub async fn run(file: &str, loaded: &(Config, Diagnostics), machine: &Machine, timeout: Duration) -> Report {
    let begin = Instant::now();
    let (config, warnings) = loaded;
    let counted = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let (listeners, clusters) = (config.listeners.len(), config.clusters.len());
    let told = format!("{file}: {}, {}", counted(listeners, "listener"), counted(clusters, "cluster"));
    let mut lines = vec![Line::ok(told)];
    lines.extend(file_lines(file, warnings));
    let mut groups = vec![Group { name: "config".to_owned(), lines }];
    groups.push(Group { name: "host".to_owned(), lines: host::lines(config, machine) });

    let time = Time::from_now(timeout);
    let admin = Admin::look(&config.admin, time).await;
    let lines: Vec<Line> = admin.line(&config.admin).into_iter().collect();
    if !lines.is_empty() {
        groups.push(Group { name: "admin".to_owned(), lines });
    }
    let looked = look_at_clusters(config, time).await;
    let time = Time::from_now(timeout);
    let mut doors = Vec::new();
    for listener in &config.listeners {
        let cluster = config.clusters.get(listener.cluster).zip(looked.get(listener.cluster));
        if let Some((cluster, (_, seen))) = cluster {
            let around = Around { cluster, seen, admin: &admin, client_id: &config.node_id, time };
            doors.push(doors::look(listener, &around).await);
        }
    }
    groups.extend(looked.into_iter().map(|(group, _)| group));
    groups.extend(doors);
    Report { groups, took: begin.elapsed() }
}

/// All at once; they come in the order of the file.
async fn look_at_clusters(config: &Config, time: Time) -> Vec<(Group, Seen)> {
    let own = own_addresses(config);
    let mut looks = JoinSet::new();
    for (at, cluster) in config.clusters.iter().enumerate() {
        let client_id = cluster.topology.client_id.clone();
        let look = clusters::look(cluster.clone(), own.clone(), client_id, time);
        looks.spawn(async move { (at, look.await) });
    }
    let mut looked: Vec<_> = looks.join_all().await;
    looked.sort_by_key(|(at, _)| *at);
    looked.into_iter().map(|(_, looked)| looked).collect()
}

/// What the gateway binds, and so must not dial.
fn own_addresses(config: &Config) -> Vec<SocketAddr> {
    let listeners = config.listeners.iter().flat_map(|listener| {
        let options = &listener.listen;
        let ports = std::iter::once(options.port).chain(options.routes.bindings().map(|(_, port)| port));
        ports.flat_map(|port| options.binds.iter().map(move |bind| SocketAddr::new(bind.ip, port)))
    });
    listeners.chain(config.admin.bind).collect()
}

/// What is to be said of the file itself.
fn file_lines(file: &str, found: &Diagnostics) -> Vec<Line> {
    let line = |fault: &crate::config::diagnostic::Diagnostic| {
        let place = if fault.path.is_empty() { file } else { &fault.path };
        let told = format!("{place}: {}", fault.title);
        let line = match fault.severity {
            Severity::Error => Line::fail(fault.code, told),
            Severity::Warning => Line::warn(fault.code, told),
        };
        match &fault.help {
            Some(help) => line.hint(help.as_str()),
            None => line,
        }
    };
    found.iter().map(line).collect()
}
