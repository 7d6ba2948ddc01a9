//! Which addresses may be dialled: a check of what a name resolved to, made at each dial.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::OnceLock;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::net::{Host, HostPort};

/// The hosts and networks that a cluster may advertise. A broker is allowed when its host matches a
/// name, or when the address it resolves to lies in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    /// Host names.
    pub names: Vec<NamePattern>,
    /// Networks.
    pub networks: Vec<IpNet>,
}

/// A host name, or `*.suffix` for every name below a suffix. Case and a trailing dot do not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    below: bool,
    name: String,
}

/// The text is no name and no `*.suffix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name or *.suffix")]
pub struct PatternError;

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (below, name) = match text.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, text),
        };
        let host = Host::parse(name.as_bytes()).map_err(|_| PatternError)?;
        if host.ip().is_some() { Err(PatternError) } else { Ok(Self { below, name: folded(&host) }) }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

impl NamePattern {
    fn matches(&self, folded: &str) -> bool {
        match folded.strip_suffix(&self.name) {
            Some(rest) if self.below => rest.len() > 1 && rest.ends_with('.'),
            Some(rest) => rest.is_empty(),
            None => false,
        }
    }
}

fn folded(host: &Host) -> String {
    let text = host.as_str();
    text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()
}

/// Addresses that lead to no broker unless the configuration itself names one there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 127.0.0.0/8, ::1.
    Loopback,
    /// 169.254.0.0/16, fe80::/10, and the other addresses where clouds serve instance metadata.
    LinkLocal,
    /// 224.0.0.0/4, ff00::/8, and broadcast.
    Multicast,
    /// 0.0.0.0/8, ::.
    Unspecified,
}

impl Class {
    /// The class of an address, if it has one. An IPv4 address inside an IPv6 one (mapped, compatible,
    /// 6to4 or NAT64) has the class of the IPv4 address.
    pub fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => {
                let segments = address.segments();
                if address.is_loopback() {
                    Some(Self::Loopback)
                } else if address.is_unspecified() {
                    Some(Self::Unspecified)
                } else if address.is_multicast() {
                    Some(Self::Multicast)
                } else if segments[0] & 0xffc0 == 0xfe80 || segments == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
                {
                    Some(Self::LinkLocal)
                } else {
                    let embedded = match segments {
                        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                            Some((high, low))
                        }
                        [0x2002, high, low, ..] => Some((high, low)),
                        _ => None,
                    };
                    embedded.and_then(|(high, low)| {
                        Self::of_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
                    })
                }
            }
        }
    }

    fn of_v4(address: Ipv4Addr) -> Option<Self> {
        const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
        if address.is_loopback() {
            Some(Self::Loopback)
        } else if address.is_link_local() || METADATA.contains(&address) {
            Some(Self::LinkLocal)
        } else if address.is_multicast() || address.is_broadcast() {
            Some(Self::Multicast)
        } else if address.octets()[0] == 0 {
            Some(Self::Unspecified)
        } else {
            None
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Loopback => 1,
            Self::LinkLocal => 2,
            Self::Multicast => 4,
            Self::Unspecified => 8,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "a loopback",
            Self::LinkLocal => "a link-local or metadata",
            Self::Multicast => "a multicast",
            Self::Unspecified => "an unspecified",
        })
    }
}

/// The rule that forbids an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The gateway would dial itself.
    #[error("a listener or the admin port of the gateway itself is bound there")]
    Own,
    /// A class that no bootstrap or static address opened.
    #[error("it is {0} address, and no bootstrap or static address of the cluster is one")]
    Class(Class),
    /// The allow list does not have it.
    #[error("neither its name nor its network is in the cluster's allow list")]
    NotAllowed,
}

/// What may be dialled for one cluster.
#[derive(Debug)]
pub struct Policy {
    configured: Vec<Configured>,
    allow: Option<AllowList>,
    own: ArcSwap<Vec<SocketAddr>>,
}

/// A bootstrap or static address, and the classes that it opens. Those of a name are the ones that it
/// first resolves to: a name that flips later opens nothing more.
#[derive(Debug)]
struct Configured {
    host: String,
    port: u16,
    opens: OnceLock<u8>,
}

impl Policy {
    /// The rules for a cluster with these bootstrap and static addresses. They are trusted: the allow
    /// list does not apply to them, and each opens its own class.
    pub fn new(allow: Option<AllowList>, configured: impl IntoIterator<Item = HostPort>) -> Self {
        let configured = configured
            .into_iter()
            .map(|HostPort { host, port }| {
                let opens = host.ip().map_or_else(OnceLock::new, |ip| OnceLock::from(classes([ip])));
                Configured { host: folded(&host), port, opens }
            })
            .collect();
        Self { configured, allow, own: ArcSwap::default() }
    }

    /// Says what the gateway itself has bound: listeners and admin. A wildcard address stands for
    /// every address of the machine.
    pub fn forbid_own(&self, bound: Vec<SocketAddr>) {
        self.own.store(bound.into());
    }

    /// Checks each address that a broker's host resolved to.
    pub fn check(&self, address: &HostPort, resolved: &[SocketAddr]) -> Vec<Result<(), Refused>> {
        let own = self.own.load();
        // Asking the system costs a few calls, so only where the answer matters.
        let local = if own.iter().any(|own| own.port() == address.port && own.ip().is_unspecified()) {
            local_addresses()
        } else {
            Vec::new()
        };
        self.check_against(address, resolved, &own, &local)
    }

    fn check_against(
        &self,
        address: &HostPort,
        resolved: &[SocketAddr],
        own: &[SocketAddr],
        local: &[IpAddr],
    ) -> Vec<Result<(), Refused>> {
        let host = folded(&address.host);
        let configured = self.configured.iter().find(|c| c.port == address.port && c.host == host);
        if let Some(configured) = configured {
            configured.opens.get_or_init(|| classes(resolved.iter().map(SocketAddr::ip)));
        }
        let open = self.configured.iter().filter_map(|c| c.opens.get()).fold(0, |all, opens| all | opens);
        let named = configured.is_some()
            || self.allow.as_ref().is_none_or(|allow| allow.names.iter().any(|name| name.matches(&host)));
        let check = |peer: &SocketAddr| {
            let ip = peer.ip().to_canonical();
            if own.iter().any(|own| is_own(*own, SocketAddr::new(ip, peer.port()), local)) {
                return Err(Refused::Own);
            }
            if let Some(class) = Class::of(ip).filter(|class| open & class.bit() == 0) {
                return Err(Refused::Class(class));
            }
            let networks = self.allow.iter().flat_map(|allow| &allow.networks);
            if named || networks.into_iter().any(|network| network.contains(&ip)) {
                Ok(())
            } else {
                Err(Refused::NotAllowed)
            }
        };
        resolved.iter().map(check).collect()
    }
}

fn classes(addresses: impl IntoIterator<Item = IpAddr>) -> u8 {
    addresses.into_iter().filter_map(Class::of).fold(0, |all, class| all | class.bit())
}

/// Whether a connection to `peer` would reach what is bound at `own`.
fn is_own(own: SocketAddr, peer: SocketAddr, local: &[IpAddr]) -> bool {
    let (bound, ip) = (own.ip().to_canonical(), peer.ip());
    if own.port() != peer.port() {
        return false;
    }
    // A connection to 0.0.0.0 or :: reaches the machine itself, at any of its addresses.
    if ip.is_unspecified() || bound == ip {
        return true;
    }
    // A socket bound to :: serves IPv4 too, unless it was told not to.
    let wildcard = bound.is_unspecified() && (bound.is_ipv6() || ip.is_ipv4());
    wildcard && (ip.is_loopback() || local.contains(&ip))
}

/// Every address of every interface. None where the system does not say; loopback is known without.
fn local_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: Option<AllowList>, configured: &[&str]) -> Policy {
        Policy::new(allow, configured.iter().map(|text| text.parse().unwrap()))
    }

    fn check(policy: &Policy, host: &str, resolved: &str) -> Result<(), Refused> {
        let resolved = SocketAddr::new(resolved.parse().unwrap(), 9092);
        let address = HostPort { host: Host::parse(host.as_bytes()).unwrap(), port: 9092 };
        policy.check(&address, &[resolved]).pop().unwrap()
    }

    #[test]
    fn no_cluster_can_send_the_gateway_where_no_broker_is() {
        let policy = policy(None, &["10.0.0.1:9092", "kafka-0:9092"]);
        let hostile = [
            (Class::Loopback, "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::7f00:1"),
            (Class::Loopback, "2002:7f00:1::"),
            (Class::LinkLocal, "169.254.169.254 169.254.0.1 fe80::1 febf::1 ::ffff:169.254.169.254"),
            (Class::LinkLocal, "64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1 fd00:ec2::254 100.100.100.200"),
            (Class::LinkLocal, "192.0.0.192 ::a9fe:a9fe"),
            (Class::Multicast, "224.0.0.1 239.255.255.255 255.255.255.255 ff02::1 ::ffff:224.0.0.1"),
            (Class::Unspecified, "0.0.0.0 0.1.2.3 :: ::ffff:0.0.0.0"),
        ];
        for (class, addresses) in hostile {
            for address in addresses.split(' ') {
                for host in ["kafka-7", address] {
                    assert_eq!(check(&policy, host, address), Err(Refused::Class(class)), "{address}");
                }
            }
        }
        for address in ["10.0.0.7", "203.0.113.9", "2001:db8::7", "fd00::7", "::ffff:10.0.0.7"] {
            assert_eq!(check(&policy, "kafka-7", address), Ok(()), "{address}");
        }
    }

    #[test]
    fn a_configured_address_opens_its_class_alone() {
        let policy = policy(None, &["127.0.0.1:9092"]);
        for address in ["127.0.0.2", "::1", "::ffff:127.0.0.3"] {
            assert_eq!(check(&policy, "kafka-7", address), Ok(()), "{address}");
        }
        assert_eq!(check(&policy, "kafka-7", "169.254.169.254"), Err(Refused::Class(Class::LinkLocal)));
        assert_eq!(check(&policy, "kafka-7", "0.0.0.0"), Err(Refused::Class(Class::Unspecified)));
    }

    #[test]
    fn a_configured_name_opens_what_it_resolves_to_first() {
        let policy = policy(None, &["Kafka-0.:9092"]);
        assert_eq!(check(&policy, "kafka-7", "127.0.1.1"), Err(Refused::Class(Class::Loopback)));
        assert_eq!(check(&policy, "kafka-0", "127.0.1.1"), Ok(()));
        assert_eq!(check(&policy, "kafka-7", "127.0.1.1"), Ok(()));
        let flipped = check(&policy, "kafka-0", "169.254.169.254");
        assert_eq!(flipped, Err(Refused::Class(Class::LinkLocal)));
    }

    #[test]
    fn the_allow_list_narrows_what_is_advertised_not_what_is_configured() {
        let allow = AllowList {
            names: vec!["kafka-1.internal".parse().unwrap(), "*.brokers.internal".parse().unwrap()],
            networks: vec!["10.1.0.0/16".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        };
        let policy = policy(Some(allow), &["bootstrap:9092"]);
        let allowed = [
            ("bootstrap", "192.0.2.1"),
            ("KAFKA-1.internal.", "192.0.2.1"),
            ("b7.eu.brokers.internal", "192.0.2.1"),
            ("elsewhere", "10.1.2.3"),
            ("elsewhere", "::ffff:10.1.2.3"),
            ("2001:db8::9", "2001:db8::9"),
        ];
        for (host, address) in allowed {
            assert_eq!(check(&policy, host, address), Ok(()), "{host}");
        }
        for host in ["brokers.internal", "xbrokers.internal", "kafka-1.internal.evil", "akafka-1.internal"] {
            assert_eq!(check(&policy, host, "192.0.2.1"), Err(Refused::NotAllowed), "{host}");
        }
        let loopback = check(&policy, "b7.brokers.internal", "127.0.0.1");
        assert_eq!(loopback, Err(Refused::Class(Class::Loopback)), "an allowed name opens no class");
        assert_eq!(check(&policy, "bootstrap", "127.0.0.1"), Err(Refused::Class(Class::Loopback)));
    }

    #[test]
    fn an_empty_allow_list_allows_what_is_configured_alone() {
        let policy = policy(Some(AllowList::default()), &["bootstrap:9092"]);
        assert_eq!(check(&policy, "bootstrap", "10.0.0.1"), Ok(()));
        assert_eq!(check(&policy, "other", "10.0.0.1"), Err(Refused::NotAllowed));
    }

    #[test]
    fn a_wildcard_bind_is_every_address_of_the_machine() {
        let policy = policy(None, &["127.0.0.1:9092", "192.0.2.10:9092"]);
        let local = ["192.0.2.10".parse().unwrap(), "2001:db8::10".parse().unwrap()];
        let check = |own: &str, peer: &str| {
            let peer: SocketAddr = peer.parse().unwrap();
            let address = HostPort { host: Host::parse(b"kafka-7").unwrap(), port: peer.port() };
            policy.check_against(&address, &[peer], &[own.parse().unwrap()], &local).pop().unwrap()
        };
        let own = Err(Refused::Own);
        for peer in ["192.0.2.10:9092", "127.0.0.1:9092", "127.3.2.1:9092", "[::ffff:192.0.2.10]:9092"] {
            assert_eq!(check("0.0.0.0:9092", peer), own, "{peer}");
            assert_eq!(check("[::]:9092", peer), own, "{peer}");
        }
        assert_eq!(check("0.0.0.0:9092", "0.0.0.0:9092"), own);
        assert_eq!(check("[::]:9092", "[2001:db8::10]:9092"), own);
        assert_eq!(check("192.0.2.10:9092", "192.0.2.10:9092"), own);
        assert_eq!(check("0.0.0.0:9092", "[2001:db8::10]:9092"), Ok(()));
        assert_eq!(check("0.0.0.0:9092", "192.0.2.10:9093"), Ok(()));
        assert_eq!(check("0.0.0.0:9092", "192.0.2.11:9092"), Ok(()));
        assert_eq!(check("192.0.2.11:9092", "192.0.2.10:9092"), Ok(()));
    }

    #[test]
    fn the_machine_knows_its_addresses() {
        assert!(local_addresses().contains(&IpAddr::from([127, 0, 0, 1])), "{:?}", local_addresses());
    }

    #[test]
    fn a_pattern_is_a_name_or_a_suffix() {
        for text in ["kafka-1.internal", "*.internal"] {
            assert_eq!(text.parse::<NamePattern>().unwrap().to_string(), text);
        }
        for text in ["", "*", "*.", "a.*.b", "**.b", "10.0.0.1", "*.10.0.0.1"] {
            assert_eq!(text.parse::<NamePattern>(), Err(PatternError), "{text}");
        }
    }
}
