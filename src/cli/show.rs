//! What can be shown without a gateway: an example, what a file comes to, completions, the version.

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use super::args::{Arguments, Format, Global};
use super::output::Output;
use super::{Exit, file};
use crate::config::effective;
use crate::metrics;

/// Every setting, its default and what it means.
pub(super) const EXAMPLE: &str = include_str!("example.yaml");

pub(super) fn example(output: Output) -> Exit {
    output.data(EXAMPLE)
}

/// JSON is YAML: the text can be read by people, programs and, but for the secrets, the gateway.
pub(super) fn config(global: &Global, output: Output) -> Exit {
    match file::read(global).and_then(|source| source.load_or_explain(&file::without_certificates())) {
        Ok(config) => output.json(&effective::config(&config)),
        Err(exit) => exit,
    }
}

pub(super) fn completions(shell: Shell, output: Output) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "gatehouse", &mut script);
    output.data(&String::from_utf8_lossy(&script))
}

pub(super) fn version(output: Output) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    let revision = option_env!("GATEHOUSE_REVISION");
    let features = metrics::features();
    match output.format {
        Format::Json => output.json(&json!({
            "version": version,
            "revision": revision,
            "features": features,
        })),
        Format::Text => {
            let revision = revision.map(|revision| format!(" ({revision})")).unwrap_or_default();
            let with = features.iter().map(|feature| format!(" +{feature}")).collect::<String>();
            output.data(&format!("gatehouse {version}{revision}{with}\n"))
        }
    }
}
