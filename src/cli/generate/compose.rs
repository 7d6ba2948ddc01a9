//! A compose file for the gateway alone: the brokers are where they are.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::args::Image;
use super::place::{Place, Port};
use super::{mounts, quote, reach};

/// Where the container has the configuration.
const HOME: &str = "/etc/gatehouse/config";

/// Seconds beyond the hard stop.
const MARGIN_SECONDS: u64 = 10;

/// The file, or all that keeps a container from running this configuration.
pub(super) fn file(place: &Place, image: &Image) -> Result<String, Vec<String>> {
    let ports = place.ports();
    let admin = place.config.admin.bind.filter(|bind| bind.ip().is_unspecified());
    let mut faults = reach::faults(place);
    faults.extend(clash(&ports, admin));
    let mounts = match mounts::of(&place.needs) {
        Ok(mounts) if faults.is_empty() => mounts,
        mounts => {
            faults.extend(mounts.err());
            return Err(faults);
        }
    };
    let (folder, name) = source(place.path.as_deref());
    let mut text = format!(
        "# Written by `gatehouse generate compose`.\nservices:\n  gatehouse:\n    image: {}\n    \
         command: [run, --config, {}]\n",
        quote::compose(image.reference()),
        quote::compose(&format!("{HOME}/{name}"))
    );
    let mut line = |spaces: usize, what: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:spaces$}{what}", "");
    };
    line(4, "restart: unless-stopped");
    line(4, &format!("stop_grace_period: {}s", place.stop_seconds() + MARGIN_SECONDS));
    line(4, "read_only: true");
    line(4, "user: \"65532:65532\"");
    line(4, "cap_drop: [ALL]");
    line(4, "security_opt: [\"no-new-privileges:true\"]");
    if ports.iter().any(|port| port.bound < 1024) {
        line(4, "sysctls: { net.ipv4.ip_unprivileged_port_start: 0 }");
    }
    line(4, &format!("ulimits: {{ nofile: {} }}", place.descriptors()));
    if place.brought().next().is_some() {
        line(4, "# From the shell, or from a file `.env` beside this one.");
        line(4, "environment:");
        for name in place.brought() {
            line(6, &format!("{}: ${{{name}:?}}", quote::yaml(name)));
        }
    }
    line(4, "ports:");
    for (told, bound) in runs(&ports) {
        line(6, &format!("- \"{told}:{bound}\""));
    }
    if let Some(admin) = admin {
        line(6, "# Probes, metrics and status, for this machine alone.");
        line(6, &format!("- \"127.0.0.1:{0}:{0}\"", admin.port()));
    }
    line(4, "volumes:");
    line(
        6,
        "# The folder and not the file: an editor puts a new file in the place of the old one, and the gateway follows.",
    );
    let mut bind = |source: &str, target: &str| {
        let (source, target) = (quote::compose(source), quote::compose(target));
        line(6, &format!("- {{ type: bind, source: {source}, target: {target}, read_only: true }}"));
    };
    bind(&folder, HOME);
    for mount in mounts {
        bind(&format!("./{}", mount.volume), &mount.folder.to_string_lossy());
    }
    Ok(text)
}

/// Why a port would be published twice.
fn clash(ports: &[Port<'_>], admin: Option<SocketAddr>) -> Vec<String> {
    let twice = reach::told_twice(ports).map(|(before, port)| {
        format!(
            "listeners `{}` and `{}` both tell clients port {}, which a machine has once: advertise another one",
            before.listener, port.listener, port.told
        )
    });
    let admin = admin.and_then(|admin| ports.iter().find(|port| port.told == admin.port())).map(|port| {
        format!(
            "listener `{}` tells clients port {told}, where the admin pages are published: advertise another one, or \
             give `admin.bind` another one",
            port.listener,
            told = port.told
        )
    });
    twice.into_iter().chain(admin).collect()
}

/// The folder of the configuration as compose wants it, and the file in it.
fn source(path: Option<&Path>) -> (String, String) {
    let Some(path) = path else { return ("./".to_owned(), "gatehouse.yaml".to_owned()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap_or(Path::new("")).display().to_string();
    // What begins otherwise is the name of a volume.
    (if folder.starts_with(['/', '.']) { folder } else { format!("./{folder}") }, name)
}

/// Ports that follow each other, as one entry: outside and inside.
fn runs(ports: &[Port<'_>]) -> Vec<(String, String)> {
    let mut runs: Vec<(Port<'_>, u16)> = Vec::new();
    for port in ports {
        match runs.last_mut() {
            Some((first, more))
                if first.bound.checked_add(*more + 1) == Some(port.bound)
                    && first.told.checked_add(*more + 1) == Some(port.told) =>
            {
                *more += 1;
            }
            Some(_) | None => runs.push((*port, 0)),
        }
    }
    let written = |first: u16, more: u16| match more {
        0 => first.to_string(),
        more => format!("{first}-{}", first.saturating_add(more)),
    };
    runs.iter().map(|(first, more)| (written(first.told, *more), written(first.bound, *more))).collect()
}
