//! `check`: the file, and everything that it names.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;

use super::args::{Check, Format, Global};
use super::output::Output;
use super::{Exit, file, output};
use crate::check::{
    self,
    report::{Outcome, Report},
};
use crate::config::Surroundings;

/// A longer wait is told.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn check(check: &Check, global: &Global, output: Output) -> Exit {
    let source = match file::read(global) {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    // Certificates are looked at with everything else: one that is broken must not hide the rest.
    let surroundings = Surroundings { certificates: false, ..file::surroundings() };
    let loaded = match source.load(&surroundings) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            let exit = source.explain(&diagnostics);
            if output.format == Format::Json {
                output.json(&check::refused(&source.name, &diagnostics).json());
            }
            return exit;
        }
    };
    if output.format == Format::Text && !loaded.1.is_empty() {
        output::error(&loaded.1.styled());
    }
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&format!("error: the system refuses threads: {error}"));
            return Exit::System;
        }
    };
    let report = runtime.block_on(async {
        let run = check::run(&source.name, &loaded, &surroundings.machine, check.timeout);
        tokio::pin!(run);
        tokio::select! {
            biased;
            report = &mut run => report,
            () = sleep(PATIENCE) => {
                if output.format == Format::Text && !output.quiet {
                    output::error("waiting for what does not answer at once");
                }
                run.await
            }
        }
    });
    // A resolver or a disk that hangs cannot be interrupted.
    runtime.shutdown_background();
    tell(&report, check.strict, output)
}

fn tell(report: &Report, strict: bool, output: Output) -> Exit {
    let failed = report.count(Outcome::Fail) > 0 || (strict && report.count(Outcome::Warn) > 0);
    let written = match output.format {
        Format::Json => output.json(&report.json()),
        Format::Text if output.quiet && !failed => Exit::Done,
        Format::Text => output.data(&report.text()),
    };
    if failed { Exit::ChecksFailed } else { written }
}
