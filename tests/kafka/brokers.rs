//! TLS towards the brokers: whom the gateway trusts, who it is there, and what it says when it must not go on.

use std::{collections::BTreeSet, fs};

use crate::{
    Result, audit,
    certificates::{Files, principal},
    cluster::{Cluster, MTLS_PORT, PLAIN_USER, SASL_SSL_PORT, SSL_PORT, addresses},
    doors::{Mode, Visit, configuration, over_tls, path},
    gateway::Gateway,
    jars::SCRAM_USER,
    lab::{Lab, WRONG_NAME},
    sasl,
    secure::Version,
    suite::no_leaks,
};

/// Every way to the brokers' TLS listeners, those that must fail among them.
pub(crate) fn run(lab: &Lab, cluster: &mut Cluster<'_>) -> Result<String> {
    trust_in_a_directory(lab)?;
    login_over_tls(lab)?;
    let requests = identities(lab, cluster)?;
    loud(lab)?;
    no_leaks(lab)?;
    Ok(format!(
        "trust by directory, SASL_SSL, three refusals; {requests} requests, each by the right principal"
    ))
}

/// An authority among others in a directory, one version of the clients and of the door.
fn trust_in_a_directory(lab: &Lab) -> Result<()> {
    let certificates = lab.certificates();
    let directory = certificates.path("authorities");
    fs::create_dir_all(&directory)?;
    for (name, authority) in [("old.crt", &certificates.clients), ("new.crt", &certificates.brokers)] {
        fs::write(directory.join(name), authority.pem())?;
    }
    fs::write(directory.join("README"), "not a certificate\n")?;
    let trust = format!("    tls: {{ ca: {}, min_version: \"1.3\" }}\n", path(&directory));
    let listener = Mode::Port.listener(&certificates.files("door"), "", "");
    let text = configuration(&addresses(SSL_PORT), &trust, &[listener]);
    let gateway = Gateway::start_with(lab, "gateway-directory", &text)?;
    visit("kcat", Mode::Port, "directory").run(lab, &[])?;
    gateway.stop()
}

/// The gateway finds the brokers with a login of its own; clients bring theirs. Both go over TLS twice.
fn login_over_tls(lab: &Lab) -> Result<()> {
    let (brokers, mut cluster) = over_tls(lab, SASL_SSL_PORT);
    let (user, password) = SCRAM_USER;
    cluster.push_str(&format!(
        "    discovery: {{ sasl: {{ mechanism: SCRAM-SHA-512, username: {user}, password: {password} }} }}\n"
    ));
    let listener = Mode::Sni.listener(&lab.certificates().files("door"), "", "");
    let gateway =
        Gateway::start_with(lab, "gateway-sasl-ssl", &configuration(&brokers, &cluster, &[listener]))?;
    let scram = sasl::module("scram.ScramLoginModule", SCRAM_USER);
    visit("java-4.4", Mode::Sni, "sasl-ssl").run(lab, &sasl::java("SASL_SSL", "SCRAM-SHA-256", &scram))?;
    let plain = sasl::librdkafka("sasl_ssl", "PLAIN", PLAIN_USER);
    visit("confluent-python", Mode::Sni, "sasl-ssl").run(lab, &plain)?;
    gateway.stop()
}

/// Brokers that require certificates: the gateway's own requests come from one principal, those of its clients from
/// another, and no client's own name gets there. The brokers themselves say so, in their logs of requests.
fn identities(lab: &Lab, cluster: &Cluster<'_>) -> Result<usize> {
    let certificates = lab.certificates();
    let (own, theirs) = (certificates.client("discovery")?, certificates.client("upstream")?);
    let (brokers, mut text) = over_tls(lab, MTLS_PORT);
    text.push_str(&format!("    discovery: {{ tls: {} }}\n", pair(&own)));
    let asks = format!(", client_auth: required, client_ca: {}", path(&certificates.path("clients-ca.pem")));
    let upstream = format!("    upstream_identity: {{ tls: {} }}\n", pair(&theirs));
    let listener = Mode::Sni.listener(&certificates.files("door"), &asks, &upstream);
    audit::log(lab, "DEBUG")?;
    let gateway =
        Gateway::start_with(lab, "gateway-identities", &configuration(&brokers, &text, &[listener]))?;
    let alice = certificates.files("alice");
    for (client, version) in [("franz-go", Version::Tls13), ("java-4.4", Version::Tls12)] {
        Visit { identity: Some(&alice), version, ..visit(client, Mode::Sni, "identity") }.run(lab, &[])?;
    }
    gateway.stop()?;
    audit::log(lab, "WARN")?;
    let seen = audit::requests(cluster, "MTLS")?;
    let expected = |name: &str| format!("User:{}", principal(name));
    let principals: BTreeSet<&String> = seen.keys().collect();
    if principals != BTreeSet::from([&expected("discovery"), &expected("upstream")]) {
        return Err(format!("the brokers saw {principals:?}").into());
    }
    let of = |name: &str| seen.get(&expected(name)).cloned().unwrap_or_default();
    let (own, theirs) = (of("discovery"), of("upstream"));
    let other = own.keys().find(|api| !["METADATA", "API_VERSIONS"].contains(&api.as_str()));
    let worked = ["PRODUCE", "FETCH", "JOIN_GROUP", "END_TXN"].iter().all(|api| theirs.contains_key(*api));
    if other.is_some() || own.is_empty() || !worked {
        return Err(format!("the gateway's own: {own:?}; its clients': {theirs:?}").into());
    }
    Ok(own.values().chain(theirs.values()).sum())
}

/// A name that the certificate does not hold, an authority that did not sign it, and the switch that looks away.
fn loud(lab: &Lab) -> Result<()> {
    let certificates = lab.certificates();
    let trust = |ca: &str| format!("ca: {}", path(&certificates.path(ca)));
    let cases = [
        ("wrong-name", WRONG_NAME, trust("brokers-ca.pem"), "certificate not valid for name"),
        ("wrong-authority", "10.77.0.1", trust("doors-ca.pem"), "UnknownIssuer"),
    ];
    for (label, host, tls, fault) in cases {
        let gateway = launch(lab, label, host, &tls)?;
        gateway.wait_for_log(&["WARN", host, fault])?;
        let (head, detail) = gateway.request("GET", "/readyz?verbose", None)?;
        if !head.contains(" 503") || !detail.contains(fault) {
            return Err(format!("{label}: readiness says {head}: {detail}").into());
        }
        if gateway.metric("gatehouse_upstream_connects_total", &["result=\"ok\""])? > 0.0 {
            return Err(format!("{label}: a connection was made").into());
        }
        gateway.stop()?;
    }
    let mut gateway = launch(lab, "insecure", WRONG_NAME, "verify: insecure-none")?;
    gateway.wait_until_ready()?;
    visit("kcat", Mode::Sni, "insecure").run(lab, &[])?;
    gateway.wait_for_log(&["WARN", "are not checked: anybody can be one"])?;
    if gateway.metric("gatehouse_upstream_tls_unverified", &["cluster=\"main\""])? != 1.0 {
        return Err("insecure-none is not counted".into());
    }
    gateway.stop()
}

fn launch<'lab>(lab: &'lab Lab, label: &str, host: &str, tls: &str) -> Result<Gateway<'lab>> {
    let listener = Mode::Sni.listener(&lab.certificates().files("door"), "", "");
    let brokers = [format!("{host}:{SSL_PORT}")];
    let text = configuration(&brokers, &format!("    tls: {{ {tls} }}\n"), &[listener]);
    Gateway::launch(lab, &format!("gateway-{label}"), &text)
}

fn visit<'a>(client: &'a str, mode: Mode, label: &'a str) -> Visit<'a> {
    Visit { mode, client, version: Version::Tls13, identity: None, label }
}

fn pair(files: &Files) -> String {
    format!("{{ cert: {}, key: {} }}", path(&files.certificate), path(&files.key))
}
