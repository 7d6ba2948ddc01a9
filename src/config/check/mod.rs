//! From the tree of a file to checked options: one file for each section, all faults collected.

mod claims;
mod cluster;
mod listener;
mod process;
mod routing;
mod section;
mod value;

use super::diagnostic::Diagnostic;
use super::yaml::Node;
use super::{Config, Surroundings};
use crate::admin;
use claims::Claims;

/// Something cannot be used, and a fault that says so has been reported.
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

const SETTINGS: &[&str] = &["version", "node", "clusters", "listeners", "limits", "admin", "log", "shutdown"];

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
        let clusters = self.clusters(&file, &mut claims);
        let listeners = self.listeners(&file, &mut claims);
        let admin = self.admin(&file, &mut claims);
        let log = self.log(&file);
        let shutdown = self.shutdown(&file);
        let limits = self.limits(&file, claims.ports());
        self.cross_check(&claims);
        version?;
        let (limits, requests) = limits?;
        let (node_id, mut clusters) = (node_id?, clusters?);
        for cluster in &mut clusters {
            cluster.topology.client_id = format!("gatehouse-{node_id}");
        }
        Ok(Config {
            node_id,
            clusters,
            listeners: listeners?,
            limits,
            requests,
            admin: admin::Options { bind: admin?, ..Default::default() },
            log: log?,
            shutdown: shutdown?,
        })
    }
}
