//! Kafka's own command line tools through the gateway, each version's with its brokers.

use std::collections::BTreeSet;

use crate::{
    Result,
    clients::Tool,
    cluster::{Cluster, NODES},
    gateway::{self, Gateway, PORT},
    jars::Kafka,
    lab::{DOOR, Lab, Side},
    suite::no_leaks,
};

/// Runs every tool that the version has; none may see a broker's own address.
pub(crate) fn run(lab: &Lab, cluster: &mut Cluster<'_>) -> Result<String> {
    let gateway = Gateway::start(lab)?;
    let tools = Tools {
        tool: Tool::new(lab, &cluster.kafka)?,
        kafka: cluster.kafka.tools()?,
        raft: !cluster.kafka.zookeeper(),
    };
    let (records, admin) = std::thread::scope(|scope| {
        let records = scope.spawn(|| tools.records());
        let admin = scope.spawn(|| tools.admin());
        (records.join(), admin.join())
    });
    let count = records.map_err(|_| "a thread panicked")?? + admin.map_err(|_| "a thread panicked")??;
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!("{count} commands"))
}

struct Tools<'a> {
    tool: Tool<'a>,
    kafka: Kafka,
    raft: bool,
}

impl Tools<'_> {
    /// A topic's life: created, written, read by a group, described.
    fn records(&self) -> Result<usize> {
        let topic = self.moved("admin.TopicCommand", "TopicCommand");
        self.run(
            &topic,
            &["--create", "--topic", TOPIC, "--partitions", "3", "--replication-factor", "3"],
            None,
        )?;
        let described = self.run(&topic, &["--describe", "--topic", TOPIC], None)?;
        expect(&described, "Partition: 2")?;

        let values: BTreeSet<String> = (0..COUNT).map(|sequence| format!("{TOPIC}:{sequence}")).collect();
        let input: String = values.iter().map(|value| format!("{value}\n")).collect();
        let producer = if self.kafka.at_least(4, 0) {
            "org.apache.kafka.tools.ConsoleProducer"
        } else {
            "kafka.tools.ConsoleProducer"
        };
        let server = if self.kafka.at_least(2, 5) { "--bootstrap-server" } else { "--broker-list" };
        let door = gateway::door();
        let acks = if self.kafka.at_least(4, 0) { "--command-property" } else { "--producer-property" };
        self.plain(producer, &[server, &door, "--topic", TOPIC, acks, "acks=all"], Some(&input))?;

        let consumer = self.moved("tools.ConsoleConsumer", "consumer.ConsoleConsumer");
        let count = COUNT.to_string();
        let read = self.run(
            &consumer,
            &[
                "--topic",
                TOPIC,
                "--group",
                "tools-g",
                "--from-beginning",
                "--max-messages",
                &count,
                "--timeout-ms",
                "60000",
            ],
            None,
        )?;
        let read: BTreeSet<String> =
            read.lines().filter(|line| line.starts_with(TOPIC)).map(str::to_owned).collect();
        if read != values {
            return Err(format!("the console consumer read {} of {COUNT} records", read.len()).into());
        }
        let groups = self.moved("admin.ConsumerGroupCommand", "consumer.group.ConsumerGroupCommand");
        let described = self.run(&groups, &["--describe", "--group", "tools-g"], None)?;
        let rows = described.lines().filter(|line| line.contains(TOPIC)).map(str::split_whitespace);
        let committed: u32 = rows.filter_map(|mut row| row.nth(3)?.parse::<u32>().ok()).sum();
        if committed != COUNT {
            return Err(format!("the group committed {committed} of {COUNT}: {described}").into());
        }
        let deleted = self.run(&topic, &["--delete", "--topic", TOPIC], None);
        deleted.map(|_| 6)
    }

    /// What the brokers say of themselves, settings, transactions, elections.
    fn admin(&self) -> Result<usize> {
        let versions = if self.kafka.at_least(4, 0) {
            "org.apache.kafka.tools.BrokerApiVersionsCommand"
        } else {
            "kafka.admin.BrokerApiVersionsCommand"
        };
        let listed = self.run(versions, &[], None)?;
        for node in NODES {
            expect(&listed, &format!("{DOOR}:{} (id: {node}", i32::from(PORT) + 1 + node))?;
        }
        let broker = ["--entity-type", "brokers", "--entity-name", "2"];
        let setting = "follower.replication.throttled.rate=987654321";
        let config = "kafka.admin.ConfigCommand";
        self.run(config, &[&broker[..], &["--alter", "--add-config", setting]].concat(), None)?;
        let described = self.run(config, &[&broker[..], &["--describe"]].concat(), None)?;
        // 2.4 shows the name alone.
        expect(
            &described,
            if self.kafka.at_least(2, 8) { setting } else { "follower.replication.throttled.rate" },
        )?;
        self.run(
            config,
            &[&broker[..], &["--alter", "--delete-config", "follower.replication.throttled.rate"]].concat(),
            None,
        )?;

        let server = format!("bootstrap.servers={}", gateway::door());
        let performance = "org.apache.kafka.tools.ProducerPerformance";
        let load =
            ["--topic", "tools-tx", "--num-records", "1000", "--record-size", "100", "--throughput", "-1"];
        let transactional = [
            "--transactional-id",
            "tools-tx",
            "--transaction-duration-ms",
            "100",
            "--producer-props",
            &server,
        ];
        self.plain(performance, &[&load[..], &transactional[..]].concat(), None)?;
        let elected = if self.kafka.at_least(3, 0) {
            "org.apache.kafka.tools.LeaderElectionCommand"
        } else {
            "kafka.admin.LeaderElectionCommand"
        };
        // Not of all topics: the other thread's is deleted at some time.
        let elect = ["--election-type", "preferred", "--topic", "tools-tx", "--partition", "0"];
        self.run(elected, &elect, None)?;
        let mut count = 6;
        if self.kafka.at_least(3, 0) {
            let listed = self.run("org.apache.kafka.tools.TransactionsCommand", &["list"], None)?;
            expect(&listed, "tools-tx")?;
            count += 1;
        }
        if self.raft {
            let quorum =
                self.run("org.apache.kafka.tools.MetadataQuorumCommand", &["describe", "--status"], None)?;
            expect(&quorum, "LeaderId")?;
            self.run("org.apache.kafka.tools.FeatureCommand", &["describe"], None)?;
            count += 2;
        }
        if self.kafka.at_least(4, 0) {
            self.run("org.apache.kafka.tools.GroupsCommand", &["--list"], None)?;
            count += 1;
        }
        Ok(count)
    }

    /// A class that moved out of `kafka` after 2.8.
    fn moved(&self, old: &str, new: &str) -> String {
        if self.kafka.at_least(3, 0) {
            format!("org.apache.kafka.tools.{new}")
        } else {
            format!("kafka.{old}")
        }
    }

    fn run(&self, class: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
        self.plain(class, &[&["--bootstrap-server", gateway::door().as_str()], arguments].concat(), input)
    }

    fn plain(&self, class: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let printed = self.tool.run(Side::Clients, class, arguments, input)?;
        if printed.contains("10.77.0.") {
            Err(format!("{class} saw a broker's own address: {printed}").into())
        } else {
            Ok(printed)
        }
    }
}

fn expect(printed: &str, part: &str) -> Result<()> {
    if printed.contains(part) { Ok(()) } else { Err(format!("{part:?} is not in {printed}").into()) }
}

const TOPIC: &str = "tools";
const COUNT: u32 = 100;
