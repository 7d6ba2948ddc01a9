//! The files of `deploy/` that no other test starts: they agree with the program and with each other.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// A part of the file whose merges (`<<`) are done.
fn compose() -> Value {
    let text = text("deploy/compose/compose.yaml");
    let options = serde_saphyr::options! { merge_keys: serde_saphyr::options::MergeKeyPolicy::Merge };
    serde_saphyr::from_str_with_options(&text, options).unwrap()
}

/// What the gateway prints for the configuration of the compose file, as JSON.
fn gatehouse(command: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(command)
        .args(["--output", "json", "--config", "deploy/compose/gatehouse.yaml"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

#[test]
fn compose_publishes_the_ports_that_the_gateway_has() {
    let routes = gatehouse(&["routes"]);
    let mut bound: BTreeSet<&str> =
        routes.as_array().unwrap().iter().flat_map(|route| strings(&route["bind"])).collect();
    let configuration = gatehouse(&["config", "show"]);
    bound.insert(configuration["admin"]["bind"].as_str().unwrap());
    let bound: BTreeSet<&str> =
        bound.into_iter().map(|bind| bind.strip_prefix("0.0.0.0:").unwrap()).collect();
    let compose = compose();
    let gateway = &compose["services"]["gatehouse"];
    let mut published = BTreeSet::new();
    for port in strings(&gateway["ports"]) {
        let (outside, inside) = port.strip_prefix("127.0.0.1:").unwrap().split_once(':').unwrap();
        assert_eq!(outside, inside, "clients are told the port of the container");
        published.insert(inside);
    }
    assert_eq!(published, bound);
    for route in routes.as_array().unwrap() {
        let (host, port) = route["advertise"].as_str().unwrap().split_once(':').unwrap();
        assert_eq!(host, "localhost");
        assert!(published.contains(port), "{route}");
    }
    assert_eq!(gateway["read_only"], true);
    assert_eq!(strings(&gateway["cap_drop"]), ["ALL"]);
}

#[test]
fn compose_starts_the_brokers_that_the_gateway_asks() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    let mut brokers = BTreeMap::new();
    for (name, service) in services.iter().filter(|(name, _)| *name != "gatehouse") {
        let setting = |key: &str| service["environment"][key].clone();
        let node = setting("KAFKA_NODE_ID").as_u64().unwrap();
        assert_eq!(setting("KAFKA_ADVERTISED_LISTENERS"), format!("PLAINTEXT://{name}:9092"));
        assert_eq!(setting("KAFKA_LISTENERS"), format!("PLAINTEXT://{name}:9092,CONTROLLER://{name}:9093"));
        let voters = setting("KAFKA_CONTROLLER_QUORUM_VOTERS");
        assert!(voters.as_str().unwrap().split(',').any(|voter| voter == format!("{node}@{name}:9093")));
        // Kafka takes 16 bytes in base64.
        assert_eq!(setting("CLUSTER_ID").as_str().unwrap().len(), 22);
        assert!(service.get("ports").is_none(), "a way around the gateway: {name}");
        brokers.insert(format!("{name}:9092"), node);
    }
    let configuration = gatehouse(&["config", "show"]);
    let bootstrap = strings(&configuration["clusters"]["main"]["bootstrap"]);
    assert_eq!(bootstrap, brokers.keys().map(String::as_str).collect::<Vec<_>>());
    let routed: BTreeSet<u64> = gatehouse(&["routes"])
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|route| route["node"].as_u64())
        .collect();
    assert_eq!(routed, brokers.into_values().collect());
}

/// A step before the start that fails is restarted whatever it ends with: only the main process counts.
#[test]
fn the_unit_gives_up_on_what_does_not_get_better_and_on_nothing_else() {
    let unit = text("deploy/systemd/gatehouse.service");
    let (about, service) = unit.split_once("[Service]").unwrap();
    let has = |part: &str, line: &str| part.lines().any(|other| other == line);
    assert!(has(about, "StartLimitIntervalSec=0"));
    for line in ["Restart=on-failure", "RestartSec=5", "RestartPreventExitStatus=2 66 78"] {
        assert!(has(service, line), "{line}");
    }
    assert!(!unit.contains("ExecStartPre="));
}

#[test]
fn versions_agree() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(text("deploy/helm/gatehouse/Chart.yaml").contains(&format!("appVersion: {version}\n")));
    assert!(text("deploy/compose/compose.yaml").contains(&format!("gatehouse:{version}")));
    let toolchain = text("rust-toolchain.toml");
    let channel = toolchain.split('"').nth(1).unwrap();
    assert!(text("deploy/Dockerfile").contains(&format!("rust:{channel}-")), "{channel}");
}

#[test]
fn both_images_are_built_with_the_same_features() {
    let release = text("deploy/release");
    let features = release.lines().find_map(|line| line.strip_prefix("features=")).unwrap();
    let dockerfile = text("deploy/Dockerfile");
    let compiles = dockerfile.lines().find(|line| line.contains("cargo build")).unwrap();
    assert!(compiles.ends_with(&format!(" --features {features}")), "{compiles}");
}
