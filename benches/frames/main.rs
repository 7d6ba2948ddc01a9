//! Frames per second of the scanner and of each patch: `cargo bench --bench frames`.
//!
//! `frames --only CASE TIMES` runs one case so many times and nothing else: `benches/instructions` counts those.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot run ends")]

mod cases;
#[path = "../../tests/patch/dice.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod dice;
#[path = "../../tests/patch/message.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod message;
#[path = "../../tests/patch/random.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod random;

use criterion::{Criterion, Throughput};

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let first = arguments.next();
    if first.as_deref() == Some("--list-cases") {
        cases::every().iter().for_each(|case| println!("{}", case.name));
        return;
    }
    if first.as_deref() == Some("--only") {
        let (name, times) = (arguments.next().unwrap(), arguments.next().unwrap().parse().unwrap());
        let mut case = cases::every().into_iter().find(|case| case.name == name).unwrap();
        for _ in 0..times {
            (case.run)();
        }
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    for mut case in cases::every() {
        let mut group = criterion.benchmark_group(&case.name);
        group.throughput(Throughput::Elements(case.frames));
        group.bench_function("frames", |bencher| bencher.iter(&mut case.run));
        group.finish();
    }
    criterion.final_summary();
}
