//! The configuration: one YAML file, checked as a whole, turned into the options of every part.

mod check;
pub mod codes;
pub mod diagnostic;
pub mod difference;
pub mod effect;
pub mod effective;
pub mod file;
pub mod needs;
mod secrets;
pub mod yaml;

use std::time::Duration;

use crate::limits::machine::Machine;
use crate::limits::networks::Networks;
use crate::{admin, advertised, connect, limits, listen, logging, proxy_header, relay, tls, topology};
use check::Check;
use diagnostic::Diagnostics;
use yaml::Environment;

/// The longest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// What the meaning of a file depends on beside the file.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The variables that `${NAME}` may name.
    pub environment: Environment,
    /// What connections and held bytes must fit into.
    pub machine: Machine,
    /// The name of the host: the default of `node.id`.
    pub host_name: String,
    /// Whether the gateway would run elsewhere. Then unset variables, files with secrets and the machine's
    /// limits are no faults. In the place of secrets the configuration has stand-ins; where something else was
    /// missing there is none.
    pub elsewhere: bool,
    /// Whether the files of certificates are read and checked. Whoever only wants to know what the text means
    /// need not be able to read keys. Without effect where the gateway would run elsewhere.
    pub certificates: bool,
}

/// A checked configuration: nothing in it is left to decide.
#[derive(Clone, Debug)]
pub struct Config {
    /// What this gateway is called in logs and by brokers.
    pub node_id: String,
    /// The clusters, in the order of the file; at least one.
    pub clusters: Vec<Cluster>,
    /// The listeners, in the order of the file; at least one.
    pub listeners: Vec<Listener>,
    /// The limits of the process.
    pub limits: limits::Options,
    /// The admin pages.
    pub admin: admin::Options,
    /// The log.
    pub log: Log,
    /// The steps of a stop.
    pub shutdown: Shutdown,
    /// How often the files of certificates, authorities and revocation lists are looked at.
    pub tls_reload_interval: Duration,
}

/// A cluster and how to reach it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name in the file.
    pub name: String,
    /// How its brokers are found.
    pub topology: topology::Options,
    /// How they are dialed.
    pub connect: connect::Options,
    /// TLS to the brokers, with the gateway's own certificate for its own requests; `None` is plaintext.
    pub tls: Option<tls::client::Options>,
}

/// A listener: where clients come in, and where it leads.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The index of its cluster in [`Config::clusters`].
    pub cluster: usize,
    /// Its name, what it binds, what clients are told, and who may connect.
    pub listen: listen::Options,
    /// The Service whose address clients are told; `None` where the file says it, or names do.
    pub advertised: Option<advertised::Service>,
    /// Where clients may come from.
    pub networks: Networks,
    /// Whose PROXY headers are required; `None` takes each connection's own address.
    pub proxy_protocol: Option<proxy_header::Options>,
    /// How many may connect.
    pub limits: limits::ListenerOptions,
    /// What is done with requests and responses.
    pub core: relay::core::Options,
    /// How long a connection may stand still.
    pub relay: relay::Options,
    /// How long a client may take for its first request header.
    pub first_request_timeout: Duration,
    /// TLS towards the clients; `None` is plaintext.
    pub tls: Option<tls::server::Options>,
    /// How long a TLS handshake may take, waiting for its turn included.
    pub handshake_timeout: Duration,
    /// TLS to the brokers for connections of these clients, with what the clients are towards them. It is
    /// there exactly where the cluster's is.
    pub upstream: Option<tls::client::Options>,
}

/// What is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Level and format.
    pub options: logging::Options,
    /// Whether each connection that ended is logged at level info.
    pub connections: bool,
}

/// The steps of a stop, each counted from its beginning but for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long the gateway says that it is not ready while it still accepts.
    pub ready_delay: Duration,
    /// How long clients have to finish.
    pub drain_timeout: Duration,
    /// When the process leaves in any case, counted from the beginning of the stop.
    pub hard_stop_after: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            ready_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            hard_stop_after: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// Takes over from the configuration that a process was started with what it cannot change.
    pub fn keep_what_needs_a_restart(&mut self, started: &Self) {
        self.node_id.clone_from(&started.node_id);
        self.admin.bind = started.admin.bind;
        self.log.options.format = started.log.options.format;
        if let Some(cluster) = started.clusters.first() {
            let client_id = &cluster.topology.client_id;
            self.clusters.iter_mut().for_each(|cluster| cluster.topology.client_id.clone_from(client_id));
        }
    }
}

/// Checks the text of a configuration file. `file` is its name, for messages.
///
/// What comes beside the configuration are warnings only.
///
/// # Errors
/// Every fault of the file at once; warnings among them. With [`Surroundings::elsewhere`] that may be none.
pub fn load(
    file: &str,
    source: &str,
    surroundings: &Surroundings,
) -> Result<(Config, Diagnostics), Diagnostics> {
    if source.len() > FILE_BYTES_MAX {
        let title = format!("the file is longer than {FILE_BYTES_MAX} bytes");
        let fault = diagnostic::Diagnostic::error(codes::Code::Syntax, title, &(0..0));
        return Err(Diagnostics::new(file, "", &[], vec![fault]));
    }
    let yaml::Read { tree, faults, .. } = yaml::read(source, surroundings);
    let Some(tree) = tree else {
        return Err(Diagnostics::new(file, source, &secrets::of_text(source), faults));
    };
    let mut check = Check { source, surroundings, faults };
    let config = check.file(&tree);
    let mut faults = check.faults;
    for fault in &mut faults {
        fault.path = yaml::path_of(&tree, &fault.place);
    }
    let diagnostics = Diagnostics::new(file, source, &secrets::of_tree(&tree), faults);
    match config {
        Ok(config) if !diagnostics.is_fatal() => Ok((config, diagnostics)),
        Ok(_) | Err(_) => Err(diagnostics),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::kafka::NodeId;
    use crate::topology::Discovery;

    fn surroundings() -> Surroundings {
        Surroundings {
            environment: Environment::from([
                ("HOST".to_owned(), "kafka.example.com".to_owned()),
                ("PASSWORD".to_owned(), "0x1F".to_owned()),
            ]),
            machine: Machine { descriptors: 1 << 20, memory_bytes: 64 << 30 },
            host_name: "gw-1".to_owned(),
            elsewhere: false,
            certificates: true,
        }
    }

    const SIX_LINES: &str = "\
clusters:
  main: { bootstrap: [kafka-0.internal:9092, kafka-1.internal:9092] }
listeners:
  external:
    bind: 0.0.0.0:9092
    advertise: kafka.example.com
";

    #[test]
    fn six_lines_are_enough() {
        let (config, warnings) = load("a.yaml", SIX_LINES, &surroundings()).unwrap();
        assert!(warnings.is_empty(), "{warnings}");
        let cluster = &config.clusters[0];
        assert_eq!((cluster.name.as_str(), cluster.topology.bootstrap.len()), ("main", 2));
        assert!(matches!(cluster.topology.discovery, Discovery::Own(None)));
        let listener = &config.listeners[0];
        assert_eq!((listener.cluster, listener.listen.port), (0, 9092));
        assert_eq!(listener.listen.routes.advertised(NodeId(99)), Some(("kafka.example.com".into(), 9192)));
        assert_eq!(listener.listen.routes.advertised(NodeId(100)), None);
        assert_eq!(config.admin.bind, Some(([127, 0, 0, 1], 9910).into()));
        assert_eq!(config.limits.max_connections, 10_000);
        assert_eq!(config.limits.held_bytes, 16 << 30);
        assert_eq!(config.node_id, "gw-1");
    }

    #[test]
    fn variables_keep_their_text_whatever_yaml_would_make_of_it() {
        let text = SIX_LINES.replace("kafka.example.com", "${HOST}").replace(
            "  main: { bootstrap: [kafka-0.internal:9092, kafka-1.internal:9092] }",
            "  main:
    bootstrap: kafka-0.internal:${PORT:-9092}
    discovery:
      sasl:
        mechanism: PLAIN
        username: gatehouse
        password: ${PASSWORD}",
        );
        let (config, _) = load("a.yaml", &text, &surroundings()).unwrap();
        assert_eq!(config.listeners[0].listen.routes.bootstrap(), Some(("kafka.example.com", 9092)));
        let Discovery::Own(Some(credential)) = &config.clusters[0].topology.discovery else {
            panic!("no credential")
        };
        assert_eq!(credential.password.expose_secret(), "0x1F");
        assert_eq!(config.clusters[0].topology.bootstrap[0].to_string(), "kafka-0.internal:9092");
        assert!(!format!("{config:?}").contains("0x1F"));
    }
}
