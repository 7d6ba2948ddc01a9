//! How a definition becomes something that the registry of the `prometheus` crate collects.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::{CounterVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, proto};

use super::names::{Definition, Kind};

/// Registers a collector.
#[expect(clippy::expect_used, reason = "names are constants, and a test registers each of them once")]
pub(super) fn collector(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect("a metric is registered once");
}

/// The description of a collector of our own.
#[expect(clippy::expect_used, reason = "names are constants, and a test builds each of them")]
pub(super) fn desc(definition: &Definition) -> Desc {
    let labels = definition.labels.iter().map(|label| (*label).to_owned()).collect();
    Desc::new(definition.name.to_owned(), definition.help.to_owned(), labels, HashMap::new())
        .expect("a valid name")
}

fn options(definition: &Definition) -> Opts {
    Opts::new(definition.name, definition.help)
}

/// A gauge without labels.
#[expect(clippy::expect_used, reason = "names are constants, and a test builds each of them")]
pub(super) fn gauge(registry: &Registry, definition: &Definition) -> IntGauge {
    let gauge = IntGauge::with_opts(options(definition)).expect("a valid name");
    collector(registry, gauge.clone());
    gauge
}

/// Gauges told apart by labels.
#[expect(clippy::expect_used, reason = "names are constants, and a test builds each of them")]
pub(super) fn gauges(registry: &Registry, definition: &Definition) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(options(definition), definition.labels).expect("a valid name");
    collector(registry, gauges.clone());
    gauges
}

/// Counters of whole numbers.
#[expect(clippy::expect_used, reason = "names are constants, and a test builds each of them")]
pub(super) fn counters(registry: &Registry, definition: &Definition) -> IntCounterVec {
    let counters = IntCounterVec::new(options(definition), definition.labels).expect("a valid name");
    collector(registry, counters.clone());
    counters
}

/// Counters of seconds.
#[expect(clippy::expect_used, reason = "names are constants, and a test builds each of them")]
pub(super) fn seconds(registry: &Registry, definition: &Definition) -> CounterVec {
    let counters = CounterVec::new(options(definition), definition.labels).expect("a valid name");
    collector(registry, counters.clone());
    counters
}

/// Label pairs in the order of the definition.
pub(super) fn labels(definition: &Definition, values: &[&str]) -> Vec<proto::LabelPair> {
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut pairs: Vec<_> = definition.labels.iter().zip(values).map(pair).collect();
    pairs.sort_by(|a, b| a.name().cmp(b.name()));
    pairs
}

/// A family of samples as the registry wants it.
pub(super) fn family(definition: &Definition, metrics: Vec<proto::Metric>) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name(definition.name.to_owned());
    family.set_help(definition.help.to_owned());
    family.set_field_type(match definition.kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
    });
    family.set_metric(metrics);
    family
}
