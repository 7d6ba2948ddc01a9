//! Clusters whose clients must log in: their logins pass through, the gateway's own serves its Metadata requests alone.

use crate::{
    Result, clients,
    cluster::{Cluster, NODES, PLAIN_USER, SASL_PORT},
    gateway::{Gateway, PORT, door, quoted},
    jars::SCRAM_USER,
    lab::{DOOR, Lab, Side},
    matrix::advertised,
    suite::no_leaks,
};

/// Discovery with a SCRAM login; Java logs in with PLAIN and SCRAM, Sarama with SaslHandshake v0 and raw tokens.
pub(crate) fn scram_discovery(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let gateway = Gateway::start_with(lab, "gateway-sasl-scram", &with_login("SCRAM-SHA-512", SCRAM_USER))?;
    let scram = module("scram.ScramLoginModule", SCRAM_USER);
    round_trip(lab, "java-4.4", "scram-256", &java(PROTOCOL, "SCRAM-SHA-256", &scram))?;
    round_trip(lab, "java-2.8", "scram-512", &java(PROTOCOL, "SCRAM-SHA-512", &scram))?;
    let plain = module("plain.PlainLoginModule", PLAIN_USER);
    round_trip(lab, "java-0.11", "plain-old", &java(PROTOCOL, "PLAIN", &plain))?;
    let (user, password) = PLAIN_USER;
    for sasl in ["plain-v0", "plain"] {
        let login = [format!("sasl={sasl}"), format!("user={user}"), format!("password={password}")];
        round_trip(lab, "sarama-2.8", sasl, &login)?;
    }
    round_trip(
        lab,
        "confluent-python",
        "librdkafka-scram",
        &librdkafka("sasl_plaintext", "SCRAM-SHA-512", SCRAM_USER),
    )?;
    close(lab, gateway)?;
    Ok("Java 4.4, 2.8, 0.11, Sarama with handshake v0 and v1, librdkafka".to_owned())
}

/// Discovery with a PLAIN login.
pub(crate) fn plain_discovery(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let gateway = Gateway::start_with(lab, "gateway-sasl-plain", &with_login("PLAIN", PLAIN_USER))?;
    round_trip(lab, "kcat", "plain-discovery", &librdkafka("sasl_plaintext", "PLAIN", PLAIN_USER))?;
    close(lab, gateway)?;
    Ok("librdkafka".to_owned())
}

/// No login of the gateway's own, but a map of the nodes.
pub(crate) fn static_nodes(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let nodes: Vec<String> =
        NODES.iter().map(|node| format!("{node}: \"{}\"", Cluster::address(*node, SASL_PORT))).collect();
    let configuration = configuration(&format!("    nodes: {{ {} }}\n", nodes.join(", ")));
    let gateway = Gateway::start_with(lab, "gateway-static", &configuration)?;
    round_trip(lab, "kcat", "static-nodes", &librdkafka("sasl_plaintext", "PLAIN", PLAIN_USER))?;
    close(lab, gateway)?;
    Ok("librdkafka".to_owned())
}

/// Neither login nor map: what passes teaches the gateway where the brokers are.
pub(crate) fn learn_only(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let gateway =
        Gateway::start_with(lab, "gateway-learn-only", &configuration("    discovery: learn-only\n"))?;
    round_trip(
        lab,
        "confluent-python",
        "learn-only",
        &librdkafka("sasl_plaintext", "SCRAM-SHA-256", SCRAM_USER),
    )?;
    let plain = module("plain.PlainLoginModule", PLAIN_USER);
    round_trip(lab, "java-4.4", "learn-only-java", &java(PROTOCOL, "PLAIN", &plain))?;
    close(lab, gateway)?;
    Ok("librdkafka, Java".to_owned())
}

/// Describes, produces and consumes with a login of the client's own.
fn round_trip(lab: &Lab, client: &str, prefix: &str, login: &[String]) -> Result<()> {
    lab.inside(Side::Brokers, || {
        crate::wire::create_topic(&crate::cluster::bootstrap(), prefix, &crate::wire::spread(3, 3), &[])
    })?;
    let mut arguments = vec![
        format!("bootstrap={}", door()),
        "functions=describe,produce,consume".to_owned(),
        format!("prefix={prefix}"),
        format!("count={COUNT}"),
    ];
    arguments.extend_from_slice(login);
    for outcome in clients::run(lab, Side::Clients, client, &format!("sasl-{prefix}"), &arguments)? {
        let done = match outcome.function.as_str() {
            "describe" => outcome.detail == advertised(),
            "produce" => outcome.sent == COUNT,
            _ => outcome.read == COUNT,
        };
        if !outcome.ok || !done {
            return Err(format!("{client} {prefix}: {outcome:?}").into());
        }
    }
    Ok(())
}

fn close(lab: &Lab, gateway: Gateway<'_>) -> Result<()> {
    gateway.stop()?;
    no_leaks(lab)
}

fn with_login(mechanism: &str, (user, password): (&str, &str)) -> String {
    configuration(&format!(
        "    discovery: {{ sasl: {{ mechanism: {mechanism}, username: {user}, password: {password} }} }}\n"
    ))
}

fn configuration(more: &str) -> String {
    let bootstrap: Vec<String> = NODES.iter().map(|node| Cluster::address(*node, SASL_PORT)).collect();
    format!(
        "clusters:\n  main:\n    bootstrap: [{}]\n{more}listeners:\n  external:\n    bind: {DOOR}:{PORT}\n    advertise: {DOOR}\n",
        quoted(&bootstrap)
    )
}

/// Java's configuration of one of Kafka's login modules.
pub(crate) fn module(name: &str, (user, password): (&str, &str)) -> String {
    format!("org.apache.kafka.common.security.{name} required username=\"{user}\" password=\"{password}\";")
}

/// The arguments of a Java client that logs in.
pub(crate) fn java(protocol: &str, mechanism: &str, module: &str) -> Vec<String> {
    vec![
        format!("client.security.protocol={protocol}"),
        format!("client.sasl.mechanism={mechanism}"),
        format!("client.sasl.jaas.config={module}"),
    ]
}

/// The arguments of a client on librdkafka that logs in.
pub(crate) fn librdkafka(protocol: &str, mechanism: &str, (user, password): (&str, &str)) -> Vec<String> {
    vec![
        format!("client.security.protocol={protocol}"),
        format!("client.sasl.mechanism={mechanism}"),
        format!("client.sasl.username={user}"),
        format!("client.sasl.password={password}"),
    ]
}

const COUNT: u64 = 100;
const PROTOCOL: &str = "SASL_PLAINTEXT";
