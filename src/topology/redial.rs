//! Dials again what could not be reached: where no client does so, nobody else would notice that it is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Target, Topology};
use crate::net::HostPort;

/// How often it is looked for addresses that are due.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// For how long an address that failed is left alone, where no client dials it.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The most dials at a time: they share the cluster's look-ups of names with clients, and take of the descriptors that
/// are kept for the gateway's own use. Each is over after `connect_timeout`, 5 seconds unless the file says otherwise,
/// so some 96 silent brokers are dialled when they are due.
const AT_ONCE: usize = 32;

/// Never ends.
pub(super) async fn run(topology: &Arc<Topology>) {
    loop {
        sleep(LOOK_EVERY).await;
        let mut dials = JoinSet::new();
        for target in topology.due() {
            let topology = Arc::clone(topology);
            // How it went is remembered where it is dialled.
            dials.spawn(async move { drop(topology.reach_own(&target).await) });
        }
        while dials.join_next().await.is_some() {}
    }
}

impl Topology {
    /// What is to be dialled again: a node, or a bootstrap address at which there is none.
    fn due(&self) -> Vec<Target> {
        let (table, options) = (self.table.load(), self.options.load());
        let mut health = self.health();
        // A dial that was under way when its node moved leaves the old address behind.
        health.keep(table.addresses().chain(&options.bootstrap));
        let due = health.down_for(AGAIN_AFTER, Instant::now());
        drop(health);
        let target = |address: HostPort| {
            let node = table.nodes.iter().find(|(_, entry)| entry.address == address);
            node.map(|(node, entry)| entry.target(*node)).unwrap_or_else(|| Target {
                node: None,
                moved: CancellationToken::new(),
                address,
            })
        };
        due.into_iter().take(AT_ONCE).map(target).collect()
    }
}
