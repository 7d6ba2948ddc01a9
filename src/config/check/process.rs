//! What concerns the whole process: `version`, `node`, `limits`, `admin`, `log`, `shutdown`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::claims::{Claims, Kind};
use super::listener::Bind;
use super::section::Section;
use super::value::{Size, all};
use super::{Check, Checked, Reported};
use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::yaml::{Name, Node, Value};
use crate::config::{Log, Shutdown};
use crate::net::Host;
use crate::{admin, limits, listen, logging};

const LIMITS: &[&str] = &[
    "max_connections",
    "max_connections_per_ip",
    "max_request_bytes",
    "max_in_flight_requests",
    "held_bytes",
    "max_handshakes",
];
const NAME_BYTES_MAX: usize = 63;
/// Smaller budgets would make every read a small one.
const HELD_BYTES_MIN: u64 = 1 << 20;
/// The upper end is what a frame's length can say.
const REQUEST_BYTES: RangeInclusive<u64> = 1 << 10..=i32::MAX as u64;
const IN_FLIGHT: RangeInclusive<u64> = 1..=65_536;
const HANDSHAKES: RangeInclusive<u64> = 1..=65_536;
/// How often the files of certificates are looked at where the file does not say, and at most.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);
const RELOAD_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The limits of requests.
#[derive(Clone, Copy)]
pub(super) struct Requests {
    /// The longest request, without its length, in bytes.
    pub(super) max_bytes: u32,
    /// Requests of one connection that wait for their response.
    pub(super) max_in_flight: usize,
}

impl Default for Requests {
    fn default() -> Self {
        // A broker's own `socket.request.max.bytes`.
        Self { max_bytes: 104_857_600, max_in_flight: 128 }
    }
}

impl Check<'_> {
    /// Reports a name that is unfit for metrics and logs.
    pub(super) fn name(&mut self, name: &Name) -> Checked<()> {
        let fits = name.text.len() <= NAME_BYTES_MAX
            && name.text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if fits {
            return Ok(());
        }
        let title = "not a name for metrics and logs";
        let fault = Diagnostic::error(Code::BadName, title, &self.visible(&name.place));
        self.report(fault.help("take 1 to 63 letters, digits, `-`, `_`, `.`, a letter or digit first"))
    }

    pub(super) fn version(&mut self, file: &Section<'_>) -> Checked<()> {
        let Some(node) = file.get("version") else { return Ok(()) };
        match self.text(node)? {
            "1" => Ok(()),
            _ => self.bad(Code::FormatVersion, node, "a file format that this program reads", Some("1")),
        }
    }

    /// What this gateway is called in logs: the host's name where the file says nothing.
    pub(super) fn node_id(&mut self, file: &Section<'_>) -> Checked<String> {
        let host_name = || self.surroundings.host_name.clone();
        let Some((name, node)) = file.entry("node") else { return Ok(host_name()) };
        let section = self.section(node, &name.place, "`node`", &["id"])?;
        let Some(node) = section.get("id") else { return Ok(self.surroundings.host_name.clone()) };
        let text = self.text(node)?;
        if text.is_empty() || text.len() > 253 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return self.bad(Code::BadName, node, "1 to 253 visible ASCII characters", None);
        }
        Ok(text.to_owned())
    }

    pub(super) fn limits_section<'n>(&mut self, file: &Section<'n>) -> Checked<Option<Section<'n>>> {
        file.entry("limits")
            .map(|(name, node)| self.section(node, &name.place, "`limits`", LIMITS))
            .transpose()
    }

    /// The limits of requests.
    pub(super) fn requests(&mut self, section: Checked<Option<Section<'_>>>) -> Checked<Requests> {
        let (section, default) = (section?, Requests::default());
        let get = |name: &str| section.and_then(|section| section.get(name));
        let bytes = get("max_request_bytes").map(|node| self.bytes(node, &REQUEST_BYTES)).transpose();
        let in_flight = get("max_in_flight_requests").map(|node| self.number(node, &IN_FLIGHT)).transpose();
        Ok(Requests {
            max_bytes: bytes?.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(default.max_bytes),
            max_in_flight: in_flight?.and_then(|n| usize::try_from(n).ok()).unwrap_or(default.max_in_flight),
        })
    }

    /// The limits of the process, which binds `ports` ports.
    pub(super) fn limits(
        &mut self,
        section: Checked<Option<Section<'_>>>,
        ports: usize,
    ) -> Checked<limits::Options> {
        let section = section?;
        let get = |name: &str| section.and_then(|section| section.get(name));
        let asked = get("max_connections").map(|node| Ok((self.limit(node)?, &node.place))).transpose();
        let per_ip = get("max_connections_per_ip").map(|node| self.limit(node)).transpose();
        let held = get("held_bytes").map(|node| self.held_bytes(node)).transpose();
        let handshakes = get("max_handshakes").map(|node| self.number(node, &HANDSHAKES)).transpose();
        let max_connections = self.fitting(asked?, ports, section.map(|section| section.name));
        Ok(limits::Options {
            max_connections: max_connections?,
            max_connections_per_ip: per_ip?,
            held_bytes: held?.unwrap_or_else(|| self.surroundings.machine.held_bytes()),
            max_handshakes: handshakes?
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or_else(limits::max_handshakes),
        })
    }

    fn bytes(&mut self, node: &Node, bounds: &RangeInclusive<u64>) -> Checked<u64> {
        match self.size(node)? {
            Size::Bytes(bytes) if bounds.contains(&bytes) => Ok(bytes),
            Size::Bytes(_) | Size::Percent(_) => {
                let need = format!("a size from {}B to {}B", bounds.start(), bounds.end());
                self.bad(Code::Size, node, &need, None)
            }
        }
    }

    fn held_bytes(&mut self, node: &Node) -> Checked<u64> {
        let memory = self.surroundings.machine.memory_bytes;
        match self.size(node)? {
            Size::Percent(percent) => Ok((memory / 100).saturating_mul(percent).max(HELD_BYTES_MIN)),
            Size::Bytes(bytes) if bytes >= HELD_BYTES_MIN => Ok(bytes),
            Size::Bytes(_) => self.bad(Code::Size, node, "at least 1MiB", None),
        }
    }

    /// The number of connections that the machine has room for.
    fn fitting(
        &mut self,
        asked: Option<(usize, &Place)>,
        ports: usize,
        section: Option<&Place>,
    ) -> Checked<usize> {
        let number = asked.map(|(number, _)| number);
        let place = asked.map(|(_, place)| place).or(section).cloned().unwrap_or(0..0);
        match self.surroundings.machine.max_connections(number, ports) {
            Ok(number) => Ok(number),
            Err(_) if self.surroundings.elsewhere => Err(Reported),
            Err(error) => self.report(Diagnostic::error(Code::DoesNotFit, error.to_string(), &place)),
        }
    }

    /// How often the files of certificates are looked at.
    pub(super) fn reload_interval(&mut self, file: &Section<'_>) -> Checked<Duration> {
        let Some((name, node)) = file.entry("tls") else { return Ok(RELOAD_INTERVAL) };
        let section = self.section(node, &name.place, "`tls`", &["reload_interval"])?;
        self.duration_or(section.get("reload_interval"), RELOAD_INTERVAL, RELOAD_INTERVAL_MIN)
    }

    /// The admin pages.
    pub(super) fn admin(&mut self, file: &Section<'_>, claims: &mut Claims) -> Checked<admin::Options> {
        let default = admin::Options::default();
        let Some((name, node)) = file.entry("admin") else {
            claim(claims, default.bind, &(0..0));
            return Ok(default);
        };
        let section = self.section(node, &name.place, "`admin`", &["bind", "hosts", "token"])?;
        let hosts = section.get("hosts").map(|node| self.hosts(node)).transpose();
        let token = section.get("token").map(|node| self.optional_secret(node)).transpose();
        let (bind, place) = match section.get("bind") {
            None => (default.bind, &name.place),
            Some(node) if matches!(node.value, Value::Null) => (None, &node.place),
            Some(node) => (Some(self.bind_address(node, admin::BIND_DEFAULT.port())?), &node.place),
        };
        claim(claims, bind, place);
        Ok(admin::Options { bind, hosts: hosts?.unwrap_or_default(), token: token?.flatten() })
    }

    /// Names by which the admin pages may be called.
    fn hosts(&mut self, node: &Node) -> Checked<Vec<String>> {
        let items = self.list(node, "`hosts`")?;
        all(items.into_iter().map(|item| match self.text(item)? {
            host if Host::parse(host.as_bytes()).is_ok() => Ok(host.to_owned()),
            _ => self.bad(Code::Address, item, "a host name", None),
        }))
    }

    pub(super) fn log(&mut self, file: &Section<'_>) -> Checked<Log> {
        let Some((name, node)) = file.entry("log") else { return Ok(Log::default()) };
        let section = self.section(node, &name.place, "`log`", &["level", "format", "connections"])?;
        let formats = &[
            ("auto", logging::Format::Auto),
            ("text", logging::Format::Text),
            ("json", logging::Format::Json),
        ];
        let default = logging::Options::default();
        let level = section.get("level").map(|node| self.level(node)).transpose();
        let format = section.get("format").map(|node| self.choice(node, formats)).transpose();
        let connections = section.get("connections").map(|node| self.switch(node)).transpose();
        let options = logging::Options {
            level: level?.unwrap_or(default.level),
            format: format?.unwrap_or(default.format),
        };
        Ok(Log { options, connections: connections?.unwrap_or_default() })
    }

    fn level(&mut self, node: &Node) -> Checked<String> {
        let text = self.text(node)?.to_owned();
        let options = logging::Options { level: text, ..logging::Options::default() };
        match options.filter() {
            Ok(_) => Ok(options.level),
            Err(_) => {
                let need = "a level (error, warn, info, debug, trace, off), or levels by target such as \
                            `info,gatehouse::sasl=debug`";
                self.bad(Code::Choice, node, need, None)
            }
        }
    }

    pub(super) fn shutdown(&mut self, file: &Section<'_>) -> Checked<Shutdown> {
        let default = Shutdown::default();
        let Some((name, node)) = file.entry("shutdown") else { return Ok(default) };
        let known = ["ready_delay", "drain_timeout", "hard_stop_after"];
        let section = self.section(node, &name.place, "`shutdown`", &known)?;
        let least = Duration::ZERO;
        let ready_delay = self.duration_or(section.get("ready_delay"), default.ready_delay, least);
        let drain_timeout = self.duration_or(section.get("drain_timeout"), default.drain_timeout, least);
        let hard_stop = self.duration_or(section.get("hard_stop_after"), default.hard_stop_after, least);
        let (ready_delay, drain_timeout, hard_stop_after) = (ready_delay?, drain_timeout?, hard_stop?);
        let least = ready_delay.saturating_add(drain_timeout);
        if hard_stop_after < least {
            let place = section.entry("hard_stop_after").map_or(section.name, |(_, node)| &node.place);
            let shown = humantime::format_duration(hard_stop_after);
            let title = format!("`hard_stop_after` of {shown} cuts the other steps short");
            let steps = format!(
                "`ready_delay` {} and `drain_timeout` {} take {}",
                humantime::format_duration(ready_delay),
                humantime::format_duration(drain_timeout),
                humantime::format_duration(least),
            );
            return self.report(Diagnostic::error(Code::Times, title, place).label(steps));
        }
        Ok(Shutdown { ready_delay, drain_timeout, hard_stop_after })
    }
}

fn claim(claims: &mut Claims, address: Option<SocketAddr>, place: &Place) {
    if let Some(address) = address {
        let addresses = vec![listen::Bind { ip: address.ip(), v6_only: false }];
        let bind = Bind { addresses, port: address.port(), place };
        claims.bind(&bind, address.port()..=address.port(), place, Kind::Admin);
    }
}
