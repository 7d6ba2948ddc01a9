//! `generate`: what other programs need to run or watch the gateway, made from the configuration or the program.

pub(super) mod args;
mod compose;
mod discovery;
mod kubernetes;
mod mounts;
mod place;
mod quote;
mod reach;
mod systemd;
mod template;

use args::{AlertFormat, Generate, Image};
use place::Place;

use super::args::Global;
use super::output::Output;
use super::{Exit, output};

/// The chart has the same files.
const BOARD: &str = include_str!("../../../deploy/helm/gatehouse/files/dashboard.json");
const ALERTS: &str = include_str!("../../../deploy/helm/gatehouse/files/alerts.yaml");

pub(super) fn generate(what: &Generate, global: &Global, output: Output) -> Exit {
    let made = match what {
        Generate::Grafana => Ok(BOARD.to_owned()),
        Generate::Alerts(alerts) => Ok(match alerts.format {
            AlertFormat::Rules => ALERTS.to_owned(),
            AlertFormat::PrometheusRule => prometheus_rule(),
        }),
        Generate::Kubernetes(flags) => {
            with_place(global, |place| kubernetes::manifests(place, flags)).inspect(|_| warn(&flags.image))
        }
        Generate::Compose(image) => {
            with_place(global, |place| compose::file(place, image)).inspect(|_| warn(image))
        }
        Generate::Systemd => with_place(global, systemd::unit),
    };
    match made {
        Ok(text) => output.data(&text),
        Err(exit) => exit,
    }
}

/// On stderr: who pipes the output into another program sees it, too.
fn warn(image: &Image) {
    image.doubt().iter().for_each(|doubt| output::error(doubt));
}

/// Makes something of the configuration; `make` says all that keeps it from that.
fn with_place(
    global: &Global,
    make: impl FnOnce(&Place) -> Result<String, Vec<String>>,
) -> Result<String, Exit> {
    make(&Place::read(global)?).map_err(|faults| {
        faults.iter().for_each(|fault| output::error(&format!("error: {fault}")));
        Exit::Config
    })
}

fn prometheus_rule() -> String {
    let head =
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: gatehouse\nspec:\n";
    head.to_owned() + &indented(ALERTS, 2)
}

/// The text with every line moved to the right; empty lines stay empty.
fn indented(text: &str, spaces: usize) -> String {
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{:spaces$}{line}\n", "") };
    text.lines().map(line).collect()
}
