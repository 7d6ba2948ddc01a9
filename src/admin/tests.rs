//! The admin address over real sockets: what it answers, whom it turns away, what bounds it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::state::{
    Broker, Check, Cluster, Command, Listener, Outcome, Range, Readiness, Reload, Reloaded, Route, State,
    Status,
};
use super::*;
use crate::kafka::NodeId;
use crate::registry::Registry;

const HOSTILE: &str = "<script>alert('x')</script>";

fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        started: "2026-11-21T03:24:42Z".into(),
        uptime_seconds: 60,
        draining: false,
        connections: 1,
        max_connections: 10_000,
        held_bytes: 0,
        held_bytes_limit: 1 << 30,
    }
}

fn listener() -> Listener {
    Listener {
        name: "office".into(),
        cluster: "payments".into(),
        bind: vec!["0.0.0.0:19092".into()],
        advertise: Some("kafka.example.com:19092".into()),
        advertise_from: None,
        mode: "port".to_owned(),
        ranges: vec![Range { first_node: 0, last_node: 99, bind: Some(19100), advertise: Some(31100) }],
        connections: 1,
    }
}

fn cluster() -> Cluster {
    let broker = Broker {
        node: 3,
        address: "kafka-3:9092".into(),
        up: Some(false),
        since: Some("2026-11-21T03:24:42Z".into()),
        error: Some(HOSTILE.into()),
    };
    Cluster {
        name: "payments".into(),
        discovery: "own".into(),
        answered: true,
        bootstrap: vec!["kafka-0:9092".into()],
        brokers: vec![broker],
        refreshed: None,
        error: None,
        unroutable: vec![120],
    }
}

fn routes() -> Vec<Route> {
    let bootstrap = Route {
        listener: "office".into(),
        cluster: "payments".into(),
        node: None,
        bind: vec!["0.0.0.0:19092".into()],
        advertise: Some("kafka.example.com:19092".into()),
        broker: Some("kafka-0:9092".into()),
        up: None,
    };
    let outside = Route { node: Some(120), bind: Vec::new(), advertise: None, ..bootstrap.clone() };
    vec![bootstrap, outside]
}

/// A gateway with one listener, one cluster and one connection; it is ready when the switch says so.
fn state(ready: &Arc<AtomicBool>, connections: &Arc<Registry>) -> State {
    let ready = Arc::clone(ready);
    let readiness = move || {
        let cluster = if ready.load(Relaxed) {
            Check::warn("cluster payments", "node 120 is outside every range")
        } else {
            Check::fail("cluster payments", "has not answered since the start")
        };
        Readiness { checks: vec![Check::ok("listener office", "bound"), cluster] }
    };
    State {
        readiness: Box::new(readiness),
        metrics: Box::new(|| "gatehouse_ready 1\n".to_owned()),
        status: Box::new(status),
        listeners: Box::new(|| vec![listener()]),
        clusters: Box::new(|| vec![cluster()]),
        routes: Box::new(routes),
        certificates: Box::new(Vec::new),
        connections: Arc::clone(connections),
        commands: commands(),
    }
}

/// Answers every command with one side whose files are refused.
fn commands() -> mpsc::Sender<Command> {
    let (commands, mut commanded) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(Command::Reload { answer, dry_run }) = commanded.recv().await {
            let refused = Reloaded {
                listener: Some("office".into()),
                cluster: None,
                outcome: Outcome::Refused,
                error: Some("/tls/tls.crt is empty".into()),
                distrusted: 0,
                renewed: false,
            };
            answer.send(Reload { dry_run, certificates: vec![refused], ..Reload::default() }).unwrap();
        }
    });
    commands
}

struct Served {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    connections: Arc<Registry>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn on(bind: &str, token: Option<&str>) -> Options {
    let bind = Some(bind.parse().unwrap());
    Options { bind, hosts: vec!["gw.example.com".into()], token: token.map(SecretString::from) }
}

async fn served_with(options: Options, change: impl FnOnce(&mut State)) -> Served {
    let bound = bind(&options).await.unwrap().unwrap();
    let (ready, connections) = (Arc::new(AtomicBool::new(true)), Arc::new(Registry::default()));
    let mut state = state(&ready, &connections);
    change(&mut state);
    let address = SocketAddr::new([127, 0, 0, 1].into(), bound.address().port());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(bound.serve(state, async {
        let _ = stopped.await;
    }));
    Served { address, ready, connections, stop, task }
}

async fn served() -> Served {
    served_with(on("127.0.0.1:0", None), |_| {}).await
}

impl Served {
    /// Sends bytes and reads until the server closes.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        String::from_utf8(response).unwrap()
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        Answer::parse(&self.raw(request.as_bytes()).await)
    }

    async fn read(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Asserts that this is a problem document of that status.
    fn is_problem(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        assert_eq!(self.json()["status"], status);
        assert!(self.json()["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

#[tokio::test]
async fn the_probes_say_what_fails() {
    let served = served().await;
    let answer = served.read("/livez").await;
    assert_eq!((answer.status, &*answer.body), (200, "alive\n"));
    let answer = served.read("/readyz").await;
    assert_eq!((answer.status, &*answer.body), (200, "ready\n"));
    let answer = served.read("/readyz?verbose").await;
    let lines =
        "ok   listener office: bound\nwarn cluster payments: node 120 is outside every range\nready\n";
    assert_eq!((answer.status, &*answer.body), (200, lines));
    served.ready.store(false, Relaxed);
    let answer = served.read("/readyz").await;
    let lines = "FAIL cluster payments: has not answered since the start\nnot ready\n";
    assert_eq!((answer.status, &*answer.body), (503, lines));
    assert_eq!(served.read("/livez").await.status, 200, "alive whatever the brokers do");
}

#[tokio::test]
async fn metrics_come_as_prometheus_reads_them() {
    let answer = served().await.read("/metrics").await;
    assert_eq!((answer.status, &*answer.body), (200, "gatehouse_ready 1\n"));
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{answer:?}");
}

#[tokio::test]
async fn documents_keep_their_field_names() {
    let served = served().await;
    let guard =
        served.connections.register(&"office".into(), &"payments".into(), "192.0.2.7:50000".parse().unwrap());
    guard.connection().dialled(Some(NodeId(3)), "kafka-3:9092".parse().unwrap());
    let status = served.read("/api/v1/status").await;
    assert!(status.head.contains("content-type: application/json"), "{status:?}");
    assert_eq!(
        status.json(),
        serde_json::json!({
            "ready": true, "version": "0.1.0", "started": "2026-11-21T03:24:42Z", "uptime_seconds": 60,
            "draining": false, "connections": 1, "max_connections": 10000,
            "held_bytes": 0, "held_bytes_limit": 1 << 30,
            "checks": [
                {"name": "listener office", "verdict": "ok", "detail": "bound"},
                {"name": "cluster payments", "verdict": "warn", "detail": "node 120 is outside every range"},
            ],
        })
    );
    assert_eq!(
        served.read("/api/v1/listeners").await.json(),
        serde_json::json!({"listeners": [{
            "name": "office", "cluster": "payments", "bind": ["0.0.0.0:19092"],
            "advertise": "kafka.example.com:19092", "advertise_from": null, "connections": 1,
            "mode": "port",
            "ranges": [{"first_node": 0, "last_node": 99, "bind": 19100, "advertise": 31100}],
        }]})
    );
    assert_eq!(
        served.read("/api/v1/clusters").await.json(),
        serde_json::json!({"clusters": [{
            "name": "payments", "discovery": "own", "answered": true, "bootstrap": ["kafka-0:9092"],
            "refreshed": null, "error": null, "unroutable": [120],
            "brokers": [{
                "node": 3, "address": "kafka-3:9092", "up": false, "since": "2026-11-21T03:24:42Z",
                "error": HOSTILE,
            }],
        }]})
    );
    let routes = served.read("/api/v1/routes").await.json();
    assert_eq!(routes["routes"][0]["node"], serde_json::Value::Null);
    assert_eq!(routes["routes"][1]["advertise"], serde_json::Value::Null);
    let connections = served.read("/api/v1/connections?listener=office&limit=5").await.json();
    assert_eq!(connections["total"], 1);
    assert_eq!(connections["connections"][0]["node"], 3);
    assert_eq!(served.read("/api/v1/connections?listener=in%74ernet").await.json()["total"], 0);
}

#[tokio::test]
async fn the_page_needs_no_script_and_no_other_host() {
    let answer = served().await.read("/").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/html"), "{answer:?}");
    for expected in
        ["Listener office", "kafka.example.com:19092", "kafka-3:9092", "nothing: outside every range"]
    {
        assert!(answer.body.contains(expected), "{expected} is missing in {}", answer.body);
    }
    for forbidden in ["<script", "http:", "https:", "url(", "@import", "src="] {
        assert!(!answer.body.contains(forbidden), "{forbidden}");
    }
    assert!(answer.body.contains("&lt;script&gt;alert(&#39;x&#39;)"), "a text of a broker is escaped");
}

#[tokio::test]
async fn pages_are_read_and_nothing_else() {
    let served = served().await;
    for path in ["/", "/livez", "/readyz", "/metrics", "/api/v1/status", "/api/v1/connections"] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let answer = served.ask(method, path, "").await;
            answer.is_problem(405);
            assert!(answer.head.contains("\r\nallow: get, head"), "{method} {path}: {answer:?}");
        }
        let answer = served.ask("HEAD", path, "").await;
        assert_eq!((answer.status, &*answer.body), (200, ""), "HEAD {path}");
    }
    for path in ["/api", "/api/v1/", "/livez/", "//livez", "/api/v1/../../livez", "/%6civez", "/favicon.ico"]
    {
        served.read(path).await.is_problem(404);
    }
    for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "user=x", "limit"] {
        served.read(&format!("/api/v1/connections?{query}")).await.is_problem(400);
    }
    served.ask("GET", "/livez", "Content-Length: 5\r\n").await.is_problem(413);
    served.ask("GET", "/livez", "Transfer-Encoding: chunked\r\n").await.is_problem(413);
}

#[tokio::test]
async fn a_reload_takes_post_and_the_token_and_says_what_was_refused() {
    const RELOAD: &str = "/api/v1/reload";
    served().await.ask("POST", RELOAD, "Content-Length: 0\r\n").await.is_problem(403);
    let served = served_with(on("127.0.0.1:0", Some("s3cret")), |_| {}).await;
    served.ask("POST", RELOAD, "").await.is_problem(401);
    let bearer = "Authorization: Bearer s3cret\r\n";
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let answer = served.ask(method, RELOAD, bearer).await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("\r\nallow: post"), "{answer:?}");
    }
    for (query, dry_run) in
        [("", false), ("?dry_run", true), ("?dry_run=true", true), ("?dry_run=false", false)]
    {
        let answer = served.ask("POST", &format!("{RELOAD}{query}"), bearer).await;
        let expected = serde_json::json!({
            "dry_run": dry_run, "config": "unchanged", "changes": [], "draining": 0, "may_drain_more": false,
            "error": null, "diagnostics": [], "explained": "",
            "certificates": [{
                "listener": "office", "cluster": null, "outcome": "refused",
                "error": "/tls/tls.crt is empty", "distrusted": 0,
            }],
        });
        assert_eq!((answer.status, answer.json()), (422, expected));
    }
    served.ask("POST", "/api/v1/reload?dry_run=maybe", bearer).await.is_problem(400);
}

#[tokio::test]
async fn a_foreign_name_does_not_lead_here() {
    let served = served().await;
    for (host, status) in [
        ("evil.example", 421),
        ("127.0.0.1.evil.example:9910", 421),
        ("gw.example.com:9910", 200),
        ("[::1]", 200),
    ] {
        for path in ["/", "/metrics", "/api/v1/connections"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(Answer::parse(&served.raw(request.as_bytes()).await).status, status, "{host}{path}");
        }
    }
    Answer::parse(&served.raw(b"GET /livez HTTP/1.1\r\n\r\n").await).is_problem(400);
    assert_eq!(Answer::parse(&served.raw(b"GET /livez HTTP/1.0\r\n\r\n").await).status, 200);
}

#[tokio::test]
async fn off_loopback_only_probes_and_metrics_are_open() {
    let closed = served_with(on("0.0.0.0:0", None), |_| {}).await;
    let locked = served_with(on("0.0.0.0:0", Some("s3cret")), |_| {}).await;
    for path in ["/livez", "/readyz?verbose", "/metrics"] {
        assert_eq!(closed.read(path).await.status, 200, "{path}");
    }
    for path in ["/", "/api/v1/status", "/api/v1/connections", "/api/v1/routes"] {
        closed.read(path).await.is_problem(403);
        let answer = locked.read(path).await;
        answer.is_problem(401);
        assert!(answer.head.contains("www-authenticate: bearer"), "{answer:?}");
        locked.ask("GET", path, "Authorization: Bearer guess\r\n").await.is_problem(401);
        assert_eq!(locked.ask("GET", path, "Authorization: Bearer s3cret\r\n").await.status, 200);
    }
}

#[tokio::test]
async fn what_is_no_request_or_too_much_of_one_is_closed() {
    let served = served().await;
    let long = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(32 * 1024));
    let many = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(100));
    for head in [long, many] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response).await;
        let text = String::from_utf8(response).unwrap();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    }
    // A TLS ClientHello, a Kafka frame, nothing at all.
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..], b"\0\0\0\x17\0\x12\0\0\0\0\0\x01\r\n\r\n"] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        assert!(!response.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(served.read("/livez").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn slow_heads_hold_no_slot_for_long() {
    let served = served().await;
    let start = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..2 * serve::CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(served.read("/livez").await.status, 200, "behind {} slow clients", slow.len());
    assert!(start.elapsed() <= 3 * serve::HEADER_TIME, "{:?}", start.elapsed());
    for mut stream in slow {
        let mut rest = Vec::new();
        // A reset is as good an end as a close.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_slowly_is_cut_off() {
    const LONG: usize = 64 << 20;
    let served = served_with(on("127.0.0.1:0", None), |state| {
        state.metrics = Box::new(|| "x".repeat(LONG));
    })
    .await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut response = vec![stream.read_u8().await.unwrap()];
    tokio::time::advance(serve::CONNECTION_TIME).await;
    let _ = stream.read_to_end(&mut response).await;
    assert!(response.len() < LONG, "{} bytes", response.len());
}

#[tokio::test]
async fn it_stops_when_it_is_asked_to() {
    let served = served().await;
    let idle = TcpStream::connect(served.address).await.unwrap();
    served.stop.send(()).unwrap();
    served.task.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err(), "the port is free");
    drop(idle);
}

#[tokio::test]
async fn a_busy_address_is_named_and_none_is_off() {
    let first = bind(&on("127.0.0.1:0", None)).await.unwrap().unwrap();
    let busy = Options { bind: Some(first.address()), ..Options::default() };
    let error = bind(&busy).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}, the admin address", first.address()));
    assert!(bind(&Options { bind: None, ..Options::default() }).await.unwrap().is_none());
    assert_eq!(Options::default().bind, Some("127.0.0.1:9910".parse().unwrap()));
}
