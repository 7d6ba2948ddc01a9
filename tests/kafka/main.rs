//! Gatehouse in front of real Kafka: `cargo test --test kafka -- all`.

mod clients;
mod cluster;
mod control;
mod gateway;
mod jars;
mod lab;
mod poll;
mod process;
mod records;
mod relay;
mod suite;
mod wire;

use std::process::ExitCode;

use crate::{lab::Lab, suite::Suite};

/// Anything that went wrong, with the text that a person needs.
type Fault = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Fault>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let lab = Lab::new()?;
    remove_when_interrupted();
    let mut suite = Suite::new(&lab);
    suite.versions(&jars::VERSIONS);
    Ok(suite.close())
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
        lab::remove(std::process::id());
        std::process::exit(130);
    });
}
