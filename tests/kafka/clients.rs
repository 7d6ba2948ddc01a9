//! Clients written by others: the programs of `tests/clients` and Kafka's own tools, run on either side.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;

use crate::{
    Result,
    jars::{Kafka, joined},
    lab::{self, Lab, Side},
    process::Process,
};

/// What a client program reports of one function.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Outcome {
    /// The function's name.
    pub(crate) function: String,
    /// Whether it did all that it had to.
    pub(crate) ok: bool,
    /// Records sent and, where the function waits for it, acknowledged.
    #[serde(default)]
    pub(crate) sent: u64,
    /// Distinct records read.
    #[serde(default)]
    pub(crate) read: u64,
    /// What it saw: addresses, a version, or the fault.
    #[serde(default)]
    pub(crate) detail: String,
}

/// Starts the client program `name` with `arguments` (`key=value`); its output goes to `LABEL.out`.
pub(crate) fn spawn(lab: &Lab, side: Side, name: &str, label: &str, arguments: &[String]) -> Result<Process> {
    let mut command = lab.command(side, lab::repository().join("tests/clients/run"));
    command.arg(name).args(arguments);
    Process::spawn(lab, label, command)
}

/// Runs it to its end and gives what it reported; only a program that says nothing readable is an error.
pub(crate) fn run(
    lab: &Lab,
    side: Side,
    name: &str,
    label: &str,
    arguments: &[String],
) -> Result<Vec<Outcome>> {
    finish(&mut spawn(lab, side, name, label, arguments)?, LIMIT)
}

/// Waits for the end of a client program and reads its report.
pub(crate) fn finish(process: &mut Process, limit: Duration) -> Result<Vec<Outcome>> {
    let status = process.wait(limit)?;
    let printed = process.printed()?;
    let outcomes = outcomes(&printed)?;
    if outcomes.is_empty() || (status.code() != Some(0) && outcomes.iter().all(|outcome| outcome.ok)) {
        return Err(process.explain(&format!("the client ended with {status}")));
    }
    Ok(outcomes)
}

/// Reads what a client program printed.
pub(crate) fn outcomes(printed: &str) -> Result<Vec<Outcome>> {
    let lines = printed.lines().filter(|line| line.starts_with('{'));
    Ok(lines.map(serde_json::from_str).collect::<std::result::Result<_, _>>()?)
}

/// One of Kafka's command line tools.
pub(crate) struct Tool<'a> {
    kafka: Kafka,
    lab: &'a Lab,
}

impl<'a> Tool<'a> {
    /// The tools of that version.
    pub(crate) fn new(lab: &'a Lab, kafka: &Kafka) -> Result<Self> {
        Ok(Self { kafka: kafka.tools()?, lab })
    }

    /// Starts the tool with main class `class` on `side`, with `input` as its standard input.
    pub(crate) fn spawn(
        &self,
        side: Side,
        class: &str,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<Process> {
        let short = class.rsplit('.').next().unwrap_or(class);
        let name = format!("tool-{}-{short}", self.kafka.version);
        let (file, text) = self.kafka.logging();
        let logging = self.lab.root().join(format!("{}-{file}", self.kafka.version));
        fs::write(&logging, text)?;
        let mut command = self.lab.command(side, "java");
        let archive = self.kafka.class_archive();
        if archive.exists() {
            command.arg(joined("-XX:SharedArchiveFile=", &archive));
        }
        command.arg("-Xmx256m").args(self.kafka.java_arguments(&logging)).arg(class).args(arguments);
        let stdin = match input {
            Some(text) => {
                let path: PathBuf = self.lab.root().join(format!("{name}.in"));
                fs::write(&path, text)?;
                Stdio::from(File::open(path)?)
            }
            None => Stdio::null(),
        };
        Process::spawn_with_input(self.lab, &name, command, stdin)
    }

    /// Runs it to a successful end and gives what it printed.
    pub(crate) fn run(
        &self,
        side: Side,
        class: &str,
        arguments: &[&str],
        input: Option<&str>,
    ) -> Result<String> {
        let mut process = self.spawn(side, class, arguments, input)?;
        let status = process.wait(LIMIT)?;
        if status.success() {
            process.printed()
        } else {
            Err(process.explain(&format!("{class} ended with {status}")))
        }
    }
}

/// The longest that one client program or tool may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
