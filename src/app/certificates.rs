//! The TLS side of every listener and cluster, and the task that follows their files.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::Error;
use crate::admin::state::{Certificates, Check, Outcome, Reloaded as Report};
use crate::config::Config;
use crate::config::difference::{Changes, Subject};
use crate::logging::chain;
use crate::metrics::Metrics;
use crate::metrics::tls::{Expiry, Kind, Reload, Side as Labels};
use crate::registry::Registry;
use crate::tls::client::{self, Connector, Verify};
use crate::tls::lifetime::{File, files};
use crate::tls::material::{self, Reloaded};
use crate::tls::server::{self, Terminator};
use crate::tls::status::Status;

/// What is wrong, or about to be, is said again after this time.
const SAY_AGAIN: Duration = Duration::from_secs(3600);
const SAY_SOON_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// All sides that speak TLS.
#[derive(Debug, Default)]
pub(super) struct Sides {
    sides: Vec<Arc<Side>>,
}

/// The files of a listener, of a cluster, or of what a listener's clients are towards its cluster.
#[derive(Debug)]
struct Side {
    listener: Option<String>,
    cluster: Option<String>,
    part: Part,
    said: std::sync::Mutex<Option<Instant>>,
}

#[derive(Clone, Debug)]
enum Part {
    /// Ends the TLS of clients.
    Clients(Arc<Terminator>),
    /// Begins TLS with brokers.
    Brokers(Arc<Connector>),
}

impl Sides {
    /// Reads and checks the files of all sides. Those whose settings are as they were stay what they are.
    ///
    /// # Errors
    /// [`Error::Tls`] for the first side whose files cannot be used.
    pub(super) fn load(config: &Config, before: &Self, changes: &Changes) -> Result<Self, Error> {
        let mut sides = Vec::new();
        let same = |listener: Option<&str>, cluster: Option<&str>, changed: bool| {
            let is_it = |side: &&Arc<Side>| {
                side.listener.as_deref() == listener && side.cluster.as_deref() == cluster
            };
            before.sides.iter().find(is_it).filter(|_| !changed).cloned()
        };
        let trust_changed = |cluster: &str| changes.touch(&Subject::Cluster(cluster.to_owned()), "tls");
        for cluster in &config.clusters {
            let Some(options) = &cluster.tls else { continue };
            let name = &cluster.name;
            let changed = trust_changed(name) || changes.touch(&Subject::Cluster(name.clone()), "discovery");
            let load = || Side::brokers(None, name, options).map(Arc::new);
            sides.push(same(None, Some(name), changed).map_or_else(load, Ok)?);
        }
        for listener in &config.listeners {
            let name = &listener.listen.name;
            let changed = |setting: &str| changes.touch(&Subject::Listener(name.clone()), setting);
            if let Some(options) = &listener.tls {
                let load = || Side::clients(name, options, before.clients(name)).map(Arc::new);
                // Whether a fallback certificate is served depends on how the listener tells brokers apart.
                let changed = changed("tls") || changed("routing");
                sides.push(same(Some(name), None, changed).map_or_else(load, Ok)?);
            }
            if let (Some(options), Some(cluster)) =
                (&listener.upstream, config.clusters.get(listener.cluster))
            {
                let changed = changed("upstream_identity") || trust_changed(&cluster.name);
                let load = || Side::brokers(Some(name), &cluster.name, options).map(Arc::new);
                sides.push(same(Some(name), Some(&cluster.name), changed).map_or_else(load, Ok)?);
            }
        }
        Ok(Self { sides })
    }

    /// Starts the series of the sides that are new, and ends those of the sides that are gone.
    pub(super) fn count(&self, config: &Config, before: &Self, metrics: &Metrics) {
        let in_both =
            |side: &Arc<Side>, others: &Self| others.sides.iter().any(|o| o.labels() == side.labels());
        for side in before.sides.iter().filter(|side| !in_both(side, self)) {
            metrics.forget_side(side.labels());
            if let (Part::Clients(_), Some(listener)) = (&side.part, &side.listener) {
                metrics.forget_handshakes(listener);
            }
        }
        for side in self.anew(before) {
            metrics.expect_reloads(side.labels());
        }
        for cluster in &config.clusters {
            let verify = cluster.tls.as_ref().map(|client::Options { verify, .. }| *verify);
            let had_tls = before.brokers(None, &cluster.name).is_some();
            if verify.is_some() || had_tls {
                metrics.set_unverified(&cluster.name, verify == Some(Verify::InsecureNone));
            }
        }
        self.set_expiries(metrics);
    }

    /// Lets those leave whom the sides that are new would not let in by their certificates.
    pub(super) async fn distrust(&self, before: &Self, registry: &Arc<Registry>) -> usize {
        let mut distrusted = 0;
        // Whoever shakes hands with one of before is registered either before this, and judged below, or after
        // it, and finds that it is outdated.
        for side in before.anew(self) {
            if let Part::Clients(terminator) = &side.part {
                terminator.retire();
            }
        }
        for side in self.anew(before) {
            distrusted += side.distrust(registry).await;
        }
        distrusted
    }

    /// The sides that were loaded anew.
    fn anew<'s>(&'s self, before: &'s Self) -> impl Iterator<Item = &'s Arc<Side>> {
        let is_new = move |side: &&Arc<Side>| !before.sides.iter().any(|other| Arc::ptr_eq(side, other));
        self.sides.iter().filter(is_new)
    }

    /// What ends the TLS of a listener's clients.
    pub(super) fn clients(&self, listener: &str) -> Option<Arc<Terminator>> {
        self.sides.iter().find_map(|side| match &side.part {
            Part::Clients(terminator) if side.listener.as_deref() == Some(listener) => {
                Some(Arc::clone(terminator))
            }
            Part::Clients(_) | Part::Brokers(_) => None,
        })
    }

    /// What begins TLS with the brokers of a cluster: for the clients of a listener, or for the gateway's own
    /// requests.
    pub(super) fn brokers(&self, listener: Option<&str>, cluster: &str) -> Option<Arc<Connector>> {
        self.sides.iter().find_map(|side| match &side.part {
            Part::Brokers(connector)
                if side.listener.as_deref() == listener && side.cluster.as_deref() == Some(cluster) =>
            {
                Some(Arc::clone(connector))
            }
            Part::Clients(_) | Part::Brokers(_) => None,
        })
    }

    fn set_expiries(&self, metrics: &Metrics) {
        metrics.set_expiries(self.sides.iter().flat_map(|side| side.expiries()));
    }

    /// Looks at all files now and puts what is new and right to use. One look at a time: the caller sees to it.
    pub(super) async fn look(&self, metrics: &Metrics, registry: &Arc<Registry>) -> Vec<Report> {
        let mut reports = Vec::with_capacity(self.sides.len());
        for side in &self.sides {
            reports.push(side.look(metrics, registry).await);
            side.say_what_ends();
        }
        if reports.iter().any(|report| report.outcome != Outcome::Unchanged) {
            self.set_expiries(metrics);
        }
        reports
    }

    /// A line of readiness for each side. None makes the gateway unready: what it has it can still serve.
    pub(super) fn checks(&self) -> impl Iterator<Item = Check> + '_ {
        self.sides.iter().flat_map(|side| side.checks())
    }

    /// Everything that is loaded.
    pub(super) fn certificates(&self) -> Vec<Certificates> {
        let show = |side: &Arc<Side>| Certificates {
            listener: side.listener.clone(),
            cluster: side.cluster.clone(),
            status: side.status(),
        };
        self.sides.iter().map(show).collect()
    }
}

impl Side {
    fn new(listener: Option<&str>, cluster: Option<&str>, part: Part) -> Self {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        Self { listener: owned(listener), cluster: owned(cluster), part, said: std::sync::Mutex::default() }
    }

    fn clients(
        listener: &str,
        options: &server::Options,
        before: Option<Arc<Terminator>>,
    ) -> Result<Self, Error> {
        let loaded = match before {
            Some(before) => Terminator::load_after(options.clone(), &before),
            None => Terminator::load(options.clone()),
        };
        let refused = |source| refused(format!("listener {listener}"), source);
        Ok(Self::new(Some(listener), None, Part::Clients(Arc::new(loaded.map_err(refused)?))))
    }

    fn brokers(listener: Option<&str>, cluster: &str, options: &client::Options) -> Result<Self, Error> {
        let loaded = Connector::load(options.clone()).map(Arc::new).map(Part::Brokers);
        let side = Self::new(listener, Some(cluster), loaded.map_err(|e| refused(cluster.to_owned(), e))?);
        Ok(side)
    }

    fn status(&self) -> Status {
        match &self.part {
            Part::Clients(terminator) => terminator.status(),
            Part::Brokers(connector) => connector.status(),
        }
    }

    fn labels(&self) -> Labels<'_> {
        Labels {
            listener: self.listener.as_deref().unwrap_or_default(),
            cluster: self.cluster.as_deref().unwrap_or_default(),
        }
    }

    fn expiries(&self) -> Vec<Expiry<'_>> {
        let side = self.labels();
        let expiry = |file: File| {
            let due = file.due();
            Expiry { side, kind: file.kind, file: file.path, from: file.from, until: file.until, due }
        };
        files(&self.status()).map(expiry).collect()
    }

    /// As a person calls it: `listener internet`, `cluster payments`, `listener internet to payments`.
    fn name(&self) -> String {
        match (&self.listener, &self.cluster) {
            (Some(listener), Some(cluster)) => format!("listener {listener} to cluster {cluster}"),
            (Some(listener), None) => format!("listener {listener}"),
            (None, cluster) => format!("cluster {}", cluster.as_deref().unwrap_or_default()),
        }
    }

    async fn look(&self, metrics: &Metrics, registry: &Arc<Registry>) -> Report {
        let part = self.part.clone();
        // Files may stand on a disk that does not answer.
        let reloaded = spawn_blocking(move || match &part {
            Part::Clients(terminator) => terminator.reload(),
            Part::Brokers(connector) => connector.reload(),
        });
        let mut report = Report {
            listener: self.listener.clone(),
            cluster: self.cluster.clone(),
            outcome: Outcome::Unchanged,
            error: None,
            distrusted: 0,
            renewed: false,
        };
        match reloaded.await {
            Ok(Reloaded::Unchanged) => metrics.set_refused(self.labels(), false),
            Err(panicked) => {
                tracing::error!(
                    listener = self.listener,
                    cluster = self.cluster,
                    error = %panicked,
                    "certificate files could not be looked at: what was loaded before stays in use",
                );
                report.outcome = Outcome::Refused;
                report.error = Some(panicked.to_string());
            }
            Ok(Reloaded::StillKept) => {
                // What a change of settings kept is told here first.
                metrics.set_refused(self.labels(), true);
                report.outcome = Outcome::Refused;
                report.error = self.status().fault.map(|fault| fault.text);
            }
            Ok(Reloaded::Kept(error)) => self.refuse(&error, metrics, &mut report),
            Ok(Reloaded::Swapped { trust_changed, renewed, kept }) => {
                report.renewed = renewed;
                metrics.reloaded(self.labels(), Reload::Changed);
                report.outcome = Outcome::Changed;
                if trust_changed {
                    report.distrusted = self.distrust(registry).await;
                }
                let first_end = files(&self.status()).map(|file| file.until).min();
                tracing::info!(
                    listener = self.listener,
                    cluster = self.cluster,
                    trust_changed,
                    connections_distrusted = report.distrusted,
                    first_end = first_end.map(|at| humantime::format_rfc3339_seconds(at).to_string()),
                    "certificate files are loaded: new handshakes use them",
                );
                if let Some(error) = kept {
                    self.refuse(&error, metrics, &mut report);
                }
            }
        }
        report
    }

    /// Says that files are refused.
    fn refuse(&self, error: &material::Error, metrics: &Metrics, report: &mut Report) {
        metrics.reloaded(self.labels(), Reload::Failed);
        let error = chain(error);
        tracing::error!(
            listener = self.listener,
            cluster = self.cluster,
            error,
            "certificate files are refused: what was loaded from them before stays in use",
        );
        report.outcome = Outcome::Refused;
        report.error = Some(error);
    }

    /// Lets open connections leave that a new handshake would refuse.
    async fn distrust(&self, registry: &Arc<Registry>) -> usize {
        let (Part::Clients(terminator), Some(listener)) = (&self.part, &self.listener) else { return 0 };
        let (terminator, name) = (Arc::clone(terminator), listener.clone());
        let open = Arc::clone(registry);
        // Two signatures for each connection.
        let judge = move || open.distrust(&name, |certificates| terminator.recheck(certificates).is_ok());
        spawn_blocking(judge).await.unwrap_or_else(|panicked| {
            tracing::error!(listener, error = %panicked, "certificates could not be judged: all of them leave");
            registry.distrust(listener, |_| false)
        })
    }

    /// Says again, from time to time, what a person has been told already and did not mend.
    fn say_what_ends(&self) {
        let checks: Vec<Check> = self.checks().into_iter().filter(Check::is_warning).collect();
        let (Some(first), now) = (checks.first(), Instant::now()) else { return };
        let ended = files(&self.status()).any(|file| file.until <= SystemTime::now());
        let again = if ended || self.status().fault.is_some() { SAY_AGAIN } else { SAY_SOON_AGAIN };
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.is_none_or(|then| now - then >= again) {
            *said = Some(now);
            let more = checks.len() - 1;
            tracing::warn!(listener = self.listener, cluster = self.cluster, more, "{}", first.detail);
        }
    }

    fn checks(&self) -> Vec<Check> {
        let (name, status) = (format!("certificates of {}", self.name()), self.status());
        let now = SystemTime::now();
        let mut checks = Vec::new();
        if let Some(fault) = &status.fault {
            let since = humantime::format_rfc3339_seconds(fault.since);
            let detail =
                format!("refused since {since}, and what was loaded before is in use: {}", fault.text);
            checks.push(Check::warn(name.clone(), detail));
        }
        checks.extend(status.warnings.iter().map(|warning| Check::warn(name.clone(), warning.as_str())));
        let mut files: Vec<_> = files(&status).collect();
        files.sort_by_key(|file| file.until);
        for file in &files {
            let File { kind, path, until, .. } = file;
            if !file.ends_soon(now) {
                continue;
            }
            let ended = until.duration_since(now).is_err();
            let word = if ended { "has ended" } else { "ends" };
            let what = match kind {
                Kind::RevocationList => ": from then on every client of its authority is refused; renew it",
                Kind::Certificate | Kind::Authority => ": renew it",
            };
            let detail = format!("{path} {word} at {}{what}", humantime::format_rfc3339_seconds(*until));
            checks.push(Check::warn(name.clone(), detail));
        }
        if checks.is_empty() {
            let detail = match files.first() {
                Some(File { path, until, .. }) => {
                    let days = until.duration_since(now).unwrap_or_default().as_secs() / (24 * 3600);
                    format!("{} are in use; {path} ends first, in {days} days", files.len())
                }
                None => "the authorities of the system are trusted".to_owned(),
            };
            checks.push(Check::ok(name, detail));
        }
        checks
    }
}

fn refused(side: String, source: material::Error) -> Error {
    Error::Tls { side, source: Box::new(source) }
}
