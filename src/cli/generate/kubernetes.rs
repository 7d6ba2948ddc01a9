//! Manifests for kubectl: what the chart installs with its defaults, for a configuration that is there already.

use std::fmt::Write as _;

use super::args::{Kubernetes, ServiceType};
use super::mounts::{self, Mount};
use super::place::{Place, Port};
use super::{discovery, indented, output, quote, reach, template};

/// The chart's objects; tests/helm holds both against each other.
const TEMPLATE: &str = include_str!("kubernetes.yaml");

/// Seconds between the end of a pod's announcement and its stop, and those to spare behind it.
const SLEEP_SECONDS: u64 = 10;
const MARGIN_SECONDS: u64 = 10;

/// The ports that a node gives away unless the cluster was told otherwise.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// The manifests, or all that keeps a pod from running this configuration.
pub(super) fn manifests(place: &Place, flags: &Kubernetes) -> Result<String, Vec<String>> {
    let ports = place.ports();
    let mut faults = reach::faults(place);
    faults.extend(port_faults(&ports, flags));
    let parts =
        (admin_port(place), secrets(place), discovery::of(place, flags, metadata(flags, "discovery")));
    let (admin, mounts, discovery) = match parts {
        (Ok(admin), Ok(mounts), Ok(discovery)) if faults.is_empty() => (admin, mounts, discovery),
        (admin, mounts, discovery) => {
            faults.extend([admin.err(), mounts.err(), discovery.err()].into_iter().flatten());
            return Err(faults);
        }
    };
    if place.needs.holds_secrets {
        output::error(
            "warning: the file holds a password or a token, and so does the ConfigMap; say `${NAME}` or `{ file: PATH }`",
        );
    }
    let policy = match flags.r#type {
        ServiceType::LoadBalancer => "  externalTrafficPolicy: Local\n",
        ServiceType::NodePort => "  externalTrafficPolicy: Cluster\n",
        ServiceType::ClusterIp => "",
    };
    let asks = !discovery.is_empty();
    let values = [
        ("environment", environment(place, flags)),
        ("mounts", mounted(&mounts) + if asks { discovery::MOUNT } else { "" }),
        ("volumes", volumes(&mounts, flags) + if asks { discovery::VOLUME } else { "" }),
        ("policy", policy.to_owned()),
        ("ports", service_ports(&ports, flags)),
        ("discovery", discovery),
        ("metadata", metadata(flags, "")),
        ("metadata-admin", metadata(flags, "admin")),
        ("selector", format!("{{ {} }}", selector(flags).join(", "))),
        ("grace", (SLEEP_SECONDS + place.stop_seconds() + MARGIN_SECONDS).to_string()),
        ("image", quote::yaml(flags.image.reference())),
        ("admin", admin.to_string()),
        ("name", quote::yaml(&flags.name)),
        ("type", format!("{:?}", flags.r#type).replace("Ip", "IP")),
        ("configuration", configuration(&place.text)),
    ];
    Ok(head(place, flags, &mounts) + &template::fill(TEMPLATE, &values))
}

fn line(text: &mut String, spaces: usize, what: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:spaces$}{what}", "");
}

/// The file as people wrote it, where YAML can have it so.
fn configuration(text: &str) -> String {
    let lines = text.replace("\r\n", "\n");
    let is_odd =
        |c: char| (c.is_control() && c != '\n' && c != '\t') || "\u{2028}\u{2029}\u{feff}".contains(c);
    if lines.contains(is_odd) {
        return format!("  gatehouse.yaml: {}\n", quote::yaml(text));
    }
    // With the depth said: the first line may begin with blanks.
    format!("  gatehouse.yaml: |2\n{}", indented(&lines, 4))
}

fn environment(place: &Place, flags: &Kubernetes) -> String {
    let secret = quote::yaml(&format!("{}-environment", flags.name));
    let mut text = String::new();
    for name in place.brought() {
        let name = quote::yaml(name);
        let from = format!("{{ secretKeyRef: {{ name: {secret}, key: {name} }} }}");
        line(&mut text, 12, &format!("- {{ name: {name}, valueFrom: {from} }}"));
    }
    text
}

fn mounted(mounts: &[Mount]) -> String {
    let mut text = String::new();
    for mount in mounts {
        let (volume, folder) = (quote::yaml(&mount.volume), quote::yaml(&mount.folder.to_string_lossy()));
        line(&mut text, 12, &format!("- {{ name: {volume}, mountPath: {folder}, readOnly: true }}"));
    }
    text
}

fn volumes(mounts: &[Mount], flags: &Kubernetes) -> String {
    let mut text = String::new();
    for mount in mounts {
        let secret = quote::yaml(&format!("{}-{}", flags.name, mount.volume));
        line(&mut text, 8, &format!("- name: {}", quote::yaml(&mount.volume)));
        line(&mut text, 8, &format!("  secret: {{ secretName: {secret}, defaultMode: 288 }}"));
    }
    text
}

/// The folders, each of which becomes a Secret; what a Secret or a pod cannot call so is refused.
fn secrets(place: &Place) -> Result<Vec<Mount>, String> {
    let mounts = mounts::of(&place.needs)?;
    let is_key =
        |key: &str| key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    for mount in &mounts {
        let folder = mount.folder.display();
        if folder.to_string().contains(':') {
            return Err(format!(
                "`{folder}` has a colon, which no path of a mount may have: call the folder otherwise"
            ));
        }
        if let Some(key) = mount.keys.iter().find(|key| !is_key(key)) {
            return Err(format!(
                "`{folder}/{key}` cannot be in a Secret, whose files have letters, digits, `.`, `-` and `_` only: call \
                 it otherwise"
            ));
        }
    }
    Ok(mounts)
}

fn selector(flags: &Kubernetes) -> [String; 2] {
    let instance = quote::yaml(&flags.name);
    ["app.kubernetes.io/name: gatehouse".to_owned(), format!("app.kubernetes.io/instance: {instance}")]
}

fn metadata(flags: &Kubernetes, component: &str) -> String {
    let mut text = String::new();
    let suffix = if component.is_empty() { String::new() } else { format!("-{component}") };
    line(&mut text, 2, &format!("name: {}", quote::yaml(&format!("{}{suffix}", flags.name))));
    if let Some(namespace) = &flags.namespace {
        line(&mut text, 2, &format!("namespace: {}", quote::yaml(namespace)));
    }
    line(&mut text, 2, "labels:");
    for label in selector(flags) {
        line(&mut text, 4, &label);
    }
    line(&mut text, 4, concat!("app.kubernetes.io/version: \"", env!("CARGO_PKG_VERSION"), "\""));
    if !component.is_empty() {
        line(&mut text, 4, &format!("app.kubernetes.io/component: {component}"));
    }
    text
}

/// What to know and to do before the manifests are applied.
fn head(place: &Place, flags: &Kubernetes, mounts: &[Mount]) -> String {
    let mut text = format!(
        "# Written by `gatehouse generate kubernetes` for Kubernetes 1.30 or newer. The pods follow a changed ConfigMap by\n\
         # themselves; admin.bind, node.id and log.format wait for `kubectl rollout restart deployment/{}`.\n",
        flags.name
    );
    if mounts.is_empty() && place.brought().next().is_none() {
        return text;
    }
    let namespace = flags.namespace.as_ref().map(|name| format!(" --namespace {name}")).unwrap_or_default();
    let mut create = |secret: &str, parts: &str| {
        line(
            &mut text,
            0,
            &format!("#   kubectl create secret generic {}-{secret}{namespace}{parts}", flags.name),
        );
    };
    create_all(&mut create, place, mounts);
    text.replacen(
        "#   kubectl",
        "# Make the secrets first that hold what the configuration names:\n#   kubectl",
        1,
    )
}

fn create_all(create: &mut impl FnMut(&str, &str), place: &Place, mounts: &[Mount]) {
    for mount in mounts {
        let files = mount.keys.iter().map(|key| format!(" --from-file={key}"));
        let folder = Some(format!(" --from-file={}/", mount.volume)).filter(|_| mount.keys.is_empty());
        create(&mount.volume, &files.chain(folder).collect::<String>());
    }
    let variables = place.brought().map(|name| format!(" --from-literal={name}=..."));
    let variables: String = variables.collect();
    if !variables.is_empty() {
        create("environment", &variables);
    }
}

/// The ports of the service, as lines.
fn service_ports(ports: &[Port<'_>], flags: &Kubernetes) -> String {
    let on_nodes = flags.r#type == ServiceType::NodePort;
    let mut text = String::new();
    for port in ports {
        let name = if port.by_name { "tls" } else { "tcp" };
        let (bound, told) = (port.bound, port.told);
        let outside = if on_nodes { format!("port: {bound}") } else { format!("port: {told}") };
        let node = if on_nodes { format!(", nodePort: {told}") } else { String::new() };
        line(
            &mut text,
            4,
            &format!("- {{ name: {name}-{bound}, {outside}, targetPort: {bound}, protocol: TCP{node} }}"),
        );
    }
    text
}

/// What a service or a pod cannot have of these ports.
fn port_faults(ports: &[Port<'_>], flags: &Kubernetes) -> impl Iterator<Item = String> {
    let many = ports.first().filter(|_| ports.len() > flags.max_ports).map(|first| {
        format!(
            "the service would have {} ports, more than --max-ports {}: say which node ids there are, as in \
             `listeners.{}.routing: {{ port: {{ ranges: [{{ nodes: 0-9, bind: {} }}] }} }}`, or route by SNI",
            ports.len(),
            flags.max_ports,
            first.listener,
            first.bound.saturating_add(1)
        )
    });
    let low = ports.iter().find(|port| port.bound < 1024).map(|Port { listener, bound, .. }| {
        format!(
            "listener `{listener}` binds port {bound}, which a pod without privileges may not: bind one above 1023 \
             and advertise {bound}"
        )
    });
    let on_nodes = flags.r#type == ServiceType::NodePort;
    let no_node_port = |port: &&Port<'_>| on_nodes && !NODE_PORTS.contains(&port.told);
    let not_on_nodes = ports.iter().find(no_node_port).map(|Port { listener, told, .. }| {
        format!(
            "listener `{listener}` tells clients port {told}, which is no node port ({} to {}): advertise one, and \
             so for its ranges",
            NODE_PORTS.start(),
            NODE_PORTS.end()
        )
    });
    let twice = reach::told_twice(ports).map(|(before, port)| {
        format!(
            "listeners `{}` and `{}` both tell clients port {}, which a service has once: advertise another one, or \
             take the Helm chart, which gives a listener a service of its own",
            before.listener, port.listener, port.told
        )
    });
    [many, low, not_on_nodes, twice].into_iter().flatten()
}

fn admin_port(place: &Place) -> Result<u16, String> {
    match place.config.admin.bind {
        Some(bind) if bind.ip().is_unspecified() => Ok(bind.port()),
        Some(_) | None => {
            Err("`admin.bind` is not reached from outside the pod, so there are no probes and no metrics: \
                               say `admin: { bind: 0.0.0.0:9910 }`"
                .to_owned())
        }
    }
}
