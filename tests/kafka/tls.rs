//! Real clients at a door with TLS: by port and by name, with and without certificates, while leaders move.

use crate::{
    Result,
    certificates::{self, principal},
    cluster::{Cluster, SSL_PORT, bootstrap},
    doors::{self, Mode, Visit, configuration, over_tls, path},
    faults,
    gateway::Gateway,
    lab::{Lab, Side, broker_name},
    poll::{self, LIMIT},
    secure::{self, Attempt, Version},
    suite::no_leaks,
};

/// TLS on both sides with one client; it runs on every version of the brokers, whose Java libraries differ.
pub(crate) fn both_sides(lab: &Lab, cluster: &mut Cluster<'_>) -> Result<String> {
    let (brokers, trust) = over_tls(lab, SSL_PORT);
    let listener = Mode::Sni.listener(&lab.certificates().files("door"), "", "");
    let gateway =
        Gateway::start_with(lab, "gateway-tls-both", &configuration(&brokers, &trust, &[listener]))?;
    let label = format!("both-{}", cluster.kafka.version);
    for (client, version) in [("franz-go", Version::Tls13), ("aiokafka", Version::Tls12)] {
        Visit { mode: Mode::Sni, client, version, identity: None, label: &label }.run(lab, &[])?;
    }
    gateway.stop()?;
    no_leaks(lab)?;
    Ok("franz-go, aiokafka".to_owned())
}

/// Every client with both versions, a port for each broker; the brokers without TLS.
pub(crate) fn port(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    every_client(lab, Mode::Port, (bootstrap(), String::new()))
}

/// Every client with both versions, a name for each broker; the brokers with TLS.
pub(crate) fn sni(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    every_client(lab, Mode::Sni, over_tls(lab, SSL_PORT))
}

/// Names that lead nowhere: of a node outside the range and of nobody at once, of a node that is not there after it
/// was looked for.
fn strangers(lab: &Lab) -> Result<()> {
    let (_, address) = Mode::Sni.broker(1);
    for version in Version::ALL {
        let config = secure::client(lab, version, None)?;
        for (name, fault) in [
            (broker_name(9), "UnrecognisedName"),
            (broker_name(4), "Connection reset"),
            ("nobody.kafka.test".to_owned(), "UnrecognisedName"),
        ] {
            match lab.inside(Side::Clients, || Ok(secure::attempt(&address, &name, &config)))? {
                Attempt::Refused(why) if why.contains(fault) => (),
                other => return Err(format!("{version:?} to {name}: {other:?}").into()),
            }
        }
    }
    Ok(())
}

fn every_client(lab: &Lab, mode: Mode, (brokers, cluster): (Vec<String>, String)) -> Result<String> {
    let listener = mode.listener(&lab.certificates().files("door"), "", "");
    let label = format!("gateway-tls-{}", mode.name());
    let gateway = Gateway::start_with(lab, &label, &configuration(&brokers, &cluster, &[listener]))?;
    java_stores(lab)?;
    if mode == Mode::Sni {
        strangers(lab)?;
    }
    let mut counts = Vec::new();
    for version in Version::ALL {
        let before = handshakes(&gateway, mode)?;
        let clients = CLIENTS.iter().filter(|client| version == Version::Tls12 || **client != ONLY_12);
        let visits: Vec<Visit<'_>> =
            clients.map(|client| Visit { mode, client, version, identity: None, label: "tls" }).collect();
        doors::visits(lab, &visits)?;
        let after = handshakes(&gateway, mode)?;
        let [done, other] = match version {
            Version::Tls12 => [0, 1],
            Version::Tls13 => [1, 0],
        }
        .map(|index| after[index] - before[index]);
        if done == 0 || other != 0 {
            return Err(format!("clients with {version:?}: {done} handshakes of it, {other} others").into());
        }
        counts.push(format!("TLS {}: {done} handshakes", version.number()));
    }
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!("{} clients; {}", CLIENTS.len(), counts.join(", ")))
}

/// Certificates required at both kinds of listener: clients with one do everything, one without gets nowhere.
pub(crate) fn mutual(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let certificates = lab.certificates();
    let asks = format!(", client_auth: required, client_ca: {}", path(&certificates.path("clients-ca.pem")));
    let listeners = Mode::ALL.map(|mode| mode.listener(&certificates.files("door"), &asks, ""));
    let text = configuration(&bootstrap(), "    metadata_refresh: 10m\n", &listeners);
    let gateway = Gateway::start_with(lab, "gateway-mtls", &text)?;
    java_stores(lab)?;
    let alice = certificates.files("alice");
    certificates::store(&alice)?;
    let visits: Vec<Visit<'_>> = WITH_CERTIFICATE
        .iter()
        .zip(0..)
        .flat_map(|(client, number)| {
            let alice = &alice;
            Mode::ALL.into_iter().zip(0..).map(move |(mode, shift)| Visit {
                mode,
                client,
                version: Version::ALL[(number + shift) % 2],
                identity: Some(alice),
                label: "mtls",
            })
        })
        .collect();
    doors::visits(lab, &visits)?;
    let refused = without_certificate(lab, &gateway)?;
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!("{} visits of {}, {refused} refused without a certificate", visits.len(), principal("alice")))
}

/// Each way in with each version, without a certificate: refused, and no broker hears of it.
fn without_certificate(lab: &Lab, gateway: &Gateway<'_>) -> Result<u64> {
    let count = |name: &str| gateway.metric(name, &[]);
    let before = [count("gatehouse_upstream_connects_total")?, count("gatehouse_requests_total")?];
    let mut tries = 0;
    for mode in Mode::ALL {
        for version in Version::ALL {
            let nobody = secure::client(lab, version, None)?;
            let (name, address) = mode.broker(2);
            match lab.inside(Side::Clients, || Ok(secure::attempt(&address, &name, &nobody)))? {
                Attempt::Refused(why) if why.contains("CertificateRequired") => (),
                other => return Err(format!("{mode:?} {version:?} without a certificate: {other:?}").into()),
            }
            tries += 1;
        }
    }
    // Counted when the gateway has seen the client go, which is after the client has seen the refusal.
    let labels = ["reason=\"no_certificate\""];
    let counted =
        || -> Result<u64> { Ok(gateway.metric("gatehouse_tls_handshake_failures_total", &labels)? as u64) };
    poll::until_true("count of tries without a certificate", LIMIT, || Ok(counted()? >= tries))?;
    let counted = counted()?;
    let after = [count("gatehouse_upstream_connects_total")?, count("gatehouse_requests_total")?];
    if counted != tries || before != after {
        return Err(format!(
            "{tries} tries: {counted} counted, connects and requests {before:?} to {after:?}"
        )
        .into());
    }
    Ok(tries)
}

/// Leaders move while clients produce and consume over TLS, by name and with certificates.
pub(crate) fn leaders_move(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let certificates = lab.certificates();
    let asks = format!(", client_auth: required, client_ca: {}", path(&certificates.path("clients-ca.pem")));
    let listener = Mode::Sni.listener(&certificates.files("door"), &asks, "");
    let (brokers, cluster) = over_tls(lab, SSL_PORT);
    let gateway =
        Gateway::start_with(lab, "gateway-tls-moves", &configuration(&brokers, &cluster, &[listener]))?;
    faults::moves(lab, gateway, "tls-moved", &Mode::Sni.bootstrap(), |client| {
        let version = if client == "franz-go" { Version::Tls13 } else { Version::Tls12 };
        secure::arguments(lab, client, version, Some(&certificates.files("alice")))
    })
}

/// The store that Java clients with PKCS#12 trust.
fn java_stores(lab: &Lab) -> Result<()> {
    let certificates = lab.certificates();
    certificates::trust_store(&certificates.path("doors-ca.pem"), &certificates.path("doors-ca.p12"))
}

/// Completed handshakes of a listener: TLS 1.2, TLS 1.3.
fn handshakes(gateway: &Gateway<'_>, mode: Mode) -> Result<[u64; 2]> {
    let listener = format!("listener=\"{}\"", mode.name());
    let count = |version: Version| -> Result<u64> {
        let version = format!("version=\"{}\"", version.number());
        Ok(gateway.metric("gatehouse_tls_handshakes_total", &[&listener, &version])? as u64)
    };
    Ok([count(Version::Tls12)?, count(Version::Tls13)?])
}

/// The clients of the door without client certificates; `+stores` is Java with PKCS#12 stores in place of PEM files.
const CLIENTS: [&str; 10] = [
    "java-4.4",
    "java-4.4+stores",
    "java-2.8+stores",
    ONLY_12,
    "confluent-python",
    "kcat",
    "franz-go",
    "sarama-4.0",
    "aiokafka",
    "kafkajs",
];

/// Kafka's own clients learned TLS 1.3 in 2.6.
const ONLY_12: &str = "java-2.4";

/// Those that show a certificate.
const WITH_CERTIFICATE: [&str; 7] =
    ["java-4.4", "java-4.4+stores", "java-2.8+stores", "confluent-python", "kcat", "franz-go", "aiokafka"];
