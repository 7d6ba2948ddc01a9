//! `demo`: a cluster, the gateway and traffic in one process.

use std::io;

use super::args::{Demo, Global};
use super::output::Output;
use super::process::{self, Signals};
use super::{Exit, file, output};
use crate::app::Runtimes;
use crate::demo::{self, Options};
use crate::logging;
use crate::logging::chain;

pub(super) fn demo(demo: &Demo, global: &Global, output: Output) -> Exit {
    let options = Options { port: demo.port, admin: demo.admin_port, tls: demo.tls };
    // The text is what a newcomer should read; `-v` shows what happens behind it.
    let log = logging::Options { level: "warn".to_owned(), ..logging::Options::default() };
    process::foreground(&log, global, |runtimes| serve(options, output, runtimes))
}

async fn serve(options: Options, output: Output, runtimes: Runtimes) -> io::Result<Exit> {
    let mut signals = Signals::new()?;
    let demo = match demo::Demo::start(options, &file::surroundings(), &runtimes).await {
        Ok(demo) => demo,
        Err(error) => {
            output::error(&format!("error: {}", chain(&error)));
            return Ok(Exit::System);
        }
    };
    output.data(&demo.text());
    signals.leave(|| {}).await;
    tokio::select! {
        () = demo.stop() => Ok(Exit::Done),
        exit = signals.leave(|| {}) => Ok(exit),
    }
}
