//! Certificates that are renewed under the gateway: sixty swaps under load, and files that must not be taken.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rustls::{ClientConfig, pki_types::CertificateDer, pki_types::pem::PemObject as _};

use crate::{
    Fault, Result,
    certificates::{Authority, Files, Life, Pair, door_names},
    clients,
    cluster::{Cluster, bootstrap},
    doors::{Mode, configuration},
    gateway::Gateway,
    lab::{self, Lab, Side},
    load::Load,
    mounted::Folder,
    poll::{self, LIMIT},
    secure::{self, Version},
    suite::no_leaks,
    wire::Connection,
};

/// The mounted secret of the door.
struct Mount(Folder);

impl Mount {
    fn new(directory: PathBuf, first: &Pair) -> Result<Self> {
        let mut mount = Self(Folder::new(directory)?);
        mount.put(first)?;
        Ok(mount)
    }

    fn files(&self) -> Files {
        let file = |name: &str| self.0.path().join(name);
        Files { certificate: file(CERTIFICATE), key: file(KEY), both: file("both"), store: file("store") }
    }

    fn put(&mut self, pair: &Pair) -> Result<()> {
        self.put_files(Some(&pair.certificate), Some(&pair.key))
    }

    fn put_files(&mut self, certificate: Option<&str>, key: Option<&str>) -> Result<()> {
        let files = [(CERTIFICATE, certificate), (KEY, key)];
        self.0.put(
            &files.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))).collect(),
        )
    }
}

/// Sixty swaps while records flow and clients connect anew all the time, then files that are refused.
pub(crate) fn run(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let first = lab.certificates().doors.server(&door_names())?;
    let mut mount = Mount::new(lab.certificates().path("mounted"), &first)?;
    let listener = Mode::Sni.listener(&mount.files(), "", "");
    let mut text = configuration(&bootstrap(), "", &[listener]);
    text.push_str(&format!("admin: {{ bind: 127.0.0.1:9910, token: {TOKEN} }}\n"));
    let gateway = Gateway::start_with(lab, "gateway-rotation", &text)?;
    let mut loads = ["java-4.4", "franz-go"]
        .iter()
        .zip(Version::ALL)
        .map(|(client, version)| {
            let arguments = secure::arguments(lab, client, version, None);
            Load::start_with(lab, client, &format!("rotated-{client}"), &Mode::Sni.bootstrap(), &arguments)
        })
        .collect::<Result<Vec<_>>>()?;
    let visitors = Visitors::start(lab)?;
    for number in 0..SWAPS {
        let pair = lab.certificates().doors.server(&door_names())?;
        mount.put(&pair)?;
        // One in three is found by the look at every interval, the others by being told.
        match number % 3 {
            0 => (),
            1 => gateway.hang_up()?,
            _ => tell(&gateway, "HTTP/1.1 200")?,
        }
        wait_until_shown(lab, &pair)?;
        visitors.no_failure()?;
        if number % 20 == 19 {
            loads.iter_mut().try_for_each(Load::progress)?;
        }
    }
    let (connections, visits) = visitors.stop()?;
    let records: u64 = loads.into_iter().map(Load::finish).sum::<Result<u64>>()?;
    let changed =
        gateway.metric("gatehouse_tls_reloads_total", &["listener=\"sni\"", "result=\"changed\""])?;
    let failed = gateway.metric("gatehouse_tls_handshake_failures_total", &["listener=\"sni\""])?;
    if changed as u64 != SWAPS || failed != 0.0 {
        return Err(format!("{SWAPS} swaps: {changed} counted, {failed} handshakes failed").into());
    }
    let refused = bad_files(lab, &gateway, &mut mount)?;
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!(
        "{SWAPS} swaps, {records} records, {connections} connections of the harness and {visits} of kcat, none failed; \
         {refused} kinds of bad files refused"
    ))
}

/// Has the gateway look at its files by the admin's call.
fn tell(gateway: &Gateway<'_>, expected: &str) -> Result<()> {
    let (head, body) = gateway.request("POST", "/api/v1/reload", Some(TOKEN))?;
    if head.starts_with(expected) { Ok(()) } else { Err(format!("reload: {head}: {body}").into()) }
}

/// Waits until new handshakes are shown the certificate of `pair`.
fn wait_until_shown(lab: &Lab, pair: &Pair) -> Result<()> {
    let config = secure::client(lab, Version::Tls13, None)?;
    let wanted = der(pair)?;
    lab.inside(Side::Clients, || {
        poll::until_true("the new certificate", LIMIT, || Ok(shown(&config)? == wanted))
    })
}

fn der(pair: &Pair) -> Result<CertificateDer<'static>> {
    Ok(CertificateDer::from_pem_slice(pair.certificate.as_bytes())?)
}

/// The certificate that a full handshake is shown.
fn shown(config: &Arc<ClientConfig>) -> Result<CertificateDer<'static>> {
    let mut fresh = ClientConfig::clone(config);
    fresh.resumption = rustls::client::Resumption::disabled();
    let (name, address) = Mode::Sni.broker(1);
    let connection = Connection::open_tls(&address, &name, &Arc::new(fresh))?;
    let chain = connection.session()?.peer_certificates().ok_or("no certificate")?;
    Ok(chain.first().ok_or("no certificate")?.clone().into_owned())
}

/// Files that cannot be used: the pair before them stays, and log, metric and readiness say so.
fn bad_files(lab: &Lab, gateway: &Gateway<'_>, mount: &mut Mount) -> Result<usize> {
    let doors = &lab.certificates().doors;
    let mut good = doors.server(&door_names())?;
    mount.put(&good)?;
    wait_until_shown(lab, &good)?;
    let (other, third) = (doors.server(&door_names())?, doors.server(&door_names())?);
    let over = doors.server_for(&door_names(), Life::Over)?;
    let strange = Authority::new("Nobody")?;
    let half = &other.key[..other.key.len() / 2];
    let cases: [(&str, Option<&str>, Option<&str>); 7] = [
        ("a certificate that is none", Some("not a certificate\n"), Some(&other.key)),
        ("half a key", Some(&other.certificate), Some(half)),
        ("an empty certificate", Some(""), Some(&other.key)),
        ("a key of another certificate", Some(&third.certificate), Some(&other.key)),
        ("an authority in place of the key", Some(&other.certificate), Some(strange.pem())),
        ("no key", Some(&other.certificate), None),
        ("an expired certificate", Some(&over.certificate), Some(&over.key)),
    ];
    for (what, certificate, key) in &cases {
        refuse(lab, gateway, mount, &good, (*certificate, *key))
            .map_err(|error| format!("{what}: {error}"))?;
        good = doors.server(&door_names())?;
        mount.put(&good)?;
        wait_until_shown(lab, &good)?;
        poll::until_true(&format!("{what}: no flag after a good pair"), LIMIT, || Ok(!flagged(gateway)?))?;
    }
    Ok(cases.len())
}

fn refuse(
    lab: &Lab,
    gateway: &Gateway<'_>,
    mount: &mut Mount,
    good: &Pair,
    (certificate, key): (Option<&str>, Option<&str>),
) -> Result<()> {
    let logged = gateway.log()?.len();
    mount.put_files(certificate, key)?;
    poll::until_true("the metric of refused files", LIMIT, || flagged(gateway))?;
    tell(gateway, "HTTP/1.1 422")?;
    let config = secure::client(lab, Version::Tls12, None)?;
    if lab.inside(Side::Clients, || shown(&config))? != der(good)? {
        return Err("the old pair is not in use any more".into());
    }
    let place = mount.0.path().display().to_string();
    poll::until_true("a line of the log that names the file", LIMIT, || {
        let is_it = |line: &str| line.contains("ERROR") && line.contains(&place);
        Ok(gateway.log()?[logged..].lines().any(is_it))
    })?;
    let detail = gateway.get("/readyz?verbose")?;
    if detail.contains(&place) { Ok(()) } else { Err(format!("the file is not named: {detail}").into()) }
}

fn flagged(gateway: &Gateway<'_>) -> Result<bool> {
    Ok(gateway.metric("gatehouse_tls_files_refused", &["listener=\"sni\""])? > 0.0)
}

/// Clients that connect, ask and leave, over and over: the harness's own in both versions, and kcat.
struct Visitors {
    stop: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
    visits: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<String>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Visitors {
    fn start(lab: &Lab) -> Result<Self> {
        let mut visitors = Self {
            stop: Arc::default(),
            connections: Arc::default(),
            visits: Arc::default(),
            failure: Arc::default(),
            threads: Vec::new(),
        };
        let namespace = lab.namespace(Side::Clients);
        for (version, node) in Version::ALL.into_iter().zip(1..) {
            let config = secure::client(lab, version, None)?;
            let (name, address) = Mode::Sni.broker(node);
            let (namespace, mut entered) = (namespace.clone(), false);
            visitors.repeat(&visitors.connections.clone(), move || {
                if !std::mem::replace(&mut entered, true) {
                    lab::enter(&namespace)?;
                }
                match secure::attempt(&address, &name, &config) {
                    secure::Attempt::Answered { .. } => Ok(1),
                    secure::Attempt::Refused(why) => Err(format!("{version:?}: {why}").into()),
                }
            });
        }
        let mut arguments = vec![
            format!("bootstrap={}", Mode::Sni.bootstrap()),
            format!("functions={}", ["describe"; DESCRIBES].join(",")),
            "prefix=visitor".to_owned(),
        ];
        arguments.extend(secure::arguments(lab, "kcat", Version::Tls13, None));
        let mut command = lab.command(Side::Clients, lab::repository().join("tests/clients/run"));
        command.arg("kcat").args(&arguments);
        visitors.repeat(&visitors.visits.clone(), move || {
            let output = command.output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let outcomes = clients::outcomes(&text)?;
            match outcomes.iter().find(|outcome| !outcome.ok || outcome.detail != Mode::Sni.advertised()) {
                None if outcomes.len() == DESCRIBES => Ok(DESCRIBES as u64),
                _ => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)).into()),
            }
        });
        Ok(visitors)
    }

    fn repeat(&mut self, count: &Arc<AtomicU64>, mut visit: impl FnMut() -> Result<u64> + Send + 'static) {
        let (stop, count, failure) = (Arc::clone(&self.stop), Arc::clone(count), Arc::clone(&self.failure));
        self.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match visit() {
                    Ok(number) => drop(count.fetch_add(number, Ordering::Relaxed)),
                    Err(error) => {
                        if let Ok(mut failure) = failure.lock() {
                            failure.get_or_insert(error.to_string());
                        }
                        return;
                    }
                }
            }
        }));
    }

    fn no_failure(&self) -> Result<()> {
        let failure = self.failure.lock().map_err(|_| "a thread panicked")?;
        failure.as_ref().map_or(Ok(()), |why| Err(Fault::from(format!("a connection failed: {why}"))))
    }

    /// Ends them and gives how often each kind came.
    fn stop(mut self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| "a thread panicked")?;
        }
        self.no_failure()?;
        Ok((self.connections.load(Ordering::Relaxed), self.visits.load(Ordering::Relaxed)))
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

const SWAPS: u64 = 60;
/// What one visit of kcat asks, each time in a process of its own.
const DESCRIBES: usize = 5;
const TOKEN: &str = "reload-token";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
