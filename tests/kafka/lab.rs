//! The place of one lane of a run: three network namespaces, a trap for leaked dials between them, and a directory of logs.

use std::{
    fs::{self, File},
    io::Write as _,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{Result, certificates::Certificates, podman};

/// Where the gateway listens, as the clients see it.
pub(crate) const DOOR: &str = "10.77.1.2";
/// The same door in IPv6.
pub(crate) const DOOR_V6: &str = "fd77:1::2";

/// The door's name where each broker has a port of its own.
pub(crate) const DOOR_NAME: &str = "door.test";
/// The door's name where the server name leads to a broker: the bootstrap's.
pub(crate) const BOOTSTRAP_NAME: &str = "kafka.test";
/// The names of the brokers there, as a certificate says them.
pub(crate) const BROKER_NAMES: &str = "*.kafka.test";
/// A name of broker 1 that its certificate does not hold; the gateway resolves it.
pub(crate) const WRONG_NAME: &str = "wrong.test";

/// Where the first of two gateways behind the door listens.
pub(crate) const FIRST: &str = "10.77.2.1";
/// Where the second does.
pub(crate) const SECOND: &str = "10.77.2.2";

/// The address of the pod, and of the node as the pod sees it.
pub(crate) const POD: &str = "10.77.3.2";
const NODE: &str = "10.77.3.1";

/// Which of the namespaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// Brokers and gateway; the oracle reads here, beside the gateway. To a pod it is the node.
    Brokers,
    /// A gateway as a pod has it: an address of its own, behind the node.
    Pod,
    /// Clients: they reach the door alone; a dial of a broker's own address is reset and counted.
    Clients,
}

impl Side {
    const ALL: [Self; 3] = [Self::Clients, Self::Pod, Self::Brokers];
}

/// Makes sure of the tools and removes what runs left behind whose process is gone.
pub(crate) fn prepare() -> Result<()> {
    for (tool, package) in [
        ("ip", "iproute2"),
        ("nft", "nftables"),
        ("java", "default-jdk-headless"),
        ("mvn", "maven"),
        ("openssl", "openssl"),
    ] {
        need(tool, package)?;
    }
    remove_stale()
}

/// One lane's namespaces and directory; dropping it ends every process in them and removes them.
pub(crate) struct Lab {
    name: String,
    root: PathBuf,
    certificates: Certificates,
}

impl Lab {
    /// Makes the namespaces. Lanes share nothing, so that what one counts or stops is nothing to the others.
    pub(crate) fn new(lane: usize) -> Result<Self> {
        let run = std::process::id();
        let root = repository().join(format!("target/kafka-run/{run}/{lane}"));
        fs::create_dir_all(&root)?;
        let certificates = Certificates::new(root.join("tls"))?;
        let lab = Self { name: format!("{}{lane}", prefix(run)), root, certificates };
        lab.connect_namespaces()?;
        Ok(lab)
    }

    fn connect_namespaces(&self) -> Result<()> {
        let (brokers, clients) = (self.namespace(Side::Brokers), self.namespace(Side::Clients));
        write_names(&clients, &format!("{DOOR} {DOOR_NAME} {BOOTSTRAP_NAME} {}", broker_names().join(" ")))?;
        write_names(&brokers, &format!("10.77.0.1 {WRONG_NAME}"))?;
        for namespace in Side::ALL.map(|side| self.namespace(side)) {
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        ip(&format!("link add door netns {brokers} type veth peer name way netns {clients}"))?;
        for (namespace, device, v4, v6) in
            [(&brokers, "door", DOOR, DOOR_V6), (&clients, "way", "10.77.1.1", "fd77:1::1")]
        {
            ip(&format!("-n {namespace} addr add {v4}/30 dev {device}"))?;
            ip(&format!("-n {namespace} addr add {v6}/64 dev {device} nodad"))?;
            ip(&format!("-n {namespace} link set {device} up"))?;
        }
        for node in 1..=3 {
            ip(&format!("-n {brokers} addr add 10.77.0.{node}/32 dev lo"))?;
        }
        // Two gateways behind one door need addresses of their own.
        for instance in [FIRST, SECOND] {
            ip(&format!("-n {brokers} addr add {instance}/32 dev lo"))?;
        }
        // The only routes of the clients beyond the door: a leaked dial must arrive to be counted.
        for network in ["10.77.0.0/24", "10.77.32.0/19"] {
            ip(&format!("-n {clients} route add {network} via {DOOR} dev way"))?;
        }
        self.nft(TRAP)?;
        let pod = self.namespace(Side::Pod);
        ip(&format!("link add pods netns {brokers} type veth peer name eth0 netns {pod}"))?;
        for (namespace, device, address) in [(&brokers, "pods", NODE), (&pod, "eth0", POD)] {
            ip(&format!("-n {namespace} addr add {address}/30 dev {device}"))?;
            ip(&format!("-n {namespace} link set {device} up"))?;
        }
        ip(&format!("-n {pod} route add default via {NODE}"))?;
        self.inside(Side::Brokers, || Ok(fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))
    }

    /// Gives the brokers' side one more address.
    pub(crate) fn add_address(&self, address: &str) -> Result<()> {
        ip(&format!("-n {} addr replace {address}/32 dev lo", self.namespace(Side::Brokers)))
    }

    /// Lets the programs of a side know one more line of names, also those that run already.
    pub(crate) fn add_names(&self, side: Side, line: &str) -> Result<()> {
        let hosts = names(&self.namespace(side)).join("hosts");
        Ok(writeln!(File::options().append(true).open(hosts)?, "{line}")?)
    }

    /// Has the brokers' side follow `rules`.
    pub(crate) fn nft(&self, rules: &str) -> Result<()> {
        let mut nft = self.command(Side::Brokers, "nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = nft.stdin.take() {
            stdin.write_all(rules.as_bytes())?;
        }
        if nft.wait()?.success() { Ok(()) } else { Err(format!("nft refused {rules}").into()) }
    }

    /// The name of the namespace of that side.
    pub(crate) fn namespace(&self, side: Side) -> String {
        match side {
            Side::Brokers => format!("{}k", self.name),
            Side::Pod => format!("{}p", self.name),
            Side::Clients => format!("{}c", self.name),
        }
    }

    /// `program`, to be run on that side.
    pub(crate) fn command(&self, side: Side, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(side)]).arg(program);
        command
    }

    /// Runs `work` on a thread of its own inside the namespace: every socket that it opens belongs there.
    pub(crate) fn inside<T: Send>(&self, side: Side, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(&self.namespace(side))?;
                work()
            });
            thread.join().map_err(|_| "a thread of the harness panicked")?
        })
    }

    /// The directory of this lane's logs.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The certificates of this lane.
    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Connections that clients tried to a broker's own address since the last reset.
    pub(crate) fn leaks(&self) -> Result<u64> {
        let output = self
            .command(Side::Brokers, "nft")
            .args(["-j", "list", "counter", "inet", "trap", "leak"])
            .output()?;
        let text: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let counters = text["nftables"].as_array().ok_or("nft printed no list")?;
        let packets = counters.iter().find_map(|entry| entry["counter"]["packets"].as_u64());
        packets.ok_or_else(|| "nft printed no counter".into())
    }

    /// Sets the count of leaks to zero.
    pub(crate) fn reset_leaks(&self) -> Result<()> {
        let status = self
            .command(Side::Brokers, "nft")
            .args(["reset", "counter", "inet", "trap", "leak"])
            .stdout(Stdio::null())
            .status()?;
        if status.success() { Ok(()) } else { Err("nft did not reset the counter".into()) }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for side in Side::ALL {
            remove(&self.namespace(side));
        }
        drop(fs::remove_dir_all(self.root.join("data")));
    }
}

/// Ends every process of run `id`, whichever its lane, and removes its namespaces: for a run that is interrupted.
pub(crate) fn remove_run(id: u32) -> Result<()> {
    namespaces()?.iter().filter(|name| name.starts_with(&prefix(id))).for_each(|name| remove(name));
    Ok(())
}

/// Ends every process in the namespace, in containers too, and removes it.
fn remove(namespace: &str) {
    podman::remove(namespace);
    if let Ok(pids) = Command::new("ip").args(["netns", "pids", namespace]).stderr(Stdio::null()).output() {
        for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
            drop(Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status());
        }
    }
    drop(Command::new("ip").args(["netns", "del", namespace]).stderr(Stdio::null()).status());
    drop(fs::remove_dir_all(names(namespace)));
}

/// The name of broker `node` where the server name leads to a broker.
pub(crate) fn broker_name(node: i32) -> String {
    format!("b{node}.{BOOTSTRAP_NAME}")
}

/// Names of brokers that are, and of one that is declared but not there.
fn broker_names() -> Vec<String> {
    (1..=4).map(broker_name).collect()
}

/// Where `ip netns exec` finds what it lays over `/etc` for the programs of a namespace.
fn names(namespace: &str) -> PathBuf {
    Path::new("/etc/netns").join(namespace)
}

/// The only names that programs of the namespace know: there is no server of names.
fn write_names(namespace: &str, line: &str) -> Result<()> {
    let directory = names(namespace);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("hosts"), format!("127.0.0.1 localhost\n{line}\n"))?;
    Ok(())
}

/// Moves the calling thread into the namespace.
pub(crate) fn enter(namespace: &str) -> Result<()> {
    let link = File::open(format!("/var/run/netns/{namespace}"))?;
    move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// The repository's top directory.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Makes sure that `tool` can be run, installing `package` where root may.
pub(crate) fn need(tool: &str, package: &str) -> Result<()> {
    let found =
        || Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status();
    if found()?.success() {
        return Ok(());
    }
    println!("installing {package} for `{tool}`");
    let install = format!("apt-get update -qq && apt-get install -y -qq --no-install-recommends {package}");
    let installed = Command::new("sh").args(["-c", &install]).stdout(Stdio::null()).status();
    match installed {
        Ok(status) if status.success() && found()?.success() => Ok(()),
        _ => Err(format!("`{tool}` is missing and `{install}` did not bring it; install it and run as root")
            .into()),
    }
}

/// How the names of all namespaces of run `id` begin.
fn prefix(id: u32) -> String {
    format!("gh-{id}-")
}

/// The names of all namespaces of this machine.
fn namespaces() -> Result<Vec<String>> {
    let list = Command::new("ip").args(["netns", "list"]).output()?;
    let lines = String::from_utf8_lossy(&list.stdout);
    Ok(lines.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn remove_stale() -> Result<()> {
    for name in namespaces()? {
        let run = name.strip_prefix("gh-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if run.is_some_and(|run| !Path::new(&format!("/proc/{run}")).exists()) {
            remove(&name);
        }
    }
    Ok(())
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "`ip {arguments}` failed (root is needed): {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )
    .into())
}

/// Rejecting with a reset makes a leaked dial fail at once, so that a leak never costs a client its timeout.
const TRAP: &str = r#"table inet trap {
  counter leak { }
  chain in { type filter hook input priority 0; policy accept;
    iifname "door" ip daddr { 10.77.0.0/24, 10.77.32.0/19 } tcp flags & (syn|ack) == syn counter name leak reject with tcp reset
    iifname "door" ip daddr { 10.77.0.0/24, 10.77.32.0/19 } drop
  }
}
"#;
