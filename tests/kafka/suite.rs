//! The scenarios and the matrix: which cluster runs what, several at a time, each step timed and counted.

use std::{
    fs,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use crate::{
    Fault, Result, brokers,
    cluster::Cluster,
    control, drain, endpoints, faults,
    gateway::{self, Gateway},
    image,
    jars::{Kafka, VERSIONS},
    lab::{self, Lab, Side},
    large, listeners,
    matrix::{self, Cell, Cells, Target},
    principals,
    recipes::{self, RECIPES, Recipe},
    revocation, rotation, sasl, tls, tools,
};

/// What a run is asked to do.
pub(crate) struct Plan {
    /// How many clusters run at a time.
    pub(crate) lanes: usize,
    /// The scenarios on the first version.
    pub(crate) scenarios: bool,
    /// What the image does in containers, on the first version.
    pub(crate) image: bool,
    /// The matrix.
    pub(crate) matrix: bool,
    /// The recipes of `docs/recipes`.
    pub(crate) recipes: bool,
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

/// A scenario under the name by which it is asked for.
type Named = (&'static str, Scenario);

/// What runs on every version: each broker speaks other versions of the protocol, and its tools too.
const ON_EVERY_VERSION: &[Named] =
    &[("addresses", endpoints::addresses), ("tools", tools::run), ("tls", tls::both_sides)];

/// Every other scenario without TLS, in the order of a run.
const PLAIN: &[Named] = &[
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
    ("drain", drain::run),
    ("large", large::run),
];

/// The others with it.
const WITH_TLS: &[Named] = &[
    ("tls-port", tls::port),
    ("tls-sni", tls::sni),
    ("mtls", tls::mutual),
    ("tls-leaders-move", tls::leaders_move),
    ("tls-brokers", brokers::run),
    ("tls-rotation", rotation::run),
    ("tls-revocation", revocation::run),
    ("principals", principals::run),
];

/// What needs the image, and so is asked for by itself.
const IMAGE: &[Named] = &[("image", image::run), ("image-pod", image::pod), ("image-arm64", image::arm64)];

/// What one cluster is started for.
enum Job {
    /// Scenarios, then the matrix.
    Usual(Usual),
    /// Recipes, each with a listener of its own.
    Recipes(&'static str, Vec<&'static Recipe>),
}

struct Usual {
    version: &'static str,
    scenarios: Vec<&'static Named>,
    matrix: bool,
}

/// Runs what the plan asks for and gives the count.
pub(crate) fn run(plan: &Plan) -> Count {
    let jobs = Mutex::new(jobs(plan).into_iter());
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut count = Count::default();
    thread::scope(|scope| {
        let next = &next;
        let lanes: Vec<_> =
            (1..=plan.lanes).map(|lane| scope.spawn(move || run_lane(lane, plan, next))).collect();
        for lane in lanes {
            match lane.join() {
                Ok(of_lane) => count.add(of_lane),
                Err(_) => drop(count.step("a lane", || Err::<((), String), _>("its thread panicked".into()))),
            }
        }
    });
    if plan.matrix {
        count.close_matrix(plan);
    }
    count
}

/// Those of `names` that no scenario has.
pub(crate) fn unknown(names: &[String]) -> Vec<&str> {
    let scenarios = [ON_EVERY_VERSION, PLAIN, WITH_TLS, IMAGE].concat();
    let known = |name: &&str| {
        scenarios.iter().any(|(known, _)| known == name) || RECIPES.iter().any(|recipe| recipe.name == *name)
    };
    names.iter().map(String::as_str).filter(|name| !known(name)).collect()
}

/// The clusters of a run, in the order in which lanes take them: long ones first.
fn jobs(plan: &Plan) -> Vec<Job> {
    let is_asked = |name: &str| plan.only.is_empty() || plan.only.iter().any(|asked| asked == name);
    let asked = |scenarios: &'static [Named]| -> Vec<_> {
        scenarios.iter().filter(|(name, _)| !plan.direct && is_asked(name)).collect()
    };
    let mut jobs = Vec::new();
    if let (true, Some(version)) = (plan.image, plan.versions.first()) {
        return vec![Job::Usual(Usual { version, scenarios: asked(IMAGE), matrix: false })];
    }
    for version in VERSIONS.into_iter().filter(|_| plan.recipes) {
        let wanted = |recipe: &&Recipe| recipe.kafka == version && is_asked(recipe.name);
        let recipes: Vec<&Recipe> = RECIPES.iter().filter(wanted).collect();
        if !recipes.is_empty() {
            jobs.push(Job::Recipes(version, recipes));
        }
    }
    let mut usual = Vec::new();
    if let (true, Some(version)) = (plan.scenarios, plan.versions.first()) {
        usual.extend([PLAIN, WITH_TLS].map(|list| Usual { version, scenarios: asked(list), matrix: false }));
    }
    usual.extend(plan.versions.iter().map(|version| Usual {
        version,
        scenarios: asked(ON_EVERY_VERSION),
        matrix: plan.matrix,
    }));
    usual.retain(|job| job.matrix || !job.scenarios.is_empty());
    jobs.extend(usual.into_iter().map(Job::Usual));
    jobs
}

/// Runs one job after the other in a place of its own.
fn run_lane(lane: usize, plan: &Plan, next: impl Fn() -> Option<Job>) -> Count {
    let mut count = Count::default();
    let Some(first) = next() else { return count };
    let Some(lab) = count.step(&format!("lane {lane}"), || Ok((Lab::new(lane)?, String::new()))) else {
        return count;
    };
    let mut job = Some(first);
    while let Some(current) = job {
        match current {
            Job::Usual(usual) => run_usual(&lab, &usual, plan, &mut count),
            Job::Recipes(version, recipes) => recipes::run(&lab, version, &recipes, &mut count),
        }
        job = next();
    }
    count
}

fn run_usual(lab: &Lab, job: &Usual, plan: &Plan, count: &mut Count) {
    let version = job.version;
    let start = || Ok((Cluster::start(lab, version, large::SETTINGS)?, String::new()));
    let Some(mut cluster) = count.step(&format!("{version}: three brokers"), start) else { return };
    // A trap that counts nothing proves nothing: without the control the cluster is not used at all.
    let control = || Ok(((), control::run(lab, &cluster)?));
    if count.step(&format!("{version}: control"), control).is_none() {
        return;
    }
    for (name, scenario) in &job.scenarios {
        count.step(&format!("{version}: {name}"), || Ok(((), scenario(lab, &mut cluster)?)));
    }
    if job.matrix {
        run_matrix(lab, &cluster.kafka, plan, count);
    }
}

fn run_matrix(lab: &Lab, kafka: &Kafka, plan: &Plan, count: &mut Count) {
    let mut cells = Cells::new();
    count.step(&format!("{}: matrix", kafka.version), || {
        if plan.direct {
            let bootstrap = Cluster::address(1, crate::cluster::PLAIN_PORT);
            cells = matrix::run(&Target { lab, kafka, bootstrap, side: Side::Brokers }, &plan.clients);
        } else {
            let gateway = Gateway::start(lab)?;
            let bootstrap = gateway::door();
            cells = matrix::run(&Target { lab, kafka, bootstrap, side: Side::Clients }, &plan.clients);
            gateway.stop()?;
            no_leaks(lab)?;
        }
        let ran = cells.values().filter(|cell| matches!(cell, Cell::Ran(..))).count();
        match cells.values().filter(|cell| matches!(cell, Cell::Failed(_))).count() {
            0 => Ok(((), format!("{ran} cells ran"))),
            failed => Err(format!("{failed} cells failed").into()),
        }
    });
    count.cells.extend(cells);
}

/// What a run has shown so far.
#[derive(Default)]
pub(crate) struct Count {
    passed: usize,
    failed: Vec<String>,
    cells: Cells,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.cells.extend(other.cells);
    }

    fn close_matrix(&mut self, plan: &Plan) {
        let expected = matrix::expected(&plan.versions, &plan.clients);
        let run = self.cells.values().filter(|cell| !matches!(cell, Cell::Failed(_))).count();
        let whole = plan.versions.len() == VERSIONS.len() && plan.clients.len() == matrix::CLIENTS.len();
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

    /// Takes one step, which gives a value and a remark.
    pub(crate) fn step<T>(&mut self, name: &str, step: impl FnOnce() -> Result<(T, String)>) -> Option<T> {
        let start = Instant::now();
        let outcome = step();
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok((value, remark)) => {
                self.passed += 1;
                println!("ok    {seconds:5.1} s  {name}  {remark}");
                Some(value)
            }
            Err(error) => {
                println!("FAIL  {seconds:5.1} s  {name}: {error}");
                self.failed.push(format!("{name}: {error}"));
                None
            }
        }
    }

    /// Prints the closing line; true when nothing failed.
    pub(crate) fn close(self) -> bool {
        for failed in &self.failed {
            println!("failed: {failed}");
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
