//! Prints a row: each peer's median and spread, and the gateway's ratios beside their targets.

use super::measure::median;
use super::peers::{DIRECT, GATEWAY};
use super::rows::{Figure, Measured, ORDER, Row, Values};

pub(crate) fn print(row: &Row, measured: &Measured) {
    println!("\n{}  {}", row.name, row.title);
    let unit = match row.figure {
        Figure::PerGib => "CPU-s/GiB",
        Figure::PerRequest => "CPU-us/request",
        Figure::PerConnection => "CPU-us/connection",
        Figure::Added => "us added at p50",
        Figure::Idle => "KiB/connection",
    };
    for name in ORDER {
        let Some((_, values)) = measured.peers.iter().find(|(peer, _)| *peer == name) else { continue };
        match values {
            None => println!("  {name:<16} absent"),
            // Not everybody has every key exchange.
            Some(values) if values.first.is_empty() => println!("  {name:<16} carried nothing"),
            Some(_) if name == DIRECT && row.figure != Figure::Added => {}
            Some(values) => println!("  {name:<16} {}", line(row, values, unit)),
        }
    }
    let Some(ours) = value(measured, GATEWAY) else { return };
    for target in row.targets {
        let theirs: Vec<_> = target.peers.iter().filter_map(|peer| value(measured, peer)).collect();
        let best = theirs.iter().copied().reduce(|a, b| if b.0 < a.0 { b } else { a });
        let against = target.peers.join(" or ");
        match best {
            None => println!("  against {against}: absent (target <= {})", target.ratio),
            Some(best) => println!("  against {against}: {}", ratio(row, ours, best, target.ratio)),
        }
    }
    if let Some(limit) = row.limit {
        println!("  {:.2} {unit} (target <= {limit})  {}", ours.0, verdict(ours.0 <= limit));
    }
    if row.figure != Figure::Idle {
        println!(
            "  rounds thrown away because of other work on the machine: {}; kept in spite of it: {}",
            measured.thrown_away, measured.noisy
        );
    }
}

fn line(row: &Row, values: &Values, unit: &str) -> String {
    let (least, most) = values.first.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
    let of_round = median(&values.second);
    let rest = match row.figure {
        Figure::PerGib | Figure::PerRequest => format!("{of_round:>9.0} requests/round"),
        Figure::PerConnection => {
            format!("{:>7.0} /CPU-s, {of_round:.0} % resumed", 1e6 / median(&values.first))
        }
        Figure::Added => format!("{of_round:>9.1} us at p99"),
        Figure::Idle => String::new(),
    };
    format!("{:>8.3} {unit}  ({least:.3} to {most:.3})  {rest}", median(&values.first))
}

/// Medians of both values of a peer.
fn value(measured: &Measured, name: &str) -> Option<(f64, f64)> {
    let (_, values) = measured.peers.iter().find(|(peer, _)| *peer == name)?;
    values
        .as_ref()
        .filter(|values| !values.first.is_empty())
        .map(|values| (median(&values.first), median(&values.second)))
}

fn ratio(row: &Row, ours: (f64, f64), theirs: (f64, f64), target: f64) -> String {
    let first = ours.0 / theirs.0;
    if row.figure == Figure::Added {
        let second = ours.1 / theirs.1;
        let reached = first <= target && second <= target;
        return format!("{first:.2} at p50, {second:.2} at p99 (target <= {target})  {}", verdict(reached));
    }
    format!("{first:.2} (target <= {target})  {}", verdict(first <= target))
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "NOT reached" }
}
