//! The one table of codes: number, title, explanation. `gatehouse explain` and `docs/errors.md` read it.

use std::fmt;

/// A kind of fault that a person can act on. The number is part of the surface: it never changes its
/// meaning and is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Code {
    /// The text is no YAML.
    Syntax = 1,
    /// A setting that this version does not know.
    UnknownSetting = 2,
    /// `${NAME}` names a variable that is not set.
    UnsetVariable = 3,
    /// A list where a map belongs, and the like.
    WrongKind = 4,
    /// A setting without which nothing works.
    MissingSetting = 5,
    /// No duration with a unit.
    Duration = 6,
    /// No size with a unit.
    Size = 7,
    /// No address of the form that is needed.
    Address = 8,
    /// No number, or one out of bounds.
    Number = 9,
    /// None of the words that may stand there.
    Choice = 10,
    /// No network in CIDR form.
    Network = 11,
    /// A list or map without entries.
    Empty = 12,
    /// No range of node ids.
    NodeRange = 13,
    /// One port is wanted twice.
    PortClaimedTwice = 14,
    /// Two ranges hold the same node id.
    RangesOverlap = 15,
    /// A range of nodes runs past the last port.
    PortsEnd = 16,
    /// A listener names a cluster that is not there.
    NoSuchCluster = 17,
    /// A listener must say which cluster it leads to.
    WhichCluster = 18,
    /// A broker address is the gateway itself.
    LeadsToItself = 19,
    /// Two ways to learn the brokers.
    TwoDiscoveries = 20,
    /// A setting of a later version.
    NotOffered = 22,
    /// Times that contradict each other.
    Times = 23,
    /// More connections than the process can hold.
    DoesNotFit = 24,
    /// A file with a secret cannot be read.
    SecretFile = 25,
    /// `${NAME}` in quotes is plain text.
    QuotedVariable = 26,
    /// A file format of another version.
    FormatVersion = 27,
    /// One advertised address for two things.
    AdvertisedTwice = 28,
    /// An advertised address that no client can connect to.
    Unreachable = 29,
    /// A name that cannot be used in metrics and logs.
    BadName = 30,
    /// A setting without effect beside another.
    NoEffect = 31,
}

/// What a code stands for.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// What it is called.
    pub title: &'static str,
    /// Why it is a fault, and what to do.
    pub explanation: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GH{:03}", *self as u16)
    }
}

/// Finds what a person typed: `GH014`, `gh14` or `14`.
pub fn find(text: &str) -> Option<&'static Entry> {
    let digits = text.trim().trim_start_matches(['g', 'G']).trim_start_matches(['h', 'H']);
    let number: u16 = digits.parse().ok()?;
    TABLE.iter().find(|entry| entry.code as u16 == number)
}

const fn entry(code: Code, title: &'static str, explanation: &'static str) -> Entry {
    Entry { code, title, explanation }
}

/// Every code, in the order of its number.
pub const TABLE: &[Entry] = &[
    entry(
        Code::Syntax,
        "not YAML",
        "The text cannot be read as one YAML document: indentation, a bracket or a quote is wrong, a name
comes twice in one map, or the file holds two documents. The caret shows where the reader stopped; the
cause often stands a line above it. Tabs are not allowed as indentation.",
    ),
    entry(
        Code::UnknownSetting,
        "unknown setting",
        "A name stands where this version knows no such setting. Nothing is ignored in silence, because a
setting with a typing error would otherwise be a setting left out. Look for the name that is suggested,
check the indentation (a setting may stand one level too deep), or look the name up in the reference.",
    ),
    entry(
        Code::UnsetVariable,
        "environment variable is not set",
        "`${NAME}` is replaced by the environment variable NAME, which the gateway's environment does not
have. Set it, or write a default: `${NAME:-value}`. `${NAME:?text}` fails with a text of your own where
the variable is not set or empty. Inside `{ }` and `[ ]` YAML itself takes the closing brace: give the
setting a line of its own. `$${NAME}` is the text `${NAME}`.",
    ),
    entry(
        Code::WrongKind,
        "wrong kind of value",
        "A map (`name: value` lines), a list (`- value` lines, or `[a, b]`) and a single value are three
kinds of value, and this setting takes another kind than the one that stands there.",
    ),
    entry(
        Code::MissingSetting,
        "a setting is missing",
        "The section cannot work without this setting, and no default would be right: only you know where
the brokers are and by which name clients reach the gateway. The smallest file that works:

clusters:
  main: { bootstrap: [kafka-0.internal:9092] }
listeners:
  external:
    bind: 0.0.0.0:9092
    advertise: kafka.example.com",
    ),
    entry(
        Code::Duration,
        "not a duration",
        "A duration is a number with its unit: `500ms`, `30s`, `5m`, `1h`, `1m 30s`. A number without a
unit is refused: half of the world reads it as seconds, the other half as milliseconds.",
    ),
    entry(
        Code::Size,
        "not a size",
        "A size is a number with its unit: `64KiB`, `100MiB`, `2GiB`, or `512B` for bytes. The units are
powers of 1024. `limits.held_bytes` also takes a share of the memory that the process may use, such as
`25%`.",
    ),
    entry(
        Code::Address,
        "not an address",
        "Brokers are written `host:port`. `bind` takes an IP address and a port, `0.0.0.0:9092`; an IPv6
address stands in brackets and, because YAML reads brackets as a list, in quotes: `\"[::]:9092\"` takes
IPv4 and IPv6. `advertise` takes a host name or address, with a port where clients see another port than
the one that is bound.",
    ),
    entry(
        Code::Number,
        "not a number in bounds",
        "The setting takes a whole number within the bounds that the message shows. Ports run from 1 to
65535, node ids from 0 to 2147483647. A limit of 0 would let nothing through; leave a limit out to have
its default.",
    ),
    entry(
        Code::Choice,
        "none of the choices",
        "The setting takes one of a few words; the message lists them. They are written in lower case, but
for the SASL mechanisms, which are written as Kafka writes them.",
    ),
    entry(
        Code::Network,
        "not a network",
        "A network is an address with the number of its fixed bits: `10.0.0.0/8`, `2001:db8::/32`. A single
address stands for itself. Bits after the fixed ones must be zero, because `10.1.2.3/8` is either a
typing error in the address or one in the length.",
    ),
    entry(
        Code::Empty,
        "nothing in it",
        "The list or map has no entry. Left out, the setting has its default; an empty one would say
that nothing is allowed, or that there is nothing to connect to, and is refused because it is hardly meant.",
    ),
    entry(
        Code::NodeRange,
        "not a range of node ids",
        "A range is the first and the last node id, `0-99`, or one id, `7`. The last is not below the first.
The port of a node is the range's first port plus the distance of its id from the first id, so that every
replica of the gateway agrees without asking anybody.",
    ),
    entry(
        Code::PortClaimedTwice,
        "a port is claimed twice",
        "Two parts of the configuration want to bind the same port of the same address: bootstrap ports of
listeners, the ports of their ranges of nodes, the admin port. `0.0.0.0` and `[::]` are all addresses,
so they collide with every other address on the same port. Without `routing`, a listener takes the 100
ports after its bootstrap port, for the nodes 0 to 99.",
    ),
    entry(
        Code::RangesOverlap,
        "ranges of node ids overlap",
        "Two ranges of one listener hold the same node id, so that this node would have two ports. Each id
belongs to one range.",
    ),
    entry(
        Code::PortsEnd,
        "a range of nodes runs past port 65535",
        "A range of n nodes takes n ports, bound and advertised, from its first port on, and they would end
above 65535. Start lower, or declare the ids that you have: `nodes: 0-9`.",
    ),
    entry(
        Code::NoSuchCluster,
        "no such cluster",
        "A listener leads to one cluster, which it names as `clusters` does.",
    ),
    entry(
        Code::WhichCluster,
        "which cluster?",
        "With one cluster, every listener leads to it. With several, each listener says which:
`cluster: NAME`.",
    ),
    entry(
        Code::LeadsToItself,
        "an address leads to the gateway itself",
        "A bootstrap or node address is one of the addresses that the gateway binds or advertises. The gateway
would connect to itself until no descriptor is left. Name the brokers' own addresses.",
    ),
    entry(
        Code::TwoDiscoveries,
        "two ways to learn the brokers",
        "`nodes` is a fixed map from node id to address, and the gateway then asks nobody; `discovery` says
how it asks. Keep one of them.",
    ),
    entry(
        Code::NotOffered,
        "not offered by this version",
        "This version neither terminates nor starts TLS, routes by port only, and reads no PROXY headers.
The setting is refused instead of ignored, because a gateway that looks encrypted and is not would be
worse than none. Clients that log in by SASL do so with the brokers; the gateway passes it through.",
    ),
    entry(
        Code::Times,
        "times contradict each other",
        "A stop takes its steps in turn: for `ready_delay` the gateway says that it is not ready while it still
accepts, for `drain_timeout` it lets clients finish, and at `hard_stop_after`, counted from the start of
the stop, it leaves in any case. So `hard_stop_after` must not be shorter than the other two together.",
    ),
    entry(
        Code::DoesNotFit,
        "more than the process can hold",
        "Each connection takes two descriptors and up to 32 KiB of memory, and each port one descriptor. The
number that is asked for does not fit into the limits of this process, so that it would fail under load
instead of now. Raise the limit (`LimitNOFILE=` in a systemd unit, `ulimit -Hn`), give it more memory, or
ask for less. Left out, the number is chosen to fit.",
    ),
    entry(
        Code::SecretFile,
        "a secret cannot be read",
        "The file or the variable that holds a secret is not there, not readable by the user that the gateway
runs as, empty, or not text. One line break at the end of a file is not part of the secret.",
    ),
    entry(
        Code::QuotedVariable,
        "a variable in quotes",
        "Quotes turn the replacement of `${NAME}` off: the value is the text with its dollar and braces.
Leave the quotes out. If the text is meant, write `$${NAME}` without quotes.",
    ),
    entry(
        Code::FormatVersion,
        "a file format of another version",
        "`version` is the version of the file format, not of the program. This program reads version 1; the
setting may be left out.",
    ),
    entry(
        Code::AdvertisedTwice,
        "an address is advertised twice",
        "Clients are told one host and port for two different things, such as two nodes, or a node and a
bootstrap port. They could reach one of them only, and would take its answers for the other's. Give one of
the listeners another name, or its ranges other ports.",
    ),
    entry(
        Code::Unreachable,
        "no client can connect to that",
        "`advertise` is what clients are told to connect to. `0.0.0.0`, `[::]` and multicast addresses mean
nothing to them: take the name or address by which clients reach this machine, or its load balancer.",
    ),
    entry(
        Code::BadName,
        "not a name",
        "Names of clusters and listeners become labels of metrics, words of log lines and parts of paths: 1 to
63 letters, digits, `-`, `_` and `.`, beginning with a letter or a digit.",
    ),
    entry(
        Code::NoEffect,
        "a setting without effect",
        "The setting can be read, but another one beside it leaves it nothing to decide.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_says_something() {
        assert!(TABLE.windows(2).all(|pair| pair[0].code < pair[1].code));
        for entry in TABLE {
            assert!(entry.explanation.len() > 60, "{}", entry.code);
            assert!(entry.title.len() < 60, "{}", entry.code);
        }
    }

    #[test]
    fn people_type_codes_in_several_ways() {
        for text in ["GH014", "gh14", "14", " GH14 "] {
            assert_eq!(find(text).map(|entry| entry.code), Some(Code::PortClaimedTwice), "{text}");
        }
        for text in ["GH999", "", "GH", "port"] {
            assert!(find(text).is_none(), "{text}");
        }
    }
}
