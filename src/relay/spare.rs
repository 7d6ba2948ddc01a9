//! Buffers for what peers do not take at once. Sockets fill up and drain many times a second, and an
//! allocator that gives each such block back to the system pays for its pages every time.

use std::cell::RefCell;

use super::flow::READ_BYTES;

/// How many buffers a worker keeps for the next stall: 4 MiB.
const KEPT_MAX: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer that holds what one read brings.
pub(super) fn take() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(READ_BYTES))
}

/// Keeps a buffer that is no larger than others.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() != READ_BYTES {
        return;
    }
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < KEPT_MAX {
            spare.push(buffer);
        }
    });
}
