//! The task that keeps a table true: asks on a timer, and at once when something looks wrong.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kafka_protocol::messages::MetadataResponse;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::exchange::{Connection, Error};
use super::{Discovery, Target, Topology, redial};
use crate::cluster::Broker;
use crate::drain;
use crate::kafka::NodeId;
use crate::logging::chain;
use crate::net::{Host, HostPort};
use crate::sasl;

/// The least time from one refresh to the next, however many ask for it.
const PACE: Duration = Duration::from_secs(1);

/// The longest wait after a failed refresh, where the timer is not sooner.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The head start of each broker over the next one that is asked.
const STAGGER: Duration = Duration::from_secs(1);

/// How long a broker is believed alone while something looks wrong: one that lost touch with its own
/// cluster still answers, and its answers stay as they were.
const BELIEVED: Duration = Duration::from_secs(10);

/// The most known brokers that are asked in one refresh, besides the bootstrap addresses.
const KNOWN_MAX: usize = 16;

/// The most failures that one log line tells.
const TOLD_MAX: usize = 3;

/// The least time between two log lines about refreshes that keep failing.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Follows a cluster until the signal drains.
pub(super) async fn run(topology: Arc<Topology>, shutdown: drain::Signal) {
    let follow = async {
        match &topology.options.load_full().discovery {
            Discovery::Own(credential) => follow(&topology, credential.as_ref()).await,
            Discovery::Static(_) | Discovery::LearnOnly => reach_one(&topology).await,
        }
    };
    tokio::select! {
        () = shutdown.draining() => {}
        _ = async { tokio::join!(follow, redial::run(&topology)) } => {}
    }
}

/// Where nothing is asked: until one broker was reached.
async fn reach_one(topology: &Arc<Topology>) {
    let mut retry = PACE;
    while !topology.ready() {
        let begin = Instant::now();
        let dial = |target: Target| {
            let topology = topology.clone();
            async move { topology.reach_own(&target).await.map(drop).map_err(Error::Dial) }
        };
        if race(topology.candidates(), dial).await.is_ok() {
            return;
        }
        sleep_until(begin + retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}

async fn follow(topology: &Arc<Topology>, credential: Option<&sasl::Credential>) {
    let mut state = State { kept: None, cluster_id: None, failing: None };
    let mut retry = PACE;
    let mut suspicious = false;
    loop {
        let begin = Instant::now();
        if suspicious {
            state.kept.take_if(|kept| kept.since.elapsed() >= BELIEVED);
        }
        let wait = match state.refresh(topology, credential).await {
            Ok(()) => {
                retry = PACE;
                topology.options.load().refresh
            }
            Err(failures) => {
                state.failed(topology, &failures);
                let wait = retry.min(topology.options.load().refresh);
                retry = (retry * 2).min(RETRY_MAX);
                wait
            }
        };
        topology.rounds.send_modify(|round| *round += 1);
        suspicious = tokio::select! {
            () = sleep_until(begin + wait) => false,
            () = topology.wanted.notified() => {
                sleep_until(begin + PACE).await;
                true
            }
        };
    }
}

/// Which broker failed, and how.
type Failure = (HostPort, Error);

/// What is remembered from one refresh to the next.
struct State {
    kept: Option<Kept>,
    cluster_id: Option<String>,
    failing: Option<Failing>,
}

/// The broker that answered last, while its connection lasts.
struct Kept {
    target: Target,
    connection: Connection,
    since: Instant,
}

struct Failing {
    since: SystemTime,
    reported: Instant,
    failures: u64,
}

impl State {
    async fn refresh(
        &mut self,
        topology: &Arc<Topology>,
        credential: Option<&sasl::Credential>,
    ) -> Result<(), Vec<Failure>> {
        if let Some(mut kept) = self.kept.take()
            && !kept.target.moved.is_cancelled()
        {
            let answer = kept.connection.metadata().await;
            match answer.and_then(|answer| self.accept(topology, &kept.target, &answer)) {
                Ok(()) => {
                    self.kept = Some(kept);
                    return Ok(());
                }
                // Idle connections break without a fault of anybody; the next one tells.
                Err(error) => tracing::debug!(
                    cluster = %topology.name, broker = %kept.target.address, error = chain(&error),
                    "the kept connection to a broker is given up",
                ),
            }
        }
        let known = self.cluster_id.clone();
        let ask = |target: Target| {
            let (topology, credential, known) = (topology.clone(), credential.cloned(), known.clone());
            async move {
                let connected = topology.reach_own(&target).await.map_err(Error::Dial)?;
                let client_id = &topology.options.load_full().client_id;
                let mut connection =
                    Connection::open(connected.stream, client_id, credential.as_ref()).await?;
                let answer = connection.metadata().await?;
                same_cluster(known.as_deref(), &target, &answer)?;
                if brokers(&answer).next().is_none() {
                    return Err(Error::NoBrokers);
                }
                Ok((target, connection, answer))
            }
        };
        let (target, connection, answer) = race(topology.candidates(), ask).await?;
        self.accept(topology, &target, &answer).map_err(|error| vec![(target.address.clone(), error)])?;
        self.kept = Some(Kept { target, connection, since: Instant::now() });
        Ok(())
    }

    /// Puts an answer into effect.
    fn accept(
        &mut self,
        topology: &Topology,
        target: &Target,
        answer: &MetadataResponse,
    ) -> Result<(), Error> {
        same_cluster(self.cluster_id.as_deref(), target, answer)?;
        let listed: Vec<_> = brokers(answer).collect();
        if listed.is_empty() {
            return Err(Error::NoBrokers);
        }
        let unusable = answer.brokers.len() - listed.len();
        if unusable > 0 {
            tracing::warn!(
                cluster = %topology.name, broker = %target.address, unusable,
                "the cluster lists brokers without a valid id, host or port: they are left out",
            );
        }
        if let Some(received) = cluster_id(answer) {
            if self.cluster_id.as_ref().is_some_and(|known| *known != received) {
                tracing::warn!(
                    cluster = %topology.name, broker = %target.address, cluster_id = received,
                    "the bootstrap addresses lead to another cluster than before",
                );
            }
            self.cluster_id = Some(received);
        }
        topology.answered(&listed);
        if let Some(Failing { since, failures, .. }) = self.failing.take() {
            let down = since.elapsed().unwrap_or_default().as_secs();
            tracing::info!(
                cluster = %topology.name, broker = %target.address, down_seconds = down, failures,
                "the cluster answers again",
            );
        }
        Ok(())
    }

    fn failed(&mut self, topology: &Topology, failures: &[Failure]) {
        let now = Instant::now();
        let tell = |(address, error): &Failure| match error {
            // It names the address.
            Error::Dial(error) => chain(error),
            error => format!("{address}: {}", chain(error)),
        };
        let told: Vec<_> = failures.iter().take(TOLD_MAX).map(tell).collect();
        let told = told.join("; ");
        let first = self.failing.is_none();
        let failing =
            self.failing.get_or_insert(Failing { since: SystemTime::now(), reported: now, failures: 0 });
        failing.failures += 1;
        if first || now.duration_since(failing.reported) >= REPORT_EVERY {
            failing.reported = now;
            tracing::warn!(
                cluster = %topology.name, error = told, brokers = failures.len(), failures = failing.failures,
                since = %humantime::format_rfc3339_seconds(failing.since),
                "no broker answers the gateway's own requests: the known table stays",
            );
        }
        topology.unanswered(failing.since, told);
    }
}

/// Tries targets until one succeeds: each gets a head start over the next, none waits for one that is
/// silent. The others are abandoned then.
async fn race<T, F>(targets: Vec<Target>, attempt: impl Fn(Target) -> F) -> Result<T, Vec<Failure>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let mut waiting = targets.into_iter();
    let mut attempts = JoinSet::new();
    let mut failures = Vec::new();
    loop {
        if let Some(target) = waiting.next() {
            let address = target.address.clone();
            let attempt = attempt(target);
            attempts.spawn(async move { (address, attempt.await) });
        } else if attempts.is_empty() {
            return Err(failures);
        }
        let joined = if waiting.len() > 0 {
            timeout_at(Instant::now() + STAGGER, attempts.join_next()).await.ok().flatten()
        } else {
            attempts.join_next().await
        };
        match joined {
            Some(Ok((_, Ok(value)))) => return Ok(value),
            Some(Ok((address, Err(error)))) => failures.push((address, error)),
            Some(Err(_)) | None => {}
        }
    }
}

/// The brokers of an answer that have a valid id, host and port.
pub(super) fn brokers(answer: &MetadataResponse) -> impl Iterator<Item = Broker> + '_ {
    answer.brokers.iter().filter_map(|broker| {
        let host = Host::parse(broker.host.as_bytes()).ok()?;
        let port = u16::try_from(broker.port).ok().filter(|port| *port != 0)?;
        let node = NodeId(broker.node_id.0);
        (node.0 >= 0).then_some(Broker { node, address: HostPort { host, port } })
    })
}

/// Since version 2 of Metadata.
pub(super) fn cluster_id(answer: &MetadataResponse) -> Option<String> {
    let id: String = answer.cluster_id.as_ref()?.chars().filter(|c| !c.is_control()).take(64).collect();
    (!id.is_empty()).then_some(id)
}

/// The address of a broker that is gone may serve another cluster's broker now. Only a bootstrap
/// address, which the configuration vouches for, may lead to a new cluster.
fn same_cluster(known: Option<&str>, target: &Target, answer: &MetadataResponse) -> Result<(), Error> {
    match (known, cluster_id(answer)) {
        (Some(known), Some(received)) if target.node.is_some() && known != received => {
            Err(Error::OtherCluster { known: known.to_owned(), received })
        }
        _ => Ok(()),
    }
}

impl Topology {
    /// Whom to ask, in this order: the bootstrap addresses, then some of the known brokers, each time
    /// beginning with another one.
    fn candidates(&self) -> Vec<Target> {
        let table = self.table.load();
        let turn = self.turn();
        let options = self.options.load();
        let bootstrap = &options.bootstrap;
        let known = table.nodes.iter().filter(|(_, entry)| !bootstrap.contains(&entry.address));
        let known = in_turn(known.collect(), turn).take(KNOWN_MAX);
        in_turn(bootstrap.iter().collect(), turn)
            .map(|address| Target { node: None, address: address.clone(), moved: CancellationToken::new() })
            .chain(known.map(|(node, entry)| entry.target(*node)))
            .collect()
    }
}

/// The same, beginning at the one whose turn it is.
fn in_turn<T>(mut all: Vec<T>, turn: usize) -> std::vec::IntoIter<T> {
    let first = turn.checked_rem(all.len()).unwrap_or(0);
    all.rotate_left(first);
    all.into_iter()
}
