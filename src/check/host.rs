//! What the machine gives: open files, the queue of new connections, ports to dial from.

use std::fs;

use super::report::Line;
use crate::config::Config;
use crate::config::codes::Code;
use crate::limits::machine::{CONNECTIONS_DEFAULT, DESCRIPTORS_KEPT, Machine};
use crate::listen::BACKLOG;

/// Fewer are hardly what a gateway is meant for.
const CONNECTIONS_FEW: usize = 1_000;

/// Where Linux tells them.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";
const LOCAL_PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

pub(super) fn lines(config: &Config, machine: &Machine) -> Vec<Line> {
    let ports = config.listeners.iter().map(|listener| {
        let nodes = listener.listen.routes.bindings().count();
        (nodes + 1) * listener.listen.binds.len()
    });
    let ports = ports.sum();
    let mut lines = vec![open_files(config, machine, ports)];
    // Systems that do not tell have other names for it.
    lines.extend(fs::read_to_string(SOMAXCONN).ok().and_then(|text| queue(&text)));
    let local_ports = fs::read_to_string(LOCAL_PORTS).ok();
    lines.extend(local_ports.and_then(|text| dialled_from(&text, config.limits.max_connections)));
    lines
}

fn open_files(config: &Config, machine: &Machine, ports: usize) -> Line {
    let connections = config.limits.max_connections;
    let needed = connections as u64 * 2 + DESCRIPTORS_KEPT + ports as u64;
    let told = format!("open files {}, {needed} needed for {connections} connections", machine.descriptors);
    let fits = machine.max_connections(None, ports).unwrap_or_default();
    if connections == fits && fits < CONNECTIONS_FEW {
        return Line::warn(Code::FewConnections, told).hint(format!(
            "open files or memory leave room for {fits} connections instead of {CONNECTIONS_DEFAULT}; raise \
             LimitNOFILE= (or ulimit -n) and the memory, or set limits.max_connections to what is meant"
        ));
    }
    Line::ok(told)
}

fn queue(text: &str) -> Option<Line> {
    let most: i32 = text.trim().parse().ok()?;
    let told = format!("net.core.somaxconn is {most}");
    Some(if most < BACKLOG {
        Line::warn(Code::ShortQueue, format!("{told}; bursts of new connections will be dropped"))
            .hint(format!("sysctl -w net.core.somaxconn={BACKLOG}"))
    } else {
        Line::ok(told)
    })
}

/// Each connection takes a local port towards its broker. Ports are counted for each broker by itself, so the
/// worst is that all connections lead to one.
fn dialled_from(text: &str, connections: usize) -> Option<Line> {
    let mut words = text.split_whitespace().map(str::parse::<usize>);
    let (Some(Ok(first)), Some(Ok(last))) = (words.next(), words.next()) else { return None };
    let ports = (last + 1).saturating_sub(first);
    let told = format!("local ports {first}-{last}");
    Some(if ports < connections {
        Line::warn(Code::FewLocalPorts, format!("{told}: {ports} connections to one broker at most"))
            .hint("sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"")
    } else {
        Line::ok(told)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::Outcome;

    #[test]
    fn a_short_queue_and_few_ports_are_warned_of() {
        let outcome = |line: Option<Line>| line.map(|line| line.outcome);
        assert_eq!(outcome(queue("4096\n")), Some(Outcome::Ok));
        assert_eq!(outcome(queue("128\n")), Some(Outcome::Warn));
        assert_eq!(outcome(queue("many")), None);
        assert_eq!(outcome(dialled_from("32768\t60999\n", 10_000)), Some(Outcome::Ok));
        assert_eq!(outcome(dialled_from("32768\t33000\n", 10_000)), Some(Outcome::Warn));
        assert_eq!(outcome(dialled_from("60999 32768", 1)), Some(Outcome::Warn));
        assert_eq!(outcome(dialled_from("1", 1)), None);
    }
}
