//! What a command that stays in the foreground needs: the log, the runtimes, the signals.

use std::io;
use std::num::NonZero;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::Global;
use super::{Exit, output};
use crate::app::Runtimes;
use crate::limits::machine;
use crate::logging;
use crate::logging::chain;

/// The number of threads of the data plane, where it is not the number of processors.
const WORKERS_VARIABLE: &str = "GATEHOUSE_WORKERS";
const WORKERS_MAX: usize = 1024;

/// Why a command cannot stay in the foreground.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{WORKERS_VARIABLE}` is not a number of threads from 1 to {WORKERS_MAX}")]
    Workers,
    #[error("the log cannot be set up")]
    Log(#[source] logging::Error),
    #[error("the system refuses threads or signals")]
    System(#[source] io::Error),
}

/// Sets the log up, runs the work to its end, and says why where that cannot be done.
pub(super) fn foreground<F>(log: &logging::Options, global: &Global, work: impl FnOnce(Runtimes) -> F) -> Exit
where
    F: Future<Output = io::Result<Exit>>,
{
    match run(log, global, work) {
        Ok(exit) => exit,
        Err(error) => {
            output::error(&format!("error: {}", chain(&error)));
            match error {
                Error::Workers | Error::Log(_) => Exit::Usage,
                Error::System(_) => Exit::System,
            }
        }
    }
}

fn run<F>(log: &logging::Options, global: &Global, work: impl FnOnce(Runtimes) -> F) -> Result<Exit, Error>
where
    F: Future<Output = io::Result<Exit>>,
{
    machine::refuse_core_files();
    let variable = |name: &str| std::env::var(name).ok();
    let (log, level_from) = log.clone().overridden(flag(global), variable).map_err(Error::Log)?;
    let _written_at_the_end = logging::install(&log, level_from).map_err(Error::Log)?;
    let data = data_plane(variable(WORKERS_VARIABLE).as_deref())?;
    // The control plane is this thread.
    let control = Builder::new_current_thread().enable_all().build().map_err(Error::System)?;
    let runtimes = Runtimes { data: data.handle().clone(), control: control.handle().clone() };
    let exit = control.block_on(work(runtimes));
    // What still runs then was given its time.
    data.shutdown_background();
    exit.map_err(Error::System)
}

/// The flag that says how much is logged, with the level that it stands for.
fn flag(global: &Global) -> Option<(&'static str, &'static str)> {
    let flags = [(global.quiet, "--quiet", "warn"), (global.verbose, "--verbose", "debug")];
    flags.into_iter().find_map(|(is_set, flag, level)| is_set.then_some((flag, level)))
}

fn data_plane(workers: Option<&str>) -> Result<Runtime, Error> {
    let mut builder = Builder::new_multi_thread();
    if let Some(workers) = workers.filter(|workers| !workers.is_empty()) {
        let workers: NonZero<usize> = workers.parse().map_err(|_| Error::Workers)?;
        if workers.get() > WORKERS_MAX {
            return Err(Error::Workers);
        }
        builder.worker_threads(workers.get());
    }
    builder.enable_all().thread_name("data").build().map_err(Error::System)
}

/// The signals that a process answers.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on they no longer end the process by themselves.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one that asks to stop. The answer is what the process ends with if it leaves at
    /// once. HUP, which by custom asks for files to be read again, does that and cuts nobody off.
    pub(super) async fn leave(&mut self, hang_up: impl Fn()) -> Exit {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Exit::Terminated,
                _ = self.interrupt.recv() => return Exit::Interrupted,
                _ = self.hang_up.recv() => hang_up(),
            }
        }
    }
}
