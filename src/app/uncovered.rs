//! Names that clients are told and that no certificate of their listener is for. A renewal may lose one, the address of a
//! Service may become another, and a broker may come whose name nobody thought of.

use std::collections::BTreeSet;
use std::fmt;

use super::parts::Parts;
use crate::cluster::Routes;
use crate::tls::inspect::is_covered;

/// Names of one listener that its clients would refuse.
#[derive(Debug)]
pub(super) struct Uncovered<'p> {
    pub(super) listener: &'p str,
    first: String,
    more: usize,
    /// The gateway itself refuses whoever asks for a name that it has no certificate for.
    by_name_only: bool,
}

impl fmt::Display for Uncovered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no certificate of this listener is for `{}`", self.first)?;
        match self.more {
            0 => {}
            1 => f.write_str(" and 1 more name")?,
            more => write!(f, " and {more} more names")?,
        }
        f.write_str(" that clients are told, ")?;
        f.write_str(match self.by_name_only {
            true => {
                "so they are refused (`unknown_name`), and the gateway would not start again with these files"
            }
            false => "so they refuse what they are shown (`certificate_refused`)",
        })?;
        f.write_str(": get one that has this in `subjectAltName`")
    }
}

/// What each listener tells its clients now, and presents no certificate for.
pub(super) fn uncovered(parts: &Parts) -> impl Iterator<Item = Uncovered<'_>> {
    parts.config.listeners.iter().zip(&parts.listeners).filter_map(|(listener, running)| {
        let name = listener.listen.name.as_str();
        let status = parts.sides.clients(name)?.status();
        let certificates: Vec<_> = status.certificates.iter().map(|certificate| &certificate.names).collect();
        let routes = running.routes.load();
        let mut told: BTreeSet<String> =
            routes.bootstrap().map(|(host, _)| host.to_owned()).into_iter().collect();
        if let (Routes::Names(names), Some(cluster)) = (&**routes, parts.clusters.get(listener.cluster)) {
            let brokers = cluster.topology.snapshot().brokers;
            told.extend(brokers.iter().filter_map(|(node, ..)| names.advertised(*node)));
        }
        let mut missing = told.into_iter().filter(|host| !is_covered(&certificates, host));
        let by_name_only = matches!(**routes, Routes::Names(_));
        Some(Uncovered { listener: name, first: missing.next()?, more: missing.count(), by_name_only })
    })
}

/// Says it of the listeners of which something changed.
pub(super) fn say(parts: &Parts, is_changed: impl Fn(&str) -> bool) {
    for names in uncovered(parts).filter(|names| is_changed(names.listener)) {
        tracing::error!(listener = names.listener, "{names}");
    }
}
