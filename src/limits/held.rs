//! One budget for the bytes that peers have not taken yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that all connections hold, against one budget.
///
/// It is a signal, not a lock: a connection that already holds bytes may finish its pass, and reads
/// small pieces while the budget [is exhausted](Self::is_exhausted), so what is held stays near it.
#[derive(Debug)]
pub struct HeldBytes {
    budget: AtomicU64,
    bytes: AtomicU64,
}

impl HeldBytes {
    /// A budget of that many bytes, of which none is used.
    pub fn new(budget: u64) -> Arc<Self> {
        Arc::new(Self { budget: AtomicU64::new(budget), bytes: AtomicU64::new(0) })
    }

    /// Whether as much is held as may be. Two relaxed loads.
    pub fn is_exhausted(&self) -> bool {
        self.bytes() >= self.budget()
    }

    /// Bytes that are held now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The budget in bytes.
    pub fn budget(&self) -> u64 {
        self.budget.load(Ordering::Relaxed)
    }

    /// Sets another budget; what is held stays held.
    pub fn set_budget(&self, budget: u64) {
        self.budget.store(budget, Ordering::Relaxed);
    }

    /// Counts `bytes` as held until the guard is dropped, even beyond the budget.
    pub fn add(self: &Arc<Self>, bytes: usize) -> Held {
        let mut held = Held { of: self.clone(), bytes: 0 };
        held.grow(bytes);
        held
    }
}

/// Bytes that are counted as held until it is dropped.
#[derive(Debug)]
pub struct Held {
    of: Arc<HeldBytes>,
    bytes: u64,
}

impl Held {
    /// Counts that many more.
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.of.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts that many less, at most all.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = self.bytes.min(bytes as u64);
        self.bytes -= bytes;
        self.of.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts exactly that many; nothing shared is touched when that is no change.
    pub fn set(&mut self, bytes: usize) {
        match (bytes as u64).checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => self.grow(more as usize),
            None => self.shrink((self.bytes - bytes as u64) as usize),
        }
    }

    /// Bytes that this guard counts.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_given_back() {
        let held = HeldBytes::new(100);
        let mut one = held.add(60);
        let two = held.add(39);
        assert!(!held.is_exhausted());
        one.grow(1);
        assert!(held.is_exhausted());
        one.shrink(1_000);
        assert_eq!((one.bytes(), held.bytes()), (0, 39));
        one.set(5);
        one.set(3);
        assert_eq!(held.bytes(), 42);
        drop((one, two));
        assert_eq!(held.bytes(), 0);
    }

    #[test]
    fn a_budget_of_nothing_is_always_exhausted() {
        assert!(HeldBytes::new(0).is_exhausted());
    }
}
