//! Random times: clients that came together must not come back together.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::Range;
use std::time::Duration;

/// A time in a range, each as likely as the others. Not for secrets.
pub fn within(range: Range<Duration>) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
    range.start + range.end.saturating_sub(range.start).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_differ_and_stay_in_their_range() {
        let [from, to] = [100, 500].map(Duration::from_millis);
        let times: Vec<_> = (0..1_000).map(|_| within(from..to)).collect();
        assert!(times.iter().all(|time| (from..to).contains(time)));
        let early = times.iter().filter(|time| **time < (from + to) / 2).count();
        assert!((300..700).contains(&early), "{early} of 1,000 are in the first half");
        assert_eq!(within(to..from), to, "a range without a time in it is its beginning");
    }
}
