//! The brokers of a cluster and what changes between two tables. No IO.

use std::collections::BTreeMap;
use std::fmt;

use tokio_util::sync::CancellationToken;

use super::{Discovery, Target};
use crate::cluster::Broker;
use crate::kafka::NodeId;
use crate::net::HostPort;

/// How many nodes a table holds at most.
pub const NODES_MAX: usize = 1_000;

/// How many ids a log line names at most.
const NAMED_MAX: usize = 10;

/// Where a node is.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) address: HostPort,
    /// Cancelled when the node is no longer at this address.
    pub(super) moved: CancellationToken,
}

impl Entry {
    fn new(address: HostPort) -> Self {
        Self { address, moved: CancellationToken::new() }
    }

    pub(super) fn target(&self, node: NodeId) -> Target {
        Target { node: Some(node), address: self.address.clone(), moved: self.moved.clone() }
    }
}

/// The brokers of a cluster, by node id. A table is replaced as a whole, never changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) nodes: BTreeMap<NodeId, Entry>,
}

/// What the next table does to the one before.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) added: Vec<NodeId>,
    pub(super) moved: Vec<NodeId>,
    pub(super) lost: Vec<NodeId>,
    /// To be cancelled once the next table is in place, so that who dials again finds the new address.
    pub(super) outdated: Vec<CancellationToken>,
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.moved.is_empty() && self.lost.is_empty()
    }
}

/// A list of ids for a log line, short whatever the cluster says.
pub(super) struct Named<'a>(pub(super) &'a [NodeId]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, node) in self.0.iter().take(NAMED_MAX).enumerate() {
            write!(f, "{}{node}", if position > 0 { "," } else { "" })?;
        }
        if self.0.len() > NAMED_MAX { write!(f, " and {} more", self.0.len() - NAMED_MAX) } else { Ok(()) }
    }
}

impl Table {
    /// Where the nodes are.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &HostPort> {
        self.nodes.values().map(|entry| &entry.address)
    }

    /// The table that an answer to the gateway's own request describes: nodes that it does not list
    /// are lost. Of a node that it lists twice, the first address counts.
    pub(super) fn answered(&self, brokers: &[Broker]) -> (Self, Change) {
        let mut change = Change::default();
        let mut nodes = BTreeMap::new();
        for Broker { node, address } in brokers {
            if nodes.contains_key(node) {
                continue;
            }
            let entry = match self.nodes.get(node) {
                Some(entry) if entry.address == *address => entry.clone(),
                Some(entry) => {
                    change.moved.push(*node);
                    change.outdated.push(entry.moved.clone());
                    Entry::new(address.clone())
                }
                None => {
                    change.added.push(*node);
                    Entry::new(address.clone())
                }
            };
            nodes.insert(*node, entry);
        }
        for (node, entry) in &self.nodes {
            if !nodes.contains_key(node) {
                change.lost.push(*node);
                change.outdated.push(entry.moved.clone());
            }
        }
        (Self { nodes }, change)
    }

    /// The table that the configuration itself gives; the same where it gives none.
    pub(super) fn configured(&self, discovery: &Discovery) -> (Self, Change) {
        match discovery {
            Discovery::Own(_) | Discovery::LearnOnly => (self.clone(), Change::default()),
            Discovery::Static(nodes) => {
                let broker =
                    |(node, address): (&NodeId, &HostPort)| Broker { node: *node, address: address.clone() };
                self.answered(&nodes.iter().map(broker).collect::<Vec<_>>())
            }
        }
    }

    /// The table with what a passing response teaches: nodes that are new, up to [`NODES_MAX`] in all.
    /// With `newest`, a differing address replaces the old one for dials to come; live connections stay.
    pub(super) fn taught(&self, brokers: &[Broker], newest: bool) -> (Self, Change) {
        let mut table = self.clone();
        let mut change = Change::default();
        for Broker { node, address } in brokers {
            let room = table.nodes.len() < NODES_MAX;
            match table.nodes.get_mut(node) {
                Some(entry) if newest && entry.address != *address => {
                    entry.address = address.clone();
                    change.moved.push(*node);
                }
                Some(_) => {}
                None if room => {
                    table.nodes.insert(*node, Entry::new(address.clone()));
                    change.added.push(*node);
                }
                None => {}
            }
        }
        (table, change)
    }

    /// What a list of brokers would change, without an allocation: the common answer is nothing.
    pub(super) fn compare(&self, brokers: &[Broker]) -> Difference {
        let mut difference = Difference { unknown: false, differs: false };
        for Broker { node, address } in brokers {
            match self.nodes.get(node) {
                None => difference.unknown |= self.nodes.len() < NODES_MAX,
                Some(entry) => difference.differs |= entry.address != *address,
            }
        }
        difference
    }
}

/// How a list of brokers differs from a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// It names a node that the table has room for and does not know.
    pub(super) unknown: bool,
    /// It names another address for a known node.
    pub(super) differs: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(list: &[(i32, &str)]) -> Vec<Broker> {
        list.iter()
            .map(|(node, address)| Broker { node: NodeId(*node), address: address.parse().unwrap() })
            .collect()
    }

    fn table(list: &[(i32, &str)]) -> Table {
        Table::default().answered(&brokers(list)).0
    }

    fn ids(list: &[i32]) -> Vec<NodeId> {
        list.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn new_moved_lost_and_reused_ids_are_told_apart() {
        let before = table(&[(0, "a:1"), (1, "b:1"), (2, "c:1"), (3, "d:1")]);
        // 1 moved, 2 is gone and 4 took its address, 3 took the address that 1 had.
        let (after, change) = before.answered(&brokers(&[(0, "a:1"), (1, "b:2"), (3, "b:1"), (4, "c:1")]));
        assert_eq!((change.added, change.moved, change.lost), (ids(&[4]), ids(&[1, 3]), ids(&[2])));
        assert_eq!(change.outdated.len(), 3);
        change.outdated.iter().for_each(CancellationToken::cancel);
        let cancelled = |table: &Table, node| table.nodes[&NodeId(node)].moved.is_cancelled();
        assert!(!cancelled(&before, 0) && cancelled(&before, 1) && cancelled(&before, 2));
        assert!(after.nodes.values().all(|entry| !entry.moved.is_cancelled()));
        assert!(after.answered(&brokers(&[(0, "a:1"), (1, "b:2"), (3, "b:1"), (4, "c:1")])).1.is_empty());
    }

    #[test]
    fn a_node_listed_twice_is_where_it_was_listed_first() {
        let (table, change) = Table::default().answered(&brokers(&[(1, "a:1"), (1, "b:1")]));
        assert_eq!(table.nodes[&NodeId(1)].address.to_string(), "a:1");
        assert_eq!(change.added, ids(&[1]));
    }

    #[test]
    fn what_passes_adds_but_does_not_move() {
        let before = table(&[(0, "a:1"), (1, "b:1")]);
        let passing = brokers(&[(1, "b:2"), (2, "c:1")]);
        assert_eq!(before.compare(&passing), Difference { unknown: true, differs: true });
        let (after, change) = before.taught(&passing, false);
        assert_eq!((change.added, change.moved), (ids(&[2]), ids(&[])));
        assert_eq!(after.nodes[&NodeId(1)].address.to_string(), "b:1");
        assert_eq!(after.compare(&brokers(&[(2, "c:1")])), Difference { unknown: false, differs: false });
    }

    #[test]
    fn the_newest_answer_serves_new_dials_and_drains_nothing() {
        let before = table(&[(1, "b:1")]);
        let (after, change) = before.taught(&brokers(&[(1, "b:2")]), true);
        assert_eq!(after.nodes[&NodeId(1)].address.to_string(), "b:2");
        assert!(change.outdated.is_empty() && !before.nodes[&NodeId(1)].moved.is_cancelled());
    }

    #[test]
    fn what_passes_cannot_fill_the_table_beyond_its_cap() {
        let many: Vec<_> =
            (0..5_000).map(|id| Broker { node: NodeId(id), address: "a:1".parse().unwrap() }).collect();
        let (table, change) = Table::default().taught(&many, false);
        assert_eq!((table.nodes.len(), change.added.len()), (NODES_MAX, NODES_MAX));
        assert_eq!(table.compare(&many), Difference { unknown: false, differs: false });
        assert_eq!(Named(&change.added).to_string(), "0,1,2,3,4,5,6,7,8,9 and 990 more");
    }
}
