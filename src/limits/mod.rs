//! What bounds the process: permits for connections, by process, listener and client address, slots for
//! handshakes, and one budget for the bytes that are held.

pub mod handshakes;
pub mod held;
pub mod machine;
pub mod networks;
pub mod spare;
pub mod spread;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::Semaphore;

use handshakes::Handshakes;
use held::HeldBytes;

/// The limits of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Client connections of all listeners together.
    pub max_connections: usize,
    /// Client connections of one address over all listeners; `None` is no limit, because behind
    /// network address translation many clients share one.
    pub max_connections_per_ip: Option<usize>,
    /// The budget of [`HeldBytes`], in bytes.
    pub held_bytes: u64,
    /// TLS handshakes that are computed at once; more wait.
    pub max_handshakes: usize,
}

/// The default of [`Options::max_handshakes`]: 64 for each processor.
pub fn max_handshakes() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) * 64
}

/// The limits of one listener, within those of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerOptions {
    /// Client connections of the listener; `None` leaves it to the process.
    pub max_connections: Option<usize>,
    /// Client connections of one address at the listener; `None` is no limit.
    pub max_connections_per_ip: Option<usize>,
    /// TLS handshakes that the listener begins in a second; more wait. `None` is no limit.
    pub handshakes_per_second: Option<u32>,
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The process holds as many connections as it may.
    #[error("the process holds its {0} connections")]
    Process(usize),
    /// The listener holds as many connections as it may.
    #[error("the listener holds its {0} connections")]
    Listener(usize),
    /// The client address holds as many connections as it may.
    #[error("the client address holds its {0} connections")]
    Address(usize),
}

/// The limits of the process and what is used of them. They can be changed while they are used: who is in
/// stays, who comes is held against the new ones.
#[derive(Debug)]
pub struct Limits {
    options: ArcSwap<Options>,
    connections: AtomicUsize,
    addresses: DashMap<IpAddr, usize>,
    crowded: AtomicBool,
    held: Arc<HeldBytes>,
    handshakes: ArcSwap<Semaphore>,
}

impl Limits {
    /// Limits of which nothing is used yet.
    pub fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            options: ArcSwap::from_pointee(options),
            connections: AtomicUsize::new(0),
            addresses: DashMap::new(),
            crowded: AtomicBool::new(false),
            held: HeldBytes::new(options.held_bytes),
            handshakes: ArcSwap::from_pointee(slots(options)),
        })
    }

    /// Sets other limits. Handshakes that are under way keep their slots of before.
    pub fn change(&self, options: Options) {
        let before = self.options.swap(Arc::new(options));
        self.held.set_budget(options.held_bytes);
        if before.max_handshakes != options.max_handshakes {
            self.handshakes.store(Arc::new(slots(options)));
        }
    }

    /// The limits of one more listener.
    pub fn listener(self: &Arc<Self>, options: ListenerOptions) -> ListenerLimits {
        let handshakes = Handshakes::new(self.handshakes.load_full(), options.handshakes_per_second);
        ListenerLimits(Arc::new(Listener {
            process: self.clone(),
            handshakes: ArcSwap::from_pointee(handshakes),
            options: ArcSwap::from_pointee(options),
            connections: AtomicUsize::new(0),
            addresses: DashMap::new(),
        }))
    }

    /// The budget of held bytes.
    pub fn held(&self) -> &Arc<HeldBytes> {
        &self.held
    }

    /// Connections that hold a permit now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What was asked for.
    pub fn options(&self) -> Options {
        **self.options.load()
    }

    /// More connections than this of one address are worth a warning.
    fn crowd(&self) -> usize {
        self.options().max_connections / 5 * 4
    }

    fn count_address(&self, address: IpAddr) -> Result<(), Refused> {
        let options = self.options();
        let count = count(&self.addresses, address, options.max_connections_per_ip)?;
        if count > self.crowd() && !self.crowded.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                client = %address,
                connections = count,
                max_connections = options.max_connections,
                "one address holds over 80 % of all connections: a load balancer or NAT looks like this; if \
                 it is one client, set max_connections_per_ip",
            );
        }
        Ok(())
    }

    fn release(&self) {
        let left = self.connections.fetch_sub(1, Ordering::Relaxed) - 1;
        // Half the mark, so that an address that wavers around the mark is reported once.
        if left < self.crowd() / 2 {
            self.crowded.store(false, Ordering::Relaxed);
        }
    }
}

/// The limits of one listener; a clone is the same.
#[derive(Clone, Debug)]
pub struct ListenerLimits(Arc<Listener>);

#[derive(Debug)]
struct Listener {
    process: Arc<Limits>,
    options: ArcSwap<ListenerOptions>,
    connections: AtomicUsize,
    addresses: DashMap<IpAddr, usize>,
    handshakes: ArcSwap<Handshakes>,
}

impl ListenerLimits {
    /// Sets other limits of the listener; also needed where those of the process changed.
    pub fn change(&self, options: ListenerOptions) {
        let Listener { process, handshakes, .. } = &*self.0;
        let slots = process.handshakes.load_full();
        handshakes.store(Arc::new(handshakes.load().with(slots, options.handshakes_per_second)));
        self.0.options.store(Arc::new(options));
    }

    /// Admits a connection whose client address is not known yet.
    ///
    /// # Errors
    /// [`Refused::Process`] or [`Refused::Listener`]; nothing is counted then.
    pub fn admit(&self) -> Result<Permit, Refused> {
        let Listener { process, options, connections, .. } = &*self.0;
        let (options, max) = (options.load(), process.options().max_connections);
        if !take(&process.connections, max) {
            return Err(Refused::Process(max));
        }
        match options.max_connections {
            Some(max) if !take(connections, max) => {
                process.release();
                return Err(Refused::Listener(max));
            }
            Some(_) => {}
            None => {
                connections.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(Permit { listener: self.0.clone(), address: None })
    }

    /// The TLS handshakes of the listener, as they are limited now.
    pub fn handshakes(&self) -> Handshakes {
        Handshakes::clone(&self.0.handshakes.load())
    }

    /// Connections of the listener that hold a permit now.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }
}

/// The right of one connection to be there; given back on drop.
#[derive(Debug)]
pub struct Permit {
    listener: Arc<Listener>,
    address: Option<IpAddr>,
}

impl Permit {
    /// Counts the connection for its client address. An IPv4 address inside an IPv6 one counts as the IPv4 address. Only the first call counts.
    ///
    /// # Errors
    /// [`Refused::Address`]; the connection is not counted for the address then, and should be closed.
    pub fn admit_address(&mut self, address: IpAddr) -> Result<(), Refused> {
        if self.address.is_some() {
            return Ok(());
        }
        let address = address.to_canonical();
        let Listener { process, options, addresses, .. } = &*self.listener;
        process.count_address(address)?;
        // Counted where nothing limits it too: a limit may come while the connection is open.
        if let Err(refused) = count(addresses, address, options.load().max_connections_per_ip) {
            uncount(&process.addresses, address);
            return Err(refused);
        }
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Listener { process, connections, addresses, .. } = &*self.listener;
        if let Some(address) = self.address {
            uncount(&process.addresses, address);
            uncount(addresses, address);
        }
        connections.fetch_sub(1, Ordering::Relaxed);
        process.release();
    }
}

fn slots(options: Options) -> Semaphore {
    Semaphore::new(options.max_handshakes.clamp(1, Semaphore::MAX_PERMITS))
}

/// Counts one more unless that exceeds `max`.
fn take(counter: &AtomicUsize, max: usize) -> bool {
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < max).then_some(count + 1))
        .is_ok()
}

fn count(addresses: &DashMap<IpAddr, usize>, address: IpAddr, max: Option<usize>) -> Result<usize, Refused> {
    // Looked at before the entry is made, so that a refused address leaves nothing behind.
    match (addresses.entry(address), max) {
        (_, Some(0)) => Err(Refused::Address(0)),
        (Entry::Occupied(entry), Some(max)) if *entry.get() >= max => Err(Refused::Address(max)),
        (Entry::Occupied(mut entry), _) => {
            *entry.get_mut() += 1;
            Ok(*entry.get())
        }
        (Entry::Vacant(entry), _) => {
            entry.insert(1);
            Ok(1)
        }
    }
}

fn uncount(addresses: &DashMap<IpAddr, usize>, address: IpAddr) {
    if let Entry::Occupied(mut entry) = addresses.entry(address) {
        if *entry.get() > 1 {
            *entry.get_mut() -= 1;
        } else {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_connections: usize, max_connections_per_ip: Option<usize>) -> Arc<Limits> {
        Limits::new(Options { max_connections, max_connections_per_ip, held_bytes: 0, max_handshakes: 1 })
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_process_and_the_listener_are_bounded_apart() {
        let limits = limits(3, None);
        let small = limits.listener(ListenerOptions { max_connections: Some(1), ..Default::default() });
        let large = limits.listener(ListenerOptions::default());
        let first = small.admit().unwrap();
        assert_eq!(small.admit().unwrap_err(), Refused::Listener(1));
        assert_eq!(limits.connections(), 1, "a refused connection is not counted");
        let _others = (large.admit().unwrap(), large.admit().unwrap());
        assert_eq!(large.admit().unwrap_err(), Refused::Process(3));
        drop(first);
        assert!(large.admit().is_ok());
    }

    #[test]
    fn an_address_is_bounded_over_all_listeners_and_at_each() {
        let limits = limits(100, Some(3));
        let one = limits.listener(ListenerOptions { max_connections_per_ip: Some(2), ..Default::default() });
        let two = limits.listener(ListenerOptions::default());
        let admit = |listener: &ListenerLimits, address| {
            let mut permit = listener.admit().unwrap();
            permit.admit_address(address).map(|()| permit)
        };
        let held = (admit(&one, address(1)).unwrap(), admit(&one, address(1)).unwrap());
        assert_eq!(admit(&one, address(1)).unwrap_err(), Refused::Address(2));
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let third = admit(&two, mapped).unwrap();
        assert_eq!(admit(&two, address(1)).unwrap_err(), Refused::Address(3));
        assert!(admit(&two, address(2)).is_ok());
        drop((held, third));
        assert_eq!(limits.connections(), 0);
        assert!(limits.addresses.is_empty() && one.0.addresses.is_empty(), "no entry outlives its address");
    }

    #[test]
    fn other_limits_hold_for_whoever_comes_and_count_who_is_in() {
        let limits = limits(2, None);
        let listener = limits.listener(ListenerOptions::default());
        let mut first = listener.admit().unwrap();
        first.admit_address(address(1)).unwrap();
        let _second = listener.admit().unwrap();
        listener.change(ListenerOptions { max_connections_per_ip: Some(1), ..Default::default() });
        assert_eq!(listener.admit().unwrap_err(), Refused::Process(2));
        limits.change(Options { max_connections: 3, held_bytes: 7, ..limits.options() });
        let mut third = listener.admit().unwrap();
        assert_eq!(third.admit_address(address(1)).unwrap_err(), Refused::Address(1));
        limits.change(Options { max_connections: 1, ..limits.options() });
        assert_eq!((limits.connections(), limits.held().budget()), (3, 7), "who is in stays");
        assert_eq!(listener.admit().unwrap_err(), Refused::Process(1));
    }

    #[test]
    fn permits_of_many_threads_never_exceed_the_limit() {
        let limits = limits(5, Some(4));
        let listener = limits.listener(ListenerOptions::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        if let Ok(mut permit) = listener.admit() {
                            assert!(limits.connections() <= 5);
                            let _ = permit.admit_address(address(1));
                        }
                    }
                });
            }
        });
        assert_eq!((limits.connections(), limits.addresses.len()), (0, 0));
    }

    #[test]
    fn one_address_with_over_four_fifths_is_reported_once() {
        let limits = limits(10, None);
        let listener = limits.listener(ListenerOptions::default());
        let mut permits: Vec<_> = (0..9).map(|_| listener.admit().unwrap()).collect();
        for permit in &mut permits[..8] {
            permit.admit_address(address(1)).unwrap();
        }
        assert!(!limits.crowded.load(Ordering::Relaxed));
        permits[8].admit_address(address(1)).unwrap();
        assert!(limits.crowded.load(Ordering::Relaxed));
        permits.truncate(8);
        assert!(limits.crowded.load(Ordering::Relaxed), "still the same crowd");
        permits.truncate(2);
        assert!(!limits.crowded.load(Ordering::Relaxed));
    }
}
