//! A listener as its clients meet it: ports, certificates, names, and a way to every broker.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::broker::{Asking, left};
use super::clusters::Seen;
use super::ports::Admin;
use super::report::{Group, Line, Outcome};
use super::{Time, material};
use crate::advertised;
use crate::cluster::Routes;
use crate::config::codes::Code;
use crate::config::{self, Listener};
use crate::connect::Dialer;
use crate::tls::inspect::is_covered;
use crate::tls::lifetime::ends_soon;
use crate::tls::status::{Certificate, Status};
use crate::topology::survey::Questions;

/// Names of one kind that a line lists.
const SHOWN_MAX: usize = 4;

/// Names of one listener that are looked up.
const LOOKUPS_MAX: usize = 16;

/// Nodes of one range whose names are compared with the certificates.
const NODES_MAX: usize = 1_000;

/// What the check of a listener stands on.
pub(super) struct Around<'a> {
    pub(super) cluster: &'a config::Cluster,
    pub(super) seen: &'a Seen,
    pub(super) admin: &'a Admin,
    pub(super) client_id: &'a str,
    pub(super) time: Time,
}

/// Looks at one listener.
pub(super) async fn look(listener: &Listener, around: &Around<'_>) -> Group {
    let mut lines = around.admin.ports(listener);
    let (routes, from) = addressed(listener, around.time).await;
    lines.extend(from);
    let told = Told::of(&routes, around.seen);
    if let Some(options) = &listener.tls {
        match material::terminator(options.clone(), around.time).await {
            Ok(terminator) => lines.extend(presented(&terminator.status(), &told)),
            Err(fault) => lines.push(Line::fail(fault.code, fault.words).hint(fault.hint)),
        }
    }
    lines.extend(resolve(&told, around.time).await);
    lines.extend(outside(listener, around.seen));
    lines.extend(borrowed(listener, around).await);
    Group { name: format!("listener {}", listener.listen.name), lines }
}

/// What clients are told, and the line about the Service whose address that is.
async fn addressed(listener: &Listener, time: Time) -> (Arc<Routes>, Option<Line>) {
    let routes = Arc::clone(&listener.listen.routes);
    let Some(service) = &listener.advertised else { return (routes, None) };
    let looked = timeout_at(time.end, advertised::look(service)).await;
    let line = match looked.unwrap_or(Err(advertised::Error::Silent)) {
        Ok(Ok(host)) => {
            let told = Line::ok(format!("{service} has the address {host}, which clients are told"));
            return (Arc::new(routes.told(host.as_str())), Some(told));
        }
        Ok(Err(absence)) => {
            let hint = "the gateway waits for it, is not ready meanwhile, and turns clients away";
            Line::fail(Code::NoAddressYet, format!("{service}: {absence}")).hint(hint)
        }
        Err(error) => Line::fail(Code::KubernetesApi, format!("{service}: {error}")),
    };
    (routes, Some(line))
}

/// The names that clients are told.
struct Told {
    /// Bootstrap, and the brokers that are there.
    now: Vec<String>,
    /// Brokers that may come.
    later: Vec<String>,
}

impl Told {
    fn of(routes: &Routes, seen: &Seen) -> Self {
        let mut now: Vec<_> = routes.bootstrap().map(|(host, _)| host.to_owned()).into_iter().collect();
        let mut later = Vec::new();
        if let Routes::Names(names) = routes {
            now.extend(seen.nodes.iter().filter_map(|node| names.advertised(*node)));
            let some = names.nodes.iter().flat_map(|range| range.nodes().take(NODES_MAX).chain([range.last]));
            let some: BTreeSet<_> = some.filter(|node| !seen.nodes.contains(node)).collect();
            later.extend(some.into_iter().filter_map(|node| names.advertised(node)));
        }
        Self { now, later }
    }
}

/// The certificates: for how long, and whether they are for the names that clients are told.
fn presented(status: &Status, told: &Told) -> Vec<Line> {
    let now = SystemTime::now();
    let fine = status.certificates.iter().filter(|found| !ends_soon(found.not_before, found.not_after, now));
    let fine = fine.map(|Certificate { file, names, not_after, .. }| {
        Line::ok(format!("certificate {}: {}; {}", material::name(file), shown(names), left(*not_after)))
    });
    let mut lines: Vec<Line> = fine.collect();
    lines.extend(material::lines(status));
    let names: Vec<_> = status.certificates.iter().map(|certificate| &certificate.names).collect();
    let missing = |told: &[String]| -> Vec<String> {
        told.iter().filter(|name| !is_covered(&names, name)).cloned().collect()
    };
    let (now, later) = (missing(&told.now), missing(&told.later));
    let hint = "clients compare the name that they were told with the certificate, and refuse it; add the names, or \
                a wildcard, to `subjectAltName`";
    if !now.is_empty() {
        lines.push(
            Line::fail(Code::NameNotCovered, format!("no certificate is for {}", shown(&now))).hint(hint),
        );
    }
    if !later.is_empty() {
        let told = format!("no certificate is for {}, should such brokers come", shown(&later));
        lines.push(Line::warn(Code::NameNotCovered, told).hint(hint));
    }
    if now.is_empty() && later.is_empty() && !told.now.is_empty() {
        lines.push(Line::ok(format!("every name that clients are told is covered: {}", shown(&told.now))));
    }
    lines
}

fn shown(names: &[String]) -> String {
    match names.len().saturating_sub(SHOWN_MAX) {
        0 if names.is_empty() => "no name".to_owned(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names.get(..SHOWN_MAX).unwrap_or_default().join(", ")),
    }
}

/// Whether the names lead anywhere from here. The clients' own resolvers may know others.
async fn resolve(told: &Told, time: Time) -> Vec<Line> {
    let brokers_come = told.now.len() < 2;
    let names = told.now.iter().chain(told.later.first().filter(|_| brokers_come));
    let names: Vec<String> =
        names.filter(|name| name.parse::<IpAddr>().is_err()).take(LOOKUPS_MAX).cloned().collect();
    let mut lookups = JoinSet::new();
    for (at, name) in names.iter().enumerate() {
        let name = name.clone();
        lookups.spawn(async move {
            let found = timeout_at(time.end, lookup_host((name, 0))).await;
            (at, found.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.next().is_some())))
        });
    }
    let mut resolved = vec![false; names.len()];
    while let Some(joined) = lookups.join_next().await {
        if let Ok((at, found)) = joined
            && let Some(slot) = resolved.get_mut(at)
        {
            *slot = found;
        }
    }
    let of = |wanted: bool| -> Vec<String> {
        names
            .iter()
            .zip(&resolved)
            .filter(|(_, found)| **found == wanted)
            .map(|(name, _)| name.clone())
            .collect()
    };
    let (found, lost) = (of(true), of(false));
    let does = |names: &[String], one: &str, several: &str| {
        format!("{} {}", shown(names), if names.len() == 1 { one } else { several })
    };
    let mut lines = Vec::new();
    if !found.is_empty() {
        lines.push(Line::ok(does(&found, "resolves", "resolve")));
    }
    if !lost.is_empty() {
        let hint = "clients are told to connect there: add a record, or a wildcard record; fine where only the \
                    clients' own resolvers know the name";
        let told = does(&lost, "does not resolve here", "do not resolve here");
        lines.push(Line::warn(Code::NameUnresolved, told).hint(hint));
    }
    lines
}

/// Brokers that clients of this listener are not told of.
fn outside(listener: &Listener, seen: &Seen) -> Option<Line> {
    let routes = &listener.listen.routes;
    let outside: Vec<_> = seen.nodes.iter().filter(|node| !routes.holds(**node)).collect();
    let first = outside.first()?;
    let nodes: Vec<String> = outside.iter().map(ToString::to_string).collect();
    let told = match nodes.as_slice() {
        [one] => format!("node {one} is outside every range"),
        several => format!("the nodes {} are outside every range", shown(several)),
    };
    Some(Line::fail(Code::NodeOutside, told).hint(format!(
        "clients are not told of it; `{}` belongs in listeners.{}.{}",
        routes.range_to_add(**first),
        listener.listen.name,
        routes.range_setting(),
    )))
}

/// Whether brokers take what the clients of this listener are towards them.
async fn borrowed(listener: &Listener, around: &Around<'_>) -> Option<Line> {
    let options = listener.upstream.as_ref().filter(|options| options.identity.is_some())?;
    const SUBJECT: &str = "upstream_identity";
    let connector = match material::connector(options.clone(), around.time).await {
        Ok(connector) => connector,
        Err(fault) => return Some(Line::fail(Code::ListenerFiles, fault.words).hint(fault.hint)),
    };
    let address = around.seen.answered.first()?;
    let asking = Asking {
        dialer: Dialer::new(around.cluster.connect.clone(), around.seen.answered.clone()),
        tls: Some(connector),
        lenient: None,
        shows: true,
        questions: Questions { client_id: around.client_id.to_owned(), credential: None, brokers: false },
        time: around.time,
        turns: Arc::new(Semaphore::new(1)),
    };
    let line = Arc::new(asking).ask(address.clone()).await.line(SUBJECT, None);
    Some(match line.outcome {
        Outcome::Fail => line.fact(format!("at {address}")),
        Outcome::Ok | Outcome::Warn => Line::ok(format!("{address} takes the certificate of {SUBJECT}")),
    })
}
