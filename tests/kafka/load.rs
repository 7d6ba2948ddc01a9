//! A producer and a consumer that keep going through the gateway while something happens to the cluster.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Result, clients,
    cluster::bootstrap,
    lab::{Lab, Side},
    poll::{self, LIMIT},
    process::Process,
    records::{self, Verdict},
    wire,
};

/// Makes the Java producer of a load one that is not idempotent.
pub(crate) const PLAIN: &str = "client.enable.idempotence=false";

/// A running pair; dropping it kills both.
pub(crate) struct Load<'lab> {
    lab: &'lab Lab,
    topic: String,
    producer: Process,
    consumer: Process,
    stop: PathBuf,
    acknowledged: PathBuf,
    read: PathBuf,
    ordered: bool,
}

impl<'lab> Load<'lab> {
    /// Creates `topic`, then lets `client` produce and consume at `door` until [`Load::finish`]; waits until records flow.
    pub(crate) fn start(lab: &'lab Lab, client: &str, topic: &str, door: &str) -> Result<Self> {
        Self::start_with(lab, client, topic, door, &[])
    }

    /// The same with more arguments for both.
    pub(crate) fn start_with(
        lab: &'lab Lab,
        client: &str,
        topic: &str,
        door: &str,
        more: &[String],
    ) -> Result<Self> {
        lab.inside(Side::Brokers, || wire::create_topic(&bootstrap(), topic, &wire::spread(3, 3), &[]))?;
        let file = |kind: &str| lab.root().join(format!("{topic}.{kind}"));
        let (stop, acknowledged, read) = (file("stop"), file("acked"), file("read"));
        let mut common =
            vec![format!("bootstrap={door}"), format!("prefix={topic}"), format!("stop={}", stop.display())];
        common.extend_from_slice(more);
        let mut produce = common.clone();
        produce.push("functions=stream".to_owned());
        produce.push(format!("rate={RATE}"));
        produce.push(format!("seconds={SECONDS_MAX}"));
        produce.push(format!("acked={}", acknowledged.display()));
        let mut consume = common;
        consume.push("functions=consume".to_owned());
        consume.push("count=1000000000".to_owned());
        consume.push(format!("timeout={SECONDS_MAX}"));
        consume.push(format!("out={}", read.display()));
        let producer = clients::spawn(lab, Side::Clients, client, &format!("{topic}-producer"), &produce)?;
        let consumer = clients::spawn(lab, Side::Clients, client, &format!("{topic}-consumer"), &consume)?;
        // Kafka lets a producer that is not idempotent put retried batches behind later ones.
        let ordered = !more.iter().any(|argument| argument == PLAIN);
        let mut load =
            Self { lab, topic: topic.to_owned(), producer, consumer, stop, acknowledged, read, ordered };
        load.progress()?;
        Ok(load)
    }

    /// The consumer's group.
    pub(crate) fn group(&self) -> String {
        format!("{}-g", self.topic)
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Waits until both have handled records that neither had when this was called.
    pub(crate) fn progress(&mut self) -> Result<()> {
        let from = lines(&self.acknowledged);
        self.wait_for("records acknowledged", |load| Ok(lines(&load.acknowledged) >= from + STEP))?;
        let newest = newest(&self.acknowledged);
        self.wait_for(
            "records read",
            |load| Ok(read_values(&load.read, &load.topic)?.last() >= Some(&newest)),
        )
    }

    /// Ends the producer, lets the consumer catch up and compares with what lies in the topic: nothing may be lost, doubled or out of order.
    pub(crate) fn finish(mut self) -> Result<u64> {
        fs::write(&self.stop, "")?;
        let outcomes = clients::finish(&mut self.producer, LIMIT)?;
        let outcome = outcomes.first().ok_or("no report")?;
        if !outcome.ok {
            return Err(self.producer.explain(&format!("{}: {}", self.topic, outcome.detail)));
        }
        let acknowledged = numbers(&self.acknowledged);
        if acknowledged.len() as u64 != outcome.sent {
            return Err(format!(
                "{}: {} sent, {} acknowledged",
                self.topic,
                outcome.sent,
                acknowledged.len()
            )
            .into());
        }
        self.wait_for("all acknowledged records read", |load| {
            Ok(acknowledged.is_subset(&read_values(&load.read, &load.topic)?))
        })?;
        let mut verdict =
            self.lab.inside(Side::Brokers, || records::judge(&bootstrap(), &self.topic, &acknowledged))?;
        if !self.ordered {
            verdict.disordered = 0;
        }
        if verdict != (Verdict { distinct: acknowledged.len(), ..Verdict::default() }) {
            return Err(format!(
                "{}: of {} acknowledged, beside the gateway: {verdict:?}",
                self.topic,
                acknowledged.len()
            )
            .into());
        }
        Ok(outcome.sent)
    }

    fn wait_for(&mut self, what: &str, condition: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let topic = self.topic.clone();
        let seen = poll::until(&format!("{topic}: {what}"), LIMIT, || {
            if condition(self)? {
                return Ok(Some(Ok(())));
            }
            for process in [&mut self.producer, &mut self.consumer] {
                if !process.running()? && !self.stop.exists() {
                    return Ok(Some(Err(process.explain(&format!("{topic}: a client ended by itself")))));
                }
            }
            Ok(None)
        });
        seen.map_err(|error| self.producer.explain(&self.consumer.explain(&error.to_string()).to_string()))?
    }
}

/// Whole lines of a file that is still written.
fn text(path: &Path) -> String {
    let mut text = fs::read_to_string(path).unwrap_or_default();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    text
}

fn lines(path: &Path) -> usize {
    text(path).lines().count()
}

fn numbers(path: &Path) -> BTreeSet<u64> {
    text(path).lines().filter_map(|line| line.parse().ok()).collect()
}

fn newest(path: &Path) -> u64 {
    numbers(path).last().copied().unwrap_or(0)
}

/// The sequence numbers in a consumer's lines of partition, offset, value.
fn read_values(path: &Path, topic: &str) -> Result<BTreeSet<u64>> {
    let mut values = BTreeSet::new();
    for line in text(path).lines() {
        let value = line.rsplit(' ').next().unwrap_or_default();
        let sequence = value
            .strip_prefix(topic)
            .and_then(|rest| rest.strip_prefix(':'))
            .and_then(|digits| digits.parse().ok());
        values.insert(sequence.ok_or_else(|| format!("a foreign value: {value}"))?);
    }
    Ok(values)
}

/// Records a second: enough to be always in flight, little enough for two cores.
const RATE: u32 = 300;
const SECONDS_MAX: u32 = 600;
/// New acknowledgements that count as progress.
const STEP: usize = 100;
