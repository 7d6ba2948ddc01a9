//! Other options for a cluster that is followed already.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use tokio_util::sync::CancellationToken;

use super::reaching::Reaching;
use super::{Discovery, Options, Topology};
use crate::drain;
use crate::net::HostPort;

impl Topology {
    /// Follows the cluster by other options from now on, on the tokio runtime it is called from.
    ///
    /// Connections to brokers that are where they were stay. Those that were begun at a bootstrap address
    /// that is one no more drain, and so do those to a node that is elsewhere or gone by the new options: at
    /// once where the configuration says so, else with the first answer of the cluster.
    pub async fn change(self: &Arc<Self>, options: Options, reaching: Reaching, shutdown: drain::Signal) {
        let following = self.following.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(following) = following {
            following.abort();
            // Gone for certain, so that no answer to an old question comes after this.
            let _ = following.await;
        }
        let before = self.options.swap(Arc::new(options));
        self.reaching.store(Arc::new(reaching));
        let options = self.options.load_full();
        self.refreshes().failing = None;
        let holds = holds_on(&before, &options);
        let changed = self.replace(|table| match holds {
            true => table.configured(&options.discovery),
            false => table.answered(&[]),
        });
        if let Some((change, brokers)) = changed {
            self.tell(&change, brokers);
        }
        self.leave_entrances(&options);
        if !holds || !matches!(options.discovery, Discovery::LearnOnly) {
            let mut stand_ins = self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *stand_ins).values().for_each(CancellationToken::cancel);
        }
        self.follow(shutdown);
    }

    /// Says what the gateway itself has bound, now that this has changed: no broker is there.
    pub fn forbid_own(&self, bound: Vec<SocketAddr>) {
        self.reaching.load().dialer.policy().forbid_own(bound);
    }

    /// What cancels when an address is no bootstrap address any more.
    pub(super) fn entrance(&self, address: &HostPort) -> CancellationToken {
        let entrances = self.entrances.lock().unwrap_or_else(PoisonError::into_inner);
        entrances.get(address).cloned().unwrap_or_else(|| {
            // It was taken out since it was picked.
            let token = CancellationToken::new();
            token.cancel();
            token
        })
    }

    fn leave_entrances(&self, options: &Options) {
        let mut entrances = self.entrances.lock().unwrap_or_else(PoisonError::into_inner);
        let now = entrances_of(&entrances, options);
        let before = std::mem::replace(&mut *entrances, now);
        before.iter().filter(|(address, _)| !entrances.contains_key(*address)).for_each(|(_, t)| t.cancel());
    }
}

/// Whether what is known of the cluster holds on, until it is contradicted. A cluster that nobody asks is
/// contradicted by nobody: it is known by where one begins to ask.
fn holds_on(before: &Options, options: &Options) -> bool {
    match (&before.discovery, &options.discovery) {
        (Discovery::LearnOnly, Discovery::LearnOnly) => before.bootstrap == options.bootstrap,
        (Discovery::Own(_) | Discovery::Static(_), Discovery::LearnOnly) => false,
        (_, Discovery::Own(_) | Discovery::Static(_)) => true,
    }
}

/// The bootstrap addresses, each with its token of before where it had one.
pub(super) fn entrances_of(
    before: &BTreeMap<HostPort, CancellationToken>,
    options: &Options,
) -> BTreeMap<HostPort, CancellationToken> {
    let entrance = |address: &HostPort| (address.clone(), before.get(address).cloned().unwrap_or_default());
    options.bootstrap.iter().map(entrance).collect()
}
