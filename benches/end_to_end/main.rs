//! The same load through nothing, through the gateway, through HAProxy and through nginx, in interleaved rounds.
//!
//! `cargo bench --bench end_to_end -- [--short | --once] [--rounds N] [--rows P1,P5]`. `docs/performance.md` has the method.

#![expect(clippy::panic, clippy::expect_used, reason = "a bench that cannot run says so and ends")]

mod load;
mod measure;
mod peers;
mod place;
mod rows;
mod sink;
mod table;
mod tls;

use std::time::Duration;

/// What the command line asks for.
#[derive(Clone, Debug)]
struct Plan {
    rounds: usize,
    /// How long one round measures.
    round: Duration,
    /// Idle connections that are counted.
    idle: usize,
    rows: Vec<String>,
}

fn plan() -> Plan {
    let mut plan = Plan { rounds: 7, round: Duration::from_millis(1_500), idle: 5_000, rows: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--short" => {
                (plan.rounds, plan.round, plan.idle) = (3, Duration::from_millis(400), 1_000);
            }
            // That every row runs; its figures mean little.
            "--once" => (plan.rounds, plan.round, plan.idle) = (1, Duration::from_millis(300), 200),
            "--rounds" => plan.rounds = arguments.next().and_then(|n| n.parse().ok()).expect("--rounds N"),
            "--rows" => {
                plan.rows = arguments.next().expect("--rows P1,P2").split(',').map(str::to_owned).collect();
            }
            // What `cargo bench` and `cargo test` add.
            "--bench" | "--test" => {}
            other => panic!("{other}: known are --short, --once, --rounds N and --rows P1,P2,..."),
        }
    }
    plan
}

fn main() {
    let plan = plan();
    place::enter_namespace();
    println!("{}", place::describe());
    place::pin(std::process::id(), place::GENERATOR_CORE);
    let sink = sink::start();
    let is_wanted = |row: &&rows::Row| plan.rows.is_empty() || plan.rows.iter().any(|r| r == row.name);
    for secure in [false, true] {
        let rows: Vec<_> =
            rows::ROWS.iter().filter(is_wanted).filter(|r| r.secure.is_some() == secure).collect();
        if rows.is_empty() {
            continue;
        }
        let peers = peers::start(sink, secure);
        for row in rows {
            table::print(row, &measured(row, &peers, &plan));
        }
    }
}

/// A row in which the gateway carried something: on a busy machine a short round may end before it does.
fn measured(row: &rows::Row, peers: &[peers::Peer], plan: &Plan) -> rows::Measured {
    for _ in 0..10 {
        let measured = rows::run(row, peers, plan);
        let of_gateway = measured.peers.iter().find(|(name, _)| *name == peers::GATEWAY);
        if of_gateway.is_some_and(|(_, values)| values.as_ref().is_some_and(|v| !v.first.is_empty())) {
            return measured;
        }
    }
    panic!("the gateway carried nothing in ten runs of {}", row.name);
}
