//! Names that clients are told and that no certificate of their listener is for. A renewal may lose one, the address of a
//! Service may become another, and a broker may come whose name nobody thought of.

use std::collections::BTreeSet;
use std::fmt;

use super::parts::Parts;
use crate::cluster::Routes;
use crate::tls::inspect::covers;

/// Names of one listener that its clients would refuse.
#[derive(Debug)]
pub(super) struct Uncovered<'p> {
    pub(super) listener: &'p str,
    first: String,
    more: usize,
}

impl fmt::Display for Uncovered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no certificate of this listener is for `{}`", self.first)?;
        if self.more > 0 {
            write!(f, " and {} more names", self.more)?;
        }
        f.write_str(" that clients are told, so they refuse it: get one that has this in `subjectAltName`")
    }
}

/// What each listener tells its clients now, and presents no certificate for.
pub(super) fn uncovered(parts: &Parts) -> impl Iterator<Item = Uncovered<'_>> {
    parts.config.listeners.iter().zip(&parts.listeners).filter_map(|(listener, running)| {
        let name = listener.listen.name.as_str();
        let status = parts.sides.clients(name)?.status();
        let is_covered =
            |host: &str| status.certificates.iter().any(|certificate| covers(&certificate.names, host));
        let routes = running.routes.load();
        let mut told: BTreeSet<String> =
            routes.bootstrap().map(|(host, _)| host.to_owned()).into_iter().collect();
        if let (Routes::Names(names), Some(cluster)) = (&**routes, parts.clusters.get(listener.cluster)) {
            let brokers = cluster.topology.snapshot().brokers;
            told.extend(brokers.iter().filter_map(|(node, ..)| names.advertised(*node)));
        }
        let mut missing = told.into_iter().filter(|host| !is_covered(host));
        Some(Uncovered { listener: name, first: missing.next()?, more: missing.count() })
    })
}
