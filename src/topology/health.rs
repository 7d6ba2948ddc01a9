//! Which addresses were reached, which were not, why and since when. No IO.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::net::HostPort;

/// For how long an address that failed is passed over while there are others.
const HOPELESS: Duration = Duration::from_secs(5);

/// The least time between two log lines about the same address that keeps failing.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// This time grows with the outage, to one part in so many of it: an address that stays dead is dialled for ever, and
/// told of ever less often.
const REPORT_SHARE: u32 = 10;

/// Whether a broker can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nobody tried.
    #[default]
    Untried,
    /// The last dial succeeded.
    Up {
        /// The first success after the last failure.
        since: SystemTime,
    },
    /// The last dial failed.
    Down {
        /// The first failure after the last success.
        since: SystemTime,
        /// Why the last one failed.
        error: String,
        /// Failures since then.
        failures: u64,
    },
}

/// What to say about a failure, if it is time to say something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) since: SystemTime,
    pub(super) failures: u64,
}

/// The reach of every address of a cluster.
#[derive(Debug, Default)]
pub(super) struct Health {
    addresses: BTreeMap<HostPort, Record>,
}

#[derive(Debug)]
struct Record {
    reach: Reach,
    tried: Instant,
    /// The first failure after the last success.
    down: Instant,
    reported: Option<Instant>,
}

impl Record {
    fn is_down(&self) -> bool {
        matches!(self.reach, Reach::Down { .. })
    }
}

impl Health {
    /// Whether an address is worth a dial while there are others.
    pub(super) fn is_hopeful(&self, address: &HostPort) -> bool {
        self.is_hopeful_at(address, Instant::now())
    }

    fn is_hopeful_at(&self, address: &HostPort, now: Instant) -> bool {
        self.addresses.get(address).is_none_or(|record| match record.reach {
            Reach::Untried | Reach::Up { .. } => true,
            Reach::Down { .. } => now.saturating_duration_since(record.tried) >= HOPELESS,
        })
    }

    pub(super) fn reach(&self, address: &HostPort) -> Reach {
        self.addresses.get(address).map(|record| record.reach.clone()).unwrap_or_default()
    }

    pub(super) fn is_down(&self, address: &HostPort) -> bool {
        self.addresses.get(address).is_some_and(Record::is_down)
    }

    /// The addresses that are down and that nobody tried for this long, longest ago first.
    pub(super) fn down_for(&self, untried: Duration, now: Instant) -> Vec<HostPort> {
        let due =
            |record: &Record| record.is_down() && now.saturating_duration_since(record.tried) >= untried;
        let mut due: Vec<_> = self.addresses.iter().filter(|(_, record)| due(record)).collect();
        due.sort_by_key(|(_, record)| record.tried);
        due.into_iter().map(|(address, _)| address.clone()).collect()
    }

    /// Notes a success; returns since when it had failed.
    pub(super) fn reached(&mut self, address: &HostPort, now: Instant) -> Option<SystemTime> {
        let record = self.record(address, now);
        record.tried = now;
        record.reported = None;
        let before = match record.reach {
            Reach::Up { .. } => return None,
            Reach::Untried => None,
            Reach::Down { since, .. } => Some(since),
        };
        record.reach = Reach::Up { since: SystemTime::now() };
        before
    }

    /// Notes a failure; returns what to log, if the last time is long enough ago.
    pub(super) fn failed(&mut self, address: &HostPort, error: String, now: Instant) -> Option<Report> {
        let record = self.record(address, now);
        let (since, failures) = match record.reach {
            Reach::Down { since, failures, .. } => (since, failures + 1),
            Reach::Untried | Reach::Up { .. } => {
                record.down = now;
                (SystemTime::now(), 1)
            }
        };
        record.reach = Reach::Down { since, error, failures };
        record.tried = now;
        let pause = REPORT_EVERY.max(now.saturating_duration_since(record.down) / REPORT_SHARE);
        if record.reported.is_some_and(|at| now.saturating_duration_since(at) < pause) {
            return None;
        }
        record.reported = Some(now);
        Some(Report { since, failures })
    }

    /// Forgets every address but these.
    pub(super) fn keep<'a>(&mut self, addresses: impl Iterator<Item = &'a HostPort>) {
        let addresses: BTreeSet<_> = addresses.collect();
        self.addresses.retain(|address, _| addresses.contains(address));
    }

    fn record(&mut self, address: &HostPort, now: Instant) -> &mut Record {
        self.addresses.entry(address.clone()).or_insert(Record {
            reach: Reach::Untried,
            tried: now,
            down: now,
            reported: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_has_one_beginning_and_few_log_lines() {
        let (mut health, begin) = (Health::default(), Instant::now());
        let address: HostPort = "kafka-0:9092".parse().unwrap();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(health.reach(&address), Reach::Untried);
        let first = health.failed(&address, "refused".into(), at(0)).unwrap();
        assert_eq!(first.failures, 1);
        assert_eq!(health.failed(&address, "refused".into(), at(9)), None);
        let second = health.failed(&address, "timed out".into(), at(10)).unwrap();
        assert_eq!(second, Report { since: first.since, failures: 3 });
        let expected = Reach::Down { since: first.since, error: "timed out".into(), failures: 3 };
        assert_eq!(health.reach(&address), expected);
        let lines = |health: &mut Health, seconds: std::ops::Range<u64>| {
            let told = |second| health.failed(&address, "refused".into(), at(second));
            seconds.step_by(30).filter_map(told).count()
        };
        assert_eq!(lines(&mut health, 20..86_400), 60, "of 2880 dials in a day");
        assert_eq!(health.reached(&address, at(86_411)), Some(first.since));
        assert_eq!(health.reached(&address, at(86_412)), None);
        assert!(
            health.failed(&address, "refused".into(), at(86_413)).is_some(),
            "a new outage is told at once"
        );
    }

    #[test]
    fn an_address_that_failed_is_passed_over_for_a_while() {
        let (mut health, begin) = (Health::default(), Instant::now());
        let address: HostPort = "kafka-0:9092".parse().unwrap();
        assert!(health.is_hopeful(&address));
        health.failed(&address, "refused".into(), begin);
        assert!(!health.is_hopeful_at(&address, begin + HOPELESS - Duration::from_millis(1)));
        assert!(health.is_hopeful_at(&address, begin + HOPELESS));
    }

    #[test]
    fn what_is_down_is_due_after_a_while_longest_ago_first() {
        let (mut health, begin) = (Health::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let [first, second, up]: [HostPort; 3] =
            ["b:1", "a:1", "c:1"].map(|address| address.parse().unwrap());
        health.failed(&first, "refused".into(), at(0));
        health.failed(&second, "refused".into(), at(1));
        health.reached(&up, at(0));
        let due = |health: &Health, now| health.down_for(Duration::from_secs(30), at(now));
        assert_eq!(due(&health, 29), []);
        assert_eq!(due(&health, 31), [first.clone(), second.clone()]);
        health.failed(&first, "refused".into(), at(31));
        assert_eq!(due(&health, 40), [second]);
    }

    #[test]
    fn addresses_of_lost_nodes_are_forgotten() {
        let mut health = Health::default();
        let (old, new): (HostPort, HostPort) = ("a:1".parse().unwrap(), "b:1".parse().unwrap());
        for address in [&old, &new] {
            health.failed(address, "refused".into(), Instant::now());
        }
        health.keep([&new].into_iter());
        assert_eq!((health.reach(&old), health.addresses.len()), (Reach::Untried, 1));
    }
}
