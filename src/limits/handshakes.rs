//! TLS handshakes: how many the process computes at once, and how many a listener begins in a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

/// Handshakes of one listener; a clone is the same.
#[derive(Clone, Debug)]
pub struct Handshakes {
    slots: Arc<Semaphore>,
    pace: Option<Arc<Pace>>,
}

/// A handshake that may be computed. Keep it until the server's first flight is out: what remains then is
/// mostly waiting for the peer, and a peer that makes the gateway wait must not keep others out.
#[derive(Debug)]
pub struct Slot {
    _held: Option<OwnedSemaphorePermit>,
}

/// More handshakes are waiting than the pace lets begin in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the listener begins {0} handshakes a second, and too many are waiting")]
pub struct TooMany(pub u32);

impl Handshakes {
    /// `slots` are those of the process; `per_second` is the listener's own limit.
    pub(super) fn new(slots: Arc<Semaphore>, per_second: Option<u32>) -> Self {
        Self { slots, pace: per_second.map(|rate| Arc::new(Pace::new(rate))) }
    }

    /// The same with other limits. A pace that stays remembers what was begun.
    pub(super) fn with(&self, slots: Arc<Semaphore>, per_second: Option<u32>) -> Self {
        if self.pace.as_ref().map(|pace| pace.per_second) == per_second {
            return Self { slots, pace: self.pace.clone() };
        }
        Self::new(slots, per_second)
    }

    /// Waits for the turn of one more handshake, the first to come first. Cancel safe.
    ///
    /// # Errors
    /// [`TooMany`] at once, where its turn would come later than `patience` from now.
    pub async fn begin(&self, patience: Duration) -> Result<Slot, TooMany> {
        if let Some(pace) = &self.pace {
            let wait = pace.reserve(Instant::now(), patience).ok_or(TooMany(pace.per_second))?;
            if !wait.is_zero() {
                sleep(wait).await;
            }
        }
        // The semaphore is never closed.
        Ok(Slot { _held: Arc::clone(&self.slots).acquire_owned().await.ok() })
    }
}

/// A rate without a queue of its own (the generic cell rate algorithm): one number, the time at which all
/// that was admitted would be done if it came evenly.
#[derive(Debug)]
struct Pace {
    per_second: u32,
    interval: u64,
    start: Instant,
    done: AtomicU64,
}

/// What may come at once after a quiet time, as time: a second's worth.
const BURST: u64 = 1_000_000_000;

impl Pace {
    fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        Self {
            per_second,
            interval: BURST / u64::from(per_second),
            start: Instant::now(),
            done: AtomicU64::new(0),
        }
    }

    /// How long to wait before the next one begins; `None`, and nothing is reserved, beyond `patience`.
    fn reserve(&self, now: Instant, patience: Duration) -> Option<Duration> {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(now.saturating_duration_since(self.start));
        let latest = now.saturating_add(nanos(patience));
        let begin = |done: u64| done.max(now).saturating_add(self.interval).saturating_sub(BURST).max(now);
        let reserved = self.done.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |done| {
            (begin(done) <= latest).then(|| done.max(now).saturating_add(self.interval))
        });
        reserved.ok().map(|done| Duration::from_nanos(begin(done) - now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_comes_at_once_and_the_rest_at_the_pace() {
        let pace = Pace::new(10);
        let now = Instant::now();
        let patience = Duration::from_secs(2);
        let waits: Vec<_> = (0..13).map(|_| pace.reserve(now, patience).unwrap().as_millis()).collect();
        assert_eq!(waits[..10], [0; 10]);
        assert!(waits[10..].iter().zip([100, 200, 300]).all(|(w, e)| w.abs_diff(e) <= 1), "{waits:?}");
    }

    #[test]
    fn what_is_turned_away_reserves_nothing() {
        let pace = Pace::new(10);
        let now = Instant::now();
        let patience = Duration::from_millis(500);
        let admitted = (0..1_000).filter(|_| pace.reserve(now, patience).is_some()).count();
        assert_eq!(admitted, 15, "a second's worth, and what fits into the patience");
        let later = now + Duration::from_secs(1);
        assert!(pace.reserve(later, Duration::ZERO).is_some(), "a storm leaves nothing behind");
    }

    #[tokio::test(start_paused = true)]
    async fn slots_are_given_in_turn_and_come_back() {
        let handshakes = Handshakes::new(Arc::new(Semaphore::new(1)), None);
        let first = handshakes.begin(Duration::ZERO).await.unwrap();
        let waiting = handshakes.begin(Duration::ZERO);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_secs(5), &mut waiting).await.is_err());
        drop(first);
        assert!(waiting.await.is_ok());
    }
}
