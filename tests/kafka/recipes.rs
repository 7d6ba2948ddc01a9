//! The recipes of `docs/recipes`, each as its page says: the chart rendered with the page's values, the gateway in a pod with
//! that configuration, before brokers that have the listener, certificates and login of the distribution.

mod balancer;
pub(crate) mod chart;
mod connect;
mod distributions;
mod moving;
mod msk;
mod page;
mod plain;
mod pod;
mod redpanda;
mod strimzi;
mod ways;

use std::{
    collections::BTreeSet,
    net::TcpStream,
    path::{Path, PathBuf},
    thread,
};

use self::{
    chart::Rendered,
    page::Page,
    pod::{Around, Pod},
};
use crate::{
    Result, audit,
    certificates::Pair,
    clients::{self, Outcome},
    cluster::{Cluster, Extra, Listener, NODES, bootstrap},
    lab::{DOOR, Lab, Side},
    mounted::Contents,
    poll::{self, LIMIT},
    records::{self, Verdict},
    suite::{Count, no_leaks},
    wire,
};

/// One page.
pub(crate) struct Recipe {
    /// Its file without `.md`, and the name of the scenario.
    pub(crate) name: &'static str,
    /// The brokers' version.
    pub(crate) kafka: &'static str,
    /// The clients that take the page's properties.
    clients: &'static [&'static str],
    /// Makes what the distribution makes.
    make: fn(&Place) -> Result<Made>,
}

/// Every recipe that is run; those of one version of Kafka share a cluster.
pub(crate) const RECIPES: &[Recipe] = &[
    strimzi::SCRAM,
    strimzi::MTLS,
    distributions::CONFLUENT,
    distributions::KOPERATOR,
    distributions::BITNAMI,
    distributions::STATEFULSET,
    msk::SCRAM,
    msk::MTLS,
    redpanda::REDPANDA,
    ways::NLB,
    ways::METALLB,
    ways::NODEPORT,
    ways::EXTERNAL_DNS,
    connect::CONNECT,
    moving::LOAD_BALANCERS,
    moving::NODEPORTS,
    moving::KAFKA_PROXY,
];

/// What a distribution makes of its cluster: the listener, and what lies in Secrets.
#[derive(Default)]
struct Made {
    /// What is spoken at the listener: `SASL_SSL` and the like.
    protocol: &'static str,
    /// The host and port by which the broker with the id `NODE` is known inside.
    broker: (&'static str, u16),
    /// Other names that lead to all brokers, such as that of a bootstrap Service.
    services: &'static [&'static str],
    /// The broker's settings of the listener, one a line, without `listener.name.NAME.`; `NODE` is the id.
    settings: String,
    /// Users of SCRAM-SHA-512 with their passwords.
    users: &'static [(&'static str, &'static str)],
    /// The Secrets that the page's values mount. Those of cert-manager come by themselves.
    secrets: pod::Secrets,
    /// The client's files.
    client: Contents,
    /// The client's password.
    password: &'static str,
    /// The authorities that the image trusts, in PEM.
    roots: String,
    /// Listeners for clients that do not come through the gateway.
    beside: Vec<Listener>,
    /// What leads the ports of the Service to the pod.
    way: Way,
    /// What else is tried while the pod runs; gives a remark.
    after: Option<After>,
}

/// What leads the ports of the Service to the pod.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Way {
    /// The node, as the Service's traffic policy says.
    #[default]
    Node,
    /// A balancer that sends PROXY headers, as it does for its own checks.
    Proxy,
}

type After = Box<dyn FnOnce(&mut Stage<'_, '_>) -> Result<String>>;

/// What a recipe has while its pod runs.
struct Stage<'a, 'lab> {
    lab: &'lab Lab,
    cluster: &'a mut Cluster<'lab>,
    pod: &'a mut Pod<'lab>,
    page: &'a Page,
    place: &'a Place,
    expected: &'a [String],
    password: &'static str,
}

/// Where a recipe keeps its files, and the addresses of its brokers.
struct Place {
    recipe: &'static Recipe,
    directory: PathBuf,
    network: usize,
}

impl Place {
    fn new(lab: &Lab, recipe: &'static Recipe, network: usize) -> Result<Self> {
        let directory = lab.root().join("recipes").join(recipe.name);
        std::fs::create_dir_all(&directory)?;
        let place = Self { recipe, directory, network };
        NODES.iter().try_for_each(|node| lab.add_address(&place.address(node)))?;
        Ok(place)
    }

    /// The address of a broker, or of all with `NODE` for the id.
    fn address(&self, node: impl std::fmt::Display) -> String {
        format!("10.77.{}.{node}", FIRST_NETWORK + self.network)
    }

    /// The port that the brokers bind.
    fn port(&self) -> u16 {
        FIRST_PORT + u16::try_from(self.network).unwrap_or_default()
    }

    /// The name of the listener, without the word that stands for the id.
    fn listener(&self) -> String {
        self.recipe.name.to_uppercase().replace('-', "_").replace("NODE", "N_")
    }

    /// A file of the recipe.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Made {
    fn listener(&self, place: &Place) -> Listener {
        let (host, port) = self.broker;
        Listener {
            name: place.listener(),
            protocol: self.protocol,
            bind: format!("{}:{}", place.address("NODE"), place.port()),
            advertised: format!("{host}:{port}"),
            settings: self.settings.clone(),
        }
    }

    /// Lines of a hosts file: each broker by its own name and by those of the Services.
    fn hosts(&self, place: &Place) -> String {
        let line = |node: &i32| {
            let own = self.broker.0.replace("NODE", &node.to_string());
            format!("{} {own} {}\n", place.address(node), self.services.join(" "))
        };
        NODES.iter().map(line).collect()
    }
}

/// Runs those recipes, which share a cluster of that version.
pub(crate) fn run(lab: &Lab, version: &str, recipes: &[&'static Recipe], count: &mut Count) {
    let started = count.step(&format!("{version}: three brokers with the listeners of recipes"), || {
        Ok((start(lab, version, recipes)?, String::new()))
    });
    let Some((mut cluster, all)) = started else { return };
    for (place, made) in all {
        let name = format!("{version}: {}", place.recipe.name);
        count.step(&name, || Ok(((), try_out(lab, &mut cluster, &place, made)?)));
    }
}

type All = Vec<(Place, Made)>;

fn start<'lab>(lab: &'lab Lab, version: &str, recipes: &[&'static Recipe]) -> Result<(Cluster<'lab>, All)> {
    let mut all = All::new();
    for (network, recipe) in recipes.iter().enumerate() {
        let place = Place::new(lab, recipe, network)?;
        let made = (recipe.make)(&place)?;
        all.push((place, made));
    }
    let of = |(place, made): &(Place, Made)| [vec![made.listener(place)], made.beside.clone()].concat();
    let listeners = all.iter().flat_map(of).collect();
    let cluster = Cluster::start_with(lab, version, Extra { settings: String::new(), listeners })?;
    for (user, password) in all.iter().flat_map(|(_, made)| made.users) {
        lab.inside(Side::Brokers, || wire::scram_user(&bootstrap(), user, password))?;
    }
    audit::log(lab, "DEBUG")?;
    Ok((cluster, all))
}

/// One page from its values to what the brokers saw.
fn try_out<'lab>(
    lab: &'lab Lab,
    cluster: &mut Cluster<'lab>,
    place: &Place,
    mut made: Made,
) -> Result<String> {
    let name = place.recipe.name;
    let page = Page::read(name)?;
    let rendered = Rendered::new(lab, name, &page.values)?;
    for (secret, names) in rendered.certificates()? {
        let doors = &lab.certificates().doors;
        let pair = doors.server(&names)?;
        let files = [("tls.crt", pair.certificate.as_str()), ("tls.key", &pair.key), ("ca.crt", doors.pem())];
        made.secrets.insert(secret.to_owned(), contents(files));
    }
    let folder = place.path("client");
    made.client.entry("ca.crt".to_owned()).or_insert_with(|| lab.certificates().doors.pem().into());
    pod::lay_out(&folder, &made.client)?;
    let brokers = NODES.map(|node| (place.address(node), made.broker.1, place.port()));
    let ports = rendered.ports()?;
    let (forwarded, balanced): (&[_], &[_]) = match made.way {
        Way::Node => (&ports, &[]),
        Way::Proxy => (&[], &ports),
    };
    pod::serve(lab, forwarded, &brokers, rendered.hides_clients())?;
    let around = Around { secrets: &made.secrets, hosts: &made.hosts(place), roots: &made.roots };
    let mut pod = Pod::start(lab, name, &rendered, &around)?;
    let expected = told(&pod, &page)?;
    for host in expected.iter().chain([&page.bootstrap()?.to_owned()]) {
        let host = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
        lab.add_names(Side::Clients, &format!("{DOOR} {host}"))?;
    }
    leaks_would_count(lab, place, &made)?;
    let _balancer = ways::balancer(lab, balanced)?;
    // Clients come together: most of the time each of them waits.
    let come = |client: &str| {
        let arguments = page.arguments(client, &folder, made.password)?;
        visit(lab, client, &format!("recipe-{name}-{client}"), &expected, arguments)
    };
    thread::scope(|scope| {
        let visits = place.recipe.clients.iter().map(|client| scope.spawn(|| come(client)));
        let visits: Vec<_> = visits.collect();
        visits.into_iter().try_for_each(|visit| visit.join().map_err(|_| "a thread panicked")?)
    })?;
    let mut remarks: Vec<String> = place.recipe.clients.iter().map(|client| (*client).to_owned()).collect();
    if let Some(after) = made.after.take() {
        let (pod, expected, password) = (&mut pod, &expected[..], made.password);
        remarks.push(after(&mut Stage { lab, cluster, pod, page: &page, place, expected, password })?);
    }
    remarks.push(identities(cluster, &place.listener(), &page)?);
    pod.gateway.leave()?;
    no_leaks(lab)?;
    Ok(remarks.join(", "))
}

/// What clients must see of the brokers 1 to 3, by the gateway's own table.
fn told(pod: &Pod<'_>, page: &Page) -> Result<Vec<String>> {
    let routes = pod.routes()?;
    let begin = page.bootstrap()?;
    let first = routes.iter().find(|route| route.node.is_none() && route.advertise == begin);
    let listener = &first.ok_or_else(|| format!("{begin} is not a way in"))?.listener;
    let broker = |node: &i32| {
        let found = routes.iter().find(|route| route.listener == *listener && route.node == Some(*node));
        found.map(|route| route.advertise.clone()).ok_or_else(|| format!("no way to broker {node}").into())
    };
    NODES.iter().map(broker).collect()
}

/// Clients know the brokers' names and have a way to their addresses, so that a leak is dialled; and it is counted.
fn leaks_would_count(lab: &Lab, place: &Place, made: &Made) -> Result<()> {
    lab.add_names(Side::Clients, made.hosts(place).trim_end())?;
    let address = format!("{}:{}", place.address(1), made.broker.1);
    lab.inside(Side::Clients, || {
        drop(TcpStream::connect(address));
        Ok(())
    })?;
    if lab.leaks()? == 0 {
        return Err("a dial of a broker's own address was not counted".into());
    }
    lab.reset_leaks()
}

/// Describes the cluster, produces, consumes in a group and, but for kcat, transacts; what it wrote is read beside the
/// gateway.
fn visit(
    lab: &Lab,
    client: &str,
    topic: &str,
    expected: &[String],
    mut arguments: Vec<String>,
) -> Result<()> {
    lab.inside(Side::Brokers, || {
        wire::create_topic(&bootstrap(), topic, &wire::spread(3, 3), &[])?;
        wire::create_topic(&bootstrap(), &format!("{topic}-tx"), &wire::spread(3, 3), &[])
    })?;
    let functions =
        if client == "kcat" { "describe,produce,consume" } else { "describe,produce,consume,transact" };
    arguments.extend([format!("functions={functions}"), format!("prefix={topic}"), format!("count={COUNT}")]);
    let brokers: Vec<String> =
        NODES.iter().zip(expected).map(|(node, address)| format!("{node}={address}")).collect();
    let done = |outcome: &Outcome| match outcome.function.as_str() {
        "describe" => outcome.detail == brokers.join(","),
        "produce" => outcome.sent == COUNT,
        "consume" => outcome.read == COUNT,
        _ => (outcome.sent, outcome.read) == (COUNT, COUNT / 2),
    };
    for outcome in clients::run(lab, Side::Clients, client, topic, &arguments)? {
        if !outcome.ok || !done(&outcome) {
            return Err(format!("{topic}: {outcome:?}").into());
        }
    }
    let all: BTreeSet<u64> = (0..COUNT).collect();
    let verdict = lab.inside(Side::Brokers, || records::judge(&bootstrap(), topic, &all))?;
    if verdict == (Verdict { distinct: all.len(), ..Verdict::default() }) {
        Ok(())
    } else {
        Err(format!("beside the gateway {topic} reads as {verdict:?}").into())
    }
}

/// Whom the brokers saw at the listener is whom the page says, and nobody else.
fn identities(cluster: &Cluster<'_>, listener: &str, page: &Page) -> Result<String> {
    // Brokers write a request down after they have answered it.
    let asked =
        |seen: &audit::Seen, who: &str, api: &str| seen.get(who).is_some_and(|apis| apis.contains_key(api));
    let seen = poll::until("what clients asked, in the log of requests", LIMIT, || {
        let seen = audit::requests(cluster, listener)?;
        let all = ["PRODUCE", "FETCH", "JOIN_GROUP"].iter().all(|api| asked(&seen, &page.clients, api));
        Ok(all.then_some(seen))
    })
    .map_err(|error| format!("{error}: {:?}", audit::requests(cluster, listener)))?;
    if page.own != NOBODY && !asked(&seen, &page.own, "METADATA") {
        return Err(format!("{} asked nothing: {seen:?}", page.own).into());
    }
    for (principal, apis) in seen.iter().filter(|(principal, _)| **principal != page.clients) {
        let known: &[&str] = if *principal == page.own { &OWN } else { &BEFORE_LOGIN };
        if let Some(api) = apis.keys().find(|api| !known.contains(&api.as_str())) {
            return Err(format!("{principal} asked for {api}: {seen:?}").into());
        }
    }
    let requests: usize = seen.get(&page.clients).map_or(0, |apis| apis.values().sum());
    Ok(format!("{requests} requests of {}", page.clients))
}

/// Contents out of texts.
fn contents<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Contents {
    files.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect()
}

/// A pair as cert-manager lays it into a Secret.
fn pair(pair: &Pair) -> Contents {
    contents([("tls.crt", pair.certificate.as_str()), ("tls.key", &pair.key)])
}

/// A path as a value of a broker's setting.
fn value(path: &Path) -> std::path::Display<'_> {
    path.display()
}

const COUNT: u64 = 100;
/// Brokers of the first recipe are 10.77.32.1 to 3.
const FIRST_NETWORK: usize = 32;
const FIRST_PORT: u16 = 20_000;
/// What a page says where the gateway asks nothing.
const NOBODY: &str = "none";
/// What anybody asks before it has said who it is.
const BEFORE_LOGIN: [&str; 3] = ["API_VERSIONS", "SASL_HANDSHAKE", "SASL_AUTHENTICATE"];
const OWN: [&str; 4] = ["METADATA", "API_VERSIONS", "SASL_HANDSHAKE", "SASL_AUTHENTICATE"];
