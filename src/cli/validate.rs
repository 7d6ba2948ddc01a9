//! `validate`: the file and nothing else.

use super::args::{Annotations, Format, Global, Validate};
use super::output::Output;
use super::{Exit, file, output};

pub(super) fn validate(validate: &Validate, global: &Global, output: Output) -> Exit {
    let source = match file::read(global) {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    let (exit, diagnostics) = match source.load() {
        Ok((_, warnings)) => (Exit::Done, warnings),
        Err(diagnostics) => (Exit::Config, diagnostics),
    };
    let written = match (validate.format, output.format) {
        (Some(Annotations::Github), _) => output.data(&diagnostics.github()),
        (None, Format::Json) => output.json(&diagnostics.json()),
        (None, Format::Text) => {
            if !diagnostics.is_empty() {
                output::error(&diagnostics.styled());
            }
            if exit == Exit::Done {
                output.success(&format!("ok {}", source.name))
            } else {
                output::error(&file::summary(&source.name, &diagnostics));
                Exit::Done
            }
        }
    };
    if exit == Exit::Done { written } else { exit }
}
