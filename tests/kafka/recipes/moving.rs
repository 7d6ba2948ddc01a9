//! Moves from one way for each broker to the gateway: a group with a member on each way, then on the new one alone.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{Made, Place, Recipe, Stage, balancer, plain};
use crate::{
    Result, certificates, clients,
    cluster::{Listener, NODES, bootstrap},
    lab::{DOOR, Side},
    poll::{self, LIMIT},
    process::Process,
    records::{self, Verdict},
    wire,
};

/// A load balancer for each broker.
pub(super) const LOAD_BALANCERS: Recipe = Recipe {
    name: "from-load-balancers",
    kafka: "4.3.1",
    clients: &["kcat"],
    make: |place| make(place, Old { advertised: "lb-NODE.example.com:9094", bind: 21_000 }),
};

/// A NodePort service for each broker.
pub(super) const NODEPORTS: Recipe = Recipe {
    name: "from-nodeports",
    kafka: "4.3.1",
    clients: &["kcat"],
    make: |place| make(place, Old { advertised: "node-NODE.example.com:3109NODE", bind: 21_001 }),
};

/// The page's values; kafka-proxy itself cannot be had.
pub(super) const KAFKA_PROXY: Recipe =
    Recipe { name: "from-kafka-proxy", kafka: "4.3.1", clients: &["kcat"], make: plain::make };

/// The way that clients leave.
#[derive(Clone, Copy)]
struct Old {
    /// What a broker tells there: host and port, `NODE` for its id.
    advertised: &'static str,
    /// The port that brokers bind for it.
    bind: u16,
}

impl Old {
    fn address(self, node: i32) -> String {
        self.advertised.replace("NODE", &node.to_string())
    }
}

fn make(place: &Place, old: Old) -> Result<Made> {
    let listener = Listener {
        name: format!("{}_OLD", place.listener()),
        protocol: "PLAINTEXT",
        bind: format!("{}:{}", place.address("NODE"), old.bind),
        advertised: old.advertised.to_owned(),
        settings: String::new(),
    };
    let after = move |stage: &mut Stage<'_, '_>| moved(stage, old);
    Ok(Made { beside: vec![listener], after: Some(Box::new(after)), ..plain::make(place)? })
}

/// A producer and a member of its group on the old way, another member on the new one; then that one alone, and nothing
/// is left on the old way.
fn moved(stage: &mut Stage<'_, '_>, old: Old) -> Result<String> {
    let lab = stage.lab;
    let _balancers = old_way(stage, old)?;
    let topic = format!("{}-moved", stage.place.recipe.name);
    lab.inside(Side::Brokers, || wire::create_topic(&bootstrap(), &topic, &wire::spread(3, 3), &[]))?;
    let (stop, acknowledged) = (stage.place.path("stop"), stage.place.path("acknowledged"));
    let mut produce = common(&topic, &old.address(1));
    produce.extend(["functions=stream", "rate=300"].map(str::to_owned));
    produce.extend([format!("seconds={SECONDS_MAX}"), format!("stop={}", stop.display())]);
    produce.push(format!("acked={}", acknowledged.display()));
    let mut producer = clients::spawn(lab, Side::Clients, CLIENT, &format!("{topic}-producer"), &produce)?;
    let mut leaving = Member::start(stage, &topic, "old", &old.address(1))?;
    leaving.progress()?;
    let mut coming = Member::start(stage, &topic, "new", stage.page.bootstrap()?)?;
    coming.progress()?;
    leaving.progress()?;
    let both = open(stage, old)?;
    drop(leaving.process);
    coming.progress()?;
    fs::write(stop, "")?;
    let outcomes = clients::finish(&mut producer, LIMIT)?;
    if !outcomes.iter().all(|outcome| outcome.ok) || both == 0 {
        return Err(format!("{both} connections on the old way; {outcomes:?}").into());
    }
    let all = numbers(&acknowledged);
    coming.wait_for("all records read", |coming| {
        Ok(all.is_subset(&(&numbers(&coming.out) | &numbers(&leaving.out))))
    })?;
    let verdict = lab.inside(Side::Brokers, || records::judge(&bootstrap(), &topic, &all))?;
    if verdict != (Verdict { distinct: all.len(), ..Verdict::default() }) {
        return Err(format!("beside the gateway {topic} reads as {verdict:?}").into());
    }
    poll::until_true("nobody on the old way", LIMIT, || Ok(open(stage, old)? == 0))?;
    Ok(format!("moved while {} records came, from {both} connections on the old way to none", all.len()))
}

/// What stands before each broker on the old way, known to clients by its name.
fn old_way(stage: &Stage<'_, '_>, old: Old) -> Result<Process> {
    let lab = stage.lab;
    let mut ports = Vec::new();
    for node in NODES {
        let address = format!("{OLD_NETWORK}.{node}");
        let told = old.address(node);
        let (host, port) = told.split_once(':').ok_or("no port")?;
        lab.add_address(&address)?;
        lab.add_names(Side::Clients, &format!("{address} {host}"))?;
        let server = format!("{}:{}", stage.place.address(node), old.bind);
        ports.push(balancer::Port { bind: format!("{address}:{port}"), server });
    }
    let mut route = lab.command(Side::Clients, "ip");
    route.args(["route", "replace", &format!("{OLD_NETWORK}.0/24"), "via", DOOR, "dev", "way"]);
    certificates::run(&mut route)?;
    balancer::start(lab, &format!("{}-old", stage.place.recipe.name), &ports, "")
}

/// Connections of the old way, as the page has them counted at a broker.
fn open(stage: &Stage<'_, '_>, old: Old) -> Result<usize> {
    let mut command = stage.lab.command(Side::Brokers, "ss");
    command.args(["-Htn", "state", "established", "sport", "=", &format!(":{}", old.bind)]);
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("ss: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().count())
}

/// A member of the topic's group.
struct Member {
    process: Process,
    out: PathBuf,
}

impl Member {
    fn start(stage: &Stage<'_, '_>, topic: &str, name: &str, door: &str) -> Result<Self> {
        let out = stage.place.path(&format!("read-{name}"));
        let mut arguments = common(topic, door);
        arguments.extend([format!("timeout={SECONDS_MAX}"), format!("out={}", out.display())]);
        // A member that goes without a word is missed after the shortest time that brokers allow.
        let rest = ["functions=consume", "count=1000000000", "client.session.timeout.ms=6000"];
        arguments.extend(rest.map(str::to_owned));
        let label = format!("{topic}-{name}");
        Ok(Self { process: clients::spawn(stage.lab, Side::Clients, CLIENT, &label, &arguments)?, out })
    }

    /// Waits until it has read records that it had not when this was called.
    fn progress(&mut self) -> Result<()> {
        let from = numbers(&self.out).len();
        self.wait_for("records read", |member| Ok(numbers(&member.out).len() >= from + STEP))
    }

    fn wait_for(&mut self, what: &str, condition: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let seen = poll::until(what, LIMIT, || {
            if condition(self)? {
                return Ok(Some(true));
            }
            Ok((!self.process.running()?).then_some(false))
        });
        match seen {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.process.explain("a member ended by itself")),
            Err(error) => Err(self.process.explain(&error.to_string())),
        }
    }
}

fn common(topic: &str, door: &str) -> Vec<String> {
    vec![format!("bootstrap={door}"), format!("prefix={topic}")]
}

/// The sequence numbers at the ends of the whole lines of a file that is still written.
fn numbers(path: &Path) -> BTreeSet<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(|line| line.rsplit([':', ' ']).next()?.parse().ok()).collect()
}

const CLIENT: &str = "java-4.4";
const SECONDS_MAX: u32 = 600;
/// New records that count as progress.
const STEP: usize = 50;
/// Where the load balancers or nodes of the old way are.
const OLD_NETWORK: &str = "10.77.4";
