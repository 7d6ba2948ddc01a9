//! What the admin pages show: plain data, and the questions by which `app` fills it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::registry::Registry;
use crate::tls::status::Status as TlsStatus;

/// A question that is asked at each request. The answer must not block: it is given on the thread that
/// also serves the probes.
pub type Ask<T> = Box<dyn Fn() -> T + Send + Sync>;

/// Where the pages get what they show.
pub struct State {
    /// What `/readyz` says.
    pub readiness: Ask<Readiness>,
    /// What `/metrics` says; gauges that follow other parts are set before it is rendered.
    pub metrics: Ask<String>,
    /// What `/api/v1/status` says.
    pub status: Ask<Status>,
    /// Every listener, in the order of their names.
    pub listeners: Ask<Vec<Listener>>,
    /// Every cluster, in the order of their names.
    pub clusters: Ask<Vec<Cluster>>,
    /// For each listener its bootstrap route, then its known brokers by node id.
    pub routes: Ask<Vec<Route>>,
    /// What each side that speaks TLS has loaded.
    pub certificates: Ask<Vec<Certificates>>,
    /// The open connections.
    pub connections: Arc<Registry>,
    /// Where what changes something is done.
    pub commands: mpsc::Sender<Command>,
}

/// What an admin asks to be done.
#[derive(Debug)]
pub enum Command {
    /// Read the configuration and all certificate files again, now.
    Reload {
        /// Whether nothing is to be changed: only what would be is told.
        dry_run: bool,
        /// Takes what came of it.
        answer: oneshot::Sender<Reload>,
    },
}

/// What came of a configuration that was read again.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Reload {
    /// Whether nothing was changed, whatever is said below.
    pub dry_run: bool,
    /// What became of the configuration.
    pub config: Configured,
    /// What is different from the configuration in use before.
    pub changes: Vec<Change>,
    /// Open connections that leave in order for it, as far as that can be known.
    pub draining: usize,
    /// Whether more will leave: those to brokers that turn out to be elsewhere.
    pub may_drain_more: bool,
    /// Why the configuration is refused, or cannot be read again.
    pub error: Option<String>,
    /// Every fault of the file, as `validate -o json` has them; warnings where it has no fault.
    pub diagnostics: Vec<serde_json::Value>,
    /// The same for a person.
    pub explained: String,
    /// What came of the look at the certificate files of each side; none in a dry run.
    pub certificates: Vec<Reloaded>,
}

impl Reload {
    /// Whether something was refused; what was in use before stays in use then.
    pub fn is_refused(&self) -> bool {
        self.config == Configured::Refused
            || self.certificates.iter().any(|report| report.outcome == Outcome::Refused)
    }
}

/// What became of a configuration that was read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Configured {
    /// It says what is in use.
    #[default]
    Unchanged,
    /// It is in use now; in a dry run, it could be.
    Applied,
    /// It is wrong, or a port or a file that it names is not to be had. Nothing of it is in use.
    Refused,
    /// It did not come from a file, so there is nothing to read again.
    NoFile,
}

/// One setting that is different.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Change {
    /// Where it stands in the file.
    pub path: String,
    /// What it belongs to: `listener office`, `cluster payments`, `process`.
    pub subject: String,
    /// The setting with what it was and is: `limits.max_connections 5000 -> 8000`.
    pub change: String,
    /// What it was; null where it was not there, or is a secret.
    pub before: Option<String>,
    /// What it is; null where it is not there any more, or is a secret.
    pub after: Option<String>,
    /// Whether it is a secret.
    pub hidden: bool,
    /// What that does.
    pub effect: String,
    /// Whether it waits for a restart of the process.
    pub needs_restart: bool,
}

/// What came of a look at the files of one side.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reloaded {
    /// The listener; null for what only a cluster has.
    pub listener: Option<String>,
    /// The cluster; null for what only a listener has.
    pub cluster: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why the files are refused.
    pub error: Option<String>,
    /// Open connections that leave in order because their certificates are trusted no more.
    pub distrusted: usize,
    /// Whether other certificates are presented than before. The API does not tell.
    #[serde(skip)]
    pub renewed: bool,
}

/// How a look at files ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// They hold what is in use.
    Unchanged,
    /// They held something new, which is in use now.
    Changed,
    /// They hold something that is refused; what was before stays in use.
    Refused,
}

/// What one side that speaks TLS has loaded.
#[derive(Clone, Debug, Serialize)]
pub struct Certificates {
    /// The listener; null for what only a cluster has.
    pub listener: Option<String>,
    /// The cluster; null for what only a listener has. Both: what the listener's clients are to the brokers.
    pub cluster: Option<String>,
    /// Its files.
    #[serde(flatten)]
    pub status: TlsStatus,
}

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A person should look; the process serves, so it stays ready.
    Warn,
    /// Not ready for clients.
    Fail,
}

impl Verdict {
    /// The word that stands in front of a check.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One line of `/readyz?verbose`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: `listener office`, `cluster payments`.
    pub name: String,
    /// What was found.
    pub verdict: Verdict,
    /// The same in words, with what to do where something is to be done.
    pub detail: String,
}

impl Check {
    /// A check that passed.
    pub fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Ok, detail: detail.into() }
    }

    /// A check that leaves the process ready and asks for a look.
    pub fn warn(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Warn, detail: detail.into() }
    }

    /// Whether a person should look.
    pub fn is_warning(&self) -> bool {
        self.verdict == Verdict::Warn
    }

    /// A check that makes the process unready.
    pub fn fail(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Fail, detail: detail.into() }
    }
}

/// All checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// In the order in which they are shown.
    pub checks: Vec<Check>,
}

impl Readiness {
    /// Whether no check failed.
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Fail)
    }
}

/// The process at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// How long ago that was, by a clock that is never set.
    pub uptime_seconds: u64,
    /// Whether it was asked to stop.
    pub draining: bool,
    /// Open client connections.
    pub connections: usize,
    /// How many there may be.
    pub max_connections: usize,
    /// Bytes held for peers that do not take them.
    pub held_bytes: u64,
    /// The budget for them.
    pub held_bytes_limit: u64,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Its name in the configuration.
    pub name: String,
    /// The cluster behind it.
    pub cluster: String,
    /// The bootstrap addresses that are bound.
    pub bind: Vec<String>,
    /// `HOST:PORT` that clients are told for the bootstrap port; null while the host is awaited.
    pub advertise: Option<String>,
    /// Where the host comes from; null where the configuration says it.
    pub advertise_from: Option<ServiceAddress>,
    /// How brokers are told apart: by `port`, or by server name, `sni`.
    pub mode: String,
    /// The declared runs of node ids.
    pub ranges: Vec<Range>,
    /// Open client connections.
    pub connections: usize,
}

/// An advertised address that is that of a Service in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceAddress {
    /// The Service.
    pub service: String,
    /// Its namespace; null is that of the gateway's service account.
    pub namespace: Option<String>,
    /// Since when the Service's address is what clients are told, RFC 3339; null before that.
    pub since: Option<String>,
    /// Why the Service's address is not known, or may not be the one of now.
    pub error: Option<String>,
}

/// A run of node ids with the ports that lead to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first id.
    pub first_node: i32,
    /// The last id.
    pub last_node: i32,
    /// The port that is bound for the first id; the others follow. Null where names tell brokers apart.
    pub bind: Option<u16>,
    /// The port that clients are told for the first id. Null where names tell brokers apart.
    pub advertise: Option<u16>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name in the configuration.
    pub name: String,
    /// How brokers are found: `own`, `static` or `learn-only`.
    pub discovery: String,
    /// Whether it answered once since the start.
    pub answered: bool,
    /// The addresses of the configuration.
    pub bootstrap: Vec<String>,
    /// The table, by node id.
    pub brokers: Vec<Broker>,
    /// When the cluster last answered a request of the gateway's own, RFC 3339.
    pub refreshed: Option<String>,
    /// Why the newest request of the gateway's own failed; null when it did not.
    pub error: Option<String>,
    /// Node ids outside the ranges of at least one listener.
    pub unroutable: Vec<i32>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broker {
    /// Its node id.
    pub node: i32,
    /// Where the cluster says it is.
    pub address: String,
    /// Whether the last dial succeeded; null when none was needed yet.
    pub up: Option<bool>,
    /// Since when that is so, RFC 3339.
    pub since: Option<String>,
    /// Why the last dial failed.
    pub error: Option<String>,
}

/// A way from a client to a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The listener.
    pub listener: String,
    /// The cluster.
    pub cluster: String,
    /// The node id; null for the bootstrap port.
    pub node: Option<i32>,
    /// The addresses that are bound for it; none for a node outside every range.
    pub bind: Vec<String>,
    /// What clients are told; null for a node outside every range, which they are not told of, and while the host
    /// is awaited.
    pub advertise: Option<String>,
    /// The broker's own address, where it is known; for the bootstrap port an address of the configuration.
    pub broker: Option<String>,
    /// Whether the last dial of that broker succeeded; null when none was needed yet.
    pub up: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_leaves_the_process_ready() {
        let mut readiness = Readiness::default();
        assert!(readiness.is_ready());
        readiness.checks.push(Check::ok("listener office", "bound"));
        readiness.checks.push(Check::warn("cluster payments", "node 120 is outside every range"));
        assert!(readiness.is_ready());
        readiness.checks.push(Check::fail("cluster orders", "has not answered since the start"));
        assert!(!readiness.is_ready());
    }
}
