//! The address that clients are told is that of a Service: a gateway process before the toy cluster, and an API that
//! misbehaves. What the real API does stands in `tests/kube`.

mod api;

use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;

use gatehouse::toy::{Cluster, Options};
use kafka_protocol::messages::MetadataRequest;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use self::api::{Api, Mood, SERVICE};
use crate::client::Client;
use crate::gateway::{PORT, own_address, toy};
use crate::poll::{in_time, until};
use crate::tls::files::Files;
use crate::tls::house::{self, Material};

/// A gateway process with one listener, an API that it asks, and brokers.
struct House {
    api: Api,
    files: Files,
    ip: IpAddr,
    cluster: Cluster,
    gateway: Child,
}

/// The file of a gateway whose listener has that `advertise`, with more of the listener.
fn file(ip: IpAddr, cluster: &Cluster, advertise: &str, more: &str) -> String {
    let brokers: Vec<_> = cluster.addresses().iter().map(|(_, address)| address.to_string()).collect();
    format!(
        "clusters: {{ toy: {{ bootstrap: [{}], metadata_refresh: 1s }} }}
listeners:
  door:
    bind: {ip}:{PORT}
    advertise: {advertise}
    routing: {{ port: {{ ranges: [ {{ nodes: 0-9, bind: 9093, advertise: 31093 }} ] }} }}
    {more}
admin: {{ bind: {ip}:9910, token: t }}
tls: {{ reload_interval: 1h }}
shutdown: {{ ready_delay: 0s, drain_timeout: 10s, hard_stop_after: 20s }}
",
        brokers.join(", ")
    )
}

fn service() -> String {
    format!("{{ service: {SERVICE}, port: 31092 }}")
}

impl House {
    async fn new() -> Self {
        let (api, files, ip, cluster) =
            (Api::start().await, Files::new(), own_address(), toy(Options::default()).await);
        files.put("token", "first");
        let config = files.put("gatehouse.yaml", &file(ip, &cluster, &service(), ""));
        let token = files.path("token");
        let kubeconfig = files.put("kubeconfig", &api.kubeconfig(token.to_str().expect("a path")));
        let gateway = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
            .args(["run", "--config"])
            .arg(config)
            .env("KUBECONFIG", kubeconfig)
            .env_remove("KUBERNETES_SERVICE_HOST")
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a gateway");
        let house = Self { api, files, ip, cluster, gateway };
        until("admin", async || TcpStream::connect(house.admin()).await.is_ok()).await;
        house
    }

    fn admin(&self) -> SocketAddr {
        (self.ip, 9910).into()
    }

    async fn page(&self, path: &str) -> (u16, String) {
        let head = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer t");
        house::ask(self.admin(), &head).await
    }

    /// Puts another file to use.
    async fn reload(&self, advertise: &str, more: &str) {
        self.files.put("gatehouse.yaml", &file(self.ip, &self.cluster, advertise, more));
        let head = "POST /api/v1/reload HTTP/1.1\r\nAuthorization: Bearer t";
        let (status, body) = house::ask(self.admin(), head).await;
        assert_eq!(status, 200, "{body}");
    }

    /// A metric of the listener.
    async fn metric(&self, name: &str, part: &str) -> f64 {
        let (_, metrics) = self.page("/metrics").await;
        let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(part));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    async fn errors(&self, reason: &str) -> f64 {
        self.metric("gatehouse_advertised_address_errors_total{", &format!("reason=\"{reason}\"")).await
    }

    async fn client(&self) -> Client {
        self.try_client().await.expect("a connection")
    }

    /// A client, unless it is turned away before it is one.
    async fn try_client(&self) -> Option<Client> {
        let own = self.cluster.addresses().first().expect("a broker").1.ip().to_string();
        Some(Client::over(TcpStream::connect((self.ip, PORT)).await.ok()?).that_must_not_hear(&own))
    }

    /// What a client that comes is told.
    async fn told(&self) -> Option<String> {
        told(&mut self.try_client().await?).await
    }

    /// Waits until clients that come are told that address, and the process says that it is ready.
    async fn until_told(&self, host: &str) {
        until(&format!("clients are told {host}"), async || {
            self.page("/readyz").await.0 == 200 && self.told().await.as_deref() == Some(host)
        })
        .await;
    }

    /// Waits until readiness says something.
    async fn until_said(&self, verdict: &str, words: &str) {
        until(&format!("readiness says {verdict} {words}"), async || {
            let (_, said) = self.page("/readyz?verbose").await;
            said.lines().any(|line| line.starts_with(verdict) && line.contains(words))
        })
        .await;
    }

    async fn stop(self) {
        let id = self.gateway.id().expect("a running gateway").to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.expect("kill").success());
        let output =
            in_time("the end of the gateway", self.gateway.wait_with_output()).await.expect("its end");
        assert_eq!(output.status.code(), Some(0));
    }
}

/// The host of every broker that a client is told, with the ports of the file; `None` where it is turned away.
async fn told(client: &mut Client) -> Option<String> {
    let answer = client.try_call(&MetadataRequest::default().with_topics(Some(Vec::new())), 9).await?;
    assert!(!answer.brokers.is_empty());
    for broker in &answer.brokers {
        assert_eq!((broker.port, &broker.host), (31_093 + broker.node_id.0, &answer.brokers[0].host));
    }
    Some(answer.brokers[0].host.to_string())
}

#[tokio::test]
async fn nobody_is_told_anything_before_the_address_is_known() {
    let house = House::new().await;
    house.until_said("FAIL", "there is no such Service").await;
    assert_eq!(house.page("/readyz").await.0, 503);
    assert_eq!(house.told().await, None);
    assert!(house.metric("gatehouse_connections_rejected_total{", "no_address").await >= 1.0);
    let (_, listeners) = house.page("/api/v1/listeners").await;
    assert!(listeners.contains("\"advertise\": null"), "{listeners}");

    house.api.has(SERVICE, json!([]));
    house.until_said("FAIL", "its load balancer has no address").await;
    house.api.has(SERVICE, json!([{ "ip": "192.0.2.7" }, { "hostname": "lb.example.com" }]));
    house.until_told("lb.example.com").await;
    let (_, routes) = house.page("/api/v1/routes").await;
    assert!(
        routes.contains("\"lb.example.com:31092\"") && routes.contains("\"lb.example.com:31094\""),
        "{routes}"
    );
    for target in house.api.asked() {
        assert!(target.starts_with("/api/v1/namespaces/gateway/services?"), "{target}");
        assert!(target.contains("fieldSelector=metadata.name%3Dgw-gatehouse"), "{target}");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_client_hears_of_another_address_on_the_connection_it_has() {
    let house = House::new().await;
    house.api.has(SERVICE, json!([{ "ip": "2001:db8::7" }]));
    house.until_told("2001:db8::7").await;
    let mut client = house.client().await;
    house.api.has(SERVICE, json!([{ "ip": "192.0.2.8" }]));
    until("the other address", async || told(&mut client).await.as_deref() == Some("192.0.2.8")).await;
    assert_eq!(house.metric("gatehouse_advertised_address_changes_total{", "").await, 1.0);

    house.api.has(SERVICE, json!([]));
    house.until_said("warn", "clients are told 192.0.2.8 still").await;
    assert_eq!(told(&mut client).await.as_deref(), Some("192.0.2.8"));
    house.api.deletes(SERVICE);
    house.until_said("warn", "there is no such Service").await;
    assert_eq!(house.page("/readyz").await.0, 200);
    assert_eq!(house.metric("gatehouse_advertised_address_stale{", "").await, 1.0);
    house.until_told("192.0.2.8").await;
    house.stop().await;
}

/// An API that goes wrong in some way, and is right again.
async fn goes_wrong(mood: Mood, reason: &str, words: &str) {
    let house = House::new().await;
    house.api.has(SERVICE, json!([{ "hostname": "lb.example.com" }]));
    house.until_told("lb.example.com").await;
    house.api.is(mood);
    house.until_said("warn", words).await;
    house.until_said("warn", "clients are told lb.example.com still").await;
    house.until_told("lb.example.com").await;
    assert!(house.errors(reason).await > 0.0);
    let (_, said) = house.page("/readyz?verbose").await;
    assert!(!said.contains('\u{1b}'), "{said}");
    house.api.is(Mood::Well);
    house.until_said("ok", "clients are told lb.example.com, the address of").await;
    house.api.has(SERVICE, json!([{ "hostname": "next.example.com" }]));
    house.until_told("next.example.com").await;
    house.stop().await;
}

#[tokio::test]
async fn an_api_that_answers_garbage_changes_nothing() {
    goes_wrong(Mood::Garbage, "answer", "what the Kubernetes API answers cannot be used").await;
}

#[tokio::test]
async fn an_api_that_answers_without_end_changes_nothing() {
    goes_wrong(Mood::Endless, "answer", "it is longer than 8388608 bytes").await;
}

#[tokio::test]
async fn an_api_that_is_broken_changes_nothing() {
    goes_wrong(Mood::Status(503), "status", "the Kubernetes API answers 503: no").await;
}

#[tokio::test]
async fn a_watch_that_expired_begins_anew() {
    let house = House::new().await;
    house.api.is(Mood::Expired);
    house.api.has(SERVICE, json!([{ "hostname": "lb.example.com" }]));
    house.until_told("lb.example.com").await;
    until("410 is counted", async || house.errors("expired").await > 0.0).await;
    house.api.has(SERVICE, json!([{ "hostname": "next.example.com" }]));
    house.until_told("next.example.com").await;
    house.until_said("ok", "clients are told next.example.com").await;
    house.stop().await;
}

#[tokio::test]
async fn an_api_that_does_not_answer_holds_nothing_up() {
    let house = House::new().await;
    house.api.is(Mood::Silent);
    until("it was asked", async || !house.api.asked().is_empty()).await;
    assert_eq!(house.page("/livez").await.0, 200);
    house.until_said("FAIL", "awaited").await;
    house.stop().await;
}

#[tokio::test]
async fn what_is_no_address_is_never_told() {
    let house = House::new().await;
    house.api.has("kafka", json!([{ "hostname": "kafka.example.com" }]));
    let before = house.api.asked().len();
    house.api.is(Mood::Deaf);
    until("a watch after another list", async || house.api.asked().len() >= before + 2).await;
    house.until_said("FAIL", "there is no such Service").await;
    for wrong in ["0.0.0.0", "10.0.0.256", "a b", "lb.example.com:9092", "x\ny", "::", "239.0.0.1"] {
        house.api.has(SERVICE, json!([{ "hostname": wrong }]));
        house.until_said("FAIL", &format!("address `{}`", wrong.replace('\n', "\\u{a}"))).await;
        assert_eq!(house.told().await, None, "{wrong:?}");
    }
    house.api.has(SERVICE, json!([{ "hostname": "x y" }, { "ip": "192.0.2.9" }]));
    house.until_told("192.0.2.9").await;
    let changes = async || house.metric("gatehouse_advertised_address_changes_total", "").await;
    let before = changes().await;
    house.api.has("kafka", json!([{ "hostname": "late.example.com" }]));
    house.api.has(SERVICE, json!([{ "ip": "192.0.2.10" }]));
    house.until_told("192.0.2.10").await;
    assert_eq!(changes().await, before + 1.0, "what is told of another Service is nothing");
    house.stop().await;
}

#[tokio::test]
async fn a_new_token_is_read_and_a_missing_right_is_named() {
    let house = House::new().await;
    house.api.has(SERVICE, json!([{ "ip": "192.0.2.1" }]));
    house.until_told("192.0.2.1").await;
    house.api.takes_token("second");
    house.until_said("warn", "does not take the token of the service account (401)").await;
    house.files.put("token", "second");
    house.api.has(SERVICE, json!([{ "ip": "192.0.2.2" }]));
    house.until_told("192.0.2.2").await;

    house.api.is(Mood::Status(403));
    house.until_said("warn", "resourceNames: [gw-gatehouse], verbs: [get, list, watch]").await;
    house.until_said("warn", "may not read service gateway/gw-gatehouse (403)").await;
    assert!(house.errors("forbidden").await > 0.0);
    house.stop().await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_a_warning() {
    let house = House::new().await;
    house.api.has(SERVICE, json!([{ "hostname": "lb.example.com" }]));
    house.until_told("lb.example.com").await;
    let pair = Material::new().servers.server(&["kafka.example.com"]);
    let (cert, key) = (house.files.put("tls.crt", &pair.cert), house.files.put("tls.key", &pair.key));
    let tls = format!("tls: {{ certificates: {{ cert: {}, key: {} }} }}", cert.display(), key.display());
    house.reload(&service(), &tls).await;
    house.until_said("warn", "no certificate of this listener is for `lb.example.com`").await;
    assert_eq!(house.page("/readyz").await.0, 200);
    house.api.has(SERVICE, json!([{ "hostname": "kafka.example.com" }]));
    house.until_said("ok", "clients are told kafka.example.com, the address of service gw-gatehouse").await;
    house.stop().await;
}

#[tokio::test]
async fn a_reload_keeps_the_watch_and_what_clients_are_told() {
    let house = House::new().await;
    house.api.has(SERVICE, json!([{ "hostname": "lb.example.com" }]));
    house.until_told("lb.example.com").await;
    let lists = || house.api.asked().iter().filter(|target| !target.contains("watch=true")).count();
    let before = lists();
    house.reload(&service(), "limits: { idle_timeout: 5m }").await;
    house.api.has(SERVICE, json!([{ "hostname": "next.example.com" }]));
    house.until_told("next.example.com").await;
    assert_eq!(lists(), before, "the listener is asked for anew");

    // Another Service, which is not there yet: clients go on with the address of the first.
    house.reload("{ service: other, port: 31092 }", "").await;
    house
        .until_said("warn", "clients are told next.example.com still; service other cannot confirm it")
        .await;
    house.until_told("next.example.com").await;
    house.api.has(SERVICE, json!([{ "hostname": "gone.example.com" }]));
    house.api.has("other", json!([{ "hostname": "other.example.com" }]));
    house.until_told("other.example.com").await;

    // A host that is written ends the watch, and its series.
    house.reload("kafka.example.com:31092", "").await;
    house.until_told("kafka.example.com").await;
    let (_, metrics) = house.page("/metrics").await;
    assert!(!metrics.contains("gatehouse_advertised_address_known{"), "{metrics}");
    house.api.has("other", json!([{ "hostname": "late.example.com" }]));
    house.reload(&service(), "").await;
    house.until_told("gone.example.com").await;
    house.stop().await;
}
