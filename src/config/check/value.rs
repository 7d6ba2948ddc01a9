//! Single values: durations, sizes, numbers, words, addresses and networks, with errors that show the fix.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use humantime::format_duration;
use ipnet::IpNet;

use super::section::closest;
use super::{Check, Checked, Reported};
use crate::config::codes::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::yaml::{Node, Value};
use crate::net::HostPort;

/// The longest duration that any setting takes.
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

const UNITS: &[(&str, u64)] =
    &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// humantime knows months and years too, which no setting can mean.
const DURATION_UNITS: &[&str] = &[
    "", "ms", "millis", "s", "sec", "secs", "second", "seconds", "m", "min", "mins", "minute", "minutes",
    "h", "hr", "hour", "hours", "d", "day", "days",
];

/// A size, or a share of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Bytes(u64),
    Percent(u64),
}

impl Check<'_> {
    /// The text of a single value.
    pub(super) fn text<'n>(&mut self, node: &'n Node) -> Checked<&'n str> {
        let title = match &node.value {
            Value::Scalar(text) => {
                self.quoted_variable(node, text);
                return Ok(text);
            }
            Value::Variable(text) => return Ok(text),
            Value::Unset => return Err(Reported),
            Value::Null if self.source.get(node.place.clone()).is_some_and(|text| text.contains("${")) => {
                let fault = Diagnostic::error(Code::UnsetVariable, "the variable is empty", &node.place);
                return self.report(fault.help("set it, or write a default: `${NAME:-value}`"));
            }
            Value::Null => "a value is missing",
            Value::List(_) | Value::Map(_) => "a single value belongs here",
        };
        let fault = Diagnostic::error(Code::WrongKind, title, &self.visible(&node.place));
        self.report(fault.help("leave the setting out to have its default"))
    }

    fn quoted_variable(&mut self, node: &Node, text: &str) {
        let written = self.source.get(node.place.clone()).unwrap_or_default();
        if text.contains("${") && written.starts_with(['"', '\'']) {
            let title = "quotes turn the replacement of `${…}` off";
            let warning = Diagnostic::warning(Code::QuotedVariable, title, &node.place);
            self.note(warning.label("this is the text itself").help("leave the quotes out"));
        }
    }

    /// Reports a value that cannot be used; `fix` is what might be meant.
    pub(super) fn bad<T>(&mut self, code: Code, node: &Node, need: &str, fix: Option<&str>) -> Checked<T> {
        let title = match &node.value {
            Value::Scalar(text) => format!("`{}` is not {need}", shown(text)),
            Value::Variable(_) => format!("the value of the variable is not {need}"),
            Value::Null | Value::Unset | Value::List(_) | Value::Map(_) => format!("not {need}"),
        };
        let fault = Diagnostic::error(code, title, &node.place);
        self.report(match fix {
            Some(fix) if !matches!(node.value, Value::Variable(_)) => {
                fault.fix(&node.place, fix, format!("did you mean `{fix}`?"))
            }
            _ => fault,
        })
    }

    /// A duration with its unit, not below `least`.
    pub(super) fn duration(&mut self, node: &Node, least: Duration) -> Checked<Duration> {
        let text = self.text(node)?;
        let units = text.split(|c: char| !c.is_ascii_alphabetic()).all(|unit| DURATION_UNITS.contains(&unit));
        match humantime::parse_duration(text) {
            Ok(duration) if units && (least..=DURATION_MAX).contains(&duration) => Ok(duration),
            Ok(_) if units => {
                let (least, most) = (format_duration(least), format_duration(DURATION_MAX));
                self.bad(Code::Duration, node, &format!("from {least} to {most}"), None)
            }
            Ok(_) | Err(_) => {
                let need = "a duration with its unit, such as `30s`, `5m`, `500ms`";
                let fix = text.parse::<u32>().ok().map(|number| format!("{number}s"));
                self.bad(Code::Duration, node, need, fix.as_deref())
            }
        }
    }

    /// The setting's duration, or its default.
    pub(super) fn duration_or(
        &mut self,
        node: Option<&Node>,
        default: Duration,
        least: Duration,
    ) -> Checked<Duration> {
        node.map_or(Ok(default), |node| self.duration(node, least))
    }

    /// A size with its unit.
    pub(super) fn size(&mut self, node: &Node) -> Checked<Size> {
        let text = self.text(node)?;
        if let Some(size) = parse_size(text) {
            return Ok(size);
        }
        let fix = text.parse::<u64>().ok().map(|number| format!("{number}B")).or_else(|| decimal_unit(text));
        self.bad(Code::Size, node, "a size with its unit, such as `64KiB`, `100MiB`, `2GiB`", fix.as_deref())
    }

    /// A whole number within the bounds.
    pub(super) fn number(&mut self, node: &Node, bounds: &RangeInclusive<u64>) -> Checked<u64> {
        match self.text(node)?.parse::<u64>() {
            Ok(number) if bounds.contains(&number) => Ok(number),
            Ok(_) | Err(_) => {
                let need = format!("a whole number from {} to {}", bounds.start(), bounds.end());
                self.bad(Code::Number, node, &need, None)
            }
        }
    }

    /// A limit: a number from 1 on.
    pub(super) fn limit(&mut self, node: &Node) -> Checked<usize> {
        let number = self.number(node, &(1..=u32::MAX.into()))?;
        usize::try_from(number).map_err(|_| Reported)
    }

    /// A port.
    pub(super) fn port(&mut self, node: &Node) -> Checked<u16> {
        let number = self.number(node, &(1..=u16::MAX.into()))?;
        u16::try_from(number).map_err(|_| Reported)
    }

    /// Whether or not.
    pub(super) fn switch(&mut self, node: &Node) -> Checked<bool> {
        self.choice(node, &[("true", true), ("false", false)])
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, choices: &[(&str, T)]) -> Checked<T> {
        let text = self.text(node)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let same = words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied();
        let meant = same.or_else(|| closest(text, &words));
        self.bad(Code::Choice, node, &format!("one of {}", words.join(", ")), meant)
    }

    /// The address of a broker.
    pub(super) fn host_port(&mut self, node: &Node) -> Checked<HostPort> {
        let text = self.text(node)?;
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let fix = format!("{text}:9092");
        let fix = fix.parse::<HostPort>().is_ok().then_some(fix);
        self.bad(Code::Address, node, "a broker's `host:port`", fix.as_deref())
    }

    /// An IP address.
    pub(super) fn ip(&mut self, node: &Node) -> Checked<IpAddr> {
        match self.text(node)?.parse() {
            Ok(address) => Ok(address),
            Err(_) => self.bad(Code::Address, node, "an IP address", None),
        }
    }

    /// A network in CIDR form; a single address is a network of one.
    pub(super) fn network(&mut self, node: &Node) -> Checked<IpNet> {
        match parse_network(self.text(node)?) {
            Some(network) if network.trunc() == network => Ok(network),
            Some(network) => {
                let fix = network.trunc().to_string();
                self.bad(Code::Network, node, "a network: bits after its length are set", Some(&fix))
            }
            None => self.bad(Code::Network, node, "a network such as `10.0.0.0/8` or `fd00::/8`", None),
        }
    }

    /// A list of networks.
    pub(super) fn networks(&mut self, node: &Node, what: &str) -> Checked<Vec<IpNet>> {
        let items = self.list(node, what)?;
        all(items.into_iter().map(|item| self.network(item)))
    }
}

/// Checks every item, so that the faults of all are reported, before it gives up.
pub(super) fn all<T>(items: impl Iterator<Item = Checked<T>>) -> Checked<Vec<T>> {
    items.collect::<Vec<_>>().into_iter().collect()
}

pub(super) fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn parse_size(text: &str) -> Option<Size> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    if unit.trim_start() == "%" {
        return (1..=100).contains(&number).then_some(Size::Percent(number));
    }
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.checked_mul(*factor).map(Size::Bytes)
}

/// `100MB` and `100m` are often written where `100MiB` is meant.
fn decimal_unit(text: &str) -> Option<String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let letter = unit.trim_start().to_ascii_uppercase();
    let letter = letter.strip_suffix("IB").or(letter.strip_suffix('B')).unwrap_or(&letter);
    let known = !number.is_empty() && ["K", "M", "G", "T"].contains(&letter);
    known.then(|| format!("{number}{letter}iB"))
}

/// The beginning of a value, for a message.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(64).flat_map(char::escape_debug).collect();
    if text.chars().count() > 64 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(parse_size("512B"), Some(Size::Bytes(512)));
        assert_eq!(parse_size("100MiB"), Some(Size::Bytes(104_857_600)));
        assert_eq!(parse_size("2 GiB"), Some(Size::Bytes(2 << 30)));
        assert_eq!(parse_size("25%"), Some(Size::Percent(25)));
        for text in ["", "1", "MiB", "1MB", "-1B", "1.5GiB", "0%", "101%", "99999999999TiB", "1e3B"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_meant_by_a_size_is_shown() {
        assert_eq!(decimal_unit("100MB").as_deref(), Some("100MiB"));
        assert_eq!(decimal_unit("64k").as_deref(), Some("64KiB"));
        assert_eq!(decimal_unit("2 gib").as_deref(), Some("2GiB"));
        assert_eq!(decimal_unit("10x"), None);
        assert_eq!(decimal_unit("MB"), None);
    }

    #[test]
    fn values_are_shown_short_and_escaped() {
        assert_eq!(shown("a\u{1b}b"), "a\\u{1b}b");
        assert_eq!(shown(&"x".repeat(99)).chars().count(), 65);
    }
}
