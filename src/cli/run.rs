//! `run` and `proxy`: the gateway in the foreground, from start to the last connection.

use std::fmt::Write as _;
use std::num::NonZero;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::{Global, Proxy};
use super::file::{self, Source};
use super::{Exit, output};
use crate::app::{App, Runtimes, Stopped};
use crate::config::Config;
use crate::logging;

/// The number of worker threads, where it is not the number of processors.
const WORKERS_VARIABLE: &str = "GATEHOUSE_WORKERS";

/// Why the gateway ended otherwise than as asked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{WORKERS_VARIABLE}` is not a number of threads from 1 to 1024")]
    Workers,
    #[error("the log cannot be set up")]
    Log(#[source] logging::Error),
    #[error("the runtime cannot be started")]
    Runtime(#[source] std::io::Error),
}

impl Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Workers | Self::Log(_) => Exit::Usage,
            Self::Runtime(_) => Exit::System,
        }
    }
}

pub(super) fn file(global: &Global) -> Exit {
    match file::read(global) {
        Ok(source) => run(&source, global),
        Err(exit) => exit,
    }
}

/// The flags are written as a file and read as one: the same checks, the same defaults.
pub(super) fn proxy(proxy: &Proxy, global: &Global) -> Exit {
    run(&Source::new("<command line>", as_file(proxy)), global)
}

fn as_file(proxy: &Proxy) -> String {
    // A JSON string is a quoted YAML string, in which no variable is replaced.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let list = |texts: &mut dyn Iterator<Item = String>| texts.collect::<Vec<_>>().join(", ");
    let to = list(&mut proxy.to.iter().map(|to| quoted(to)));
    let listen = list(&mut proxy.listen.iter().map(|listen| match listen.strip_prefix(':') {
        Some(port) => quoted(&format!("0.0.0.0:{port}")),
        None => quoted(listen),
    }));
    let mut text = format!("clusters:\n  main: {{ bootstrap: [{to}] }}\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "listeners:\n  main:\n    bind: [{listen}]\n    advertise: {}",
        quoted(&proxy.advertise)
    );
    let admin = if proxy.admin == "off" { "null".to_owned() } else { quoted(&proxy.admin) };
    let _ = writeln!(text, "admin: {{ bind: {admin} }}");
    text
}

fn run(source: &Source, global: &Global) -> Exit {
    let config = match source.load_or_explain() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    match start(config, global) {
        Ok(exit) => exit,
        Err(error) => {
            output::error(&format!("error: {}", output::chain(&error)));
            error.exit()
        }
    }
}

fn start(config: Config, global: &Global) -> Result<Exit, Error> {
    let variable = |name: &str| std::env::var(name).ok();
    let mut log = config.log.options.clone();
    if global.quiet {
        log.level = "warn".to_owned();
    } else if global.verbose {
        log.level = "debug".to_owned();
    }
    let log = log.overridden(variable).map_err(Error::Log)?;
    logging::install(&log).map_err(Error::Log)?;
    let data = data_plane(variable(WORKERS_VARIABLE).as_deref())?;
    let control = Builder::new_current_thread().enable_all().thread_name("control").build();
    let control = control.map_err(Error::Runtime)?;
    let runtimes = Runtimes { data: data.handle().clone(), control: control.handle().clone() };
    let exit = control.block_on(serve(config, &runtimes));
    // What is still running then was given its time.
    data.shutdown_background();
    exit.map_err(Error::Runtime)
}

fn data_plane(workers: Option<&str>) -> Result<Runtime, Error> {
    let mut builder = Builder::new_multi_thread();
    if let Some(workers) = workers.filter(|workers| !workers.is_empty()) {
        let workers: NonZero<usize> = workers.parse().map_err(|_| Error::Workers)?;
        if workers.get() > 1024 {
            return Err(Error::Workers);
        }
        builder.worker_threads(workers.get());
    }
    builder.enable_all().thread_name("data").build().map_err(Error::Runtime)
}

/// Runs until a signal. The second signal leaves at once, whatever the first one's stop still does.
async fn serve(config: Config, runtimes: &Runtimes) -> std::io::Result<Exit> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let app = match App::start(config, runtimes).await {
        Ok(app) => app,
        Err(error) => {
            tracing::error!(error = output::chain(&error), "not started");
            return Ok(Exit::System);
        }
    };
    either(&mut terminate, &mut interrupt).await;
    tokio::select! {
        stopped = app.stop() => Ok(match stopped {
            Stopped::Drained => Exit::Done,
            Stopped::Forced(_) => Exit::Failed,
        }),
        exit = either(&mut terminate, &mut interrupt) => {
            tracing::warn!("left at the second signal, without draining");
            Ok(exit)
        }
    }
}

/// Waits for either signal; the exit code is that of a second one.
async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> Exit {
    tokio::select! {
        _ = terminate.recv() => Exit::Terminated,
        _ = interrupt.recv() => Exit::Interrupted,
    }
}
