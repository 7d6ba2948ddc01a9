//! What must not meet: ports that are bound, addresses that clients are told, addresses that are dialed.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use super::Check;
use super::listener::Bind;
use super::names::Named;
use crate::cluster;
use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::listen;
use crate::net::{Host, HostPort};

/// Faults of one kind that are reported; who has more has one cause.
const FAULTS_MAX: usize = 20;

/// Whose port it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'n> {
    Bootstrap(&'n str),
    Nodes(&'n str, i32, i32),
    Admin,
}

impl Kind<'_> {
    /// What is said at the place.
    fn label(self, ports: &RangeInclusive<u16>) -> String {
        let (first, last) = (ports.start(), ports.end());
        match self {
            Self::Bootstrap(listener) => format!("listener `{listener}` takes {first} for bootstrap"),
            Self::Nodes(listener, low, high) if low == high => {
                format!("listener `{listener}` takes {first} for node {low}")
            }
            Self::Nodes(listener, low, high) => {
                format!("listener `{listener}` takes {first} to {last} for the nodes {low} to {high}")
            }
            Self::Admin => format!("admin takes {first}"),
        }
    }

    fn listener(&self) -> Option<&str> {
        match self {
            Self::Bootstrap(listener) | Self::Nodes(listener, ..) => Some(listener),
            Self::Admin => None,
        }
    }
}

struct Bound {
    address: listen::Bind,
    ports: RangeInclusive<u16>,
    place: Place,
    label: String,
}

struct Told {
    /// `None` is the address of a Service, whatever that is.
    host: Option<Host>,
    ports: RangeInclusive<u16>,
    place: Place,
    label: String,
    listener: String,
}

/// The names of a listener.
struct Names {
    names: cluster::Names,
    place: Place,
    listener: String,
}

/// All that the file wants to bind, tell and dial.
#[derive(Default)]
pub(super) struct Claims {
    names: Vec<Names>,
    bound: Vec<Bound>,
    told: Vec<Told>,
    dialed: Vec<(HostPort, Place)>,
}

impl Claims {
    pub(super) fn bind(
        &mut self,
        bind: &Bind<'_>,
        ports: RangeInclusive<u16>,
        place: &Place,
        kind: Kind<'_>,
    ) {
        for address in &bind.addresses {
            self.bound.push(Bound {
                address: *address,
                ports: ports.clone(),
                place: place.clone(),
                label: kind.label(&ports),
            });
        }
    }

    pub(super) fn tell(
        &mut self,
        host: Option<&Host>,
        ports: RangeInclusive<u16>,
        place: &Place,
        kind: Kind<'_>,
    ) {
        self.told.push(Told {
            host: host.cloned(),
            place: place.clone(),
            label: kind.label(&ports),
            listener: kind.listener().unwrap_or_default().to_owned(),
            ports,
        });
    }

    pub(super) fn name(&mut self, named: &Named, listener: &str) {
        self.names.push(Names {
            names: named.names.clone(),
            place: named.place.clone(),
            listener: listener.to_owned(),
        });
    }

    pub(super) fn dial(&mut self, address: &HostPort, place: &Place) {
        self.dialed.push((address.clone(), place.clone()));
    }

    /// How many ports are bound.
    pub(super) fn ports(&self) -> usize {
        self.bound.iter().map(|bound| usize::from(bound.ports.end() - bound.ports.start()) + 1).sum()
    }
}

impl Check<'_> {
    /// Reports what meets.
    pub(super) fn cross_check(&mut self, claims: &Claims) {
        self.bound_twice(&claims.bound);
        self.told_twice(&claims.told);
        self.named_twice(&claims.names);
        self.leads_to_itself(claims);
    }

    fn bound_twice(&mut self, bound: &[Bound]) {
        let mut seen: Vec<(&Place, &Place)> = Vec::new();
        for (one, other) in pairs(bound, |b| &b.ports) {
            let places = (&one.place, &other.place);
            let known = seen.contains(&places) || seen.contains(&(places.1, places.0));
            let Some(port) = common(&one.ports, &other.ports).filter(|_| same_socket(one, other) && !known)
            else {
                continue;
            };
            seen.push(places);
            let fault =
                Diagnostic::error(Code::PortClaimedTwice, format!("port {port} is claimed twice"), places.1)
                    .label(other.label.clone());
            let fault = if places.0 == places.1 {
                fault.label(format!("{}, and {}", one.label, other.label))
            } else {
                fault.also(places.0, one.label.clone())
            };
            self.note(fault.help("move one of them, or declare fewer nodes with `routing`"));
            if seen.len() == FAULTS_MAX {
                return;
            }
        }
    }

    /// Within a listener it is an error; two listeners may have one name that resolves differently for
    /// the clients of each.
    fn told_twice(&mut self, told: &[Told]) {
        let mut reported = 0;
        for (one, other) in pairs(told, |t| &t.ports) {
            let same = one.host == other.host && one.listener == other.listener;
            let Some(port) = common(&one.ports, &other.ports).filter(|_| same) else { continue };
            let host = other.host.as_ref().map_or(String::new(), |host| format!("`{host}` "));
            let title = format!("clients are told {host}port {port} for two things");
            let fault =
                Diagnostic::error(Code::AdvertisedTwice, title, &other.place).label(other.label.clone());
            let fault =
                if one.place == other.place { fault } else { fault.also(&one.place, one.label.clone()) };
            self.note(fault.help("give one of them another `advertise` port"));
            reported += 1;
            if reported == FAULTS_MAX {
                return;
            }
        }
    }

    /// Two listeners may have one name that resolves differently for the clients of each.
    fn named_twice(&mut self, names: &[Names]) {
        let mut reported = 0;
        for (at, other) in names.iter().enumerate() {
            for one in names.iter().take(at).filter(|one| one.names.port == other.names.port) {
                let Some(name) = one.names.common(&other.names) else { continue };
                let title = format!("clients of two listeners are told `{name}` port {}", other.names.port);
                let warning = Diagnostic::warning(Code::NamesMeet, title, &other.place)
                    .label(format!(
                        "listener `{}`, unless the name means another address to its clients",
                        other.listener
                    ))
                    .also(&one.place, format!("listener `{}`", one.listener));
                self.note(warning.help("give each listener names of its own"));
                reported += 1;
                if reported == FAULTS_MAX {
                    return;
                }
            }
        }
    }

    fn leads_to_itself(&mut self, claims: &Claims) {
        for (address, place) in &claims.dialed {
            let ip = if address.host.as_str().eq_ignore_ascii_case("localhost") {
                Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
            } else {
                address.host.ip()
            };
            let is_bound = |bound: &&Bound| {
                let wildcard = bound.address.ip.is_unspecified() && ip.is_some_and(|ip| ip.is_loopback());
                bound.ports.contains(&address.port) && (wildcard || ip == Some(bound.address.ip))
            };
            let is_told = |told: &&Told| {
                told.host.as_ref() == Some(&address.host) && told.ports.contains(&address.port)
            };
            let title = format!("`{address}` leads to the gateway itself");
            if let Some(bound) = claims.bound.iter().find(is_bound) {
                let fault =
                    Diagnostic::error(Code::LeadsToItself, title, place).label("a broker belongs here");
                self.note(fault.also(&bound.place, bound.label.clone()));
            } else if let Some(told) = claims.told.iter().find(is_told) {
                let warning = Diagnostic::warning(Code::LeadsToItself, title, place)
                    .label("unless the name means a broker where the gateway runs")
                    .also(&told.place, format!("clients are told this name; {}", told.label));
                self.note(warning);
            } else if let Some(named) = claims.names.iter().find(|named| {
                named.names.port == address.port && named.names.door(address.host.as_str()).is_some()
            }) {
                let warning = Diagnostic::warning(Code::LeadsToItself, title, place)
                    .label("unless the name means a broker where the gateway runs")
                    .also(
                        &named.place,
                        format!("clients of listener `{}` are told this name", named.listener),
                    );
                self.note(warning);
            }
        }
    }
}

/// Every two items whose ports have one in common; those of the later place come second.
fn pairs<T>(items: &[T], ports: impl Fn(&T) -> &RangeInclusive<u16>) -> Vec<(&T, &T)> {
    let meets = |a: &T, b: &T| common(ports(a), ports(b)).is_some();
    let from = |at: usize| items.get(at + 1..).unwrap_or_default();
    items
        .iter()
        .enumerate()
        .flat_map(|(at, one)| from(at).iter().map(move |other| (one, other)))
        .filter(|(one, other)| meets(one, other))
        .collect()
}

/// The first port that both have.
fn common(one: &RangeInclusive<u16>, other: &RangeInclusive<u16>) -> Option<u16> {
    let first = *one.start().max(other.start());
    (one.contains(&first) && other.contains(&first)).then_some(first)
}

/// Whether one socket is in the way of the other, on the same port.
fn same_socket(one: &Bound, other: &Bound) -> bool {
    let takes_all = |of: &Bound, other: &Bound| {
        let (ip, dual) = (of.address.ip, of.address.ip.is_ipv6() && !of.address.v6_only);
        ip.is_unspecified() && (ip.is_ipv4() == other.address.ip.is_ipv4() || dual)
    };
    one.address.ip == other.address.ip || takes_all(one, other) || takes_all(other, one)
}
