//! HAProxy in the place of a load balancer before the gateway, and of those before each broker.

use std::{fmt::Write as _, fs};

use crate::{
    Result,
    lab::{self, Lab, Side},
    process::Process,
};

/// One port of a balancer.
pub(super) struct Port {
    /// Where it listens.
    pub(super) bind: String,
    /// Where it leads.
    pub(super) server: String,
}

/// Starts one for these ports, with `options` for each server as HAProxy calls them; it runs until it is dropped.
pub(super) fn start(lab: &Lab, name: &str, ports: &[Port], options: &str) -> Result<Process> {
    lab::need("haproxy", "haproxy")?;
    let mut text = HEAD.to_owned();
    for (Port { bind, server }, number) in ports.iter().zip(0..) {
        writeln!(text, "listen port-{number}\n  bind {bind}\n  server s {server} {options}")?;
    }
    let file = lab.root().join(format!("{name}.cfg"));
    fs::write(&file, text)?;
    let mut command = lab.command(Side::Brokers, "haproxy");
    command.args(["-db", "-f"]).arg(file);
    Process::spawn(lab, name, command)
}

const HEAD: &str = "defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
";
