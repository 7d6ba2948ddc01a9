//! The command line: what is asked for, and which number the process ends with.

mod admin;
mod args;
mod cert;
mod check;
mod demo;
mod explain;
mod file;
mod generate;
mod output;
mod process;
mod reload;
mod routes;
mod run;
mod show;
mod validate;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use args::{Arguments, Command, ConfigCommand};
use output::Output;

/// What the process ends with. Service managers and scripts tell causes apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for a gateway: stopped as asked, and every connection ended in order.
    Done = 0,
    /// Failed while running.
    Failed = 1,
    /// Wrong command line.
    Usage = 2,
    /// The checks ran, and something failed.
    ChecksFailed = 3,
    /// The configuration file is missing or cannot be read.
    NoInput = 66,
    /// The gateway cannot be reached at its admin address.
    Unavailable = 69,
    /// The system refused: a port is in use, or descriptors are out.
    System = 71,
    /// The admin token is missing or wrong.
    Denied = 77,
    /// The configuration is wrong.
    Config = 78,
    /// Interrupted twice: left without draining.
    Interrupted = 130,
    /// Terminated twice: left without draining.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What is said when nothing is asked for.
const SHORT_HELP: &str = "\
One door in front of a Kafka cluster.
Try one of these, or `gatehouse --help`:
  gatehouse demo
  gatehouse proxy --to kafka-0:9092 --listen :9092 --advertise kafka.example.com
  gatehouse run --config gatehouse.yaml
";

/// Does what the arguments say; the first is the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.len() <= 1 {
        output::error(SHORT_HELP.trim_end());
        return Exit::Usage;
    }
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Fails only where nobody reads any more.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { Exit::Done } else { Exit::Usage };
        }
    };
    let global = arguments.global;
    global.color.write_global();
    let output = Output { format: global.output, quiet: global.quiet };
    match arguments.command {
        Command::Run => run::file(&global),
        Command::Proxy(proxy) => run::proxy(&proxy, &global),
        Command::Demo(demo) => demo::demo(&demo, &global, output),
        Command::Validate(validate) => validate::validate(&validate, &global, output),
        Command::Routes(elsewhere) => routes::routes(elsewhere, &global, output),
        Command::Reload(reload) => reload::reload(&global, &reload, output),
        Command::Check(check) => check::check(&check, &global, output),
        Command::Cert { command } => cert::cert(&command, output),
        Command::Config { command: ConfigCommand::Example } => show::example(output),
        Command::Config { command: ConfigCommand::Show } => show::config(&global, output),
        Command::Generate { what } => generate::generate(&what, &global, output),
        Command::Explain { code } => explain::explain(code.as_deref(), output),
        Command::Completions { shell } => show::completions(shell, output),
        Command::Version => show::version(output),
    }
}
