//! What has been sent to the broker and not been answered yet, in order.

use std::collections::VecDeque;

use crate::kafka::CorrelationId;
use crate::kafka::api::Api;

/// A moment, in microseconds since the connection began. The core has no clock: it is told the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub u64);

/// A request of the client that the broker has not answered.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// The API, or `None` for one that the table does not know and a switch lets pass.
    pub api: Option<&'static Api>,
    /// The version of the request, which is that of its response.
    pub version: i16,
    /// What the response must repeat.
    pub correlation_id: CorrelationId,
    /// When its header was forwarded.
    pub at: Stamp,
    /// Raw tokens that follow a SaslHandshake of version 0 if the broker accepts it; 0 otherwise.
    pub tokens: u8,
}

/// What the client is owed next.
#[derive(Debug)]
pub enum Pending {
    /// A response of the broker.
    Sent(Sent),
    /// A raw SASL token of the broker: a length and bytes without a header.
    Token,
    /// A frame of the gateway's own, in its turn.
    Answer(Vec<u8>),
}

impl Pending {
    /// Whether a drain waits for it, because the client could not safely send the request again.
    fn must_finish(&self) -> bool {
        match self {
            Self::Sent(sent) => sent.api.is_none_or(|api| api.must_finish),
            Self::Token | Self::Answer(_) => true,
        }
    }
}

/// The queue. Kafka answers in order, so its head is always what comes next. Most connections have one
/// request in flight: it stands inline, and the ring is there only while there are more.
#[derive(Debug, Default)]
pub struct InFlight {
    head: Option<Pending>,
    tail: VecDeque<Pending>,
}

impl InFlight {
    /// How many are owed.
    pub fn len(&self) -> usize {
        usize::from(self.head.is_some()) + self.tail.len()
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Adds one at the end.
    pub fn push(&mut self, pending: Pending) {
        if self.head.is_none() {
            self.head = Some(pending);
        } else {
            self.tail.push_back(pending);
        }
    }

    /// What comes next.
    pub fn head(&self) -> Option<&Pending> {
        self.head.as_ref()
    }

    /// Takes what comes next.
    pub fn pop(&mut self) -> Option<Pending> {
        let popped = self.head.take();
        self.head = self.tail.pop_front();
        popped
    }

    /// Gives the ring back when it is empty.
    pub fn shrink(&mut self) {
        if self.tail.is_empty() && self.tail.capacity() > 0 {
            self.tail = VecDeque::new();
        }
    }

    /// Whether a drain must wait for any of them.
    pub fn must_finish(&self) -> bool {
        self.head.iter().chain(&self.tail).any(Pending::must_finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_comes_in_order_and_the_ring_goes_when_idle() {
        let mut in_flight = InFlight::default();
        assert_eq!(in_flight.tail.capacity(), 0);
        for id in 0..5 {
            in_flight.push(Pending::Answer(vec![id]));
        }
        assert_eq!(in_flight.len(), 5);
        for id in 0..5 {
            assert!(matches!(in_flight.pop(), Some(Pending::Answer(bytes)) if bytes == [id]));
        }
        assert!(in_flight.is_empty() && in_flight.pop().is_none());
        in_flight.shrink();
        assert_eq!(in_flight.tail.capacity(), 0);
    }
}
