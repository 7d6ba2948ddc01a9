//! What the toy brokers have seen: a bounded record of requests, and a way to wait for one.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::kafka::NodeId;

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The broker that it came to.
    pub node: NodeId,
    /// The number of the connection, counted over the whole cluster from 1.
    pub connection: u64,
    /// The API key; -1 for a raw SASL token.
    pub api: i16,
    /// The version.
    pub version: i16,
    /// The correlation id.
    pub correlation_id: i32,
    /// The client id.
    pub client_id: Option<String>,
    /// The header as it came, without the length before it.
    pub header: Vec<u8>,
    /// The length of the frame, without the four bytes that say it.
    pub frame_bytes: usize,
}

/// The newest requests that all brokers have seen.
#[derive(Debug)]
pub struct Seen {
    requests: Mutex<VecDeque<Request>>,
    requests_max: usize,
    changed: watch::Sender<()>,
}

impl Seen {
    pub(super) fn new(requests_max: usize) -> Self {
        Self { requests: Mutex::new(VecDeque::new()), requests_max, changed: watch::Sender::new(()) }
    }

    pub(super) fn add(&self, request: Request) {
        if self.requests_max == 0 {
            return;
        }
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() == self.requests_max {
            requests.pop_front();
        }
        requests.push_back(request);
        drop(requests);
        self.changed.send_replace(());
    }

    /// The requests, oldest first.
    pub fn all(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The requests of one API.
    pub fn of(&self, api: i16) -> Vec<Request> {
        self.all().into_iter().filter(|request| request.api == api).collect()
    }

    /// Forgets all requests.
    pub fn forget(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until a condition on the requests holds, at most `at_most`; says whether it came to hold.
    pub async fn until(&self, at_most: Duration, condition: impl Fn(&[Request]) -> bool) -> bool {
        let mut changed = self.changed.subscribe();
        tokio::time::timeout(at_most, async {
            loop {
                changed.borrow_and_update();
                if condition(&self.all()) {
                    return;
                }
                // The sender lives in self, so this cannot fail.
                let _ = changed.changed().await;
            }
        })
        .await
        .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(api: i16) -> Request {
        Request {
            node: NodeId(0),
            connection: 1,
            api,
            version: 0,
            correlation_id: 0,
            client_id: None,
            header: Vec::new(),
            frame_bytes: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_is_waited_for_and_the_record_is_bounded() {
        let seen = Seen::new(3);
        let minute = Duration::from_secs(60);
        let (came, ()) = tokio::join!(seen.until(minute, |all| all.iter().any(|r| r.api == 5)), async {
            for api in 0..=5 {
                tokio::task::yield_now().await;
                seen.add(request(api));
            }
        });
        assert!(came);
        assert_eq!(seen.all().iter().map(|r| r.api).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(!seen.until(minute, |all| all.len() > 3).await);
        assert_eq!(seen.of(4).len(), 1);
        seen.forget();
        assert!(seen.all().is_empty());
    }
}
