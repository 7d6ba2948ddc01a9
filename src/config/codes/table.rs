//! What each code is called, why it is a fault, and what to do.

use super::{Code, Entry};

pub(super) const fn entry(code: Code, title: &'static str, explanation: &'static str) -> Entry {
    Entry { code, title, explanation }
}

/// What can be wrong in a file, in the order of the numbers.
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
        Code::NamesWithoutTls,
        "routing by server name without TLS",
        "Where one port serves all brokers, the server name in the TLS handshake (SNI) says which one a client
wants. So the listener needs a `tls` block with certificates, and must end TLS itself: reading the name alone
would not do, because the gateway rewrites the addresses in the brokers' answers, and in a connection that is
sealed between client and broker it cannot read them.",
    ),
    entry(
        Code::NotOffered,
        "not offered by this version",
        "This version checks no logins itself, and limits connections by number, not by rate. The setting is refused
instead of ignored, because a gateway that looks protected and is not would be worse than none. Clients that log
in by SASL do so with the brokers; the gateway passes it through.",
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
    entry(
        Code::Passthrough,
        "TLS cannot be passed through",
        "A gateway that passes TLS through sees nothing but bytes. The brokers' answers would reach clients as the
brokers wrote them, with the brokers' own addresses in them: clients would learn the inside of your network, and
would connect to addresses that they cannot reach, or past the gateway. End TLS at the gateway, with certificates
of its own, and speak TLS to the brokers behind it with `clusters.NAME.tls`. No byte is in the clear outside the
process then.",
    ),
    entry(
        Code::KeyStore,
        "a Java key store",
        "The gateway reads PEM files, and PKCS#12 files where it is built with the feature `keystore`; it does not
read JKS. Convert a store with a key once, with
`keytool -importkeystore -srckeystore gateway.jks -destkeystore gateway.p12 -deststoretype PKCS12`, and name the
new file with `pkcs12`. From a store with authorities take the certificates out, with
`keytool -list -rfc -keystore truststore.jks > ca.pem`.",
    ),
    entry(
        Code::Certificate,
        "a certificate or key cannot be used",
        "The file is not there, not readable by the user that the gateway runs as, not what it should be, encrypted
with another password, or the key is not the one of the certificate. The certificate file holds the gateway's own
certificate first, then those of the authorities between it and the root. Paths are relative to the directory in
which the gateway starts. Where the files belong to another machine, `validate --no-environment` leaves them
alone.",
    ),
    entry(
        Code::NotCovered,
        "no certificate for a name that clients are told",
        "Clients compare the name that they connect to with the names in the certificate (subjectAltName) and hang
up where it is not among them. A listener that routes by server name needs a certificate for the bootstrap name
and for the name of each node: `kafka.example.com` and `*.kafka.example.com`. A wildcard stands for one whole label
at the beginning, so `*.example.com` is not for `b0.kafka.example.com`, and `*.kafka.example.com` is not for
`kafka.example.com`. On a listener that routes by port it is a warning: some clients do not look.",
    ),
    entry(
        Code::Lifetime,
        "a certificate runs out",
        "Whoever checks a certificate that has run out, or is not valid yet, refuses it. Put a new file in the place
of the old one: the gateway takes it within `tls.reload_interval`, without a restart and without closing a
connection. `gatehouse check` says how many days each file has left, and a metric does.",
    ),
    entry(
        Code::LooseKey,
        "a key that is not kept as it should be",
        "Whoever reads the key of the gateway can pretend to be the gateway. Let the user alone that the gateway
runs as read it: `chmod 600`; a mounted secret of Kubernetes is root's, readable by the pod's `fsGroup`. A password
for a key that is not encrypted is warned of too: somebody believes it to be.",
    ),
    entry(
        Code::SameNames,
        "two certificates for one name",
        "A listener picks the certificate by the name that the client asks for: the one that has this very name,
else one with a fitting wildcard, else the first of the list. Of two that have the same name, the second is for clients
that cannot check the first, as an RSA certificate behind an ECDSA one. Where both keys are of one kind, the second is
without use.",
    ),
    entry(
        Code::ClientAuth,
        "half of a client authentication",
        "Asking clients for certificates takes two settings: `client_auth` (`optional` or `required`) and
`client_ca`, the authorities whose certificates are taken. Revocation lists, mapping rules and resumption mean
something beside both alone. Half of it is refused, because it looks as if clients were checked, and they are not.",
    ),
    entry(
        Code::MappingRules,
        "not a list of mapping rules",
        "`principal_mapping_rules` is what a broker calls `ssl.principal.mapping.rules`: rules with commas between,
of which the first that matches the whole subject counts. `DEFAULT` is the subject itself.
`RULE:pattern/replacement/` with `L` or `U` after it for lower or upper case:
`'RULE:^CN=([^,]+),.*$/$1/L,DEFAULT'`. Single quotes make YAML leave the backslashes alone. Patterns are those of
Java without look-around, back references and possessive quantifiers.",
    ),
    entry(
        Code::UpstreamIdentity,
        "an identity that anybody could borrow",
        "`upstream_identity` is the certificate that the gateway shows to brokers for the clients of a listener: to
the brokers, these clients are all one user. On a listener that takes clients without a certificate, anybody who
reaches the port would be that user. So the listener must say `client_auth: required`. For its own requests the
gateway has another certificate, `clusters.NAME.discovery.tls`, which no client ever gets.",
    ),
    entry(
        Code::NoUpstreamTls,
        "a certificate for brokers that are not spoken to by TLS",
        "A certificate is shown in a TLS handshake, and the cluster has no `tls` block: the brokers are spoken to in
the clear. Add `tls: { ca: FILE }` to the cluster; `tls: {}` trusts the authorities of the system.",
    ),
    entry(
        Code::InsecureVerification,
        "brokers are not verified",
        "With `verify: insecure-none` the gateway takes whoever answers for a broker: one who gets between the two
can read and change everything, logins of clients included. The right setting is hardly ever far away: `ca` names
the authority of the brokers, and `verify: ca` leaves the host name out where certificates do not have it.",
    ),
    entry(
        Code::NamePattern,
        "not a server name",
        "`sni.bootstrap` is a DNS name, `sni.brokers` a DNS name with `{node}` in one place, where the id of the
broker stands: `b{node}.kafka.example.com`. Neither is an address, because clients that connect to an address send
no server name, and neither has a port, which is `sni.advertised_port`. Put `{node}` into the first label, so that
one wildcard record and one wildcard certificate do for all brokers.",
    ),
    entry(
        Code::NamesMeet,
        "one name for two things",
        "A server name leads to one place: to bootstrap, or to one node. Two listeners that tell clients the same
name and port are fine only where the name means another address to the clients of each.",
    ),
    entry(
        Code::EverybodyBelieved,
        "PROXY headers of everybody are believed",
        "A PROXY header says where a client really comes from, and whoever may send one can claim any address: it
gets past `networks` and past limits by address, and stands in the log under another name. `required_from` should
hold the networks of the load balancers and nothing else; whoever comes past them is turned away.",
    ),
    entry(
        Code::Trust,
        "trust that will surprise",
        "The authorities and revocation lists can be used, but hardly mean what was meant. A list that has run out
refuses every client of its authority, because nobody knows any more whom it should refuse: renew it well before
its `nextUpdate`. A list of an authority that is not trusted, or by another key than the trusted one, revokes
nobody that you know. An authority that has run out is still taken, as other programs do, but is about to go.",
    ),
    entry(
        Code::NoService,
        "no address of a Service",
        "`advertise: { service: NAME }` tells clients the address that the load balancer of a Service in Kubernetes
has, as the Kubernetes API says it. That takes a build with it (`cargo build --features kubernetes`);
`gatehouse version` shows the features. `service` and `namespace` are names as Kubernetes has them. A listener that
routes by server name tells clients names and no address, so there is nothing that could come from a Service.",
    ),
];
