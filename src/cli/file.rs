//! The configuration file: which one, its text, and what it comes to.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::args::Global;
use super::{Exit, output};
use crate::config::diagnostic::Diagnostics;
use crate::config::file::Origin;
use crate::config::yaml::Environment;
use crate::config::{self, Config, FILE_BYTES_MAX, Surroundings, needs};
use crate::limits::machine::Machine;
use crate::logging::chain;

/// Where a file is looked for, in this order.
const DEFAULTS: [&str; 2] = ["gatehouse.yaml", "/etc/gatehouse/gatehouse.yaml"];

/// The text of a file and its name.
pub(super) struct Source {
    pub(super) name: String,
    text: String,
    path: Option<PathBuf>,
}

impl Source {
    /// A text that was not read from a file.
    pub(super) fn new(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), text, path: None }
    }

    /// What was read.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The file that it was read from; none for standard input and flags.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What it comes to, with warnings, or what is wrong with it.
    pub(super) fn load(&self, surroundings: &Surroundings) -> Result<(Config, Diagnostics), Diagnostics> {
        config::load(&self.name, &self.text, surroundings)
    }

    /// Where it can be read again. The files of certificates are followed apart from it: one that is wrong keeps
    /// no other setting from being used.
    pub(super) fn origin(&self, surroundings: Surroundings) -> Origin {
        match &self.path {
            None => Origin::Gone(self.name.clone()),
            Some(path) => Origin::File {
                path: path.clone(),
                surroundings: Box::new(Surroundings { certificates: false, ..surroundings }),
            },
        }
    }

    /// What the text means, for who only wants to look. What is wrong or doubtful is written to stderr.
    pub(super) fn load_or_explain(&self, surroundings: &Surroundings) -> Result<Config, Exit> {
        match self.load(surroundings) {
            Ok((config, warnings)) => {
                if !warnings.is_empty() {
                    output::error(&warnings.styled());
                }
                Ok(config)
            }
            Err(diagnostics) if !diagnostics.is_fatal() => {
                output::error(&diagnostics.styled());
                output::error(&format!(
                    "{}: what it comes to follows from variables that have no default, one or more of {}\n\
                     set them and leave `--no-environment` out: any value that is allowed will do",
                    self.name,
                    self.unset(surroundings)
                ));
                Err(Exit::Config)
            }
            Err(diagnostics) => Err(self.explain(&diagnostics)),
        }
    }

    /// The variables that it needs and the surroundings lack, as words for people; empty where there is none.
    pub(super) fn unset(&self, surroundings: &Surroundings) -> String {
        let names = needs::variables(&self.text, surroundings);
        let names = names.iter().filter(|name| !surroundings.environment.contains_key(*name));
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// Says what is wrong with it.
    pub(super) fn explain(&self, diagnostics: &Diagnostics) -> Exit {
        output::error(&diagnostics.styled());
        output::error(&summary(&self.name, diagnostics));
        Exit::Config
    }
}

/// The last line: the eye lands there.
pub(super) fn summary(name: &str, diagnostics: &Diagnostics) -> String {
    let (errors, warnings) = diagnostics.count();
    let code = diagnostics.iter().next().map(|d| d.code.to_string()).unwrap_or_default();
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let warnings = if warnings == 0 { String::new() } else { format!(", {}", plural(warnings, "warning")) };
    format!("{name}: {}{warnings}; `gatehouse explain {code}` tells more", plural(errors, "error"))
}

/// Whether the flags name a file, or a default is there.
pub(super) fn is_there(global: &Global) -> bool {
    named(global).is_some()
}

fn named(global: &Global) -> Option<&Path> {
    let default = || DEFAULTS.iter().map(Path::new).find(|path| path.exists());
    global.config.as_deref().or_else(default)
}

/// Reads the file that the flags name, or the first default that is there.
pub(super) fn read(global: &Global) -> Result<Source, Exit> {
    let refuse = |message: &str| {
        output::error(&format!("error: {message}"));
        Err(Exit::NoInput)
    };
    let Some(path) = named(global) else {
        return refuse(&format!(
            "no configuration file: neither {} nor {} is there\n\
             name one with `--config FILE`, or begin with `gatehouse config example > gatehouse.yaml`",
            DEFAULTS[0], DEFAULTS[1]
        ));
    };
    if path == Path::new("-") {
        let mut text = String::new();
        // One byte more than is taken, so that a longer text is refused and not cut.
        return match io::stdin().lock().take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text) {
            Ok(_) => Ok(Source::new("<stdin>", text)),
            Err(error) => refuse(&format!("standard input cannot be read: {error}")),
        };
    }
    match config::file::read(path) {
        Ok(text) => Ok(Source { name: path.display().to_string(), text, path: Some(path.to_owned()) }),
        Err(error) => refuse(&chain(&error)),
    }
}

/// The same as [`surroundings`], for who does not need what is in the files of keys and certificates.
pub(super) fn without_certificates() -> Surroundings {
    Surroundings { certificates: false, ..surroundings() }
}

/// A place of which nothing is known: no variables, so that defaults count, and room for everything.
pub(super) fn elsewhere() -> Surroundings {
    Surroundings {
        environment: Environment::new(),
        machine: Machine { descriptors: u64::MAX, memory_bytes: u64::MAX },
        host_name: "gatehouse".to_owned(),
        elsewhere: true,
        certificates: false,
    }
}

/// This process and this machine.
pub(super) fn surroundings() -> Surroundings {
    let text = |text: std::ffi::OsString| text.into_string().ok();
    Surroundings {
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
            .collect(),
        machine: Machine::detect(),
        host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        elsewhere: false,
        certificates: true,
    }
}
