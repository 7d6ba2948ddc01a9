//! Buffers for what peers do not take at once. Sockets fill up and drain many times a second, and an
//! allocator that gives each such block back to the system pays for its pages every time.

use std::cell::RefCell;

/// What each buffer holds: one read of a relay, 256 KiB, also when it is encrypted.
pub const BYTES: usize = (256 + 8) * 1024;

/// How many buffers a worker keeps for the next stall: about 4 MiB.
const KEPT_MAX: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer of [`BYTES`].
pub fn take() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(BYTES))
}

/// Keeps a buffer that is neither larger nor smaller than the others, if few are kept.
pub fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() != BYTES {
        return;
    }
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < KEPT_MAX {
            spare.push(buffer);
        }
    });
}
