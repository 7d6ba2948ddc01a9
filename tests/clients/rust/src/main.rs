//! Speaks the client programs' contract with the rdkafka crate, which is librdkafka.

mod contract;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use contract::{Acknowledged, Arguments, Check, Outcome, Report};
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

const SUPPORTED: &str =
    "admin,consume,consume848,create,describe,produce,produce0,stream,supported,transact,version";
/// Bounds everything that is not bounded by timeout=.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

fn main() {
    let arguments = Arguments::parse();
    let client = Client { arguments: &arguments, topic: arguments.get("prefix").unwrap_or_default() };
    contract::run(&arguments, |function, report| client.call(function, report));
}

struct Client<'a> {
    arguments: &'a Arguments,
    topic: &'a str,
}

/// Has the outcome of each record counted, on the producer's own thread.
struct Counting(Arc<Acknowledged>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, sequence: Box<u64>) {
        self.0.settle(*sequence, result.as_ref().err().map(|(error, _)| error.to_string()));
    }
}

impl Client<'_> {
    fn call(&self, function: &str, report: &mut Report) -> Outcome {
        let topic = self.topic;
        match function {
            "describe" => self.describe(report),
            "create" => self.create(topic),
            "produce" => self.produce(topic, &[], self.arguments.get("acked"), report),
            "produce0" => {
                let topic = format!("{topic}-a0");
                self.create_unless_there(&topic)?;
                self.produce(&topic, &[("acks", "0"), ("enable.idempotence", "false")], None, report)
            }
            "consume" => self.consume(&format!("{topic}-g"), "classic", report),
            "consume848" => self.consume(&format!("{topic}-g848"), "consumer", report),
            "transact" => self.transact(&format!("{topic}-tx"), report),
            "stream" => self.stream(report),
            "admin" => self.admin(report),
            "supported" => {
                SUPPORTED.clone_into(&mut report.detail);
                Ok(())
            }
            "version" => {
                report.detail =
                    format!("rdkafka 0.39.0 librdkafka {}", rdkafka::util::get_rdkafka_version().1);
                Ok(())
            }
            other => Err(format!("unsupported: {other}").into()),
        }
    }

    fn config(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.arguments.required("bootstrap"));
        for (key, value) in settings.iter().copied().chain(self.arguments.settings()) {
            config.set(key, value);
        }
        config
    }

    fn admin_client(&self) -> Result<AdminClient<DefaultClientContext>, KafkaError> {
        self.config(&[]).create()
    }

    fn describe(&self, report: &mut Report) -> Outcome {
        let metadata = self.admin_client()?.inner().fetch_metadata(None, PATIENCE)?;
        let brokers: BTreeMap<_, _> = metadata
            .brokers()
            .iter()
            .map(|node| (node.id(), format!("{}:{}", node.host(), node.port())))
            .collect();
        report.detail =
            brokers.iter().map(|(id, address)| format!("{id}={address}")).collect::<Vec<_>>().join(",");
        if brokers.len() == 3 { Ok(()) } else { Err(format!("brokers: {}", report.detail).into()) }
    }

    fn create(&self, topic: &str) -> Outcome {
        let new = NewTopic::new(topic, contract::PARTITIONS, TopicReplication::Fixed(contract::REPLICAS));
        for result in block_on(self.admin_client()?.create_topics([&new], &AdminOptions::new()))? {
            result.map_err(|(_, code)| KafkaError::AdminOp(code))?;
        }
        Ok(())
    }

    fn create_unless_there(&self, topic: &str) -> Outcome {
        match self.create(topic) {
            Err(error) if is_topic_there(error.as_ref()) => Ok(()),
            outcome => outcome,
        }
    }

    fn producer(
        &self,
        settings: &[(&str, &str)],
        acknowledged: &Arc<Acknowledged>,
    ) -> Result<ThreadedProducer<Counting>, KafkaError> {
        let usual = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("linger.ms", "1"),
            ("message.timeout.ms", "60000"),
        ];
        self.config(&[&usual, settings].concat()).create_with_context(Counting(Arc::clone(acknowledged)))
    }

    fn produce(
        &self,
        topic: &str,
        settings: &[(&str, &str)],
        acked: Option<&str>,
        report: &mut Report,
    ) -> Outcome {
        let acknowledged = Arc::new(Acknowledged::new(acked)?);
        let producer = self.producer(settings, &acknowledged)?;
        for sequence in 0..self.arguments.count() {
            send(&producer, topic, sequence)?;
        }
        producer.flush(PATIENCE)?;
        acknowledged.judge(report, self.arguments.count())
    }

    fn stream(&self, report: &mut Report) -> Outcome {
        let rate: f64 = self.arguments.required("rate").parse()?;
        let span: f64 = self.arguments.required("seconds").parse()?;
        let acknowledged = Arc::new(Acknowledged::new(self.arguments.get("acked"))?);
        let producer = self.producer(&[], &acknowledged)?;
        let start = Instant::now();
        let mut sequence = 0;
        loop {
            let spent = start.elapsed().as_secs_f64();
            if spent >= span || self.arguments.get("stop").is_some_and(|file| Path::new(file).exists()) {
                break;
            }
            while sequence < (spent * rate) as u64 {
                send(&producer, self.topic, sequence)?;
                sequence += 1;
            }
            sleep(Duration::from_millis(5));
        }
        producer.flush(PATIENCE)?;
        acknowledged.judge(report, sequence)
    }

    fn consume(&self, group: &str, protocol: &str, report: &mut Report) -> Outcome {
        let mut check = Check::new(self.topic, self.arguments.get("out"))?;
        let consumer: BaseConsumer = self
            .config(&[
                ("group.id", group),
                ("group.protocol", protocol),
                ("auto.offset.reset", "earliest"),
                ("enable.auto.commit", "false"),
            ])
            .create()?;
        consumer.subscribe(&[self.topic])?;
        let deadline = self.arguments.deadline();
        while check.distinct() < self.arguments.count() && Instant::now() < deadline {
            if let Some(message) = consumer.poll(POLL) {
                see(&mut check, &message?)?;
            }
        }
        if check.distinct() > 0 {
            consumer.commit_consumer_state(CommitMode::Sync)?;
        }
        check.judge(report, self.arguments.count())
    }

    fn transact(&self, topic: &str, report: &mut Report) -> Outcome {
        self.create_unless_there(topic)?;
        let acknowledged = Arc::new(Acknowledged::new(None)?);
        let producer = self.producer(&[("transactional.id", topic)], &acknowledged)?;
        producer.init_transactions(PATIENCE)?;
        for batch in contract::batches(self.arguments.count()) {
            let commit = contract::committed(batch.start);
            producer.begin_transaction()?;
            for sequence in batch {
                send(&producer, topic, sequence)?;
            }
            producer.flush(PATIENCE)?;
            if commit {
                producer.commit_transaction(PATIENCE)?;
            } else {
                producer.abort_transaction(PATIENCE)?;
            }
        }
        acknowledged.judge(report, self.arguments.count())?;
        self.read_committed(topic, report)
    }

    /// Reads each partition to its end, so that an aborted record at the very end would be seen too.
    fn read_committed(&self, topic: &str, report: &mut Report) -> Outcome {
        let mut check = Check::new(topic, None)?;
        let group = format!("{topic}-g");
        let settings = [
            ("group.id", group.as_str()),
            ("isolation.level", "read_committed"),
            ("enable.partition.eof", "true"),
        ];
        let consumer: BaseConsumer = self.config(&settings).create()?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..contract::PARTITIONS {
            partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        let mut ended = HashSet::new();
        let deadline = self.arguments.deadline();
        while ended.len() < contract::PARTITIONS as usize && Instant::now() < deadline {
            match consumer.poll(POLL) {
                Some(Ok(message)) => see(&mut check, &message)?,
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ended.insert(partition);
                }
                Some(Err(error)) => return Err(error.into()),
                None => {}
            }
        }
        check.judge_committed(report, self.arguments.count())
    }

    fn admin(&self, report: &mut Report) -> Outcome {
        let group = format!("{}-g", self.topic);
        let admin = self.admin_client()?;
        let metadata = admin.inner().fetch_metadata(Some(self.topic), PATIENCE)?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let broker = metadata.brokers().first().ok_or("no broker")?.id();
        let resources = [ResourceSpecifier::Broker(broker)];
        let mut configs = 0;
        for result in block_on(admin.describe_configs(&resources, &AdminOptions::new()))? {
            configs += result.map_err(KafkaError::AdminOp)?.entries.len();
        }
        let groups = admin.inner().fetch_group_list(Some(&group), PATIENCE)?;
        let state = groups.groups().first().map_or("none", |listed| listed.state());
        let mut offsets = 0;
        for partition in 0..contract::PARTITIONS {
            offsets += admin.inner().fetch_watermarks(self.topic, partition, PATIENCE)?.1;
        }
        report.detail = format!("partitions={partitions},configs={configs},group={state},offsets={offsets}");
        Ok(())
    }
}

/// Waits where the producer's queue is full.
fn send(producer: &ThreadedProducer<Counting>, topic: &str, sequence: u64) -> Outcome {
    let (key, value) = (contract::key(sequence), contract::value(topic, sequence));
    let mut record = BaseRecord::with_opaque_to(topic, Box::new(sequence)).key(&key).payload(&value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => record = same,
            Err((error, _)) => return Err(error.into()),
        }
        sleep(Duration::from_millis(5));
    }
}

fn see(check: &mut Check<'_>, message: &impl Message) -> Outcome {
    let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
    check.see(message.partition(), message.offset(), key, value)
}

fn is_topic_there(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(KafkaError::AdminOp(RDKafkaErrorCode::TopicAlreadyExists)))
}
