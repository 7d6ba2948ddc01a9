//! Repeats of a line are counted, not written: one peer that fails in a loop must not fill the log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line of one code about one subject is written at most once in this time.
pub const QUIET: Duration = Duration::from_secs(10);

/// How many subjects are told apart. Subjects beyond them share one account for each code, so that the
/// map is bounded whatever is folded.
const SUBJECTS_MAX: usize = 1024;

/// What was written lately, by code and subject (a listener, a cluster, a broker). Share one for the process.
///
/// ```
/// # let fold = gatehouse::logging::fold::Fold::default();
/// # let listener = "office";
/// if let Some(repeated) = fold.admit("foreign_protocol", listener) {
///     tracing::warn!(code = "foreign_protocol", listener, repeated, "bytes that are not Kafka's");
/// }
/// ```
#[derive(Debug, Default)]
pub struct Fold {
    accounts: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    by_code: HashMap<&'static str, HashMap<Box<str>, Account>>,
    subjects: usize,
}

#[derive(Debug)]
struct Account {
    written: Instant,
    folded: u64,
}

impl Fold {
    /// Whether the line is to be written now; the number says how many were left out since the last one.
    /// Lines that were left out and never followed by another show in the metrics alone.
    pub fn admit(&self, code: &'static str, subject: &str) -> Option<u64> {
        self.admit_at(code, subject, Instant::now())
    }

    /// [`Fold::admit`] at a given time.
    pub fn admit_at(&self, code: &'static str, subject: &str, now: Instant) -> Option<u64> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |accounts: &Accounts, subject| Some(accounts.by_code.get(code)?.contains_key(subject));
        if known(&accounts, subject) != Some(true) && accounts.subjects >= SUBJECTS_MAX {
            accounts.forget_quiet(now);
        }
        let full = known(&accounts, subject) != Some(true) && accounts.subjects >= SUBJECTS_MAX;
        accounts.admit(code, if full { "" } else { subject }, now)
    }
}

impl Accounts {
    fn admit(&mut self, code: &'static str, subject: &str, now: Instant) -> Option<u64> {
        let by_subject = self.by_code.entry(code).or_default();
        let Some(account) = by_subject.get_mut(subject) else {
            by_subject.insert(subject.into(), Account { written: now, folded: 0 });
            self.subjects += 1;
            return Some(0);
        };
        if now.saturating_duration_since(account.written) < QUIET {
            account.folded += 1;
            return None;
        }
        account.written = now;
        Some(std::mem::take(&mut account.folded))
    }

    /// Makes room: an account that is quiet would let the next line pass anyway.
    fn forget_quiet(&mut self, now: Instant) {
        for by_subject in self.by_code.values_mut() {
            by_subject.retain(|_, account| now.saturating_duration_since(account.written) < QUIET);
        }
        self.subjects = self.by_code.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_within_the_quiet_time_are_counted() {
        let fold = Fold::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(fold.admit_at("foreign_protocol", "office", at(0)), Some(0));
        for second in 1..10 {
            assert_eq!(fold.admit_at("foreign_protocol", "office", at(second)), None);
        }
        assert_eq!(fold.admit_at("foreign_protocol", "office", at(10)), Some(9));
        assert_eq!(fold.admit_at("foreign_protocol", "office", at(19)), None);
        assert_eq!(fold.admit_at("foreign_protocol", "office", at(600)), Some(1));
    }

    #[test]
    fn codes_and_subjects_do_not_hide_each_other() {
        let fold = Fold::default();
        let now = Instant::now();
        for (code, subject) in
            [("foreign_protocol", "office"), ("foreign_protocol", "internet"), ("slow", "office")]
        {
            assert_eq!(fold.admit_at(code, subject, now), Some(0));
            assert_eq!(fold.admit_at(code, subject, now), None);
        }
    }

    #[test]
    fn the_map_is_bounded_and_recovers() {
        let fold = Fold::default();
        let now = Instant::now();
        let written =
            (0..10_000).filter(|n| fold.admit_at("foreign_protocol", &n.to_string(), now).is_some()).count();
        assert_eq!(written, SUBJECTS_MAX + 1, "the rest share one account");
        assert!(fold.accounts.lock().unwrap().subjects <= SUBJECTS_MAX + 1);
        assert_eq!(
            fold.admit_at("foreign_protocol", "new", now + QUIET),
            Some(0),
            "quiet accounts make room"
        );
        assert_eq!(fold.accounts.lock().unwrap().subjects, 1);
    }
}
