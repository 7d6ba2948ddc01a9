//! Histograms of durations that the data path can afford: one shard of counters for each few threads,
//! and power-of-two buckets.
//!
//! The histogram of the `prometheus` crate searches its bounds and shares its atomics between all
//! threads; this one finds the bucket with one instruction and touches a cache line of its own thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::names::Definition;
use super::register;

/// Threads beyond this number share shards; right for the cores of one machine that serves a gateway.
const SHARDS: usize = 8;

/// The first bucket ends at 2^6 µs.
const FIRST_BIT: u32 = 6;

/// The last bucket that has an end, 2^24 µs; one more takes the rest.
const LAST_BIT: u32 = 24;

const BUCKETS: usize = (LAST_BIT - FIRST_BIT + 2) as usize;

/// What the buckets of a histogram span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// What requests take: 64 µs to 16.8 s.
    Requests,
    /// What connections last: 262 ms to 19 h.
    Connections,
}

impl Span {
    /// The unit of counting is 2^shift nanoseconds; what is below it is cut off.
    const fn shift(self) -> u32 {
        match self {
            Self::Requests => 0,
            Self::Connections => 12,
        }
    }
}

/// One histogram; it counts durations and sums them.
#[derive(Debug)]
pub struct Histogram {
    shards: [Shard; SHARDS],
    shift: u32,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

thread_local! {
    /// Only its place in memory matters: it differs from thread to thread.
    static PLACE: u8 = const { 0 };
}

fn shard() -> usize {
    // Stacks and thread-local blocks stand pages apart; the multiplication mixes the higher bits in.
    let place = PLACE.with(|place| std::ptr::from_ref(place).addr() as u64) >> 6;
    (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % SHARDS
}

/// The bucket of a duration in units: bounds are inclusive, as Prometheus has them.
fn bucket(units: u64) -> usize {
    let thousands = units.div_ceil(1000).max(1);
    let bit = u64::BITS - (thousands - 1).leading_zeros();
    bit.clamp(FIRST_BIT, LAST_BIT + 1).abs_diff(FIRST_BIT) as usize
}

impl Histogram {
    fn new(span: Span) -> Self {
        Self { shards: Default::default(), shift: span.shift() }
    }

    /// Counts one duration; those over 584 years count as that long.
    #[inline]
    pub fn observe(&self, took: Duration) {
        let units = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) >> self.shift;
        if let Some(shard) = self.shards.get(shard()) {
            if let Some(count) = shard.buckets.get(bucket(units)) {
                count.fetch_add(1, Relaxed);
            }
            shard.sum.fetch_add(units, Relaxed);
        }
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.shards.iter().flat_map(|shard| &shard.buckets).map(|count| count.load(Relaxed)).sum()
    }

    fn sample(&self) -> proto::Histogram {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BUCKETS - 1);
        for (index, bit) in (FIRST_BIT..=LAST_BIT + 1).enumerate() {
            count += self
                .shards
                .iter()
                .filter_map(|shard| shard.buckets.get(index))
                .map(|count| count.load(Relaxed))
                .sum::<u64>();
            if bit <= LAST_BIT {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(self.seconds(1000 << bit));
                bucket.set_cumulative_count(count);
                buckets.push(bucket);
            }
        }
        let sum: u64 = self.shards.iter().map(|shard| shard.sum.load(Relaxed)).sum();
        let mut sample = proto::Histogram::default();
        sample.set_bucket(buckets);
        sample.set_sample_count(count);
        sample.set_sample_sum(self.seconds(sum));
        sample
    }

    fn seconds(&self, units: u64) -> f64 {
        Duration::from_nanos(units).as_secs_f64() * f64::from(1 << self.shift)
    }
}

/// The histograms of one name, told apart by labels. Clones are the same family.
#[derive(Clone, Debug)]
pub(super) struct Family {
    definition: Definition,
    span: Span,
    desc: Desc,
    series: Arc<Mutex<Vec<Series>>>,
}

#[derive(Debug)]
struct Series {
    labels: Vec<proto::LabelPair>,
    histogram: Arc<Histogram>,
}

impl Family {
    pub(super) fn new(registry: &prometheus::Registry, definition: &Definition, span: Span) -> Self {
        let family =
            Self { definition: *definition, span, desc: register::desc(definition), series: Arc::default() };
        register::collector(registry, family.clone());
        family
    }

    /// Adds the series of these label values, in the order of the definition. Call it once for each.
    pub(super) fn with(&self, values: &[&str]) -> Arc<Histogram> {
        let labels = register::labels(&self.definition, values);
        let histogram = Arc::new(Histogram::new(self.span));
        let series = Series { labels, histogram: Arc::clone(&histogram) };
        self.series.lock().unwrap_or_else(PoisonError::into_inner).push(series);
        histogram
    }

    /// Takes out the series with these labels; who still has one counts on unseen.
    pub(super) fn forget(&self, labels: &[(&str, &str)]) {
        let has = |series: &Series, (name, value): &(&str, &str)| {
            series.labels.iter().any(|label| label.name() == *name && label.value() == *value)
        };
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        series.retain(|series| !labels.iter().all(|label| has(series, label)));
    }
}

impl Collector for Family {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let metrics = series.iter().map(|series| {
            let mut metric = proto::Metric::default();
            metric.set_label(series.labels.clone());
            metric.set_histogram(series.histogram.sample());
            metric
        });
        vec![register::family(&self.definition, metrics.collect())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upper(index: usize) -> u64 {
        64_000 << index
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_reaches_it() {
        assert_eq!(bucket(0), 0);
        for index in 0..BUCKETS - 1 {
            assert_eq!(bucket(upper(index)), index, "a bound belongs to its bucket");
            assert_eq!(bucket(upper(index) + 1), index + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(upper(BUCKETS - 2), 16_777_216_000);
    }

    #[test]
    fn what_threads_observe_adds_up() {
        let histogram = Histogram::new(Span::Requests);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        histogram.observe(Duration::from_micros(100));
                    }
                });
            }
        });
        histogram.observe(Duration::from_secs(3600));
        let sample = histogram.sample();
        assert_eq!(histogram.count(), 16_001);
        assert_eq!(sample.get_sample_count(), 16_001);
        assert!((sample.get_sample_sum() - 3601.6).abs() < 1e-9);
        let cumulative: Vec<_> = sample.get_bucket().iter().map(proto::Bucket::cumulative_count).collect();
        assert_eq!(cumulative.first(), Some(&0));
        assert!(cumulative.iter().skip(1).all(|count| *count == 16_000), "{cumulative:?}");
    }

    #[test]
    fn connections_last_longer_than_requests() {
        let histogram = Histogram::new(Span::Connections);
        for seconds in [0.001, 0.3, 60.0, 600.0, 1e6] {
            histogram.observe(Duration::from_secs_f64(seconds));
        }
        let sample = histogram.sample();
        assert!((sample.get_sample_sum() - 1_000_660.301).abs() < 1e-3, "{}", sample.get_sample_sum());
        let below = |seconds: f64| {
            let reached = sample.get_bucket().iter().find(|bucket| bucket.upper_bound() >= seconds);
            reached.map(proto::Bucket::cumulative_count)
        };
        assert_eq!(sample.get_bucket().first().map(proto::Bucket::upper_bound), Some(0.262_144));
        assert_eq!([below(0.1), below(1.0), below(60.0), below(60_000.0)], [1, 2, 3, 4].map(Some));
        assert_eq!(sample.get_sample_count(), 5);
    }

    #[test]
    fn threads_spread_over_the_shards() {
        let places: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64).map(|_| scope.spawn(shard)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(places.len() > 1, "{places:?}");
    }
}
