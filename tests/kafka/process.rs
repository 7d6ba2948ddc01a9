//! Child processes: logs kept, killed at the latest when dropped.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Result, lab::Lab, poll};

/// A running program whose standard error goes to a log of the run.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    output: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to `NAME.out`, its errors to `NAME.log` in the run's directory.
    pub(crate) fn spawn(lab: &Lab, name: &str, command: Command) -> Result<Self> {
        Self::spawn_with_input(lab, name, command, Stdio::null())
    }

    /// The same, reading from `input`.
    pub(crate) fn spawn_with_input(
        lab: &Lab,
        name: &str,
        mut command: Command,
        input: Stdio,
    ) -> Result<Self> {
        let log = lab.root().join(format!("{name}.log"));
        let output = lab.root().join(format!("{name}.out"));
        let errors = File::options().create(true).append(true).open(&log)?;
        command.stdin(input).stdout(File::create(&output)?).stderr(errors);
        let child = command.spawn().map_err(|error| format!("{name}: {command:?}: {error}"))?;
        Ok(Self { name: name.to_owned(), child, log, output })
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal`.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)?;
        Ok(())
    }

    /// Whether it still runs.
    pub(crate) fn running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("end of {}", self.name);
        poll::until(&what, limit, || Ok(self.child.try_wait()?))
            .map_err(|error| self.explain(&error.to_string()))
    }

    /// What it printed.
    pub(crate) fn printed(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.output)?)
    }

    /// What it has written to its standard error.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// An error that carries the ends of both logs.
    pub(crate) fn explain(&self, fault: &str) -> crate::Fault {
        format!("{fault}\n{}{}", tail(&self.output), tail(&self.log)).into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The last lines of a log under its name; empty when there is nothing.
pub(crate) fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return String::new();
    }
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    format!("--- {}\n{}\n", path.display(), last.join("\n"))
}

const TAIL_LINES: usize = 15;
