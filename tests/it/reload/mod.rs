//! The whole file changes under a gateway that runs: what is not concerned keeps every connection.

mod changes;
mod faults;
mod storm;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gatehouse::admin::state::{Configured, Reload};
use gatehouse::app::{App, Runtimes};
use gatehouse::config::file::Origin;
use gatehouse::config::{self, Surroundings};
use gatehouse::limits::machine::Machine;
use gatehouse::toy::{Cluster, Options};
use kafka_protocol::messages::ListGroupsRequest;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::gateway::{own_address, toy};
use crate::poll::until;
use crate::tls::files::Files;

/// A gateway that follows a file, and an address for its doors.
pub(crate) struct Followed {
    pub(crate) app: App,
    pub(crate) files: Files,
    pub(crate) ip: IpAddr,
}

fn surroundings() -> Surroundings {
    Surroundings {
        environment: config::yaml::Environment::default(),
        machine: Machine { descriptors: 1 << 16, memory_bytes: 8 << 30 },
        host_name: "it".to_owned(),
        elsewhere: false,
        certificates: false,
    }
}

/// One cluster with that name, as lines of `clusters`.
pub(crate) fn cluster(name: &str, cluster: &Cluster) -> String {
    let brokers: Vec<_> = cluster.addresses().iter().map(|(_, address)| address.to_string()).collect();
    format!("  {name}: {{ bootstrap: [{}], metadata_refresh: 1s }}\n", brokers.join(", "))
}

impl Followed {
    /// One listener with that name, as lines of `listeners`: its nodes are on the ports after its own.
    pub(crate) fn listener(&self, name: &str, port: u16, nodes: &str, more: &str) -> String {
        listener(self.ip, name, port, nodes, more)
    }

    /// Starts with a file that `text` writes for an address.
    pub(crate) async fn start(text: impl Fn(IpAddr) -> String) -> Self {
        Self::start_at("gatehouse.yaml", |_| {}, text).await
    }

    /// The same with a file of that name, after something was prepared beside it.
    pub(crate) async fn start_at(
        name: &str,
        prepare: impl Fn(&Files),
        text: impl Fn(IpAddr) -> String,
    ) -> Self {
        let (files, ip) = (Files::new(), own_address());
        prepare(&files);
        if !files.path(name).exists() {
            files.put(name, &text(ip));
        }
        let origin = Origin::File { path: files.path(name), surroundings: Box::new(surroundings()) };
        let (config, _) = origin.load().expect("a right file");
        let runtimes = Runtimes { data: Handle::current(), control: Handle::current() };
        let app = App::start_from(origin, config, &runtimes).await.expect("free ports");
        until("readiness", async || app.is_ready()).await;
        Self { app, files, ip }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.files.path("gatehouse.yaml")
    }

    /// Writes the file and asks for it to be used.
    pub(crate) async fn reload(&self, text: &str) -> Reload {
        self.files.put("gatehouse.yaml", text);
        self.app.reloaded(false).await
    }

    /// The same, where it must succeed.
    pub(crate) async fn apply(&self, text: &str) -> Reload {
        let reload = self.reload(text).await;
        assert_eq!(reload.config, Configured::Applied, "{reload:?}");
        reload
    }

    pub(crate) fn door(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// The sum of the samples of a metric whose line holds all the given parts.
    pub(crate) fn metric(&self, name: &str, parts: &[&str]) -> f64 {
        let metrics = self.app.metrics();
        let lines = metrics.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && parts.iter().all(|part| line.contains(part))
        });
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

fn listener(ip: IpAddr, name: &str, port: u16, nodes: &str, more: &str) -> String {
    format!(
        "  {name}:
    bind: {ip}:{port}
    advertise: gate.example
    routing: {{ port: {{ ranges: [ {{ nodes: {nodes}, bind: {} }} ] }} }}
    {more}
",
        port + 1
    )
}

/// A whole file.
pub(crate) fn text(clusters: &str, listeners: &str) -> String {
    format!(
        "clusters:
{clusters}listeners:
{listeners}admin: {{ bind: null }}
tls: {{ reload_interval: 1h }}
shutdown: {{ ready_delay: 0s, drain_timeout: 10s, hard_stop_after: 20s }}
"
    )
}

/// Two listeners of one toy cluster: `kept` at 9092, and what a test says of `other` at 19092.
pub(crate) async fn two(toy_cluster: &Cluster, nodes: &str, more: &str) -> Followed {
    Followed::start(|ip| both(ip, toy_cluster, nodes, more)).await
}

pub(crate) fn both(ip: IpAddr, toy_cluster: &Cluster, nodes: &str, more: &str) -> String {
    let kept = listener(ip, "kept", 9092, "0-9", "cluster: toy");
    let other = listener(ip, "other", 19092, nodes, more);
    text(&cluster("toy", toy_cluster), &(kept + &other))
}

pub(crate) async fn three_brokers() -> Cluster {
    toy(Options::default()).await
}

pub(crate) async fn asks(client: &mut Client) -> bool {
    client.try_call(&ListGroupsRequest::default(), 3).await.is_some()
}

/// Clients that ask one question after the other and must never be let go.
pub(crate) struct Traffic {
    clients: Vec<JoinHandle<()>>,
    enough: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    let_go: Arc<AtomicUsize>,
}

impl Traffic {
    pub(crate) async fn at(doors: impl IntoIterator<Item = SocketAddr>) -> Self {
        let (enough, asked, let_go) = (Arc::default(), Arc::default(), Arc::default());
        let mut traffic = Self { clients: Vec::new(), enough, asked, let_go };
        for door in doors {
            let mut client = Client::connect(door).await;
            assert!(asks(&mut client).await, "{door}");
            let enough = Arc::clone(&traffic.enough);
            let (asked, let_go) = (Arc::clone(&traffic.asked), Arc::clone(&traffic.let_go));
            traffic.clients.push(tokio::spawn(async move {
                while !enough.load(Ordering::Relaxed) {
                    if !asks(&mut client).await {
                        let_go.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }));
        }
        traffic
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Stops; returns how many clients were let go.
    pub(crate) async fn end(self) -> usize {
        self.enough.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("a client that does not fail");
        }
        assert!(self.asked.load(Ordering::Relaxed) > 0, "there was traffic");
        self.let_go.load(Ordering::Relaxed)
    }
}
