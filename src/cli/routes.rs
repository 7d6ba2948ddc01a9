//! `routes`: what clients connect to, and what that leads to.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;

use anstyle::{Effects, Style};
use serde::Serialize;

use super::args::{Elsewhere, Format, Global};
use super::output::Output;
use super::{Exit, file};
use crate::cluster::{NodeRange, Pattern, PortRange, Routes};
use crate::config::{Config, Listener};

/// Ranges with more nodes than this are one line.
const LINES_MAX: i32 = 8;

const HEADER: [&str; 6] = ["listener", "mode", "client connects to", "broker", "bound", "cluster"];

/// One way to one broker, as programs get it.
#[derive(Serialize)]
struct Route<'c> {
    listener: &'c str,
    mode: &'static str,
    /// `HOST:PORT` that clients are told.
    advertise: String,
    /// `null` for the bootstrap port.
    node: Option<i32>,
    /// Every address that is bound for it.
    bind: Vec<SocketAddr>,
    cluster: &'c str,
}

pub(super) fn routes(elsewhere: Elsewhere, global: &Global, output: Output) -> Exit {
    let surroundings =
        if elsewhere.no_environment { file::elsewhere() } else { file::without_certificates() };
    let config = match file::read(global).and_then(|source| source.load_or_explain(&surroundings)) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    match output.format {
        Format::Json => output.json(&all(&config)),
        Format::Text => output.data(&table(&rows(&config))),
    }
}

fn cluster<'c>(config: &'c Config, listener: &Listener) -> &'c str {
    config.clusters.get(listener.cluster).map_or("", |cluster| cluster.name.as_str())
}

fn bound(listener: &Listener, port: u16) -> Vec<SocketAddr> {
    listener.listen.binds.iter().map(|bind| SocketAddr::new(bind.ip, port)).collect()
}

/// What clients are told; where that is the address of a Service, `<service/NAME>` stands for it.
fn shown(listener: &Listener) -> Cow<'_, Routes> {
    match &listener.advertised {
        Some(service) => Cow::Owned(listener.listen.routes.told(&service.placeholder())),
        None => Cow::Borrowed(&listener.listen.routes),
    }
}

/// Every route of every listener.
fn all(config: &Config) -> Vec<Route<'_>> {
    config
        .listeners
        .iter()
        .flat_map(|listener| {
            let (options, routes) = (&listener.listen, shown(listener));
            let route = move |node: Option<i32>, told: String, port: u16| Route {
                listener: &options.name,
                mode: options.routes.mode(),
                advertise: told,
                node,
                bind: bound(listener, port),
                cluster: cluster(config, listener),
            };
            let bootstrap = routes.bootstrap().map(|(host, told)| address(host, told)).unwrap_or_default();
            let nodes: Vec<_> = routes
                .nodes()
                .filter_map(|node| {
                    let (host, told) = routes.advertised(node)?;
                    let port = routes.bound(node).unwrap_or(options.port);
                    Some(route(Some(node.0), address(&host, told), port))
                })
                .collect();
            std::iter::once(route(None, bootstrap, options.port)).chain(nodes)
        })
        .collect()
}

/// Lines for people: long ranges take one.
fn rows(config: &Config) -> Vec<[String; 6]> {
    let mut rows = Vec::new();
    for listener in &config.listeners {
        let options = &listener.listen;
        let mut row = |told: String, node: String, ports: String| {
            let addresses = options.binds.iter().map(|bind| address(&bind.ip.to_string(), &ports));
            rows.push([
                options.name.clone(),
                options.routes.mode().to_owned(),
                told,
                node,
                addresses.collect::<Vec<_>>().join(", "),
                cluster(config, listener).to_owned(),
            ]);
        };
        let routes = shown(listener);
        let Some((host, told)) = routes.bootstrap() else { continue };
        row(address(host, told), "(bootstrap)".to_owned(), options.port.to_string());
        match routes.as_ref() {
            Routes::Ports(ports) => {
                for (told, node, bound) in ports.ranges.iter().flat_map(parts) {
                    row(address(host, told), node, bound);
                }
            }
            Routes::Names(names) => {
                for (name, node) in names.nodes.iter().flat_map(|range| named(&names.brokers, *range)) {
                    row(address(&name, told), node, options.port.to_string());
                }
            }
        }
    }
    rows
}

/// Ports that clients are told, nodes, and ports that are bound: in one line, or one for each node.
fn parts(range: &PortRange) -> Vec<(String, String, String)> {
    let (first, last) = (range.first.0, range.last.0);
    let run = |from: u16, count: u16| format!("{from}-{}", from.saturating_add(count));
    let span = last.saturating_sub(first);
    if span < LINES_MAX {
        let one = |offset: u16| {
            let node = first.saturating_add(offset.into());
            let port = |from: u16| from.saturating_add(offset).to_string();
            (port(range.advertise), node.to_string(), port(range.bind))
        };
        return (0..=u16::try_from(span).unwrap_or_default()).map(one).collect();
    }
    let count = u16::try_from(span).unwrap_or(u16::MAX);
    vec![(run(range.advertise, count), format!("{first}-{last}"), run(range.bind, count))]
}

/// Names that clients are told, and nodes: in one line, or one for each node.
fn named(brokers: &Pattern, range: NodeRange) -> Vec<(String, String)> {
    if range.last.0.saturating_sub(range.first.0) < LINES_MAX {
        return range.nodes().map(|node| (brokers.name(node), node.to_string())).collect();
    }
    vec![(brokers.to_string(), range.to_string())]
}

/// `host:port`, with brackets around an IPv6 address.
fn address(host: &str, port: impl std::fmt::Display) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn table(rows: &[[String; 6]]) -> String {
    let bold = Style::new().effects(Effects::BOLD);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([HEADER[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |cells: &[String; 6]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = format!("{bold}{}{bold:#}\n", line(&HEADER.map(str::to_owned)));
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line(row));
    }
    text
}
