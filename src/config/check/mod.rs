//! From the tree of a file to checked options: one file for each section, all faults collected.

mod claims;
mod cluster;
mod identity;
mod listener;
mod material;
mod names;
mod process;
mod routing;
mod secret;
mod section;
mod tls;
mod upstream;
mod value;

use super::diagnostic::Diagnostic;
use super::yaml::Node;
use super::{Config, Surroundings};
use claims::Claims;
use listener::Shared;

/// Something cannot be used, and a fault that says so has been reported. It is none where the value
/// is to be had only where the gateway runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;

/// A checked value. Checks go on after a fault, so that all faults of a file are reported at once.
type Checked<T> = Result<T, Reported>;

/// Faults as they are found, and what the checks look at beside the file.
pub(super) struct Check<'a> {
    pub(super) source: &'a str,
    pub(super) surroundings: &'a Surroundings,
    pub(super) faults: Vec<Diagnostic>,
}

const SETTINGS: &[&str] =
    &["version", "node", "clusters", "listeners", "limits", "tls", "admin", "log", "shutdown"];

impl Check<'_> {
    /// Keeps a fault after which the checked value can still be used, or a warning.
    fn note(&mut self, diagnostic: Diagnostic) {
        self.faults.push(diagnostic);
    }

    /// Keeps a fault that leaves nothing to use.
    fn report<T>(&mut self, fault: Diagnostic) -> Checked<T> {
        self.faults.push(fault);
        Err(Reported)
    }

    /// Checks the whole file.
    pub(super) fn file(&mut self, root: &Node) -> Checked<Config> {
        let beginning = 0..self.source.lines().next().unwrap_or_default().len();
        let file = self.section(root, &beginning, "the file", SETTINGS)?;
        let mut claims = Claims::default();
        let version = self.version(&file);
        let node_id = self.node_id(&file);
        let client_id = node_id.as_deref().map_or(String::new(), |id| format!("gatehouse-{id}"));
        let clusters = self.clusters(&file, &client_id, &mut claims);
        let limits = self.limits_section(&file);
        let requests = self.requests(limits);
        let shutdown = self.shutdown(&file);
        let shared = Shared {
            requests: requests.unwrap_or_default(),
            drain_timeout: shutdown.unwrap_or_default().drain_timeout,
            clusters: clusters.as_deref().unwrap_or_default(),
        };
        let listeners = self.listeners(&file, shared, &mut claims);
        let admin = self.admin(&file, &mut claims);
        let log = self.log(&file);
        let reload_interval = self.reload_interval(&file);
        let limits = self.limits(limits, claims.ports());
        self.cross_check(&claims);
        self.unused(&file, &listeners);
        version.and(requests)?;
        Ok(Config {
            node_id: node_id?,
            clusters: clusters?,
            listeners: listeners?,
            limits: limits?,
            admin: admin?,
            log: log?,
            shutdown: shutdown?,
            tls_reload_interval: reload_interval?,
        })
    }
}
