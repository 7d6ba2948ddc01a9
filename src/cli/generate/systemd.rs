//! The unit for systemd: the one of `deploy/systemd`, with what this configuration asks for.

use std::path::Path;

use super::place::Place;
use super::quote;

const UNIT: &str = include_str!("../../../deploy/systemd/gatehouse.service");

/// Where the configuration is to be, unless it was named by its whole path.
const PATH: &str = "/etc/gatehouse/gatehouse.yaml";

/// Seconds that the system waits beyond the hard stop.
const MARGIN_SECONDS: u64 = 30;

/// Folders that the unit keeps from the gateway, and by which of its settings.
const HIDDEN: [(&str, &str); 5] = [
    ("/home", "ProtectHome=yes"),
    ("/root", "ProtectHome=yes"),
    ("/run/user", "ProtectHome=yes"),
    ("/tmp", "PrivateTmp=yes"),
    ("/var/tmp", "PrivateTmp=yes"),
];

/// The unit, or all files that a gateway in it would not find.
pub(super) fn unit(place: &Place) -> Result<String, Vec<String>> {
    let path = place.path.as_deref().filter(|path| path.is_absolute()).unwrap_or(Path::new(PATH));
    let paths = place.needs.files.iter().chain(&place.needs.directories).map(AsRef::as_ref);
    let own =
        lost(path).map(|fault| fault + &format!("; with a relative `--config` the unit names `{PATH}`"));
    let faults: Vec<String> = own.into_iter().chain(paths.filter_map(lost)).collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let low = place.ports().iter().any(|port| port.bound < 1024);
    let variables: Vec<&str> = place.needs.variables.iter().map(String::as_str).collect();
    let line = |line: &str| match line.split_once('=') {
        Some((name @ "TimeoutStopSec", _)) => format!("{name}={}", place.stop_seconds() + MARGIN_SECONDS),
        Some((name @ "LimitNOFILE", _)) => format!("{name}={}", place.descriptors()),
        Some(("EnvironmentFile", _)) if !variables.is_empty() => {
            format!("# This configuration needs: {}\n{line}", variables.join(", "))
        }
        // No port needs it. An empty set is none, where a missing line would be all.
        Some((name @ ("AmbientCapabilities" | "CapabilityBoundingSet"), _)) if !low => format!("{name}="),
        Some(_) | None => line.to_owned(),
    };
    let unit = UNIT.replace(PATH, &quote::unit(&path.to_string_lossy()));
    Ok(unit.lines().map(|text| line(text) + "\n").collect())
}

/// Why the gateway would not find a file there.
fn lost(path: &Path) -> Option<String> {
    let shown = path.display();
    if path.is_relative() {
        return Some(format!(
            "`{shown}` is relative, and the unit starts in `/`: write the whole path, such as `/etc/gatehouse/{shown}`"
        ));
    }
    let (folder, setting) = HIDDEN.iter().find(|(folder, _)| path.starts_with(folder))?;
    Some(format!(
        "`{shown}` lies in `{folder}`, which `{setting}` of the unit hides: put it into `/etc/gatehouse`, and name it \
         there"
    ))
}
