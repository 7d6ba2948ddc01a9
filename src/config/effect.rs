//! What a changed setting does to a gateway that runs, in words.

use std::fmt;

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Connections that come are treated by it; those that are open go on as they are.
    NewConnections,
    /// Every connection is treated by it.
    AtOnce,
    /// Clients hear of it with the next Metadata, Produce or Fetch that they are answered.
    NextAnswer,
    /// Ports open and close. What is connected to those that close drains.
    Ports {
        /// Ports that open.
        opened: usize,
        /// Ports that close, or lead elsewhere.
        closed: usize,
    },
    /// Every connection of the listener drains.
    Drains,
    /// The gateway's own next login and requests.
    OwnRequests,
    /// The cluster is asked anew. What is connected to brokers that are elsewhere drains.
    Discovery,
    /// A cluster is followed from now on, or no more.
    Follows(bool),
    /// What is logged from now on, unless a variable or a flag of the process said so.
    LogLevel,
    /// The next stop.
    NextStop,
    /// Nothing, until the process is started anew.
    Restart,
}

impl Effect {
    /// Whether connections may drain for it.
    pub fn may_drain(self) -> bool {
        match self {
            Self::Ports { closed, .. } => closed > 0,
            Self::Drains | Self::Discovery => true,
            Self::NewConnections
            | Self::AtOnce
            | Self::NextAnswer
            | Self::OwnRequests
            | Self::Follows(_)
            | Self::LogLevel
            | Self::NextStop
            | Self::Restart => false,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = |count: usize| if count == 1 { "port" } else { "ports" };
        match *self {
            Self::NewConnections => f.write_str("applies to new connections"),
            Self::AtOnce => f.write_str("applies at once"),
            Self::NextAnswer => f.write_str("clients hear of it with their next metadata"),
            Self::Ports { opened, closed: 0 } => write!(f, "opens {opened} {}", ports(opened)),
            Self::Ports { opened: 0, closed } => {
                write!(f, "closes {closed} {}; what is connected there drains", ports(closed))
            }
            Self::Ports { opened, closed } => {
                let (more, less) = (ports(opened), ports(closed));
                write!(f, "opens {opened} {more}, closes {closed} {less}; what is connected there drains")
            }
            Self::Drains => f.write_str("every connection of the listener drains"),
            Self::OwnRequests => f.write_str("the gateway's own next login only"),
            Self::Discovery => {
                f.write_str("asks the cluster anew; what is connected to brokers that are elsewhere drains")
            }
            Self::Follows(true) => f.write_str("is followed from now on"),
            Self::Follows(false) => f.write_str("is followed no more"),
            Self::LogLevel => f.write_str("applies at once, unless GATEHOUSE_LOG, -q or -v was set"),
            Self::NextStop => f.write_str("applies to the next stop"),
            Self::Restart => f.write_str("needs a restart of the process"),
        }
    }
}

/// The effect of a setting of a listener, by its path below the listener; ports apart.
pub(super) fn of_listener(setting: &str) -> Effect {
    match first(setting) {
        "cluster" => Effect::Drains,
        "advertise" | "routing" | "bind" | "ipv6_only" => Effect::NextAnswer,
        _ => Effect::NewConnections,
    }
}

/// The effect of a setting of a cluster, by its path below the cluster.
pub(super) fn of_cluster(setting: &str) -> Effect {
    match first(setting) {
        "discovery" if setting.contains('.') => Effect::OwnRequests,
        "bootstrap" | "nodes" | "discovery" => Effect::Discovery,
        "metadata_refresh" => Effect::AtOnce,
        _ => Effect::NewConnections,
    }
}

/// The effect of a setting of the process.
pub(super) fn of_process(setting: &str) -> Effect {
    match setting {
        "limits.held_bytes" | "tls.reload_interval" => Effect::AtOnce,
        "log.connections" => Effect::NewConnections,
        "log.level" => Effect::LogLevel,
        _ => match first(setting) {
            "limits" => Effect::NewConnections,
            "shutdown" => Effect::NextStop,
            "admin" if !setting.starts_with("admin.bind") => Effect::AtOnce,
            _ => Effect::Restart,
        },
    }
}

fn first(setting: &str) -> &str {
    setting.split(['.', '[']).next().unwrap_or_default()
}
