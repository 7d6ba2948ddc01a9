//! The matrix client × broker × function: what must be there, what Kafka itself does not offer, and the committed table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Mutex,
};

use crate::{
    Result,
    clients::{self, Outcome},
    cluster::{NODES, bootstrap},
    gateway::PORT,
    jars::{Kafka, VERSIONS},
    lab::{DOOR, Lab, Side},
    records::{self, Verdict},
    wire,
};

/// Records that each function sends or reads; transactions commit every other batch of 50.
pub(crate) const COUNT: u64 = 200;

/// The clients, each a program of `tests/clients`.
pub(crate) const CLIENTS: [&str; 13] = [
    "java-4.4",
    "java-3.9",
    "java-2.8",
    "java-2.4",
    "java-0.11",
    "franz-go",
    "sarama-2.8",
    "sarama-4.0",
    "confluent-python",
    "aiokafka",
    "kafkajs",
    "rdkafka",
    "kcat",
];

/// The functions, in the order in which a client runs them.
pub(crate) const FUNCTIONS: [&str; 9] =
    ["describe", "create", "produce", "produce0", "consume", "consume848", "transact", "share", "admin"];

/// One cell: what ran, or why it cannot.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Records sent and read.
    Ran(u64, u64),
    /// Kafka or the client has no such thing.
    Absent(&'static str),
    /// It had to run and did not do what it must.
    Failed(String),
}

/// Cells by broker version, client and function.
pub(crate) type Cells = BTreeMap<(&'static str, &'static str, &'static str), Cell>;

/// What a row runs against.
pub(crate) struct Target<'a> {
    /// The run.
    pub(crate) lab: &'a Lab,
    /// The brokers' version.
    pub(crate) kafka: &'a Kafka,
    /// Where clients bootstrap.
    pub(crate) bootstrap: String,
    /// Where clients run.
    pub(crate) side: Side,
}

/// Runs every client of `names` against the target, two at a time.
pub(crate) fn run(target: &Target<'_>, names: &[&'static str]) -> Cells {
    let queue = Mutex::new(names.iter().rev().copied().collect::<Vec<_>>());
    let cells = Mutex::new(Cells::new());
    let next = || queue.lock().ok()?.pop();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(name) = next() {
                    let row = row(target, name);
                    if let Ok(mut cells) = cells.lock() {
                        print_row(target.kafka.version, name, &row);
                        cells.extend(
                            row.into_iter()
                                .map(|(function, cell)| ((target.kafka.version, name, function), cell)),
                        );
                    }
                }
            });
        }
    });
    cells.into_inner().unwrap_or_default()
}

/// The number of cells that a run over `versions` and `names` must fill.
pub(crate) fn expected(versions: &[&'static str], names: &[&'static str]) -> usize {
    versions.len() * names.len() * FUNCTIONS.len()
}

/// The committed table of `cells`.
pub(crate) fn table(cells: &Cells) -> Result<String> {
    let mut text = String::from(HEAD);
    let mut reasons: Vec<&str> = Vec::new();
    for version in VERSIONS {
        writeln!(
            text,
            "\n## Kafka {version}\n\n| client | {} |\n|---{}|",
            FUNCTIONS.join(" | "),
            "|---".repeat(FUNCTIONS.len())
        )?;
        for client in CLIENTS {
            write!(text, "| {client} ")?;
            for function in FUNCTIONS {
                match cells.get(&(version, client, function)) {
                    Some(Cell::Ran(sent, read)) => write!(text, "| {sent}/{read} ")?,
                    Some(Cell::Absent(reason)) => {
                        let known = reasons.iter().position(|known| known == reason);
                        let number = known.unwrap_or_else(|| {
                            reasons.push(reason);
                            reasons.len() - 1
                        });
                        write!(text, "| n/a ({}) ", number + 1)?;
                    }
                    Some(Cell::Failed(_)) | None => {
                        return Err(format!("{version} {client} {function} is empty").into());
                    }
                }
            }
            text.push_str("|\n");
        }
    }
    text.push_str("\n## Why n/a\n\n");
    for (number, reason) in reasons.iter().enumerate() {
        writeln!(text, "{}. {reason}", number + 1)?;
    }
    Ok(text)
}

/// Why `client` cannot run `function` against that broker; `None` when it must.
fn absent(kafka: &Kafka, client: &str, function: &str) -> Option<&'static str> {
    let broker = match function {
        "consume848" if !kafka.at_least(4, 0) => Some("the broker has no KIP-848 groups (general from 4.0)"),
        "share" if !kafka.at_least(4, 2) => Some("the broker has no share groups (general from 4.2)"),
        _ => None,
    };
    broker.or_else(|| {
        WITHOUT.iter().find(|(c, f, _)| *c == client && *f == function).map(|(_, _, reason)| *reason)
    })
}

fn row(target: &Target<'_>, client: &'static str) -> BTreeMap<&'static str, Cell> {
    let mut cells = BTreeMap::new();
    let mut functions = Vec::new();
    for function in FUNCTIONS {
        match absent(target.kafka, client, function) {
            Some(reason) => drop(cells.insert(function, Cell::Absent(reason))),
            None => functions.push(function),
        }
    }
    let prefix = format!("m-{client}");
    match outcomes(target, client, &prefix, &functions) {
        Ok(outcomes) => {
            for function in &functions {
                cells.insert(
                    function,
                    judge(target, function, outcomes.iter().find(|outcome| outcome.function == *function)),
                );
            }
            if let Err(error) = oracle(target, &prefix, &functions) {
                cells.insert("produce", Cell::Failed(error.to_string()));
            }
        }
        Err(error) => {
            cells.extend(functions.iter().map(|function| (*function, Cell::Failed(error.to_string()))));
        }
    }
    cells
}

fn outcomes(target: &Target<'_>, client: &str, prefix: &str, functions: &[&str]) -> Result<Vec<Outcome>> {
    if !functions.contains(&"create") {
        target
            .lab
            .inside(Side::Brokers, || wire::create_topic(&bootstrap(), prefix, &wire::spread(3, 3), &[]))?;
    }
    for (function, suffix) in [("produce0", "a0"), ("transact", "tx")] {
        if functions.contains(&function) {
            let topic = format!("{prefix}-{suffix}");
            target.lab.inside(Side::Brokers, || {
                wire::create_topic(&bootstrap(), &topic, &wire::spread(3, 3), &[])
            })?;
        }
    }
    let arguments = [
        format!("bootstrap={}", target.bootstrap),
        format!("functions={}", functions.join(",")),
        format!("prefix={prefix}"),
        format!("count={COUNT}"),
    ];
    let label = format!("matrix-{}-{client}", target.kafka.version);
    clients::run(target.lab, target.side, client, &label, &arguments)
}

fn judge(target: &Target<'_>, function: &str, outcome: Option<&Outcome>) -> Cell {
    let Some(outcome) = outcome else { return Cell::Failed("the client did not report it".to_owned()) };
    if !outcome.ok {
        return Cell::Failed(outcome.detail.clone());
    }
    let (sent, read) = match function {
        "produce" | "produce0" => (COUNT, 0),
        "consume" | "consume848" | "share" => (0, COUNT),
        "transact" => (COUNT, COUNT / 2),
        _ => (0, 0),
    };
    if (outcome.sent, outcome.read) != (sent, read) {
        return Cell::Failed(format!(
            "sent {} read {} instead of {sent} and {read}",
            outcome.sent, outcome.read
        ));
    }
    if function == "describe" && target.side == Side::Clients && outcome.detail != advertised() {
        return Cell::Failed(format!("it saw {} instead of {}", outcome.detail, advertised()));
    }
    Cell::Ran(sent, read)
}

/// What a client behind the door may see of the brokers.
pub(crate) fn advertised() -> String {
    let nodes = NODES.iter().zip(PORT + 1..).map(|(node, port)| format!("{node}={DOOR}:{}", port + 1));
    nodes.collect::<Vec<_>>().join(",")
}

/// Reads what the client wrote, beside the gateway.
fn oracle(target: &Target<'_>, prefix: &str, functions: &[&str]) -> Result<()> {
    let all: BTreeSet<u64> = (0..COUNT).collect();
    for (function, topic) in [("produce", prefix.to_owned()), ("produce0", format!("{prefix}-a0"))] {
        if !functions.contains(&function) {
            continue;
        }
        let verdict = target.lab.inside(Side::Brokers, || records::judge(&bootstrap(), &topic, &all))?;
        if verdict != (Verdict { distinct: all.len(), ..Verdict::default() }) {
            return Err(format!("beside the gateway {topic} reads as {verdict:?}").into());
        }
    }
    Ok(())
}

fn print_row(version: &str, client: &str, row: &BTreeMap<&'static str, Cell>) {
    for function in FUNCTIONS {
        let (verdict, text) = match row.get(function) {
            Some(Cell::Ran(sent, read)) => ("cell", format!("sent {sent} read {read}")),
            Some(Cell::Absent(reason)) => ("cell", format!("n/a, {reason}")),
            Some(Cell::Failed(fault)) => ("FAIL", fault.clone()),
            None => ("FAIL", "empty".to_owned()),
        };
        println!("{verdict}  {version} {client} {function}: {text}");
    }
}

const AT_A_TIME: usize = 2;

const HEAD: &str = "# Clients, brokers, functions

Each cell is a real client that ran the function against three real brokers through the gateway: records sent / records read.
`cargo test --test kafka -- matrix` runs every cell and fails where one differs; `--write-matrix` writes this page.
";

/// Client, function, and why the client cannot.
const WITHOUT: &[(&str, &str, &str)] = &[
    ("java-3.9", "share", NO_SHARE),
    ("java-2.8", "consume848", NO_KIP_848),
    ("java-2.8", "share", NO_SHARE),
    ("java-2.4", "consume848", NO_KIP_848),
    ("java-2.4", "share", NO_SHARE),
    ("java-0.11", "consume848", NO_KIP_848),
    ("java-0.11", "share", NO_SHARE),
    ("sarama-2.8", "consume848", NO_KIP_848),
    ("sarama-2.8", "share", NO_SHARE),
    ("sarama-4.0", "consume848", NO_KIP_848),
    ("sarama-4.0", "share", NO_SHARE),
    ("aiokafka", "consume848", NO_KIP_848),
    ("aiokafka", "share", NO_SHARE),
    ("kafkajs", "consume848", NO_KIP_848),
    ("kafkajs", "share", NO_SHARE),
    ("rdkafka", "share", NO_SHARE),
    ("kcat", "create", "kcat cannot create topics; the harness does it for its other cells"),
    ("kcat", "produce0", NO_KCAT),
    ("kcat", "consume848", NO_KCAT),
    ("kcat", "transact", NO_KCAT),
    ("kcat", "share", NO_KCAT),
    ("kcat", "admin", NO_KCAT),
];

const NO_KIP_848: &str = "the client has no KIP-848 groups";
const NO_SHARE: &str = "the client program has no share groups";
const NO_KCAT: &str = "the client program has no such function";
