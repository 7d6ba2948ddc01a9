//! The scenarios in their order, each timed and counted.

use std::{fs, time::Instant};

use crate::{
    Fault, Result, brokers,
    cluster::Cluster,
    control, drain, endpoints, faults,
    gateway::{self, Gateway},
    lab::{self, Lab, Side},
    large, listeners,
    matrix::{self, Cell, Cells, Target},
    principals, revocation, rotation, sasl, tls, tools,
};

/// What a run is asked to do.
pub(crate) struct Plan {
    /// The scenarios on the first version.
    pub(crate) scenarios: bool,
    /// The matrix.
    pub(crate) matrix: bool,
    /// The brokers' versions of the matrix; the first also serves the scenarios.
    pub(crate) versions: Vec<&'static str>,
    /// The clients of the matrix.
    pub(crate) clients: Vec<&'static str>,
    /// Without a gateway, beside the brokers: what Kafka itself can do.
    pub(crate) direct: bool,
    /// The scenarios to run; all when empty.
    pub(crate) only: Vec<String>,
    /// Whether to write the committed table.
    pub(crate) write_matrix: bool,
}

/// A scenario with the cluster to itself; it leaves it whole and gives a remark.
type Scenario = fn(&Lab, &mut Cluster<'_>) -> Result<String>;

/// What runs on every version: each broker speaks other versions of the protocol, and its tools too.
const ON_EVERY_VERSION: &[(&str, Scenario)] =
    &[("addresses", endpoints::addresses), ("tools", tools::run), ("tls", tls::both_sides)];

/// Every other scenario of the suite, in the order of a run.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("endpoints", endpoints::run),
    ("leaders-move", faults::leaders_move),
    ("brokers-stop-and-start", faults::brokers_stop_and_start),
    ("coordinator-moves", faults::coordinator_moves),
    ("unlisted-broker", listeners::unlisted),
    ("ipv6-and-both", listeners::families),
    ("sasl-scram-discovery", sasl::scram_discovery),
    ("sasl-plain-discovery", sasl::plain_discovery),
    ("sasl-static-nodes", sasl::static_nodes),
    ("sasl-learn-only", sasl::learn_only),
    ("tls-port", tls::port),
    ("tls-sni", tls::sni),
    ("mtls", tls::mutual),
    ("tls-leaders-move", tls::leaders_move),
    ("tls-brokers", brokers::run),
    ("tls-rotation", rotation::run),
    ("tls-revocation", revocation::run),
    ("principals", principals::run),
    ("drain", drain::run),
    ("large", large::run),
];

/// Runs scenarios and keeps the count.
pub(crate) struct Suite<'lab> {
    lab: &'lab Lab,
    passed: usize,
    failed: Vec<String>,
    cells: Cells,
}

impl<'lab> Suite<'lab> {
    /// An empty count.
    pub(crate) fn new(lab: &'lab Lab) -> Self {
        Self { lab, passed: 0, failed: Vec::new(), cells: Cells::new() }
    }

    /// Runs what the plan asks for.
    pub(crate) fn run(&mut self, plan: &Plan) {
        for version in &plan.versions {
            let lab = self.lab;
            let start = || Ok((Cluster::start(lab, version, large::SETTINGS)?, String::new()));
            let Some(mut cluster) = self.step(&format!("{version}: three brokers"), start) else { continue };
            // A trap that counts nothing proves nothing: without the control the version is not run at all.
            let control = || Ok(((), control::run(lab, &cluster)?));
            if self.step(&format!("{version}: control"), control).is_none() {
                continue;
            }
            if !plan.direct {
                self.scenarios(&mut cluster, ON_EVERY_VERSION, &plan.only);
            }
            if plan.scenarios && Some(version) == plan.versions.first() {
                self.scenarios(&mut cluster, SCENARIOS, &plan.only);
            }
            if plan.matrix {
                self.matrix(plan, &cluster);
            }
        }
        if plan.matrix {
            self.close_matrix(plan);
        }
    }

    fn scenarios(&mut self, cluster: &mut Cluster<'_>, scenarios: &[(&str, Scenario)], only: &[String]) {
        for (name, scenario) in scenarios {
            if only.is_empty() || only.iter().any(|asked| asked == name) {
                let lab = self.lab;
                self.step(&format!("{}: {name}", cluster.kafka.version), || {
                    Ok(((), scenario(lab, cluster)?))
                });
            }
        }
    }

    fn matrix(&mut self, plan: &Plan, cluster: &Cluster<'_>) {
        let lab = self.lab;
        let kafka = &cluster.kafka;
        let mut cells = Cells::new();
        self.step(&format!("{}: matrix", kafka.version), || {
            if plan.direct {
                let bootstrap = Cluster::address(1, crate::cluster::PLAIN_PORT);
                cells = matrix::run(&Target { lab, kafka, bootstrap, side: Side::Brokers }, &plan.clients);
            } else {
                let gateway = Gateway::start(lab)?;
                cells = matrix::run(
                    &Target { lab, kafka, bootstrap: gateway::door(), side: Side::Clients },
                    &plan.clients,
                );
                gateway.stop()?;
                no_leaks(lab)?;
            }
            let ran = cells.values().filter(|cell| matches!(cell, Cell::Ran(..))).count();
            let failed = cells.values().filter(|cell| matches!(cell, Cell::Failed(_))).count();
            if failed > 0 {
                Err(format!("{failed} cells failed").into())
            } else {
                Ok(((), format!("{ran} cells ran")))
            }
        });
        self.cells.extend(cells);
    }

    fn close_matrix(&mut self, plan: &Plan) {
        let expected = matrix::expected(&plan.versions, &plan.clients);
        let run = self.cells.values().filter(|cell| !matches!(cell, Cell::Failed(_))).count();
        let whole =
            plan.versions.len() == crate::jars::VERSIONS.len() && plan.clients.len() == matrix::CLIENTS.len();
        let cells = std::mem::take(&mut self.cells);
        self.step("the matrix is full", || {
            if run != expected {
                return Err(format!("expected {expected} cells, run {run}").into());
            }
            println!("expected = run: {run} cells");
            if whole && !plan.direct {
                compare(&matrix::table(&cells)?, plan.write_matrix)?;
            }
            Ok(((), String::new()))
        });
    }

    /// Runs one scenario, which gives a value and a remark.
    pub(crate) fn step<T>(
        &mut self,
        name: &str,
        scenario: impl FnOnce() -> Result<(T, String)>,
    ) -> Option<T> {
        let start = Instant::now();
        let outcome = scenario();
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok((value, remark)) => {
                self.passed += 1;
                println!("ok    {seconds:5.1} s  {name}  {remark}");
                Some(value)
            }
            Err(error) => {
                println!("FAIL  {seconds:5.1} s  {name}: {error}");
                self.failed.push(name.to_owned());
                None
            }
        }
    }

    /// Prints the closing line; true when nothing failed.
    pub(crate) fn close(self) -> bool {
        for name in &self.failed {
            println!("failed: {name}");
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        self.failed.is_empty()
    }
}

/// Fails when a client tried a broker's own address.
pub(crate) fn no_leaks(lab: &Lab) -> Result<()> {
    match lab.leaks()? {
        0 => Ok(()),
        leaks => {
            lab.reset_leaks()?;
            Err(Fault::from(format!("{leaks} dials of a broker's own address: an address leaked")))
        }
    }
}

fn compare(table: &str, write: bool) -> Result<()> {
    let page = lab::repository().join("tests/kafka/matrix.md");
    if write {
        fs::write(page, table)?;
    } else if fs::read_to_string(page)? != table {
        return Err("the committed table differs; look at it and run with --write-matrix".into());
    }
    Ok(())
}
