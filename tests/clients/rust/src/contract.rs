//! The part of the client programs' contract (../README.md) that does not depend on a Kafka library.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::exit;
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub const PARTITIONS: i32 = 3;
pub const REPLICAS: i32 = 3;
const TRANSACTION: u64 = 50;

/// What a function returns: nothing, or why it failed.
pub type Outcome = Result<(), Box<dyn Error>>;

/// The key=value arguments.
pub struct Arguments(HashMap<String, String>);

impl Arguments {
    /// Ends the program where a word is not key=value.
    pub fn parse() -> Self {
        let mut values = HashMap::new();
        for word in std::env::args().skip(1) {
            match word.split_once('=') {
                Some((key, value)) if !key.is_empty() => values.insert(key.to_owned(), value.to_owned()),
                _ => usage(&format!("not key=value: {word}")),
            };
        }
        Self(values)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Ends the program where the key was not given.
    pub fn required(&self, key: &str) -> &str {
        self.get(key).unwrap_or_else(|| usage(&format!("missing {key}=")))
    }

    /// Ends the program where the value is no number.
    pub fn number(&self, key: &str, otherwise: u64) -> u64 {
        self.get(key).map_or(otherwise, |text| {
            text.parse().unwrap_or_else(|_| usage(&format!("{key}= is not a number")))
        })
    }

    pub fn count(&self) -> u64 {
        self.number("count", 100)
    }

    pub fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.number("timeout", 30))
    }

    /// The client.NAME=VALUE arguments.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(key, value)| Some((key.strip_prefix("client.")?, value.as_str())))
    }
}

pub fn usage(reason: &str) -> ! {
    eprintln!("{reason}");
    exit(2);
}

/// What one function did.
#[derive(Default)]
pub struct Report {
    pub sent: u64,
    pub read: u64,
    pub detail: String,
}

/// Runs the functions that the command line names, in order, prints a line for each, and exits.
pub fn run(arguments: &Arguments, call: impl Fn(&str, &mut Report) -> Outcome) -> ! {
    let functions: Vec<&str> = arguments.required("functions").split(',').collect();
    if functions.iter().any(|name| !["version", "supported"].contains(name)) {
        arguments.required("bootstrap");
        arguments.required("prefix");
    }
    let mut status = 0;
    for name in functions {
        let mut report = Report::default();
        let start = Instant::now();
        let outcome = call(name, &mut report);
        if let Err(failure) = &outcome {
            report.detail = failure.to_string();
            status = 1;
        }
        println!(
            "{{\"function\":{},\"ok\":{},\"sent\":{},\"read\":{},\"ms\":{},\"detail\":{}}}",
            serde_json::Value::from(name),
            outcome.is_ok(),
            report.sent,
            report.read,
            start.elapsed().as_millis(),
            serde_json::Value::from(report.detail),
        );
    }
    exit(status)
}

pub fn key(sequence: u64) -> String {
    format!("k{}", sequence % 16)
}

pub fn value(topic: &str, sequence: u64) -> String {
    format!("{topic}:{sequence}")
}

/// The sequence numbers of each transaction.
pub fn batches(count: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..count).step_by(TRANSACTION as usize).map(move |first| first..count.min(first + TRANSACTION))
}

/// Whether the transaction that a record is in is to be committed.
pub fn committed(sequence: u64) -> bool {
    (sequence / TRANSACTION).is_multiple_of(2)
}

/// Counts what was acknowledged and what failed, and appends each acknowledged sequence number to a file, if named.
pub struct Acknowledged(Mutex<Counted>);

struct Counted {
    count: u64,
    failure: Option<String>,
    file: Option<File>,
}

impl Acknowledged {
    pub fn new(name: Option<&str>) -> std::io::Result<Self> {
        Ok(Self(Mutex::new(Counted { count: 0, failure: None, file: append_to(name)? })))
    }

    pub fn settle(&self, sequence: u64, failure: Option<String>) {
        let Ok(mut counted) = self.0.lock() else { return };
        if failure.is_some() {
            counted.failure = failure;
            return;
        }
        counted.count += 1;
        if let Some(file) = &mut counted.file
            && let Err(error) = writeln!(file, "{sequence}")
        {
            counted.failure = Some(error.to_string());
        }
    }

    pub fn judge(&self, report: &mut Report, expected: u64) -> Outcome {
        let counted = self.0.lock().map_err(|_| "a callback panicked")?;
        report.sent = counted.count;
        match &counted.failure {
            Some(failure) => Err(format!("acknowledged {} of {expected}: {failure}", counted.count).into()),
            None if counted.count != expected => {
                Err(format!("acknowledged {} of {expected}", counted.count).into())
            }
            None => Ok(()),
        }
    }
}

/// What must be true of the records read: values of our own, none twice, and order within partition and key.
pub struct Check<'a> {
    topic: &'a str,
    file: Option<File>,
    sequences: HashSet<u64>,
    offsets: HashMap<i32, i64>,
    keys: HashMap<String, u64>,
    fault: Option<String>,
}

impl<'a> Check<'a> {
    pub fn new(topic: &'a str, out: Option<&str>) -> std::io::Result<Self> {
        let file = append_to(out)?;
        Ok(Self {
            topic,
            file,
            sequences: HashSet::new(),
            offsets: HashMap::new(),
            keys: HashMap::new(),
            fault: None,
        })
    }

    pub fn see(&mut self, partition: i32, offset: i64, key: &[u8], value: &[u8]) -> Outcome {
        let value = String::from_utf8_lossy(value);
        if let Some(file) = &mut self.file {
            writeln!(file, "{partition} {offset} {value}")?;
        }
        let of_ours = value.strip_prefix(self.topic).and_then(|rest| rest.strip_prefix(':'));
        let Some(sequence) = of_ours.and_then(|text| text.parse().ok()) else {
            self.fail(format!("foreign value {value}"));
            return Ok(());
        };
        if !self.sequences.insert(sequence) {
            self.fail(format!("duplicate {value}"));
        }
        if self.offsets.insert(partition, offset).is_some_and(|before| before >= offset) {
            self.fail(format!("offset went back at {partition}/{offset}"));
        }
        let key = String::from_utf8_lossy(key).into_owned();
        if self.keys.insert(key, sequence).is_some_and(|before| before >= sequence) {
            self.fail(format!("order of a key went back at {sequence}"));
        }
        Ok(())
    }

    pub fn distinct(&self) -> u64 {
        self.sequences.len() as u64
    }

    pub fn judge(self, report: &mut Report, expected: u64) -> Outcome {
        report.read = self.distinct();
        match self.fault {
            Some(fault) => Err(fault.into()),
            None if report.read != expected => Err(format!("read {} of {expected}", report.read).into()),
            None => Ok(()),
        }
    }

    /// `judge` for `count` records sent in `batches`.
    pub fn judge_committed(mut self, report: &mut Report, count: u64) -> Outcome {
        if let Some(aborted) = self.sequences.iter().copied().find(|&sequence| !committed(sequence)) {
            self.fail(format!("read aborted {aborted}"));
        }
        self.judge(report, (0..count).filter(|&sequence| committed(sequence)).count() as u64)
    }

    fn fail(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }
}

fn append_to(name: Option<&str>) -> std::io::Result<Option<File>> {
    name.map(|name| OpenOptions::new().append(true).create(true).open(name)).transpose()
}
