//! What is counted of TLS: handshakes of one listener, and how long the files of all sides still last.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus::{IntCounter, IntCounterVec};

use super::families::Families;
use super::histogram::Histogram;

/// The handles of one listener's handshakes.
#[derive(Debug)]
pub struct Handshakes {
    name: Box<str>,
    duration: Arc<Histogram>,
    /// By version, then full and resumed.
    done: [[IntCounter; 2]; VERSIONS.len()],
    failures: IntCounterVec,
}

const VERSIONS: [&str; 2] = ["1.2", "1.3"];
const RESUMED: [&str; 2] = ["false", "true"];

impl Handshakes {
    pub(super) fn new(name: &str, families: &Families) -> Self {
        Self {
            name: name.into(),
            duration: families.handshake_duration.with(&[name]),
            done: VERSIONS.map(|version| {
                RESUMED.map(|resumed| families.handshakes.with_label_values(&[name, version, resumed]))
            }),
            failures: families.handshake_failures.clone(),
        }
    }

    /// Counts a handshake that was completed, from the first byte of the client to the last of its own.
    pub fn done(&self, is_tls13: bool, resumed: bool, took: Duration) {
        self.duration.observe(took);
        let of_version = self.done.get(usize::from(is_tls13));
        if let Some(counter) = of_version.and_then(|counters| counters.get(usize::from(resumed))) {
            counter.inc();
        }
    }

    /// Counts a handshake that failed. The word comes from a closed list of the program's own text.
    pub fn failed(&self, reason: &'static str) {
        self.failures.with_label_values(&[&*self.name, reason]).inc();
    }

    /// Starts the series of these failures at 0, so that the first one is seen as an increase.
    pub fn expect_failures(&self, reasons: impl IntoIterator<Item = &'static str>) {
        for reason in reasons {
            self.failures.with_label_values(&[&*self.name, reason]);
        }
    }
}

/// Whose files: of a listener, of a cluster, or what a listener's clients are towards its cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side<'a> {
    /// The listener; empty for what only a cluster has.
    pub listener: &'a str,
    /// The cluster; empty for what only a listener has.
    pub cluster: &'a str,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A certificate that is presented.
    Certificate,
    /// An authority that is trusted.
    Authority,
    /// A list of revoked certificates.
    RevocationList,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Authority => "ca",
            Self::RevocationList => "crl",
        }
    }
}

/// For how long a file can be used.
#[derive(Clone, Debug)]
pub struct Expiry<'a> {
    /// Whose file.
    pub side: Side<'a>,
    /// What it holds.
    pub kind: Kind,
    /// Its path, as the configuration leads to it.
    pub file: String,
    /// `notBefore` of a certificate; `None` for a list.
    pub from: Option<SystemTime>,
    /// `notAfter` of a certificate, `nextUpdate` of a list.
    pub until: SystemTime,
    /// When it should have been renewed.
    pub due: SystemTime,
}

/// How the look at one side's files ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// They held something new, which is in use now.
    Changed,
    /// They held something that was refused.
    Failed,
}

impl Reload {
    const ALL: [Self; 2] = [Self::Changed, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Failed => "failed",
        }
    }
}

/// Since 1970.
fn seconds(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

impl super::Metrics {
    /// Sets what the files of all sides hold, in place of what was set before. Of several that share their
    /// labels the one counts that is due first.
    pub fn set_expiries<'a>(&self, expiries: impl IntoIterator<Item = Expiry<'a>>) {
        let (starts, ends) = (&self.families.starts, &self.families.expiries);
        starts.reset();
        ends.reset();
        let mut latest_first: Vec<_> = expiries.into_iter().collect();
        latest_first.sort_by_key(|expiry| std::cmp::Reverse(expiry.due));
        for Expiry { side, kind, file, from, until, .. } in latest_first {
            let labels = [side.listener, side.cluster, kind.as_str(), &file];
            if let Some(from) = from {
                starts.with_label_values(&labels).set(seconds(from));
            }
            ends.with_label_values(&labels).set(seconds(until));
        }
    }

    /// Starts the series of a side that has files.
    pub fn expect_reloads(&self, side: Side<'_>) {
        for reload in Reload::ALL {
            let labels = [side.listener, side.cluster, reload.as_str()];
            self.families.tls_reloads.with_label_values(&labels);
        }
        self.set_refused(side, false);
    }

    /// Counts a look at a side's files that found something new.
    pub fn reloaded(&self, side: Side<'_>, reload: Reload) {
        self.families.tls_reloads.with_label_values(&[side.listener, side.cluster, reload.as_str()]).inc();
        self.set_refused(side, reload == Reload::Failed);
    }

    /// Sets whether a side's files hold something that was refused, so that what was before is in use.
    pub fn set_refused(&self, side: Side<'_>, refused: bool) {
        self.families.tls_refused.with_label_values(&[side.listener, side.cluster]).set(refused.into());
    }

    /// Sets that whoever answers is taken for a broker of the cluster.
    pub fn set_unverified(&self, cluster: &str, unverified: bool) {
        self.families.unverified.with_label_values(&[cluster]).set(unverified.into());
    }
}
