//! `run` and `proxy`: the gateway in the foreground, from start to the last connection.

use std::fmt::Write as _;
use std::io;

use super::Exit;
use super::args::{Global, Proxy};
use super::file::{self, Source};
use super::process::{self, Signals};
use crate::app::{App, Runtimes, Stopped};
use crate::config::Config;
use crate::config::file::Origin;
use crate::logging::chain;

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
    let surroundings = file::surroundings();
    let (config, warnings) = match source.load(&surroundings) {
        Ok(loaded) => loaded,
        Err(diagnostics) => return source.explain(&diagnostics),
    };
    process::foreground(&config.log.options.clone(), global, |runtimes| {
        // Into the log, not beside it: whoever collects it may expect JSON alone.
        for warning in warnings.iter() {
            tracing::warn!(code = %warning.code, setting = warning.path, "{}", warning.title);
        }
        serve(config, source.origin(surroundings), runtimes)
    })
}

/// Runs until a signal. The second signal leaves at once, whatever the first one's stop still does.
async fn serve(config: Config, origin: Origin, runtimes: Runtimes) -> io::Result<Exit> {
    let mut signals = Signals::new()?;
    let app = match App::start_from(origin, config, &runtimes).await {
        Ok(app) => app,
        Err(error) => {
            tracing::error!(error = chain(&error), "not started");
            return Ok(Exit::System);
        }
    };
    signals.leave(|| app.reload()).await;
    tokio::select! {
        stopped = app.stop() => Ok(match stopped {
            Stopped::Drained => Exit::Done,
            Stopped::Forced(_) => Exit::Failed,
        }),
        exit = signals.leave(|| {}) => Ok(exit),
    }
}
