//! `validate`: the file and nothing else.

use super::args::{Annotations, Format, Global, Validate};
use super::output::Output;
use super::{Exit, file, output};
use crate::config::Listener;

pub(super) fn validate(validate: &Validate, global: &Global, output: Output) -> Exit {
    let source = match file::read(global) {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    let surroundings =
        if validate.elsewhere.no_environment { file::elsewhere() } else { file::surroundings() };
    let (config, diagnostics) = match source.load(&surroundings) {
        Ok((config, diagnostics)) => (Some(config), diagnostics),
        Err(diagnostics) => (None, diagnostics),
    };
    let exit = if diagnostics.is_fatal() { Exit::Config } else { Exit::Done };
    let written = match (validate.format, output.format) {
        (Some(Annotations::Github), _) => output.data(&diagnostics.github()),
        (None, Format::Json) => output.json(&diagnostics.json()),
        (None, Format::Text) => {
            if !diagnostics.is_empty() {
                output::error(&diagnostics.styled());
            }
            if exit == Exit::Done {
                let from = config.iter().flat_map(|config| &config.listeners).filter_map(from_a_service);
                let unset = Some(source.unset(&surroundings)).filter(|names| !names.is_empty());
                let unset = unset.map(|names| format!("\n   to be set where it runs: {names}"));
                let more: String = from.chain(unset).collect();
                output.success(&format!("ok {}{more}", source.name))
            } else {
                output::error(&file::summary(&source.name, &diagnostics));
                Exit::Done
            }
        }
    };
    if exit == Exit::Done { written } else { exit }
}

/// What nobody can know from the file alone.
fn from_a_service(listener: &Listener) -> Option<String> {
    let service = listener.advertised.as_ref()?;
    Some(format!(
        "\n   listener {}: the address that clients are told comes from {service}",
        listener.listen.name
    ))
}
