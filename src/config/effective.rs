//! What a configuration comes to: every setting with its value, secrets left out.

use secrecy::SecretString;
use serde_json::{Value, json};

use crate::cluster::{PortRange, Ports, Routes};
use crate::config::{Cluster, Config, Listener};
use crate::tls::client::{self, Roots, Verify};
use crate::tls::identity::{Password, Source};
use crate::tls::{Version, server};
use crate::topology::Discovery;

/// What stands in the place of a secret.
pub(super) type Veil<'v> = &'v dyn Fn(&SecretString) -> String;

/// The settings with every default, by the names of the file, and without secrets.
pub fn config(config: &Config) -> Value {
    all(config, &|_| "***".to_owned())
}

/// The same with something else in the place of each secret.
pub(super) fn all(config: &Config, secret: Veil<'_>) -> Value {
    let clusters = config.clusters.iter().map(|c| (c.name.clone(), cluster(c, secret)));
    let listeners = config.listeners.iter().map(|l| (l.listen.name.clone(), listener(l, config, secret)));
    let requests = config.listeners.first().map(|listener| &listener.core);
    let duration = |duration| humantime::format_duration(duration).to_string();
    let mut value = json!({
        "version": 1,
        "node": { "id": config.node_id },
        "clusters": clusters.collect::<serde_json::Map<_, _>>(),
        "listeners": listeners.collect::<serde_json::Map<_, _>>(),
        "limits": {
            "max_connections": config.limits.max_connections,
            "max_request_bytes": requests.map(|core| format!("{}B", core.max_request_bytes)),
            "max_in_flight_requests": requests.map(|core| core.max_in_flight),
            "held_bytes": format!("{}B", config.limits.held_bytes),
            "max_handshakes": config.limits.max_handshakes,
        },
        "tls": { "reload_interval": duration(config.tls_reload_interval) },
        "admin": { "bind": config.admin.bind },
        "log": {
            "level": config.log.options.level,
            "format": format!("{:?}", config.log.options.format).to_lowercase(),
            "connections": config.log.connections,
        },
        "shutdown": {
            "ready_delay": duration(config.shutdown.ready_delay),
            "drain_timeout": duration(config.shutdown.drain_timeout),
            "hard_stop_after": duration(config.shutdown.hard_stop_after),
        },
    });
    if let Some(limit) = config.limits.max_connections_per_ip {
        value["limits"]["max_connections_per_ip"] = json!(limit);
    }
    if !config.admin.hosts.is_empty() {
        value["admin"]["hosts"] = json!(config.admin.hosts);
    }
    if let Some(token) = &config.admin.token {
        value["admin"]["token"] = json!(secret(token));
    }
    value
}

fn cluster(cluster: &Cluster, secret: Veil<'_>) -> Value {
    let duration = |duration| humantime::format_duration(duration).to_string();
    let texts = |texts: &mut dyn Iterator<Item = String>| texts.collect::<Vec<_>>();
    let topology = &cluster.topology;
    let mut value = json!({
        "bootstrap": texts(&mut topology.bootstrap.iter().map(ToString::to_string)),
        "connect_timeout": duration(cluster.connect.timeout),
        "tcp_keepalive": duration(cluster.connect.keepalive),
    });
    if let Some(address) = cluster.connect.source_address {
        value["source_address"] = json!(address);
    }
    if let Some(allow) = &cluster.connect.allow {
        let names = allow.names.iter().map(ToString::to_string);
        value["allow"] = json!(texts(&mut names.chain(allow.networks.iter().map(ToString::to_string))));
    }
    if matches!(topology.discovery, Discovery::Own(_)) {
        value["metadata_refresh"] = json!(duration(topology.refresh));
    }
    if let Some(tls) = &cluster.tls {
        value["tls"] = upstream(tls);
        if let Some(source) = &tls.identity {
            value["discovery"]["tls"] = identity(source, secret);
        }
    }
    match &topology.discovery {
        Discovery::Own(None) => {}
        Discovery::Own(Some(credential)) => {
            value["discovery"]["sasl"] = json!({
                "mechanism": credential.mechanism.as_str(),
                "username": credential.username,
                "password": secret(&credential.password),
            });
        }
        Discovery::Static(nodes) => {
            let nodes = nodes.iter().map(|(node, address)| (node.to_string(), json!(address.to_string())));
            value["nodes"] = Value::Object(nodes.collect());
        }
        Discovery::LearnOnly => value["discovery"] = json!("learn-only"),
    }
    value
}

fn listener(listener: &Listener, config: &Config, secret: Veil<'_>) -> Value {
    let duration = |duration| humantime::format_duration(duration).to_string();
    let options = &listener.listen;
    let bind = |ip: std::net::IpAddr| std::net::SocketAddr::new(ip, options.port);
    let mut value = json!({
        "bind": options.binds.iter().map(|b| bind(b.ip)).collect::<Vec<_>>(),
        "cluster": config.clusters.get(listener.cluster).map(|cluster| &cluster.name),
        "routing": { options.routes.mode(): routing(&options.routes) },
        "limits": {
            "idle_timeout": duration(listener.relay.idle_timeout),
            "first_request_timeout": duration(listener.first_request_timeout),
        },
        "unknown_apis": if listener.core.pass_unknown_apis { "pass" } else { "close" },
    });
    if let Routes::Ports(Ports { host: Some(host), bootstrap, .. }) = options.routes.as_ref() {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        value["advertise"] = json!(format!("{host}:{bootstrap}"));
    }
    if let (Some(service), Routes::Ports(ports)) = (&listener.advertised, options.routes.as_ref()) {
        value["advertise"] = json!({ "service": service.name, "port": ports.bootstrap });
        if let Some(namespace) = &service.namespace {
            value["advertise"]["namespace"] = json!(namespace);
        }
    }
    if options.binds.iter().any(|b| b.ip.is_ipv6()) {
        value["ipv6_only"] = json!(options.binds.iter().any(|b| b.v6_only));
    }
    let limits = [
        ("max_connections", listener.limits.max_connections),
        ("max_connections_per_ip", listener.limits.max_connections_per_ip),
    ];
    for (name, limit) in limits {
        if let Some(limit) = limit {
            value["limits"][name] = json!(limit);
        }
    }
    if let Some(age) = listener.relay.max_age {
        value["limits"]["max_connection_age"] = json!(duration(age));
    }
    if let Some(tls) = &listener.tls {
        value["tls"] = terminated(tls, secret);
        value["limits"]["handshake_timeout"] = json!(duration(listener.handshake_timeout));
        if let Some(limit) = listener.limits.handshakes_per_second {
            value["limits"]["handshakes_per_second"] = json!(limit);
        }
    }
    if let Some(source) = listener.upstream.as_ref().and_then(|tls| tls.identity.as_ref()) {
        value["upstream_identity"]["tls"] = identity(source, secret);
    }
    if let Some(proxy) = &listener.proxy_protocol {
        let networks = proxy.required_from.iter().map(ToString::to_string);
        value["proxy_protocol"]["required_from"] = json!(networks.collect::<Vec<_>>());
    }
    for (name, networks) in [("allow", &listener.networks.allow), ("deny", &listener.networks.deny)] {
        if !networks.is_empty() {
            value["networks"][name] = json!(networks.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
    }
    value
}

fn routing(routes: &Routes) -> Value {
    match routes {
        Routes::Ports(ports) => {
            let range = |range: &PortRange| {
                json!({
                    "nodes": range.nodes().to_string(),
                    "bind": range.bind,
                    "advertise": range.advertise,
                })
            };
            json!({ "ranges": ports.ranges.iter().map(range).collect::<Vec<_>>() })
        }
        Routes::Names(names) => json!({
            "bootstrap": names.bootstrap,
            "brokers": names.brokers.to_string(),
            "nodes": names.nodes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "advertised_port": names.port,
        }),
    }
}

/// TLS towards clients.
fn terminated(tls: &server::Options, secret: Veil<'_>) -> Value {
    let mut value = json!({
        "certificates": tls.certificates.iter().map(|source| identity(source, secret)).collect::<Vec<_>>(),
        "min_version": version(tls.min_version),
        "client_auth": match &tls.clients {
            None => "none",
            Some(clients) if clients.required => "required",
            Some(_) => "optional",
        },
    });
    if let Some(clients) = &tls.clients {
        value["client_ca"] = json!(clients.trust.ca);
        if !clients.trust.crl.is_empty() {
            value["client_crl"] = json!(clients.trust.crl);
        }
        value["principal_mapping_rules"] = json!(clients.rules.to_string());
        value["resumption"] = json!(clients.resumption);
    }
    value
}

/// TLS towards brokers.
fn upstream(tls: &client::Options) -> Value {
    let mut value = json!({
        "verify": match tls.verify {
            Verify::Full => "full",
            Verify::Chain => "ca",
            Verify::InsecureNone => "insecure-none",
        },
        "min_version": version(tls.min_version),
    });
    if let Roots::Files(files) = &tls.roots {
        value["ca"] = json!(files);
    }
    value
}

fn version(version: Version) -> &'static str {
    match version {
        Version::Tls12 => "1.2",
        Version::Tls13 => "1.3",
    }
}

fn identity(source: &Source, secret: Veil<'_>) -> Value {
    let shown = |password: &Password| match password {
        Password::File(path) => json!({ "file": path }),
        Password::Text(text) => json!(secret(text)),
    };
    match source {
        Source::Pem { cert, key, password: None } => json!({ "cert": cert, "key": key }),
        Source::Pem { cert, key, password: Some(password) } => {
            json!({ "cert": cert, "key": key, "key_password": shown(password) })
        }
        Source::Pkcs12 { file, password } => json!({ "pkcs12": file, "password": shown(password) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Surroundings, load};
    use crate::limits::machine::Machine;

    const EXAMPLE: &str = include_str!("../cli/example.yaml");

    fn load_text(text: &str) -> Config {
        let surroundings = Surroundings {
            environment: ["KAFKA_PASSWORD", "GATEHOUSE_ADMIN_TOKEN"]
                .map(|name| (name.to_owned(), "hunter2".to_owned()))
                .into(),
            machine: Machine { descriptors: 1 << 20, memory_bytes: 64 << 30 },
            host_name: "gw".to_owned(),
            elsewhere: false,
            certificates: false,
        };
        let (config, warnings) = load("example", text, &surroundings).unwrap();
        assert!(warnings.is_empty(), "{warnings}");
        config
    }

    /// The example with everything that is commented out and does not exclude something else.
    fn everything() -> String {
        let skipped = [
            "# discovery: learn-only",
            "# advertise: { service",
            "# nodes:",
            "# gatehouse.yaml",
            "# and addresses",
            "# Any of",
        ];
        let line = |line: &str| match line.trim_start() {
            text if !text.starts_with("# ") || skipped.iter().any(|skip| text.starts_with(skip)) => {
                line.to_owned()
            }
            _ => line.replacen("# ", "", 1),
        };
        let text = EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n");
        text.replace("bind: 0.0.0.0:9092 ", "bind: \"[::]:9092\" ")
    }

    #[test]
    fn the_example_is_valid_as_it_is_and_with_everything_on() {
        load_text(EXAMPLE);
        let config = load_text(&everything());
        assert!(matches!(config.clusters[0].topology.discovery, Discovery::Own(Some(_))));
        assert_eq!(config.listeners[0].networks.deny.len(), 1);
        assert_eq!(config.limits.max_connections_per_ip, Some(1000));
    }

    #[test]
    fn what_is_shown_means_the_same_and_hides_the_secrets() {
        for text in [EXAMPLE, &everything()] {
            let shown = config(&load_text(text));
            let text = serde_json::to_string_pretty(&shown).unwrap();
            assert!(!text.contains("hunter2"), "{text}");
            assert_eq!(config(&load_text(&text)), shown);
        }
        assert!(config(&load_text(&everything())).to_string().contains("***"));
    }

    /// A setting that is not shown would not be found different by a reload.
    #[test]
    fn every_setting_of_the_example_is_shown() {
        let text = everything();
        let load: Value = serde_saphyr::from_str(&text.replace("${", "$${")).unwrap();
        let shown = config(&load_text(&text));
        let mut missing = Vec::new();
        fn look(path: &str, written: &Value, shown: &Value, missing: &mut Vec<String>) {
            let Value::Object(entries) = written else { return };
            for (name, written) in entries {
                let path = format!("{path}.{name}");
                // A secret, and where it is read from, is shown as neither.
                match shown.get(name) {
                    Some(Value::String(text)) if text == "***" => {}
                    Some(shown) => look(&path, written, shown, missing),
                    None => missing.push(path),
                }
            }
        }
        look("", &load, &shown, &mut missing);
        assert!(missing.is_empty(), "{missing:?}");
    }
}
