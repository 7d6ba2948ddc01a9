//! Which address of a Service clients are told: a pure function of what the API says of it.

use std::fmt;

use super::{Found, said};
use crate::net::Host;

/// Entries of a load balancer that are looked at; real ones have one for each address family or zone.
const ENTRIES_MAX: usize = 64;

/// The type that has an address.
const LOAD_BALANCER: &str = "LoadBalancer";

/// Why a Service has no address to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Nobody made it, or somebody deleted it.
    NoService,
    /// It is of another type.
    NoLoadBalancer(String),
    /// Its load balancer is not there yet, or not any more.
    Pending,
    /// It has addresses, and no client can connect to any of them; the first one.
    Unusable(String),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoService => f.write_str("there is no such Service"),
            Self::NoLoadBalancer(kind) => {
                write!(f, "it is of type {kind}, and only type {LOAD_BALANCER} has an address of its own")
            }
            Self::Pending => {
                f.write_str("its load balancer has no address (status.loadBalancer.ingress is empty)")
            }
            Self::Unusable(first) => {
                write!(f, "its load balancer has the address `{first}`, to which no client can connect")
            }
        }
    }
}

/// One entry of `status.loadBalancer.ingress`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry<'a> {
    /// A name, where the load balancer has one.
    pub name: Option<&'a str>,
    /// An address, where it has one.
    pub ip: Option<&'a str>,
}

/// The host that clients are told: the first name of the list, else the first address. Names come first because the
/// addresses behind one may change, and because certificates are for names.
///
/// # Errors
/// [`Absence`].
pub fn choose<'a>(kind: &str, entries: impl Iterator<Item = Entry<'a>> + Clone) -> Found {
    if kind != LOAD_BALANCER {
        return Err(Absence::NoLoadBalancer(said(kind)));
    }
    let entries = entries.take(ENTRIES_MAX);
    let names = entries.clone().filter_map(|entry| entry.name);
    let listed = names.chain(entries.filter_map(|entry| entry.ip)).filter(|text| !text.is_empty());
    match listed.clone().find_map(usable) {
        Some(host) => Ok(host),
        None => Err(listed.clone().next().map_or(Absence::Pending, |first| Absence::Unusable(said(first)))),
    }
}

fn usable(text: &str) -> Option<Host> {
    let host = Host::parse(text.as_bytes()).ok()?;
    (!host.is_everybodys() && !host.is_mistaken_address()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Entry<'_> {
        Entry { name: Some(name), ip: None }
    }

    fn ip(ip: &str) -> Entry<'_> {
        Entry { name: None, ip: Some(ip) }
    }

    fn chosen(entries: &[Entry<'_>]) -> Result<String, Absence> {
        choose(LOAD_BALANCER, entries.iter().copied()).map(|host| host.to_string())
    }

    #[test]
    fn a_name_comes_before_an_address_and_the_first_before_the_others() {
        assert_eq!(
            chosen(&[ip("192.0.2.1"), name("b.example"), name("a.example")]),
            Ok("b.example".to_owned())
        );
        assert_eq!(chosen(&[ip("2001:db8::1"), ip("192.0.2.1")]), Ok("2001:db8::1".to_owned()));
        let both = Entry { name: Some("lb.example"), ip: Some("192.0.2.1") };
        assert_eq!(chosen(&[both]), Ok("lb.example".to_owned()));
        assert_eq!(chosen(&[Entry { name: Some(""), ip: Some("192.0.2.1") }]), Ok("192.0.2.1".to_owned()));
    }

    #[test]
    fn what_no_client_can_connect_to_is_passed_over() {
        assert_eq!(chosen(&[name("a b"), ip("0.0.0.0"), ip("192.0.2.1")]), Ok("192.0.2.1".to_owned()));
        let long = "a.".repeat(200);
        for text in
            ["0.0.0.0", "::", "224.0.0.1", "10.0.0.256", "[::1]", "a\nb", "kafka:9092", "é.example", &long]
        {
            for entry in [name(text), ip(text)] {
                assert!(matches!(chosen(&[entry]), Err(Absence::Unusable(_))), "{text}");
            }
        }
    }

    #[test]
    fn what_the_api_says_cannot_break_a_line() {
        let Err(absence) = chosen(&[name("a\nb\u{1b}[31m")]) else { panic!("taken") };
        assert!(!absence.to_string().chars().any(char::is_control), "{absence}");
    }

    #[test]
    fn an_empty_list_is_waited_for_and_another_type_is_told() {
        assert_eq!(chosen(&[]), Err(Absence::Pending));
        assert_eq!(chosen(&[Entry::default()]), Err(Absence::Pending));
        let other = choose("ClusterIP", [ip("192.0.2.1")].into_iter());
        assert_eq!(other, Err(Absence::NoLoadBalancer("ClusterIP".to_owned())));
    }

    #[test]
    fn an_endless_list_ends() {
        let entries = std::iter::repeat_n(ip("0.0.0.0"), 100_000);
        assert_eq!(choose(LOAD_BALANCER, entries), Err(Absence::Unusable("0.0.0.0".to_owned())));
    }
}
