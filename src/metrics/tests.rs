//! The scrape as a whole: its form, its bounds, and the page that lists it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::advertised::Trouble;
use super::cluster::{Dial, Endpoints, NODES_MAX};
use super::listener::{Rejected, Side};
use super::tls::{Expiry, Kind, Reload};
use super::{Metrics, names};

const APIS: [&str; 3] = ["Produce", "Fetch", "Metadata"];

/// A process in which each thing that is counted happened once.
fn used() -> Metrics {
    let metrics = Metrics::new(&APIS);
    let listener = metrics.listener("office");
    let cluster = metrics.cluster("payments");
    drop(listener.opened());
    for reason in Rejected::ALL {
        listener.rejected(reason);
    }
    listener.closed("client", "relay", "closed");
    listener.protocol_error(Side::Client, "length");
    listener.client.received.inc_by(10);
    listener.client.held_back(Duration::from_millis(1500));
    listener.broker.added_latency.observe(Duration::from_micros(70));
    cluster.set_nodes([1, 2, 3]);
    for api in 0..=APIS.len() {
        cluster.requested(api);
        cluster.round_trip(api, Duration::from_millis(1));
        cluster.long_poll(api, Duration::from_millis(500));
        cluster.rewritten(api);
        cluster.endpoints_rewritten(api, Endpoints::Padded);
    }
    cluster.node(Some(1)).dialled(Dial::Ok);
    cluster.node(Some(2)).dialled(Dial::Timeout);
    cluster.set_up([(1, true), (2, false), (4, false)]);
    cluster.node(Some(2)).answered(Duration::from_millis(250));
    cluster.connect_duration.observe(Duration::from_millis(2));
    let handshakes = metrics.handshakes("office");
    handshakes.expect_failures(["revoked"]);
    handshakes.done(true, false, Duration::from_millis(1));
    metrics.set_expiries([expiry("/tls/tls.crt", 7)]);
    metrics.expect_reloads(OFFICE);
    metrics.set_unverified("payments", true);
    metrics.expect_configs();
    let advertised = metrics.advertised("office");
    advertised.set_known(true);
    advertised.failed(Trouble::Forbidden);
    metrics
}

const OFFICE: super::tls::Side<'_> = super::tls::Side { listener: "office", cluster: "" };

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn expiry(file: &str, seconds: u64) -> Expiry<'static> {
    let until = at(seconds);
    let from = Some(until - Duration::from_secs(2));
    Expiry { side: OFFICE, kind: Kind::Certificate, file: file.to_owned(), from, until, due: until }
}

fn series(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.rsplit_once(' ')?.0))
        .collect()
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn tls_tells_what_happened_and_how_long_files_last() {
    let metrics = used();
    metrics.handshakes("office").failed("revoked");
    metrics.reloaded(OFFICE, Reload::Failed);
    // The second ends first, but the first should be renewed before.
    metrics.set_expiries([expiry("/tls/new.crt", 9), Expiry { due: at(10), ..expiry("/tls/new.crt", 8) }]);
    let text = metrics.render();
    let of = |series: &str| value(&text, series);
    let new = r#"{cluster="",file="/tls/new.crt",kind="certificate",listener="office"}"#;
    let [from, until] =
        ["before", "after"].map(|what| of(&format!("gatehouse_tls_not_{what}_timestamp_seconds{new}")));
    assert_eq!((from, until), (Some(7.0), Some(9.0)), "the one that is due first");
    assert!(!text.contains("/tls/tls.crt"), "a file that is used no more");
    let handshakes = r#"gatehouse_tls_handshakes_total{listener="office",resumed="false",version="1.3"}"#;
    assert_eq!(of(handshakes), Some(1.0));
    assert_eq!(
        of(r#"gatehouse_tls_handshake_failures_total{listener="office",reason="revoked"}"#),
        Some(1.0)
    );
    assert_eq!(of(r#"gatehouse_tls_files_refused{cluster="",listener="office"}"#), Some(1.0));
    metrics.reloaded(OFFICE, Reload::Changed);
    assert!(metrics.render().contains(r#"gatehouse_tls_files_refused{cluster="",listener="office"} 0"#));
}

#[test]
fn a_scrape_has_the_form_that_prometheus_asks_for() {
    let text = used().render();
    let mut kinds = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(text.ends_with('.'), "{name} has no sentence of help");
            assert!(helped.insert(name), "{name} has HELP twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(kinds.insert(name, kind).is_none(), "{name} has TYPE twice");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(sample), "{sample} stands there twice");
            let name = sample.split('{').next().unwrap();
            let suffixes = ["_bucket", "_sum", "_count"];
            let family = suffixes.iter().filter_map(|s| name.strip_suffix(s)).find(|n| kinds.contains_key(n));
            assert!(helped.contains(family.unwrap_or(name)), "{line} before its HELP");
        }
    }
    for (name, kind) in &kinds {
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert_eq!(
            *kind == "histogram",
            name.ends_with("duration_seconds") || name.ends_with("latency_seconds")
        );
    }
    let defined: BTreeSet<_> = names::ALL.iter().map(|definition| definition.name).collect();
    assert_eq!(kinds.into_keys().collect::<BTreeSet<_>>(), defined);
}

#[test]
fn what_was_counted_is_read_back() {
    let text = used().render();
    for (series, expected) in [
        ("gatehouse_connections{listener=\"office\"}", 0.0),
        ("gatehouse_connections_accepted_total{listener=\"office\"}", 1.0),
        ("gatehouse_connections_rejected_total{listener=\"office\",reason=\"per_ip\"}", 1.0),
        ("gatehouse_received_bytes_total{listener=\"office\",side=\"client\"}", 10.0),
        ("gatehouse_received_bytes_total{listener=\"office\",side=\"broker\"}", 0.0),
        ("gatehouse_backpressure_seconds_total{side=\"client\"}", 1.5),
        ("gatehouse_added_latency_seconds_bucket{side=\"broker\",le=\"0.000064\"}", 0.0),
        ("gatehouse_added_latency_seconds_bucket{side=\"broker\",le=\"0.000128\"}", 1.0),
        ("gatehouse_added_latency_seconds_count{side=\"client\"}", 0.0),
        ("gatehouse_requests_total{api=\"other\",cluster=\"payments\"}", 1.0),
        ("gatehouse_node_endpoints_rewritten_total{api=\"Fetch\",cluster=\"payments\",path=\"padded\"}", 1.0),
        ("gatehouse_node_endpoints_rewritten_total{api=\"Fetch\",cluster=\"payments\",path=\"exact\"}", 0.0),
        ("gatehouse_broker_up{cluster=\"payments\",node=\"1\"}", 1.0),
        ("gatehouse_broker_up{cluster=\"payments\",node=\"2\"}", 0.0),
        ("gatehouse_upstream_connects_total{cluster=\"payments\",node=\"2\",result=\"timeout\"}", 1.0),
        ("gatehouse_broker_responses_total{cluster=\"payments\",node=\"2\"}", 1.0),
        ("gatehouse_broker_response_seconds_total{cluster=\"payments\",node=\"2\"}", 0.25),
        ("gatehouse_broker_responses_total{cluster=\"payments\",node=\"1\"}", 0.0),
        ("gatehouse_brokers{cluster=\"payments\"}", 3.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}\n{text}");
    }
}

#[test]
fn input_without_bound_makes_no_series() {
    let metrics = used();
    let before = metrics.render();
    let cluster = metrics.cluster("payments");
    for random in (0..1_000_000_usize).step_by(7) {
        cluster.requested(random);
        cluster.round_trip(random, Duration::ZERO);
        cluster.rewritten(random);
    }
    for node in -5000..5000 {
        cluster.node(Some(node)).dialled(Dial::Failed);
        drop(cluster.node(Some(node)).connected());
    }
    let after = metrics.render();
    assert_eq!(series(&after), series(&before));
    let failed = |node| {
        let labels = format!("cluster=\"payments\",node=\"{node}\",result=\"failed\"");
        value(&after, &format!("gatehouse_upstream_connects_total{{{labels}}}"))
    };
    assert_eq!([failed("unlisted"), failed("bootstrap"), failed("1")], [Some(9997.0), Some(0.0), Some(1.0)]);
}

/// Connections, whether it is up, responses and their time, and dials by their results.
const SERIES_OF_A_NODE: usize = 4 + Dial::ALL.len();

#[test]
fn series_of_nodes_come_and_go_with_the_table() {
    let metrics = used();
    let cluster = metrics.cluster("payments");
    let before = series(&metrics.render()).len();
    cluster.set_nodes(0..100_000);
    let most = metrics.render();
    assert_eq!(value(&most, "gatehouse_brokers{cluster=\"payments\"}"), Some(NODES_MAX as f64));
    assert_eq!(series(&most).len(), before + (NODES_MAX - 3) * SERIES_OF_A_NODE);
    cluster.set_nodes([2]);
    let text = metrics.render();
    assert_eq!(series(&text).len(), before - 2 * SERIES_OF_A_NODE);
    let still = "gatehouse_upstream_connects_total{cluster=\"payments\",node=\"2\",result=\"timeout\"}";
    assert_eq!(value(&text, still), Some(1.0), "a node that stays keeps its counts");
}

#[test]
fn an_open_connection_is_a_gauge_until_it_is_dropped() {
    let metrics = Metrics::new(&APIS);
    let listener = metrics.listener("office");
    let node = metrics.cluster("payments").node(None);
    let mut in_flight = metrics.cluster("payments").in_flight();
    let held = (listener.opened(), node.connected());
    in_flight.sent();
    in_flight.sent();
    in_flight.answered();
    let figures = || {
        let text = metrics.render();
        [
            "gatehouse_connections{listener=\"office\"}",
            "gatehouse_upstream_connections{cluster=\"payments\",node=\"bootstrap\"}",
            "gatehouse_in_flight_requests{cluster=\"payments\"}",
        ]
        .map(|series| value(&text, series))
    };
    assert_eq!(figures(), [Some(1.0); 3]);
    drop(held);
    drop(in_flight);
    assert_eq!(figures(), [Some(0.0); 3]);
}

#[test]
fn the_page_lists_what_is_registered() {
    let mut page = String::from(PAGE_HEAD);
    for definition in names::ALL {
        let labels = if definition.labels.is_empty() {
            String::new()
        } else {
            format!("`{}`", definition.labels.join("`, `"))
        };
        let kind = format!("{:?}", definition.kind).to_lowercase();
        page += &format!("| `{}` | {kind} | {labels} | {} |\n", definition.name, definition.help);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("GATEHOUSE_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/metrics.md is old: run this test with GATEHOUSE_BLESS=1");
}

#[test]
fn other_pages_name_what_is_there() {
    let page = include_str!("../../docs/operations.md");
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let words =
        page.split(|c| !is_name(c)).filter(|w| w.starts_with("gatehouse_") || w.starts_with("process_"));
    let mut seen = 0;
    for word in words {
        let name = word.strip_suffix("_bucket").unwrap_or(word);
        assert!(names::ALL.iter().any(|definition| definition.name == name), "there is no {name}");
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

const PAGE_HEAD: &str = "\
# Metrics

`GET /metrics` on the admin address, in Prometheus' text format 0.0.4. A test writes this table from the
program and fails when it is old.

No label holds anything that a peer sent: `listener` and `cluster` are names of the configuration, `node`
is a node id of the broker table (1,000 at most; `bootstrap` for an address of the configuration,
`unlisted` for the rest), `api` is Kafka's name of the API or `other`, and `reason`, `result`, `side`,
`stage` and `path` come from closed lists. Client ids, addresses and topics are not in metrics;
`/api/v1/connections` has the connections that are open now.

Histograms have power-of-two buckets, from 64 µs to 16.8 s where the table says nothing else.

| metric | type | labels | meaning |
|---|---|---|---|
";

#[test]
fn what_the_configuration_has_no_more_disappears_and_does_not_come_back() {
    let metrics = used();
    let (listener, cluster) = (metrics.listener("office"), metrics.cluster("payments"));
    let open = listener.opened();
    metrics.forget_listener("office");
    metrics.forget_cluster("payments");
    drop(open);
    listener.closed("client", "relay", "closed");
    cluster.set_nodes([7]);
    cluster.round_trip(1, Duration::from_millis(1));
    let text = metrics.render();
    assert!(!text.contains("office") && !text.contains("payments"), "{text}");
    metrics.listener("office");
    let text = metrics.render();
    assert_eq!(value(&text, r#"gatehouse_connections_accepted_total{listener="office"}"#), Some(0.0));
}

#[test]
fn a_listener_that_ends_tls_no_more_keeps_its_other_series() {
    let metrics = used();
    metrics.forget_handshakes("office");
    metrics.forget_side(OFFICE);
    let text = metrics.render();
    assert!(!text.contains("gatehouse_tls_handshake") && !text.contains("gatehouse_tls_reloads"), "{text}");
    assert_eq!(value(&text, r#"gatehouse_connections_accepted_total{listener="office"}"#), Some(1.0));
    metrics.handshakes("office").done(true, false, Duration::from_millis(1));
    let again = r#"gatehouse_tls_handshakes_total{listener="office",resumed="false",version="1.3"}"#;
    assert_eq!(value(&metrics.render(), again), Some(1.0));
}
