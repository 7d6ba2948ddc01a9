//! `gatehouse demo`: a toy cluster, the gateway in front of it and some traffic, in one process.

pub mod certificates;
mod client;
mod traffic;

use std::io;
use std::net::{Ipv6Addr, TcpListener};

use crate::app::{self, App, Runtimes};
use crate::config::diagnostic::Diagnostics;
use crate::config::{self, Surroundings};
use crate::kafka::NodeId;
use crate::toy;
use certificates::Certificates;
use traffic::{Door, Traffic};

/// The topic that the traffic flows through.
const TOPIC: &str = "demo";

/// How many brokers there are, and how many partitions the topic has.
const BROKERS: u16 = 3;

/// How many ports are tried, from the wanted one on, before the demo gives up.
const TRIES: u16 = 100;

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The brokers could not listen on loopback.
    #[error("the demo's brokers cannot start")]
    Brokers(#[source] io::Error),
    /// The gateway could not start.
    #[error("the demo's gateway cannot start")]
    Gateway(#[source] app::Error),
    /// The demo's own configuration does not fit this machine.
    #[error("the demo's configuration does not fit this machine:\n{0}")]
    Configuration(Diagnostics),
    /// There are no certificates to show.
    #[error("the demo cannot speak TLS")]
    Certificates(#[source] certificates::Error),
    /// No free ports were found.
    #[error("no {BROKERS} free ports in a row were found from {0} on")]
    Ports(u16),
}

/// Where the demo is to be found.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The port of the gateway on localhost; the brokers' ports follow it. Where one of them is taken,
    /// the next free ones are used.
    pub port: u16,
    /// The port of admin on localhost, likewise.
    pub admin: u16,
    /// Whether the gateway speaks TLS, with throw-away certificates.
    pub tls: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 9092, admin: 9910, tls: false }
    }
}

/// What the demo's own clients have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Records that a broker has acknowledged.
    pub written: u64,
    /// Records that came back.
    pub read: u64,
}

/// A demo that runs.
pub struct Demo {
    options: Options,
    cluster: toy::Cluster,
    app: App,
    traffic: Traffic,
    /// Removed last, when nothing reads them any more.
    certificates: Option<Certificates>,
}

impl Demo {
    /// Starts the brokers, the gateway and the traffic.
    ///
    /// # Errors
    /// [`Error`]: there are no free ports, or the machine has no room for a single connection.
    pub async fn start(
        options: Options,
        surroundings: &Surroundings,
        runtimes: &Runtimes,
    ) -> Result<Self, Error> {
        let certificates = options.tls.then(Certificates::make).transpose().map_err(Error::Certificates)?;
        // The rest of the brokers' tasks inherit the runtime of this one.
        let brokers = runtimes.control.spawn(toy::Cluster::start(toy::Options {
            brokers: BROKERS,
            seen_max: 0,
            ..toy::Options::default()
        }));
        let cluster = brokers.await.map_err(|error| Error::Brokers(error.into()))?.map_err(Error::Brokers)?;
        cluster.create_topic(TOPIC, BROKERS.into(), BROKERS.cast_signed());
        let plan = Plan { cluster: &cluster, certificates: certificates.as_ref() };
        let (app, options) = start(options, &plan, surroundings, runtimes).await?;
        let door = Door { port: options.port, tls: certificates.as_ref().map(Certificates::connector) };
        let traffic = Traffic::start(&door, TOPIC, BROKERS.into(), &runtimes.control);
        Ok(Self { options, cluster, app, traffic, certificates })
    }

    /// What a person needs to know to try it.
    pub fn text(&self) -> String {
        let port = self.options.port;
        let admin = self.app.bound().admin.map_or_else(String::new, |admin| {
            format!("              http://{admin}/  (what the gateway does; /metrics, /readyz?verbose)\n")
        });
        let commands = match &self.certificates {
            None => plain_commands(port),
            Some(certificates) => tls_commands(port, certificates),
        };
        format!(
            "demo cluster: {BROKERS} brokers in this process, not reachable from outside\n\
             gateway:      localhost:{port}  (brokers on {}-{})\n\
             {commands}{admin}\
             Ctrl-C to stop\n",
            port + 1,
            port + BROKERS,
        )
    }

    /// How many records the demo's own clients have written and read through the gateway.
    pub fn records(&self) -> Records {
        self.traffic.records()
    }

    /// Waits until the demo's own clients have written and read as much as a condition wants. Has no
    /// end of its own; may be dropped.
    pub async fn until(&self, condition: impl FnMut(&Records) -> bool) {
        self.traffic.until(condition).await;
    }

    /// Where the gateway, its ports moved to free ones, is to be found.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Stops the traffic, then the gateway, then the brokers.
    pub async fn stop(self) {
        self.traffic.stop().await;
        self.app.stop().await;
        self.cluster.stop().await;
    }
}

fn plain_commands(port: u16) -> String {
    format!(
        "try:          kcat -b localhost:{port} -L\n\
         \x20             kcat -b localhost:{port} -t {TOPIC} -C\n\
         \x20             kcat -b localhost:{port} -t mine -P\n\
         \x20             kafka-console-consumer.sh --bootstrap-server localhost:{port} --topic {TOPIC}\n\
         \x20             kafka-console-producer.sh --bootstrap-server localhost:{port} --topic mine\n"
    )
}

/// The client's own certificate is optional: with it, the admin pages name the principal.
fn tls_commands(port: u16, certificates: &Certificates) -> String {
    let files = certificates.files();
    let paths = [&files.ca, &files.client_cert, &files.client_key, &files.java, &files.java_mtls];
    let [ca, cert, key, java, mtls] = paths.map(|path| path.display());
    let kcat = format!("kcat -b localhost:{port} -X security.protocol=ssl -X ssl.ca.location={ca}");
    let mine = format!("-X ssl.certificate.location={cert} -X ssl.key.location={key}");
    format!(
        "certificates: {}  (thrown away at the end)\n\
         try:          {kcat} -L\n\
         \x20             {kcat} -t {TOPIC} -C\n\
         \x20             {kcat} {mine} -t mine -P\n\
         \x20             kafka-console-consumer.sh --bootstrap-server localhost:{port} --consumer.config {java} --topic {TOPIC}\n\
         \x20             kafka-console-producer.sh --bootstrap-server localhost:{port} --producer.config {mtls} --topic mine\n\
         \x20             openssl s_client -connect localhost:{port} -CAfile {ca}\n",
        certificates.directory().display(),
    )
}

/// What the gateway stands before, and what it shows.
struct Plan<'a> {
    cluster: &'a toy::Cluster,
    certificates: Option<&'a Certificates>,
}

/// Starts the gateway on the first free ports.
async fn start(
    wanted: Options,
    plan: &Plan<'_>,
    surroundings: &Surroundings,
    runtimes: &Runtimes,
) -> Result<(App, Options), Error> {
    let mut options = wanted;
    let ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    loop {
        let text = file(options, plan, ipv6).ok_or(Error::Ports(wanted.port))?;
        let loaded = config::load("demo", &text, surroundings).map_err(Error::Configuration)?;
        match App::start(loaded.0, runtimes).await {
            Ok(app) => return Ok((app, options)),
            Err(app::Error::Listen(error)) if is_taken(&error.source, options.port, wanted.port) => {
                options.port += 1;
            }
            Err(app::Error::Admin(crate::admin::Error::Bind { source, .. }))
                if is_taken(&source, options.admin, wanted.admin) =>
            {
                options.admin += 1;
            }
            Err(error) => return Err(Error::Gateway(error)),
        }
    }
}

/// Whether a port is taken and the next one may be tried.
fn is_taken(error: &io::Error, port: u16, first: u16) -> bool {
    error.kind() == io::ErrorKind::AddrInUse && port - first < TRIES && port < u16::MAX
}

/// The configuration file that a person would write for this; `None` where the ports run past the last.
fn file(options: Options, plan: &Plan<'_>, ipv6: bool) -> Option<String> {
    let Options { port, admin, tls: _ } = options;
    port.checked_add(BROKERS)?;
    let tls = plan.certificates.map(Certificates::setting).unwrap_or_default();
    let bootstrap: Vec<String> =
        plan.cluster.addresses().iter().map(|(_, address)| address.to_string()).collect();
    let bind =
        if ipv6 { format!("[\"127.0.0.1:{port}\", \"[::1]:{port}\"]") } else { format!("127.0.0.1:{port}") };
    let last = NodeId(i32::from(BROKERS) - 1);
    Some(format!(
        "clusters:
  demo: {{ bootstrap: [{}] }}
listeners:
  demo:
    bind: {bind}
    advertise: localhost
    routing: {{ port: {{ ranges: [ {{ nodes: 0-{last}, bind: {} }} ] }} }}
{tls}admin: {{ bind: 127.0.0.1:{admin} }}
shutdown: {{ ready_delay: 0s, drain_timeout: 1s, hard_stop_after: 2s }}
",
        bootstrap.join(", "),
        port + 1,
    ))
}
