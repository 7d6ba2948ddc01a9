//! What the kernel says of this process, read from `/proc/self` at each scrape.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::names::{CPU, Definition, Kind, MAX_FDS, OPEN_FDS, RESIDENT, START_TIME};
use super::register;

/// `/proc` counts CPU time and the start in this unit on every Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The collector. A figure that cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process {
    descs: Vec<Desc>,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { descs: [CPU, RESIDENT, OPEN_FDS, MAX_FDS, START_TIME].iter().map(register::desc).collect() }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text));
        let started = || Some(stat.as_ref()?.started + boot_time(&fs::read_to_string("/proc/stat").ok()?)?);
        let resident = || resident_bytes(&fs::read_to_string("/proc/self/status").ok()?);
        let open = || Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64);
        let most = || descriptor_limit(&fs::read_to_string("/proc/self/limits").ok()?);
        [
            (CPU, stat.as_ref().map(|stat| stat.cpu)),
            (RESIDENT, resident()),
            (OPEN_FDS, open()),
            (MAX_FDS, most()),
            (START_TIME, started()),
        ]
        .iter()
        .filter_map(|(definition, value)| Some(sample(definition, (*value)?)))
        .collect()
    }
}

fn sample(definition: &Definition, value: f64) -> proto::MetricFamily {
    let mut metric = proto::Metric::default();
    match definition.kind {
        Kind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        Kind::Gauge | Kind::Histogram => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    register::family(definition, vec![metric])
}

/// Two figures of `/proc/self/stat` (`proc_pid_stat(5)`), in seconds.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: f64,
    /// Since the machine started.
    started: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program stands in parentheses and may hold spaces and parentheses itself.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
        // Fields 14, 15 and 22 of the page, which counts the two before the parenthesis.
        Some(Self {
            cpu: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
            started: ticks(19)? / TICKS_PER_SECOND,
        })
    }
}

fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn resident_bytes(status: &str) -> Option<f64> {
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim();
    Some(kibibytes.strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}

fn descriptor_limit(limits: &str) -> Option<f64> {
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    // `unlimited` parses as no number and leaves the figure out.
    soft.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        let text = format!("42 (a) R (b) {}", fields.join(" "));
        assert_eq!(Stat::parse(&text), Some(Stat { cpu: 0.29, started: 0.22 }));
    }

    #[test]
    fn the_other_files_are_read_by_their_keys() {
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n"), Some(2_097_152.0));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288  files\n";
        assert_eq!(descriptor_limit(limits), Some(1024.0));
        assert_eq!(descriptor_limit("Max open files  unlimited  unlimited  files"), None);
    }

    #[test]
    fn this_process_has_every_figure() {
        let families = Process::new().collect();
        let names: Vec<_> = families.iter().map(proto::MetricFamily::name).collect();
        assert_eq!(names, [CPU.name, RESIDENT.name, OPEN_FDS.name, MAX_FDS.name, START_TIME.name]);
        let gauge = |index: usize| families[index].get_metric()[0].get_gauge().get_value();
        assert!(gauge(1) > 1e6, "resident {}", gauge(1));
        assert!(gauge(2) >= 3.0, "descriptors {}", gauge(2));
        assert!(gauge(4) > 1.6e9, "started {}", gauge(4));
    }
}
