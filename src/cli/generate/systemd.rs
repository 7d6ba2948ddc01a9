//! The unit for systemd: the one of `deploy/systemd`, with what this configuration asks for.

use std::path::Path;

use super::place::Place;

const UNIT: &str = include_str!("../../../deploy/systemd/gatehouse.service");

/// Where the configuration is to be, unless it was named by its whole path.
const PATH: &str = "/etc/gatehouse/gatehouse.yaml";

/// Seconds that the system waits beyond the hard stop.
const MARGIN_SECONDS: u64 = 30;

pub(super) fn unit(place: &Place) -> String {
    let path = place.path.as_deref().filter(|path| path.is_absolute()).unwrap_or(Path::new(PATH));
    // A name with a space or a percent sign would be read as something else.
    let path = path.to_string_lossy().replace('%', "%%");
    let path = if path.contains(char::is_whitespace) { format!("\"{path}\"") } else { path };
    let low = place.ports().iter().any(|port| port.bound < 1024);
    let line = |line: &str| match line.split_once('=') {
        Some((name @ "TimeoutStopSec", _)) => format!("{name}={}", place.stop_seconds() + MARGIN_SECONDS),
        Some((name @ "LimitNOFILE", _)) => format!("{name}={}", place.descriptors()),
        // No port needs it. An empty set is none, where a missing line would be all.
        Some((name @ ("AmbientCapabilities" | "CapabilityBoundingSet"), _)) if !low => format!("{name}="),
        Some(_) | None => line.to_owned(),
    };
    UNIT.replace(PATH, &path).lines().map(|text| line(text) + "\n").collect()
}
