//! The one table of codes: number, title, explanation. `gatehouse explain` and `docs/errors.md` read it.

mod live;
mod table;

use std::fmt;

pub use live::LIVE;
pub use table::TABLE;

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
    /// A listener that routes by server name, but has no handshake in which to see one.
    NamesWithoutTls = 21,
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
    /// TLS that the gateway would not see into.
    Passthrough = 32,
    /// A Java key store.
    KeyStore = 33,
    /// A certificate, key, authority or revocation list that cannot be used.
    Certificate = 34,
    /// A name that clients are told and no certificate is for.
    NotCovered = 35,
    /// A certificate that has run out, or soon will.
    Lifetime = 36,
    /// A key that is not kept as a key should be.
    LooseKey = 37,
    /// Two certificates of one listener for one name.
    SameNames = 38,
    /// Half of what it takes to ask clients for certificates.
    ClientAuth = 39,
    /// Rules that make no principals.
    MappingRules = 40,
    /// An identity that anybody could borrow.
    UpstreamIdentity = 41,
    /// A certificate for brokers that are not spoken to by TLS.
    NoUpstreamTls = 42,
    /// Brokers that anybody can pretend to be.
    InsecureVerification = 43,
    /// No name, or no pattern of names, that clients can ask for.
    NamePattern = 44,
    /// One name for two things.
    NamesMeet = 45,
    /// PROXY headers of everybody are believed.
    EverybodyBelieved = 46,
    /// Authorities or revocation lists that work, and will surprise.
    Trust = 47,
    /// An address that cannot be that of a Service.
    NoService = 48,
    /// The name of a broker does not resolve.
    BrokerUnresolved = 101,
    /// A broker accepts no connection.
    BrokerUnreachable = 102,
    /// A broker's address must not be dialled.
    BrokerForbidden = 103,
    /// What answers does not speak Kafka as it should.
    NotKafka = 104,
    /// The gateway's own login fails.
    Login = 105,
    /// What a cluster says of itself cannot be used.
    ClusterAnswer = 106,
    /// The check had no more time.
    CheckTooLong = 107,
    /// A TLS handshake with a broker fails.
    BrokerTls = 130,
    /// A broker's certificate is out of its time.
    BrokerCertificateExpired = 131,
    /// A certificate ends soon.
    CertificateEnds = 132,
    /// Nobody here trusts who signed a broker's certificate.
    BrokerUntrusted = 133,
    /// A broker's certificate is for another name.
    BrokerName = 134,
    /// A broker does not take the gateway's certificate, or misses one.
    GatewayCertificate = 135,
    /// A broker's port does not speak TLS.
    BrokerSpeaksNoTls = 136,
    /// The TLS files of a cluster cannot be used.
    ClusterFiles = 137,
    /// The TLS files of a listener cannot be used.
    ListenerFiles = 140,
    /// A certificate that is presented is out of its time.
    CertificateExpired = 141,
    /// A name that clients are told does not resolve.
    NameUnresolved = 142,
    /// No certificate is for a name that clients are told.
    NameNotCovered = 143,
    /// A revocation list is out of its time.
    RevocationListEnds = 144,
    /// An authority ends soon, or has.
    AuthorityEnds = 145,
    /// A broker that clients are not told of.
    NodeOutside = 146,
    /// A file that works, but should not stay as it is.
    WeakFile = 147,
    /// The Service whose address clients are told has none.
    NoAddressYet = 148,
    /// Kubernetes does not say which address a Service has.
    KubernetesApi = 149,
    /// The machine has room for few connections.
    FewConnections = 201,
    /// A port is somebody else's.
    PortTaken = 202,
    /// New connections may be dropped.
    ShortQueue = 203,
    /// Few ports to dial from.
    FewLocalPorts = 204,
    /// A port that the system does not give.
    PortRefused = 205,
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
    all().find(|entry| entry.code as u16 == number)
}

/// Every code in the order of its number: those of the file, then those of what it names.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    TABLE.iter().chain(LIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_says_something() {
        assert!(all().collect::<Vec<_>>().windows(2).all(|pair| pair[0].code < pair[1].code));
        for entry in all() {
            assert!(entry.explanation.len() > 60, "{}", entry.code);
            assert!(entry.title.len() < 60, "{}", entry.code);
        }
    }

    #[test]
    fn people_type_codes_in_several_ways() {
        for text in ["GH014", "gh14", "14", " GH14 "] {
            assert_eq!(find(text).map(|entry| entry.code), Some(Code::PortClaimedTwice), "{text}");
        }
        assert_eq!(find("GH142").map(|entry| entry.code), Some(Code::NameUnresolved));
        for text in ["GH999", "", "GH", "port"] {
            assert!(find(text).is_none(), "{text}");
        }
    }
}
