//! Differences as a person reads them.

use super::*;
use crate::config::Surroundings;
use crate::limits::machine::Machine;

const FILE: &str = "\
clusters:
  payments:
    bootstrap: [kafka-0:9092, kafka-1:9092]
    discovery:
      sasl: { mechanism: SCRAM-SHA-512, username: gatehouse, password: hunter2 }
  orders: { bootstrap: kafka-2:9092 }
listeners:
  internet:
    bind: 0.0.0.0:9092
    cluster: payments
    advertise: kafka.example.com
    limits: { max_connections: 5000 }
  office:
    bind: 127.0.0.1:19092
    cluster: orders
    advertise: kafka.office.example.com
    routing: { port: { ranges: [ { nodes: 0-49, bind: 19100 } ] } }
limits: { max_connections: 9000 }
";

fn config(text: &str) -> Config {
    let surroundings = Surroundings {
        environment: crate::config::yaml::Environment::default(),
        machine: Machine { descriptors: 1 << 20, memory_bytes: 64 << 30 },
        host_name: "gw".to_owned(),
        elsewhere: false,
        certificates: false,
    };
    super::super::load("a.yaml", text, &surroundings).unwrap().0
}

/// Each change as a line, for a file in which some text is replaced.
fn changes(replaced: &[(&str, &str)]) -> Vec<String> {
    let mut text = FILE.to_owned();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let line = |c: &Change| format!("{} | {} | {}", c.subject, c.what(), c.effect);
    difference(&config(FILE), &config(&text)).list.iter().map(line).collect()
}

fn change(from: &str, to: &str) -> String {
    let changes = changes(&[(from, to)]);
    assert_eq!(changes.len(), 1, "{changes:?}");
    changes.concat()
}

#[test]
fn nothing_is_different_where_the_meaning_is_the_same() {
    assert_eq!(changes(&[]), [""; 0]);
    assert_eq!(changes(&[("advertise: kafka.example.com", "advertise: kafka.example.com:9092")]), [""; 0]);
    let moved = FILE.replace("limits: { max_connections: 9000 }\n", "");
    let moved = format!("limits: {{ max_connections: 9000 }}\n# a comment\n{moved}");
    assert_eq!(difference(&config(FILE), &config(&moved)), Changes::default());
}

#[test]
fn each_setting_says_what_it_was_what_it_is_and_what_that_does() {
    for (from, to, expected) in [
        (
            "max_connections: 5000",
            "max_connections: 8000",
            "listener internet | limits.max_connections 5000 -> 8000 | applies to new connections",
        ),
        (
            "limits: { max_connections: 5000 }",
            "limits: { max_connections: 5000, max_connections_per_ip: 9 }",
            "listener internet | limits.max_connections_per_ip not set -> 9 | applies to new connections",
        ),
        (
            "    cluster: payments\n",
            "    cluster: orders\n",
            "listener internet | cluster payments -> orders | every connection of the listener drains",
        ),
        (
            "bootstrap: kafka-2:9092",
            "bootstrap: [kafka-3:9092, kafka-4:9092]",
            "cluster orders | bootstrap [kafka-2:9092] -> [kafka-3:9092, kafka-4:9092] | asks the cluster anew; \
             what is connected to brokers that are elsewhere drains",
        ),
        (
            "bootstrap: kafka-2:9092 }",
            "bootstrap: kafka-2:9092, connect_timeout: 1s }",
            "cluster orders | connect_timeout 5s -> 1s | applies to new connections",
        ),
        (
            "limits: { max_connections: 9000 }",
            "limits: { max_connections: 9000, held_bytes: 1GiB }",
            "process | limits.held_bytes 17179869184B -> 1073741824B | applies at once",
        ),
        (
            "limits: { max_connections: 9000 }",
            "limits: { max_connections: 9000 }\nadmin: { bind: 127.0.0.1:9911 }",
            "process | admin.bind 127.0.0.1:9910 -> 127.0.0.1:9911 | needs a restart of the process",
        ),
        (
            "limits: { max_connections: 9000 }",
            "limits: { max_connections: 9000 }\nshutdown: { ready_delay: 1s }",
            "process | shutdown.ready_delay 5s -> 1s | applies to the next stop",
        ),
    ] {
        assert_eq!(change(from, to), expected);
    }
    assert_eq!(
        change("kafka.office.example.com", "kafka.office.example.net"),
        "listener office | advertise kafka.office.example.com:19092 -> kafka.office.example.net:19092 | clients \
         hear of it with their next metadata"
    );
}

#[test]
fn ports_are_counted_once_for_a_listener() {
    assert_eq!(
        change("nodes: 0-49", "nodes: 0-99"),
        "listener office | routing.port.ranges[0].nodes 0-49 -> 0-99 | opens 50 ports"
    );
    assert_eq!(
        change("nodes: 0-49", "nodes: 0-9"),
        "listener office | routing.port.ranges[0].nodes 0-49 -> 0-9 | closes 40 ports; what is connected there \
         drains"
    );
    let moved = changes(&[("nodes: 0-49, bind: 19100", "nodes: 10-59, bind: 19200")]);
    assert_eq!(moved.len(), 3, "{moved:?}");
    assert!(moved[0].contains("opens 50 ports, closes 50 ports"), "{moved:?}");
    assert!(moved[1..].iter().all(|line| line.ends_with("with their next metadata")), "{moved:?}");
    let renumbered = change("nodes: 0-49, bind: 19100", "nodes: 1-50, bind: 19100");
    assert!(renumbered.contains("| closes 50 ports"), "each of them leads to another node: {renumbered}");
}

#[test]
fn what_comes_and_goes_is_one_line() {
    let gone: String = FILE.replace(
        "  office:
    bind: 127.0.0.1:19092
    cluster: orders
    advertise: kafka.office.example.com
    routing: { port: { ranges: [ { nodes: 0-49, bind: 19100 } ] } }
",
        "",
    );
    let gone = config(&gone.replace("  orders: { bootstrap: kafka-2:9092 }\n", ""));
    let line = |c: &Change| format!("{} | {} | {} | {}", c.path(), c.subject, c.what(), c.effect);
    let lines = |changes: Changes| changes.list.iter().map(line).collect::<Vec<_>>();
    assert_eq!(
        lines(difference(&config(FILE), &gone)),
        [
            "listeners.office | listener office | removed | closes 51 ports; what is connected there drains",
            "clusters.orders | cluster orders | removed | is followed no more",
        ]
    );
    assert_eq!(
        lines(difference(&gone, &config(FILE))),
        [
            "listeners.office | listener office | added | opens 51 ports",
            "clusters.orders | cluster orders | added | is followed from now on",
        ]
    );
}

#[test]
fn secrets_are_compared_and_never_shown() {
    assert_eq!(
        change("hunter2", "hunter3"),
        "cluster payments | discovery.sasl.password changed (value hidden) | the gateway's own next login only"
    );
    let token = |token: &str| ("limits: { max_connections: 9000 }", format!("admin: {{ token: {token} }}"));
    let (from, to) = token("hunter4");
    let lines = changes(&[(from, &to)]);
    assert!(lines.iter().any(|line| line.contains("admin.token changed (value hidden)")), "{lines:?}");
    let sasl =
        "    discovery:\n      sasl: { mechanism: SCRAM-SHA-512, username: gatehouse, password: hunter2 }\n";
    let lines = changes(&[(sasl, "")]).concat();
    assert!(lines.contains("discovery changed (value hidden)") && !lines.contains("hunter"), "{lines}");
    let all = format!("{:?}", difference(&config(FILE), &config(&FILE.replace("hunter2", "hunter3"))));
    assert!(!all.contains("hunter"), "{all}");
}
