//! Three brokers of one Kafka version, each its own process, inside the run's namespace.

use std::{fmt::Write as _, fs, path::PathBuf, process::Command};

use rustix::process::Signal;

use crate::{
    Result,
    certificates::PASSWORD,
    jars::{CLUSTER_ID, Kafka, joined},
    lab::{Lab, Side},
    poll::{self, LIMIT},
    process::Process,
    wire,
};

/// The brokers' node ids.
pub(crate) const NODES: [i32; 3] = [1, 2, 3];
/// The user of the SASL listeners with PLAIN, and its password.
pub(crate) const PLAIN_USER: (&str, &str) = ("alice", "alice-pw");
/// The port of the brokers' plain listener.
pub(crate) const PLAIN_PORT: u16 = 9092;
/// The port of the brokers' SASL listener.
pub(crate) const SASL_PORT: u16 = 9094;

/// The port of the brokers' TLS listener, which takes client certificates and does not ask for them.
pub(crate) const SSL_PORT: u16 = 9093;
/// The port of the brokers' SASL listener with TLS.
pub(crate) const SASL_SSL_PORT: u16 = 9095;
/// The port of the brokers' TLS listener that requires a client certificate.
pub(crate) const MTLS_PORT: u16 = 9096;

/// What a cluster has beside the usual.
#[derive(Default)]
pub(crate) struct Extra {
    /// Settings of every broker, one a line.
    pub(crate) settings: String,
    /// More listeners.
    pub(crate) listeners: Vec<Listener>,
}

/// A listener beside the usual ones. `NODE` stands for the node id.
#[derive(Clone)]
pub(crate) struct Listener {
    /// Its name, in capitals.
    pub(crate) name: String,
    /// What is spoken there: `SASL_SSL` and the like.
    pub(crate) protocol: &'static str,
    /// `host:port` that the broker binds.
    pub(crate) bind: String,
    /// `host:port` that it tells its clients.
    pub(crate) advertised: String,
    /// Its settings without `listener.name.NAME.`, one a line.
    pub(crate) settings: String,
}

/// A running cluster; dropping it ends the brokers, ZooKeeper last.
pub(crate) struct Cluster<'lab> {
    /// Its version and jars.
    pub(crate) kafka: Kafka,
    lab: &'lab Lab,
    directory: PathBuf,
    extra: Extra,
    brokers: [Option<Process>; 3],
    zookeeper: Option<Process>,
    starts: u32,
}

impl<'lab> Cluster<'lab> {
    /// Starts `version` with the extra broker `settings` and waits until three brokers take records.
    pub(crate) fn start(lab: &'lab Lab, version: &str, settings: &str) -> Result<Self> {
        Self::start_with(lab, version, Extra { settings: settings.to_owned(), listeners: Vec::new() })
    }

    /// The same with more listeners.
    pub(crate) fn start_with(lab: &'lab Lab, version: &str, extra: Extra) -> Result<Self> {
        let kafka = Kafka::fetch(version)?;
        let directory = lab.root().join("data").join(version);
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(&directory)?;
        let (name, text) = kafka.logging();
        fs::write(directory.join(name), text)?;
        let mut cluster =
            Self { kafka, lab, directory, extra, brokers: [None, None, None], zookeeper: None, starts: 0 };
        if cluster.kafka.zookeeper() {
            cluster.start_zookeeper()?;
        }
        for node in NODES {
            cluster.prepare(node)?;
            cluster.start_broker(node)?;
        }
        cluster.wait_until_usable()?;
        Ok(cluster)
    }

    /// The address of a broker's listener.
    pub(crate) fn address(node: i32, port: u16) -> String {
        format!("10.77.0.{node}:{port}")
    }

    /// Starts broker `node`, which has not run or was stopped.
    pub(crate) fn start_broker(&mut self, node: i32) -> Result<()> {
        let mut command = self.java(&["-Xms64m", "-Xmx1g"]);
        command.arg("kafka.Kafka").arg(self.directory.join(format!("n{node}.properties")));
        self.starts += 1;
        let process = Process::spawn(self.lab, &format!("broker-{}-{node}", self.kafka.version), command)?;
        *self.slot(node)? = Some(process);
        Ok(())
    }

    /// Kills broker `node` at once.
    pub(crate) fn kill(&mut self, node: i32) -> Result<()> {
        let process = self.slot(node)?.take();
        drop(process);
        Ok(())
    }

    /// Asks broker `node` to stop and waits for it: it hands its leaderships over first.
    pub(crate) fn stop(&mut self, node: i32) -> Result<()> {
        if let Some(mut process) = self.slot(node)?.take() {
            process.signal(Signal::TERM)?;
            process.wait(LIMIT)?;
        }
        Ok(())
    }

    /// What the brokers have logged, one after the other.
    pub(crate) fn log(&self) -> Result<String> {
        self.brokers.iter().flatten().map(Process::log).collect()
    }

    /// Waits until all three brokers serve and no partition lacks a replica.
    pub(crate) fn wait_until_whole(&self) -> Result<()> {
        self.lab.inside(Side::Brokers, || {
            poll::until_true("three brokers, all replicas in sync", LIMIT, || wire::whole(&bootstrap()))
        })
    }

    fn wait_until_usable(&mut self) -> Result<()> {
        let brokers = &mut self.brokers;
        self.lab
            .inside(Side::Brokers, || {
                poll::until("start of three brokers", LIMIT, || {
                    for broker in brokers.iter_mut().flatten() {
                        if !broker.running()? {
                            return Ok(Some(Err(broker.explain("a broker ended"))));
                        }
                    }
                    Ok(wire::whole(&bootstrap())?.then_some(Ok(())))
                })??;
                poll::until("the first record", LIMIT, || wire::probe(&bootstrap()).map(Some))
            })
            .map_err(|error| match self.brokers.iter().flatten().next() {
                Some(broker) => broker.explain(&error.to_string()),
                None => error,
            })
    }

    fn slot(&mut self, node: i32) -> Result<&mut Option<Process>> {
        let index = NODES.iter().position(|known| *known == node).ok_or("no such broker")?;
        Ok(&mut self.brokers[index])
    }

    /// A Java command with the version's class path; its first run leaves an archive of classes for the next.
    fn java(&self, flags: &[&str]) -> Command {
        let mut command = self.lab.command(Side::Brokers, "java");
        command.args(flags);
        let archive = self.kafka.class_archive();
        if archive.exists() {
            command.arg(joined("-XX:SharedArchiveFile=", &archive));
        } else if self.starts == 0 && self.zookeeper.is_some() == self.kafka.zookeeper() {
            command.arg(joined("-XX:ArchiveClassesAtExit=", &self.new_archive()));
        }
        command.args(self.kafka.java_arguments(&self.directory.join(self.kafka.logging().0)));
        command.arg(joined("-Dkafka.logs.dir=", &self.directory));
        command
    }

    fn new_archive(&self) -> PathBuf {
        self.directory.join("classes.jsa")
    }

    fn start_zookeeper(&mut self) -> Result<()> {
        let properties = self.directory.join("zookeeper.properties");
        let data = self.directory.join("zookeeper");
        let text = format!(
            "dataDir={}\nclientPort=2181\nclientPortAddress=10.77.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\ntickTime=500\n",
            data.display()
        );
        fs::write(&properties, text)?;
        let mut command = self.java(&["-Xms32m", "-Xmx128m"]);
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(properties);
        self.zookeeper =
            Some(Process::spawn(self.lab, &format!("zookeeper-{}", self.kafka.version), command)?);
        Ok(())
    }

    fn prepare(&self, node: i32) -> Result<()> {
        let log = self.directory.join(format!("d{node}"));
        fs::create_dir_all(&log)?;
        fs::write(self.directory.join(format!("n{node}.properties")), self.properties(node)?)?;
        if self.kafka.zookeeper() {
            return Ok(());
        }
        copy_directory(&self.kafka.seed(), &log)?;
        // Any 16 bytes, in URL-safe base64, that differ between the nodes.
        let meta = format!(
            "version=1\nnode.id={node}\ncluster.id={CLUSTER_ID}\ndirectory.id=Z2F0ZWhvdXNlLXRlc3Q{node}MA\n"
        );
        fs::write(log.join("meta.properties"), meta)?;
        Ok(())
    }

    fn properties(&self, node: i32) -> Result<String> {
        let mut text = COMMON.to_owned();
        let (mut listeners, mut protocols) = (LISTENERS.to_owned(), PROTOCOLS.to_owned());
        let mut advertised = listeners.clone();
        for Listener { name, protocol, bind, advertised: told, settings } in &self.extra.listeners {
            write!(listeners, ",{name}://{bind}")?;
            write!(advertised, ",{name}://{told}")?;
            write!(protocols, ",{name}:{protocol}")?;
            let prefix = format!("listener.name.{}.", name.to_lowercase());
            settings.lines().try_for_each(|setting| writeln!(text, "{prefix}{setting}"))?;
        }
        writeln!(text, "listener.security.protocol.map={protocols}")?;
        let [mut text, listeners, advertised] =
            [text, listeners, advertised].map(|part| part.replace("NODE", &node.to_string()));
        if self.kafka.zookeeper() {
            writeln!(text, "broker.id={node}\nzookeeper.connect=10.77.0.1:2181\nlisteners={listeners}")?;
        } else {
            writeln!(
                text,
                "node.id={node}\nlisteners={listeners},CONTROLLER://10.77.0.{node}:9090\n{KRAFT}"
            )?;
        }
        if self.kafka.at_least(4, 0) {
            text.push_str(SHARE);
        } else if self.kafka.at_least(3, 9) {
            text.push_str("group.coordinator.rebalance.protocols=classic,consumer\n");
        }
        let (user, password) = PLAIN_USER;
        writeln!(
            text,
            "advertised.listeners={advertised}\nlog.dirs={}",
            self.directory.join(format!("d{node}")).display()
        )?;
        for listener in ["sasl_plaintext", "sasl_ssl"] {
            let (plain, scram) = ("plain.PlainLoginModule", "scram.ScramLoginModule");
            writeln!(
                text,
                "{}",
                login(listener, "plain", &format!("{plain} required user_{user}=\"{password}\""))
            )?;
            for mechanism in ["scram-sha-256", "scram-sha-512"] {
                writeln!(text, "{}", login(listener, mechanism, &format!("{scram} required")))?;
            }
        }
        let certificates = self.lab.certificates();
        let stores = [
            ("keystore", certificates.files("broker").store),
            ("truststore", certificates.path("clients-ca.p12")),
        ];
        for listener in ["ssl", "sasl_ssl", "mtls"] {
            let listener = format!("listener.name.{listener}.ssl");
            for (kind, path) in &stores {
                let path = path.display();
                writeln!(text, "{listener}.{kind}.type=PKCS12\n{listener}.{kind}.location={path}")?;
                writeln!(text, "{listener}.{kind}.password={PASSWORD}")?;
            }
            writeln!(text, "{listener}.key.password={PASSWORD}")?;
        }
        writeln!(text, "{}", self.extra.settings)?;
        Ok(text)
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        // An orderly stop of one broker writes the archive of classes; the others need no manners.
        if !self.kafka.class_archive().exists() && self.stop(NODES[0]).is_ok() {
            drop(self.kafka.keep_class_archive(&self.new_archive()));
        }
        self.brokers = [None, None, None];
        self.zookeeper = None;
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// The brokers' plain addresses.
pub(crate) fn bootstrap() -> Vec<String> {
    addresses(PLAIN_PORT)
}

/// The brokers' addresses at another of their listeners.
pub(crate) fn addresses(port: u16) -> Vec<String> {
    NODES.iter().map(|node| Cluster::address(*node, port)).collect()
}

fn login(listener: &str, mechanism: &str, module: &str) -> String {
    format!(
        "listener.name.{listener}.{mechanism}.sasl.jaas.config=org.apache.kafka.common.security.{module};"
    )
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

const LISTENERS: &str = "INTERNAL://10.77.0.NODE:9091,PLAINTEXT://10.77.0.NODE:9092,SSL://10.77.0.NODE:9093,\
    SASL_PLAINTEXT://10.77.0.NODE:9094,SASL_SSL://10.77.0.NODE:9095,MTLS://10.77.0.NODE:9096";

const PROTOCOLS: &str = "INTERNAL:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,\
    MTLS:SSL,CONTROLLER:PLAINTEXT";

// The harness's records carry a fixed time of long ago: retention, which looks for the first time 30 s after the
// start of a broker, would delete them under a test that reads them.
const COMMON: &str = "log.retention.ms=-1
listener.name.ssl.ssl.client.auth=requested
listener.name.mtls.ssl.client.auth=required
inter.broker.listener.name=INTERNAL
offsets.topic.replication.factor=3
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=4
default.replication.factor=3
min.insync.replicas=2
num.partitions=3
group.initial.rebalance.delay.ms=0
auto.leader.rebalance.enable=false
num.io.threads=2
num.network.threads=2
background.threads=2
log.cleaner.dedupe.buffer.size=2097152
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
";

const KRAFT: &str = "process.roles=broker,controller
controller.quorum.voters=1@10.77.0.1:9090,2@10.77.0.2:9090,3@10.77.0.3:9090
controller.listener.names=CONTROLLER";

const SHARE: &str = "share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
share.coordinator.state.topic.num.partitions=4
";
