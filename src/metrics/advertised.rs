//! What is counted for the advertised address of one listener.

use std::time::SystemTime;

use prometheus::{IntCounter, IntGauge};

use super::Metrics;

/// Why the Kubernetes API did not say what a Service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no API to ask.
    NoCluster,
    /// No connection to it.
    Unreachable,
    /// No answer in time.
    Silent,
    /// It does not take the token.
    Unauthorized,
    /// The service account has not the right.
    Forbidden,
    /// A watch that has to begin anew.
    Expired,
    /// Another status.
    Status,
    /// An answer that cannot be used.
    Answer,
}

impl Trouble {
    const ALL: [Self; 8] = [
        Self::NoCluster,
        Self::Unreachable,
        Self::Silent,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Expired,
        Self::Status,
        Self::Answer,
    ];

    /// The value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCluster => "no_cluster",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Expired => "expired",
            Self::Status => "status",
            Self::Answer => "answer",
        }
    }
}

/// The handles of one listener.
#[derive(Debug)]
pub struct Advertised {
    known: IntGauge,
    stale: IntGauge,
    changes: IntCounter,
    heard: IntGauge,
    errors: [IntCounter; Trouble::ALL.len()],
}

impl Advertised {
    /// Sets whether clients are told an address.
    pub fn set_known(&self, known: bool) {
        self.known.set(known.into());
    }

    /// Sets whether clients are told an address that the Service does not have any more.
    pub fn set_stale(&self, stale: bool) {
        self.stale.set(stale.into());
    }

    /// Counts that clients are told another address than before.
    pub fn changed(&self) {
        self.changes.inc();
    }

    /// Notes that the API answered.
    pub fn heard(&self) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.heard.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }

    /// Counts that it did not.
    pub fn failed(&self, trouble: Trouble) {
        if let Some(counter) = self.errors.get(trouble as usize) {
            counter.inc();
        }
    }
}

impl Metrics {
    /// The handles of a listener whose advertised address is that of a Service; its series start at 0.
    pub fn advertised(&self, listener: &str) -> Advertised {
        let families = &self.families;
        let labels = [listener];
        Advertised {
            known: families.advertised_known.with_label_values(&labels),
            stale: families.advertised_stale.with_label_values(&labels),
            changes: families.advertised_changes.with_label_values(&labels),
            heard: families.advertised_heard.with_label_values(&labels),
            errors: Trouble::ALL
                .map(|trouble| families.advertised_errors.with_label_values(&[listener, trouble.as_str()])),
        }
    }
}
