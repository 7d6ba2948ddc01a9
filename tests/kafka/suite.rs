//! The scenarios in their order, each timed and counted.

use std::time::Instant;

use crate::{Result, cluster::Cluster, control, lab::Lab};

/// Runs scenarios and keeps the count.
pub(crate) struct Suite<'lab> {
    lab: &'lab Lab,
    passed: usize,
    failed: Vec<String>,
}

impl<'lab> Suite<'lab> {
    /// An empty count.
    pub(crate) fn new(lab: &'lab Lab) -> Self {
        Self { lab, passed: 0, failed: Vec::new() }
    }

    pub(crate) fn versions(&mut self, versions: &[&str]) {
        let lab = self.lab;
        for version in versions {
            let Some(cluster) = self.step(&format!("{version}: three brokers"), || {
                Ok((Cluster::start(lab, version, "")?, String::new()))
            }) else {
                continue;
            };
            self.step(&format!("{version}: control"), || Ok(((), control::run(lab, &cluster)?)));
        }
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
