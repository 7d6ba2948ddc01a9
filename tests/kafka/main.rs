//! Gatehouse in front of real Kafka: `cargo test --test kafka -- all`.

mod audit;
mod brokers;
mod certificates;
mod clients;
mod cluster;
mod control;
mod doors;
mod drain;
mod endpoints;
mod faults;
mod gateway;
mod golden;
mod image;
mod jars;
mod lab;
mod large;
mod listeners;
mod load;
mod matrix;
mod mounted;
mod podman;
mod poll;
mod principals;
mod process;
mod recipes;
mod records;
mod relay;
mod revocation;
mod rotation;
mod sasl;
mod secure;
mod suite;
mod tls;
mod tools;
mod wire;

use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};

use crate::{jars::VERSIONS, lab::Lab, matrix::CLIENTS, suite::Plan};

/// Anything that went wrong, with the text that a person needs.
type Fault = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Fault>;

/// Gatehouse in front of real Kafka, with real clients that reach the brokers through it alone.
#[derive(Parser)]
#[command(name = "cargo test --test kafka --")]
struct Arguments {
    /// What to run
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// The brokers' versions of the matrix; the first also serves the suite
    #[arg(long, value_delimiter = ',', value_parser = VERSIONS, default_values = VERSIONS)]
    brokers: Vec<String>,
    /// The clients of the matrix
    #[arg(long, value_delimiter = ',', value_parser = CLIENTS, default_values = CLIENTS)]
    clients: Vec<String>,
    /// Run the matrix beside the brokers without a gateway, to see what Kafka itself can do
    #[arg(long)]
    direct: bool,
    /// Scenarios of the suite to run, by their names; all without it
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How many clusters run at a time, each in namespaces of its own: most of the time they wait
    #[arg(long, default_value_t = 3)]
    lanes: usize,
    /// Write tests/kafka/matrix.md from a full matrix
    #[arg(long)]
    write_matrix: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The suite, the matrix, the recipes
    All,
    /// Leader moves, stopped brokers, SASL, drain, large frames and the rest, on one version
    Suite,
    /// Every client with every function on every version
    Matrix,
    /// The recipes of docs/recipes, each with the values of its page
    Recipes,
    /// The image, and the chart's pod, as containers on one version: not part of all, because it wants the image
    Image,
    /// Capture the frames of tests/golden anew from every version
    Golden,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("FAIL  {error}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let unknown = suite::unknown(&arguments.only);
    if !unknown.is_empty() {
        return Err(format!("no such scenario: {}", unknown.join(", ")).into());
    }
    lab::prepare()?;
    remove_when_interrupted();
    let build =
        Command::new(lab::repository().join("tests/clients/build")).args(&arguments.clients).status()?;
    if !build.success() {
        return Err("the client programs could not be built".into());
    }
    let mut versions = chosen(&VERSIONS, &arguments.brokers);
    if arguments.what == What::Golden {
        let lab = Lab::new(1)?;
        for version in versions {
            println!("{version}: {}", golden::capture(&lab, version)?);
        }
        return Ok(true);
    }
    match arguments.what {
        What::Suite | What::Image => versions.truncate(1),
        What::Recipes => versions.clear(),
        _ => (),
    }
    let asked = |part| arguments.what == What::All || arguments.what == part;
    let plan = Plan {
        lanes: arguments.lanes,
        scenarios: asked(What::Suite),
        image: arguments.what == What::Image,
        matrix: asked(What::Matrix),
        recipes: asked(What::Recipes),
        versions,
        clients: chosen(&CLIENTS, &arguments.clients),
        direct: arguments.direct,
        only: arguments.only.clone(),
        write_matrix: arguments.write_matrix,
    };
    Ok(suite::run(&plan).close())
}

fn chosen(known: &[&'static str], asked: &[String]) -> Vec<&'static str> {
    known.iter().copied().filter(|name| asked.iter().any(|asked| asked == name)).collect()
}

/// A run that is told to stop leaves nothing behind either.
fn remove_when_interrupted() {
    std::thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            else {
                return;
            };
            tokio::select! { _ = tokio::signal::ctrl_c() => (), _ = terminate.recv() => () }
        });
        drop(lab::remove_run(std::process::id()));
        std::process::exit(130);
    });
}
