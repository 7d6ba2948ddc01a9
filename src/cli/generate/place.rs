//! What a configuration asks of the place where the gateway is to run: ports, files, variables, room.

use std::path::{Path, PathBuf};

use super::super::args::Global;
use super::super::{Exit, file, output};
use crate::config::Config;
use crate::config::needs::{self, Needs};
use crate::limits::machine::DESCRIPTORS_KEPT;

/// Open files that are allowed even where fewer would do.
const DESCRIPTORS_MIN: u64 = 65_536;

/// One port that a listener binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port<'c> {
    pub(super) listener: &'c str,
    pub(super) bound: u16,
    /// What clients are told of it.
    pub(super) told: u16,
    /// Whether brokers are told apart by name behind it.
    pub(super) by_name: bool,
}

/// The configuration, and what follows from it.
pub(super) struct Place {
    pub(super) text: String,
    pub(super) path: Option<PathBuf>,
    pub(super) config: Config,
    pub(super) needs: Needs,
}

impl Place {
    /// Reads the file as one for another machine: secrets need not be here, and its limits are not this one's.
    /// Of the variables only those count that have no default. They are brought to where it runs; for the others
    /// nobody brings a value, so there the default is what it comes to.
    pub(super) fn read(global: &Global) -> Result<Self, Exit> {
        let source = file::read(global)?;
        let mut surroundings = file::elsewhere();
        let mut here = file::surroundings().environment;
        here.insert("HOSTNAME".to_owned(), "gatehouse".to_owned());
        let needed = needs::variables(source.text(), &surroundings);
        surroundings.environment.extend(here.into_iter().filter(|(name, _)| needed.contains(name)));
        let needs = needs::of(source.text(), &surroundings);
        let (config, warnings) = match source.load(&surroundings) {
            Ok(loaded) => loaded,
            Err(diagnostics) if diagnostics.is_fatal() => return Err(source.explain(&diagnostics)),
            Err(_) => {
                output::error(&format!(
                    "error: what is made follows from variables that are not set, one or more of {}\n\
                     set them for this command, too; passwords and tokens need not be here",
                    source.unset(&surroundings)
                ));
                return Err(Exit::Config);
            }
        };
        if !warnings.is_empty() {
            output::error(&warnings.styled());
        }
        if let Some(name) = needs.variables.iter().find(|name| !is_variable(name)) {
            output::error(&format!(
                "error: nothing can bring a variable that is called `{name}`: take letters, digits and `_`"
            ));
            return Err(Exit::Config);
        }
        Ok(Self { text: source.text().to_owned(), path: source.path().map(Path::to_owned), config, needs })
    }

    /// The variables that somebody must bring to a container: each has a `HOSTNAME`.
    pub(super) fn brought(&self) -> impl Iterator<Item = &String> {
        self.needs.variables.iter().filter(|name| *name != "HOSTNAME")
    }

    /// Every port of every listener, the bootstrap port first.
    pub(super) fn ports(&self) -> Vec<Port<'_>> {
        let mut ports = Vec::new();
        for listener in &self.config.listeners {
            let options = &listener.listen;
            // Ports are known even where the host is awaited from a Service.
            let routes = options.routes.told("awaited");
            let by_name = routes.mode() == "sni";
            let port = |bound, told| Port { listener: &options.name, bound, told, by_name };
            ports.push(port(options.port, routes.bootstrap().map_or(options.port, |(_, told)| told)));
            for (node, bound) in routes.bindings() {
                let told = routes.advertised(node).map_or(bound, |(_, told)| told);
                ports.push(port(bound, told));
            }
        }
        ports
    }

    /// Open files to allow: two for each connection, one for each port, and some to spare.
    pub(super) fn descriptors(&self) -> u64 {
        let connections = self.config.limits.max_connections as u64;
        let needed =
            connections.saturating_mul(2).saturating_add(DESCRIPTORS_KEPT + self.ports().len() as u64);
        needed.checked_next_power_of_two().unwrap_or(u64::MAX).max(DESCRIPTORS_MIN)
    }

    /// Seconds after which a stop is over in any case, rounded up.
    pub(super) fn stop_seconds(&self) -> u64 {
        let after = self.config.shutdown.hard_stop_after;
        after.as_secs() + u64::from(after.subsec_nanos() > 0)
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
