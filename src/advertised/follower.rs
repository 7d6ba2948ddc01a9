//! Follows the address of one Service for one listener, and tells the clients.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Error, Found, Service, api};
use crate::cluster::LiveRoutes;
use crate::drain::Signal;
use crate::logging::chain;
use crate::logging::fold::Fold;
use crate::metrics::advertised::Advertised;
use crate::net::Host;

/// What following takes.
#[derive(Debug)]
pub struct Following {
    /// The listener's name.
    pub listener: Arc<str>,
    /// Whose address it is.
    pub service: Service,
    /// What its clients are told. A host that stands there already stays until another one is known.
    pub routes: LiveRoutes,
    /// Counts for the listener.
    pub counts: Advertised,
    /// Keeps repeated log lines apart from news.
    pub fold: Arc<Fold>,
}

/// Follows one Service until it is ended or the signal drains.
#[derive(Debug)]
pub struct Follower {
    following: Following,
    known: Mutex<Known>,
    signal: Signal,
}

#[derive(Debug, Default)]
struct Known {
    /// What the Service had last; it stays when the Service has none any more.
    address: Option<Host>,
    /// Since when that is what clients are told.
    since: Option<SystemTime>,
    /// Why that may not be what it has now.
    trouble: Option<Trouble>,
}

#[derive(Clone, Debug)]
struct Trouble {
    why: String,
    since: SystemTime,
    /// Whether the log has it.
    said: bool,
}

/// What is known now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose address it is.
    pub service: Service,
    /// The host that clients are told; `None` while it is awaited.
    pub told: Option<String>,
    /// Since when the Service has it; `None` where it is not the Service's, but the one of the configuration before.
    pub since: Option<SystemTime>,
    /// What is wrong, and since when.
    pub trouble: Option<(String, SystemTime)>,
}

impl Follower {
    /// Begins to follow. Runs on the runtime that this is called from.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(following: Following, signal: Signal) -> Arc<Self> {
        following.counts.set_known(following.routes.load().bootstrap().is_some());
        let follower = Arc::new(Self { following, known: Mutex::default(), signal });
        let task = Arc::clone(&follower);
        tokio::spawn(async move {
            tokio::select! {
                () = task.signal.draining() => {}
                () = api::follow(&task) => {}
            }
        });
        follower
    }

    /// Follows no more: what clients are told stays.
    pub fn end(&self) {
        // Whoever tells the clients something looks at the signal under the same lock.
        let _known = self.known();
        self.signal.drain();
    }

    /// Whose address it is.
    pub fn service(&self) -> &Service {
        &self.following.service
    }

    /// What is known now.
    pub fn standing(&self) -> Standing {
        let known = self.known();
        Standing {
            service: self.following.service.clone(),
            told: self.following.routes.load().bootstrap().map(|(host, _)| host.to_owned()),
            since: known.since,
            trouble: known.trouble.as_ref().map(|trouble| (trouble.why.clone(), trouble.since)),
        }
    }

    /// Takes what the Service has now.
    pub fn observed(&self, found: Found) {
        let mut known = self.known();
        if self.signal.is_draining() {
            return;
        }
        match found {
            Ok(host) => self.has(&mut known, host),
            Err(absence) => self.has_none(&mut known, &absence.to_string()),
        }
    }

    fn has(&self, known: &mut Known, host: Host) {
        let Following { listener, service, routes, counts, .. } = &self.following;
        let was_in_trouble = known.trouble.take().is_some();
        counts.set_stale(false);
        if known.address.as_ref() == Some(&host) {
            if was_in_trouble {
                tracing::info!(%listener, %service, advertise = %host, "the advertised address is confirmed");
            }
            return;
        }
        let before = routes.load().bootstrap().map(|(host, _)| host.to_owned());
        routes.tell(&host);
        counts.set_known(true);
        if before.as_deref() == Some(host.as_str()) {
            tracing::info!(%listener, %service, advertise = %host, "the advertised address is confirmed");
        } else {
            if before.is_some() {
                counts.changed();
            }
            tracing::info!(
                %listener,
                %service,
                advertise = %host,
                before,
                "clients are told this advertised address from now on"
            );
        }
        known.address = Some(host);
        known.since = Some(SystemTime::now());
    }

    fn has_none(&self, known: &mut Known, why: &str) {
        let told = self.following.routes.load().bootstrap().is_some();
        self.following.counts.set_stale(told);
        self.in_trouble(known, "advertised_address_absent", why);
    }

    /// Takes that the API could not be asked.
    pub fn failed(&self, error: &Error) {
        let trouble = error.trouble();
        self.following.counts.failed(trouble);
        // Asking anew is all that it takes.
        if !matches!(error, Error::Expired) {
            self.in_trouble(&mut self.known(), trouble.as_str(), &chain(error));
        }
    }

    /// Takes that the API answered.
    pub fn heard(&self) {
        self.following.counts.heard();
    }

    fn in_trouble(&self, known: &mut Known, code: &'static str, why: &str) {
        let Following { listener, service, routes, fold, .. } = &self.following;
        let new = Trouble { why: why.to_owned(), since: SystemTime::now(), said: false };
        let trouble = known.trouble.get_or_insert_with(|| new.clone());
        if trouble.why != why {
            *trouble = Trouble { since: trouble.since, ..new };
        }
        if trouble.said {
            return;
        }
        // What is folded is said the next time, as long as it lasts.
        let Some(repeated) = fold.admit(code, listener) else { return };
        trouble.said = true;
        match routes.load().bootstrap() {
            Some((host, _)) => tracing::warn!(
                %listener,
                %service,
                error = why,
                advertise = host,
                repeated,
                "the advertised address cannot be confirmed: clients are told the last one that was known"
            ),
            None => tracing::warn!(
                %listener,
                %service,
                error = why,
                repeated,
                "the advertised address is awaited: the listener serves nobody until it is known"
            ),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// The same in words, for a person.
    pub fn words(&self) -> String {
        let Self { service, told, since, trouble } = self;
        let time = |at: &SystemTime| humantime::format_rfc3339_seconds(*at).to_string();
        match (told, trouble) {
            (None, None) => {
                format!("the address that clients are to be told is awaited: {service} is being asked")
            }
            (None, Some((why, since))) => format!(
                "the address that clients are to be told is awaited from {service} since {}: {why}",
                time(since)
            ),
            (Some(host), None) if since.is_none() => {
                format!(
                    "clients are told {host} until the address of {service} is known, which is being asked"
                )
            }
            (Some(host), None) => format!("clients are told {host}, the address of {service}"),
            (Some(host), Some((why, since))) => format!(
                "clients are told {host} still; {service} cannot confirm it since {}: {why}",
                time(since)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advertised::address::Absence;
    use crate::cluster::{NodeRange, PortRange, Ports, Routes};
    use crate::kafka::NodeId;
    use crate::metrics::Metrics;

    fn routes(host: Option<&str>, bind: u16) -> Arc<Routes> {
        let NodeRange { first, last } = NodeRange { first: NodeId(0), last: NodeId(2) };
        let ranges = vec![PortRange { first, last, bind, advertise: bind }];
        Arc::new(Routes::Ports(Ports { host: host.map(Into::into), bootstrap: 9092, ranges }))
    }

    /// A follower that nobody tells anything but the test.
    fn follower(host: Option<&str>) -> (Follower, Metrics) {
        let metrics = Metrics::new(&[]);
        let following = Following {
            listener: "office".into(),
            service: Service { name: "gw".into(), namespace: Some("prod".into()) },
            routes: routes(host, 9093).into(),
            counts: metrics.advertised("office"),
            fold: Arc::default(),
        };
        (Follower { following, known: Mutex::default(), signal: Signal::new() }, metrics)
    }

    fn host(text: &str) -> Found {
        Ok(Host::parse(text.as_bytes()).unwrap())
    }

    fn metric(metrics: &Metrics, name: &str) -> String {
        let text = metrics.render();
        let prefix = format!("gatehouse_advertised_address_{name}");
        text.lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .to_owned()
    }

    fn told(follower: &Follower) -> Option<String> {
        follower.following.routes.load().advertised(NodeId(1)).map(|(host, port)| format!("{host}:{port}"))
    }

    #[test]
    fn nothing_is_told_before_an_address_is_known_and_the_last_one_stays() {
        let (follower, metrics) = follower(None);
        assert_eq!((told(&follower), follower.standing().told), (None, None));
        assert!(follower.standing().words().contains("is being asked"));
        follower.observed(Err(Absence::Pending));
        assert_eq!(told(&follower), None);
        assert!(follower.standing().words().contains("awaited from service prod/gw since"));
        assert_eq!((metric(&metrics, "known"), metric(&metrics, "stale")), ("0".into(), "0".into()));

        follower.observed(host("lb.example"));
        assert_eq!(told(&follower).as_deref(), Some("lb.example:9094"));
        assert_eq!(follower.standing().trouble, None);
        assert_eq!(metric(&metrics, "changes_total"), "0");
        for absence in [Absence::Pending, Absence::NoService, Absence::NoLoadBalancer("ClusterIP".into())] {
            follower.observed(Err(absence.clone()));
            assert_eq!(told(&follower).as_deref(), Some("lb.example:9094"), "{absence}");
            assert_eq!((metric(&metrics, "known"), metric(&metrics, "stale")), ("1".into(), "1".into()));
        }
        follower.observed(host("lb.example"));
        assert_eq!((follower.standing().trouble, metric(&metrics, "stale")), (None, "0".to_owned()));
        follower.observed(host("192.0.2.1"));
        assert_eq!(told(&follower).as_deref(), Some("192.0.2.1:9094"));
        assert_eq!(metric(&metrics, "changes_total"), "1");
    }

    #[test]
    fn what_the_api_does_not_say_is_counted_and_takes_nothing_away() {
        let (follower, metrics) = follower(None);
        follower.observed(host("lb.example"));
        follower.failed(&Error::Expired);
        assert_eq!(follower.standing().trouble, None);
        let since = {
            follower.failed(&Error::Unreachable("refused".to_owned()));
            follower.standing().trouble.unwrap().1
        };
        follower.failed(&Error::Unauthorized("no".to_owned()));
        let (why, still) = follower.standing().trouble.unwrap();
        assert!(why.contains("(401)") && still == since, "{why}");
        assert_eq!(told(&follower).as_deref(), Some("lb.example:9094"));
        assert_eq!(metric(&metrics, "stale"), "0");
        for reason in ["expired", "unreachable", "unauthorized"] {
            assert_eq!(
                metric(&metrics, &format!("errors_total{{listener=\"office\",reason=\"{reason}\"}}")),
                "1"
            );
        }
        follower.observed(host("lb.example"));
        assert_eq!(follower.standing().trouble, None);
    }

    #[test]
    fn the_host_of_before_stays_until_the_service_has_one() {
        let (follower, metrics) = follower(Some("kafka.example"));
        assert!(follower.standing().words().contains("told kafka.example until"));
        follower.observed(Err(Absence::Pending));
        assert_eq!(told(&follower).as_deref(), Some("kafka.example:9094"));
        follower.observed(host("lb.example"));
        assert_eq!(metric(&metrics, "changes_total"), "1");
        // A reload that changes the ports keeps what was learned.
        follower.following.routes.replace(&routes(None, 19093));
        assert_eq!(told(&follower).as_deref(), Some("lb.example:19094"));
        follower.following.routes.replace(&routes(Some("kafka.example"), 19093));
        assert_eq!(told(&follower).as_deref(), Some("kafka.example:19094"));
    }

    #[test]
    fn one_that_was_ended_tells_nobody_anything() {
        let (follower, _) = follower(None);
        follower.observed(host("lb.example"));
        follower.end();
        follower.observed(host("late.example"));
        assert_eq!(told(&follower).as_deref(), Some("lb.example:9094"));
    }
}
