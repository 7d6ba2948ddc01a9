//! A certificate that is revoked: refused at once even with a session to resume, and sent away where it is connected.

use std::{fs, io::Read as _, path::Path, sync::Arc, time::Instant};

use rustls::ClientConfig;

use crate::{
    Result,
    certificates::{Files, Life, Pair, principal, subject},
    clients,
    cluster::{Cluster, bootstrap},
    doors::{Mode, configuration, path},
    gateway::Gateway,
    lab::{Lab, Side},
    poll::{self, LIMIT},
    secure::{self, Attempt, Version},
    suite::no_leaks,
    wire::Connection,
};

/// Each version of TLS at a listener that resumes sessions although it asks for certificates.
pub(crate) fn run(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let certificates = lab.certificates();
    let list = certificates.path("clients.crl");
    put(&list, &certificates.clients.revocations(&[])?)?;
    let asks = format!(
        ", client_auth: required, client_ca: {}, client_crl: {}, resumption: true",
        path(&certificates.path("clients-ca.pem")),
        path(&list)
    );
    let listener = Mode::Port.listener(&certificates.files("door"), &asks, "");
    let gateway =
        Gateway::start_with(lab, "gateway-revocation", &configuration(&bootstrap(), "", &[listener]))?;
    let mut revoked: Vec<Pair> = Vec::new();
    let mut remarks = Vec::new();
    for version in Version::ALL {
        let name = format!("mallory-{}", version.number());
        let pair = certificates.clients.client(&subject(&name), Life::Now)?;
        let mallory = Mallory { version, files: pair.write(&certificates.path(""), &name)?, name };
        revoked.push(pair);
        let revocations = certificates.clients.revocations(&revoked.iter().collect::<Vec<_>>())?;
        let milliseconds = revoke(lab, &gateway, &mallory, || put(&list, &revocations))?;
        remarks.push(format!("TLS {}: refused after {milliseconds} ms", version.number()));
    }
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!("{}; resumption tried, live connections drained, Java refused", remarks.join(", ")))
}

/// Who is revoked.
struct Mallory {
    version: Version,
    name: String,
    files: Files,
}

/// Gives the milliseconds from the new list to the first refusal.
fn revoke(
    lab: &Lab,
    gateway: &Gateway<'_>,
    who: &Mallory,
    put_list: impl FnOnce() -> Result<()>,
) -> Result<u128> {
    let Mallory { version, name, files } = who;
    let alice = secure::client(lab, *version, Some(&lab.certificates().files("alice")))?;
    let mallory = secure::client(lab, *version, Some(files))?;
    for client in [&alice, &mallory] {
        expect(lab, client, false)?;
        expect(lab, client, true)?;
    }
    let (mut live_alice, mut live) = (live(lab, &alice)?, live(lab, &mallory)?);
    let shown = gateway.get("/api/v1/connections")?;
    if !shown.contains(&principal(name)) {
        return Err(format!("{} is not listed: {shown}", principal(name)).into());
    }
    let reloads =
        || gateway.metric("gatehouse_tls_reloads_total", &["listener=\"port\"", "result=\"changed\""]);
    let before = reloads()?;
    let start = Instant::now();
    put_list()?;
    poll::until_true("the new list in use", LIMIT, || Ok(reloads()? > before))?;
    // From here on nobody with that certificate comes in, whatever session it holds.
    for _ in 0..TRIES {
        match attempt(lab, &mallory)? {
            Attempt::Refused(why) if why.contains("CertificateRevoked") => (),
            other => return Err(format!("{version:?}, revoked: {other:?}").into()),
        }
    }
    let milliseconds = start.elapsed().as_millis();
    expect(lab, &alice, false)?;
    expect(lab, &alice, true)?;
    secure::ask(&mut live_alice).map_err(|error| format!("the connection of alice: {error}"))?;
    let mut rest = Vec::new();
    live.stream().read_to_end(&mut rest).map_err(|error| format!("not an orderly end: {error}"))?;
    if !rest.is_empty() {
        return Err(format!("{} bytes before the end", rest.len()).into());
    }
    java(lab, *version, files, name)?;
    Ok(milliseconds)
}

/// Java's own client says that it was the certificate, in place of trying for ever.
fn java(lab: &Lab, version: Version, files: &Files, name: &str) -> Result<()> {
    let mut arguments = vec![
        format!("bootstrap={}", Mode::Port.bootstrap()),
        "functions=describe".to_owned(),
        format!("prefix={name}"),
    ];
    arguments.extend(secure::arguments(lab, "java-4.4", version, Some(files)));
    let outcomes = clients::run(lab, Side::Clients, "java-4.4", &format!("revoked-{name}"), &arguments)?;
    match outcomes.first() {
        Some(outcome) if !outcome.ok && outcome.detail.contains("SslAuthenticationException") => Ok(()),
        other => Err(format!("Java with a revoked certificate: {other:?}").into()),
    }
}

fn attempt(lab: &Lab, client: &Arc<ClientConfig>) -> Result<Attempt> {
    let (name, address) = Mode::Port.broker(1);
    lab.inside(Side::Clients, || Ok(secure::attempt(&address, &name, client)))
}

fn expect(lab: &Lab, client: &Arc<ClientConfig>, resumed: bool) -> Result<()> {
    match attempt(lab, client)? {
        Attempt::Answered { resumed: was } if was == resumed => Ok(()),
        other => Err(format!("{other:?} in place of an answer, resumed {resumed}").into()),
    }
}

fn live(lab: &Lab, client: &Arc<ClientConfig>) -> Result<Connection> {
    let (name, address) = Mode::Port.broker(1);
    lab.inside(Side::Clients, || {
        let mut connection = Connection::open_tls(&address, &name, client)?;
        secure::ask(&mut connection)?;
        Ok(connection)
    })
}

/// Replaces a file in one step.
fn put(file: &Path, text: &str) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, file)?;
    Ok(())
}

/// Tries to come back with a revoked certificate: a TLS 1.3 session serves once, so each try has another one.
const TRIES: usize = 3;
