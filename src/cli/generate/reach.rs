//! What keeps clients from the ports of a container.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::place::{Place, Port};
use crate::config::Listener;

/// A fault for each listener that nothing outside of its container would reach.
pub(super) fn faults(place: &Place) -> Vec<String> {
    let fault = |listener: &Listener| {
        let (name, port) = (&listener.listen.name, listener.listen.port);
        let bind = listener.listen.binds.iter().find(|bind| !bind.ip.is_unspecified())?;
        Some(format!(
            "listener `{name}` binds {}, and nothing outside the container reaches that: say `0.0.0.0:{port}` or \
             `\"[::]:{port}\"`",
            bind.ip
        ))
    };
    place.config.listeners.iter().filter_map(fault).collect()
}

/// The first two ports of which clients are told the same number.
pub(super) fn told_twice<'p, 'c>(ports: &'p [Port<'c>]) -> Option<(&'p Port<'c>, &'p Port<'c>)> {
    let mut told = BTreeMap::new();
    ports.iter().find_map(|port| match told.entry(port.told) {
        Entry::Occupied(before) => Some((*before.get(), port)),
        Entry::Vacant(free) => {
            free.insert(port);
            None
        }
    })
}
