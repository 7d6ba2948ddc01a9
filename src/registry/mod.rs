//! The client connections that are open now, for whoever asks what goes on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use dashmap::DashMap;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::kafka::{NodeId, api};
use crate::logging::printable::{Printable, signed_name};
use crate::net::HostPort;

/// Open connections by id. One for the process; it holds what `limits` admits and nothing else.
#[derive(Debug, Default)]
pub struct Registry {
    open: DashMap<u64, Arc<Connection>>,
    last: AtomicU64,
}

impl Registry {
    /// Lists a connection until the guard is dropped. Ids start at 1 and are never used twice; log lines
    /// carry the same number as `conn`.
    pub fn register(self: &Arc<Self>, listener: &Arc<str>, cluster: &Arc<str>, client: SocketAddr) -> Guard {
        let connection = Arc::new(Connection {
            id: self.last.fetch_add(1, Relaxed) + 1,
            listener: Arc::clone(listener),
            cluster: Arc::clone(cluster),
            client,
            opened: (SystemTime::now(), Instant::now()),
            broker: OnceLock::new(),
            authenticated: OnceLock::new(),
            client_id: OnceLock::new(),
            software: OnceLock::new(),
            last_api: AtomicI16::new(-1),
            from_client: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
        });
        self.open.insert(connection.id, Arc::clone(&connection));
        Guard { connection, registry: Arc::clone(self) }
    }

    /// How many connections are open.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// The oldest connections that the filter lets through, `limit` at most.
    pub fn list(&self, filter: &Filter, limit: usize) -> Listing {
        let mut open: Vec<Arc<Connection>> = self
            .open
            .iter()
            .filter(|entry| filter.passes(entry.value()))
            .map(|entry| Arc::clone(entry.value()))
            .collect();
        open.sort_unstable_by_key(|connection| connection.id);
        let listed = open.iter().take(limit).map(|connection| connection.entry()).collect();
        Listing { total: open.len(), connections: listed }
    }

    /// Lets every connection of a listener leave in order whose certificate chain fails `trusted`; returns
    /// how many. Connections without a certificate stay.
    pub fn distrust(&self, listener: &str, trusted: impl Fn(&[CertificateDer<'static>]) -> bool) -> usize {
        // Judged outside the map: a signature takes longer than a registration should wait.
        let open: Vec<Arc<Connection>> = self
            .open
            .iter()
            .filter(|entry| *entry.listener == *listener && entry.authenticated.get().is_some())
            .map(|entry| Arc::clone(entry.value()))
            .collect();
        let failing = open.iter().filter_map(|connection| connection.authenticated.get());
        let failing = failing.filter(|client| !trusted(&client.chain));
        failing.map(|client| client.distrusted.cancel()).count()
    }
}

/// Which connections are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of one listener.
    pub listener: Option<String>,
    /// Those of one principal.
    pub principal: Option<String>,
}

impl Filter {
    fn passes(&self, connection: &Connection) -> bool {
        let principal = connection.authenticated.get().map(|client| &*client.principal);
        self.listener.as_deref().is_none_or(|listener| listener == &*connection.listener)
            && self.principal.as_deref().is_none_or(|asked| Some(asked) == principal)
    }
}

/// A registered connection; it leaves the list when this is dropped.
#[derive(Debug)]
pub struct Guard {
    connection: Arc<Connection>,
    registry: Arc<Registry>,
}

impl Guard {
    /// The connection's account, to keep up to date. The clones of it do not keep the connection listed.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.registry.open.remove(&self.connection.id);
    }
}

/// What is known of one connection. Every method is a few atomic instructions, but for the three that are
/// called once and keep a short text.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    listener: Arc<str>,
    cluster: Arc<str>,
    client: SocketAddr,
    opened: (SystemTime, Instant),
    broker: OnceLock<(Option<NodeId>, HostPort)>,
    authenticated: OnceLock<Authenticated>,
    client_id: OnceLock<Box<str>>,
    software: OnceLock<Box<str>>,
    last_api: AtomicI16,
    from_client: AtomicU64,
    to_client: AtomicU64,
    in_flight: AtomicU32,
}

/// Who a client has shown to be.
#[derive(Debug)]
struct Authenticated {
    principal: Box<str>,
    chain: Box<[CertificateDer<'static>]>,
    distrusted: CancellationToken,
}

impl Connection {
    /// The number of the connection in lists and log lines.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Notes the broker that was dialled; `None` for a bootstrap address. Only the first call counts.
    pub fn dialled(&self, node: Option<NodeId>, address: HostPort) {
        let _ = self.broker.set((node, address));
    }

    /// Notes who the client is and the certificates that show it, its own first. The token is cancelled when
    /// they are trusted no more. Only the first call counts.
    pub fn authenticated(&self, principal: &str, chain: &[CertificateDer<'static>]) -> CancellationToken {
        let client = self.authenticated.get_or_init(|| Authenticated {
            principal: signed_name(principal).into(),
            chain: chain.into(),
            distrusted: CancellationToken::new(),
        });
        client.distrusted.clone()
    }

    /// Notes the client id of the first request, as it came. Only the first call counts.
    pub fn client_id(&self, sent: &[u8]) {
        let _ = self.client_id.set(Printable(sent).to_string().into());
    }

    /// Notes what the client calls itself in its ApiVersions request (KIP-511). Only the first call counts.
    pub fn software(&self, name: &[u8], version: &[u8]) {
        let _ = self.software.set(format!("{} {}", Printable(name), Printable(version)).into());
    }

    /// Notes the API key of the newest request and that one more request awaits a response.
    pub fn requested(&self, api_key: i16) {
        self.last_api.store(api_key, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Notes that one request less awaits a response; also right for a request that has none.
    pub fn answered(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Adds bytes that the client sent.
    pub fn add_from_client(&self, bytes: u64) {
        self.from_client.fetch_add(bytes, Relaxed);
    }

    /// Adds bytes that were sent to the client.
    pub fn add_to_client(&self, bytes: u64) {
        self.to_client.fetch_add(bytes, Relaxed);
    }

    /// What the connection looks like now.
    pub fn entry(&self) -> Entry {
        let key = self.last_api.load(Relaxed);
        let (opened, since) = self.opened;
        Entry {
            id: self.id,
            listener: self.listener.to_string(),
            cluster: self.cluster.to_string(),
            client: self.client.to_string(),
            node: self.broker.get().and_then(|(node, _)| *node).map(|node| node.0),
            broker: self.broker.get().map(|(_, address)| address.to_string()),
            principal: self.authenticated.get().map(|client| client.principal.to_string()),
            client_id: self.client_id.get().map(ToString::to_string),
            software: self.software.get().map(ToString::to_string),
            last_api: (key >= 0).then(|| api::find(key).map_or("other", |api| api.name)),
            in_flight: self.in_flight.load(Relaxed),
            bytes_in: self.from_client.load(Relaxed),
            bytes_out: self.to_client.load(Relaxed),
            since: humantime::format_rfc3339_millis(opened).to_string(),
            age_seconds: since.elapsed().as_secs(),
        }
    }
}

/// One connection as the admin API shows it. Field names are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its number, `conn` in the log.
    pub id: u64,
    /// The listener that accepted it.
    pub listener: String,
    /// The cluster behind it.
    pub cluster: String,
    /// The client's address.
    pub client: String,
    /// The node id of its broker; null before the dial and for a bootstrap address.
    pub node: Option<i32>,
    /// The broker's address as it was dialled.
    pub broker: Option<String>,
    /// Who the client is; null where the listener does not authenticate.
    pub principal: Option<String>,
    /// The client id of its first request, fit to print.
    pub client_id: Option<String>,
    /// What the client calls itself, fit to print.
    pub software: Option<String>,
    /// Kafka's name of the API of the newest request, or `other`.
    pub last_api: Option<&'static str>,
    /// Requests that await a response.
    pub in_flight: u32,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// When it was accepted, RFC 3339.
    pub since: String,
    /// How long ago that was, by a clock that is never set.
    pub age_seconds: u64,
}

/// Some of the open connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// How many the filter let through.
    pub total: usize,
    /// The oldest of them.
    pub connections: Vec<Entry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> SocketAddr {
        "192.0.2.7:50000".parse().unwrap()
    }

    fn open(registry: &Arc<Registry>, listener: &str) -> Guard {
        registry.register(&listener.into(), &"payments".into(), client())
    }

    #[test]
    fn a_connection_is_listed_until_its_guard_is_dropped() {
        let registry = Arc::new(Registry::default());
        let first = open(&registry, "office");
        let second = open(&registry, "internet");
        let kept = Arc::clone(first.connection());
        let ids = |filter: &Filter, limit| -> (usize, Vec<u64>) {
            let listing = registry.list(filter, limit);
            (listing.total, listing.connections.iter().map(|entry| entry.id).collect())
        };
        let office = Filter { listener: Some("office".into()), ..Filter::default() };
        assert_eq!(ids(&Filter::default(), 10), (2, vec![1, 2]));
        assert_eq!(ids(&Filter::default(), 1), (2, vec![1]));
        assert_eq!(ids(&office, 10), (1, vec![1]));
        drop(first);
        assert_eq!(ids(&office, 10), (0, vec![]));
        assert_eq!(registry.count(), 1);
        assert_eq!(kept.id(), 1);
        drop(second);
        assert_eq!(open(&registry, "office").connection().id(), 3, "an id is never used twice");
    }

    #[test]
    fn an_entry_shows_what_was_noted() {
        let registry = Arc::new(Registry::default());
        let guard = open(&registry, "office");
        let connection = guard.connection();
        let entry = connection.entry();
        assert_eq!((entry.node, entry.last_api, &entry.client_id), (None, None, &None));
        connection.dialled(Some(NodeId(3)), "kafka-3:9092".parse().unwrap());
        connection.client_id(b"evil\r\nlevel=INFO");
        connection.client_id(b"second");
        connection.software(b"librdkafka", b"2.10.0");
        connection.requested(3);
        connection.requested(i16::MAX);
        connection.requested(1);
        connection.answered();
        connection.add_from_client(100);
        connection.add_to_client(2000);
        let json = serde_json::to_value(connection.entry()).unwrap();
        let since = json["since"].as_str().unwrap();
        assert!(humantime::parse_rfc3339(since).is_ok(), "{since}");
        let expected = serde_json::json!({
            "id": 1, "listener": "office", "cluster": "payments", "client": "192.0.2.7:50000",
            "node": 3, "broker": "kafka-3:9092", "principal": null,
            "client_id": "evil\\u{d}\\u{a}level=INFO", "software": "librdkafka 2.10.0",
            "last_api": "Fetch", "in_flight": 2, "bytes_in": 100, "bytes_out": 2000,
            "since": since, "age_seconds": json["age_seconds"],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_certificate_that_is_trusted_no_more_ends_its_own_connections() {
        let registry = Arc::new(Registry::default());
        let [anna, bert, elsewhere, anonymous] =
            ["office", "office", "internet", "office"].map(|listener| open(&registry, listener));
        let chain = |text: &str| [CertificateDer::from(text.as_bytes().to_vec())];
        let anna = anna.connection().authenticated("CN=anna", &chain("anna"));
        let bert = bert.connection().authenticated("CN=bert", &chain("bert"));
        let elsewhere = elsewhere.connection().authenticated("CN=anna", &chain("anna"));
        assert_eq!(registry.distrust("office", |chain| *chain[0] != *b"anna"), 1);
        assert!(anna.is_cancelled() && !bert.is_cancelled() && !elsewhere.is_cancelled());
        let filter = Filter { principal: Some("CN=anna".into()), ..Filter::default() };
        assert_eq!(registry.list(&filter, 10).total, 2);
        assert_eq!(anonymous.connection().entry().principal, None);
    }

    #[test]
    fn connections_come_and_go_on_many_threads() {
        let registry = Arc::new(Registry::default());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let guard = open(&registry, "office");
                        assert!(registry.list(&Filter::default(), 1).total >= 1);
                        drop(guard);
                    }
                });
            }
        });
        assert_eq!(registry.count(), 0);
    }
}
