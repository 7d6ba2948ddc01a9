//! Manifests for kubectl: what the chart installs with its defaults, for a configuration that is there already.

use std::fmt::Write as _;

use super::args::{Kubernetes, ServiceType};
use super::place::{Place, Port};
use super::{discovery, indented, mounts, output};

/// The chart's objects; tests/helm holds both against each other.
const TEMPLATE: &str = include_str!("kubernetes.yaml");

/// Seconds between the end of a pod's announcement and its stop, and those to spare behind it.
const SLEEP_SECONDS: u64 = 10;
const MARGIN_SECONDS: u64 = 10;

/// The ports that a node gives away unless the cluster was told otherwise.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// The manifests, or all that keeps a pod from running this configuration.
pub(super) fn manifests(place: &Place, flags: &Kubernetes) -> Result<String, Vec<String>> {
    let parts = (
        service_ports(place, flags),
        admin_port(place),
        mounts::of(&place.needs),
        discovery::of(place, flags),
    );
    let (ports, admin, mounts, discovery) = match parts {
        (Ok(ports), Ok(admin), Ok(mounts), Ok(discovery)) => (ports, admin, mounts, discovery),
        (ports, admin, mounts, discovery) => {
            let faults = [ports.err(), admin.err(), mounts.err(), discovery.err()];
            return Err(faults.into_iter().flatten().collect());
        }
    };
    if place.needs.holds_secrets {
        output::error(
            "warning: the file holds a password or a token, and so does the ConfigMap; say `${NAME}` or `{ file: PATH }`",
        );
    }
    let starts_deeper =
        place.text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with(' '));
    let mut variables = String::new();
    let mut volumes = String::new();
    let mut mounted = String::new();
    for name in place.brought() {
        let key = format!("{{ name: {}-environment, key: {name} }}", flags.name);
        line(&mut variables, 12, &format!("- {{ name: {name}, valueFrom: {{ secretKeyRef: {key} }} }}"));
    }
    if !variables.is_empty() {
        variables.insert_str(0, "          env:\n");
    }
    for mount in &mounts {
        let (volume, folder) = (&mount.volume, mount.folder.display());
        line(&mut mounted, 12, &format!("- {{ name: {volume}, mountPath: {folder}, readOnly: true }}"));
        line(&mut volumes, 8, &format!("- name: {volume}"));
        line(
            &mut volumes,
            8,
            &format!("  secret: {{ secretName: {}-{volume}, defaultMode: 288 }}", flags.name),
        );
    }
    if !discovery.is_empty() {
        mounted.push_str(discovery::MOUNT);
        volumes.push_str(discovery::VOLUME);
    }
    let policy = match flags.r#type {
        ServiceType::LoadBalancer => "  externalTrafficPolicy: Local\n",
        ServiceType::NodePort => "  externalTrafficPolicy: Cluster\n",
        ServiceType::ClusterIp => "",
    };
    let text = TEMPLATE
        // Whole lines first: what stands in for them may be nothing.
        .replace("{environment}\n", &variables)
        .replace("{mounts}\n", &mounted)
        .replace("{volumes}\n", &volumes)
        .replace("{policy}\n", policy)
        .replace("{ports}\n", &ports)
        .replace("{discovery}\n", &discovery)
        .replace("{metadata}\n", &metadata(flags, ""))
        .replace("{metadata-admin}\n", &metadata(flags, "admin"))
        .replace("{metadata-discovery}\n", &metadata(flags, "discovery"))
        .replace("{selector}", &format!("{{ {} }}", selector(flags).join(", ")))
        .replace("{grace}", &(SLEEP_SECONDS + place.stop_seconds() + MARGIN_SECONDS).to_string())
        .replace("{image}", &flags.image.image)
        .replace("{admin}", &admin.to_string())
        .replace("{name}", &flags.name)
        .replace("{type}", &format!("{:?}", flags.r#type).replace("Ip", "IP"))
        .replace("{block}", if starts_deeper { "|2" } else { "|" })
        // Last: the text is the user's, and nothing in it is replaced.
        .replace("{configuration}\n", &indented(&place.text, 4));
    Ok(head(place, flags, &mounts) + &text)
}

fn line(text: &mut String, spaces: usize, what: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:spaces$}{what}", "");
}

fn selector(flags: &Kubernetes) -> [String; 2] {
    ["app.kubernetes.io/name: gatehouse".to_owned(), format!("app.kubernetes.io/instance: {}", flags.name)]
}

fn metadata(flags: &Kubernetes, component: &str) -> String {
    let mut text = String::new();
    let suffix = if component.is_empty() { String::new() } else { format!("-{component}") };
    line(&mut text, 2, &format!("name: {}{suffix}", flags.name));
    if let Some(namespace) = &flags.namespace {
        line(&mut text, 2, &format!("namespace: {namespace}"));
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
fn head(place: &Place, flags: &Kubernetes, mounts: &[mounts::Mount]) -> String {
    let mut text = format!(
        "# Written by `gatehouse generate kubernetes` for Kubernetes 1.30 or newer. The pods follow a changed ConfigMap by\n\
         # themselves; admin.bind, node.id, log.level and log.format wait for `kubectl rollout restart deployment/{}`.\n",
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

fn create_all(create: &mut impl FnMut(&str, &str), place: &Place, mounts: &[mounts::Mount]) {
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

/// The ports of the service, as lines; what cannot be one is refused.
fn service_ports(place: &Place, flags: &Kubernetes) -> Result<String, String> {
    for listener in &place.config.listeners {
        if let Some(bind) = listener.listen.binds.iter().find(|bind| !bind.ip.is_unspecified()) {
            return Err(format!(
                "listener `{}` binds {}, and nothing outside the pod reaches that: say `0.0.0.0:{port}` or \
                 `\"[::]:{port}\"`",
                listener.listen.name,
                bind.ip,
                port = listener.listen.port
            ));
        }
    }
    let ports = place.ports();
    if let Some(first) = ports.first().filter(|_| ports.len() > flags.max_ports) {
        return Err(format!(
            "the service would have {} ports, more than --max-ports {}: say which node ids there are, as in \
             `listeners.{}.routing: {{ port: {{ ranges: [{{ nodes: 0-9, bind: {} }}] }} }}`, or route by SNI",
            ports.len(),
            flags.max_ports,
            first.listener,
            first.bound.saturating_add(1)
        ));
    }
    let on_nodes = flags.r#type == ServiceType::NodePort;
    let mut text = String::new();
    for (at, port) in ports.iter().enumerate() {
        let before = ports.iter().take(at).find(|other| other.told == port.told);
        possible(port, before, on_nodes)?;
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
    Ok(text)
}

fn possible(port: &Port<'_>, before: Option<&Port<'_>>, on_nodes: bool) -> Result<(), String> {
    let Port { listener, bound, told, .. } = port;
    if *bound < 1024 {
        return Err(format!(
            "listener `{listener}` binds port {bound}, which a pod without privileges may not: bind one above 1023 \
             and advertise {bound}"
        ));
    }
    if on_nodes && !NODE_PORTS.contains(told) {
        return Err(format!(
            "listener `{listener}` tells clients port {told}, which is no node port ({} to {}): advertise one, and \
             so for its ranges",
            NODE_PORTS.start(),
            NODE_PORTS.end()
        ));
    }
    match before {
        Some(before) => Err(format!(
            "listeners `{}` and `{listener}` both tell clients port {told}, which a service has once: advertise \
             another one, or take the Helm chart, which gives a listener a service of its own",
            before.listener
        )),
        None => Ok(()),
    }
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
