//! How long files last, and from when on their end is worth a word.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::status::Status;
use crate::metrics::tls::Kind;

/// A list of revoked certificates is made to be short-lived.
const LEFT_OF_A_LIST: Duration = Duration::from_secs(2 * 3600);

/// What has less time left than this should have been renewed by now.
const LEFT: Duration = Duration::from_secs(14 * 24 * 3600);

/// The same as a part of the whole time, for certificates that live for days or hours: whatever renews by itself does so
/// while a third is left or more.
const PART: u32 = 5;

/// Whether a certificate of these dates has ended, or ends so soon that somebody should look: within 14 days, and with
/// less than a fifth of its time left. The alert `GatehouseCertificateEnds` says the same in PromQL.
pub fn ends_soon(not_before: SystemTime, not_after: SystemTime, now: SystemTime) -> bool {
    due(not_before, not_after) < now
}

/// From when on a certificate ends soon.
fn due(not_before: SystemTime, not_after: SystemTime) -> SystemTime {
    let whole = not_after.duration_since(not_before).unwrap_or_default();
    not_after - LEFT.min(whole / PART)
}

/// A file that lasts for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it holds.
    pub kind: Kind,
    /// Where it is, as the configuration leads to it.
    pub path: String,
    /// Since when it is valid; `None` for a list of revoked certificates.
    pub from: Option<SystemTime>,
    /// Until when.
    pub until: SystemTime,
}

impl File {
    /// Whether it has ended, or should have been renewed by now: a certificate as in [`ends_soon`], a list within two
    /// hours.
    pub fn ends_soon(&self, now: SystemTime) -> bool {
        self.due() < now
    }

    /// From when on it ends soon.
    pub fn due(&self) -> SystemTime {
        match self.from {
            Some(from) => due(from, self.until),
            None => self.until - LEFT_OF_A_LIST,
        }
    }
}

/// Every file of a side that ends.
pub fn files(status: &Status) -> impl Iterator<Item = File> {
    let path = |path: &Path| path.display().to_string();
    let certificates = status.certificates.iter().map(move |certificate| File {
        kind: Kind::Certificate,
        path: path(&certificate.file),
        from: Some(certificate.not_before),
        until: certificate.not_after,
    });
    let authorities = status.authorities.iter().map(move |authority| File {
        kind: Kind::Authority,
        path: path(&authority.file),
        from: Some(authority.not_before),
        until: authority.not_after,
    });
    let lists = status.revocation_lists.iter().filter_map(move |list| {
        Some(File {
            kind: Kind::RevocationList,
            path: path(&list.file),
            from: None,
            until: list.next_update?,
        })
    });
    certificates.chain(authorities).chain(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soon_is_fourteen_days_or_a_fifth_of_the_time_whichever_is_less() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let start = SystemTime::UNIX_EPOCH;
        for (whole, soon) in [(hours(24), hours(4)), (hours(365 * 24), hours(14 * 24 - 1))] {
            let end = start + whole;
            assert!(ends_soon(start, end, end - soon + hours(1)), "{whole:?}");
            assert!(!ends_soon(start, end, end - soon - hours(1)), "{whole:?}");
            assert!(ends_soon(start, end, end + hours(1)), "{whole:?}, ended");
        }
    }
}
