//! The shutdown signal: it runs from the process to each listener and on to each connection.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Tells the tasks below it to finish (`drain`) or to end at once (`stop`), and knows when they are gone.
///
/// A clone is the same signal; a [`child`](Self::child) hears its parent but does not signal it.
#[derive(Clone, Debug)]
pub struct Signal {
    drain: CancellationToken,
    stop: CancellationToken,
    /// One for the whole tree: the process waits for all, nobody waits for a part.
    tasks: TaskTracker,
}

/// Held by a task for as long as the process must wait for it.
#[derive(Debug)]
pub struct Watch {
    _token: TaskTrackerToken,
}

impl Default for Signal {
    fn default() -> Self {
        Self::new()
    }
}

impl Signal {
    /// The root of a tree.
    pub fn new() -> Self {
        Self { drain: CancellationToken::new(), stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// A signal one level down.
    pub fn child(&self) -> Self {
        Self { drain: self.drain.child_token(), stop: self.stop.child_token(), tasks: self.tasks.clone() }
    }

    /// Asks everything below to finish what it has begun. Cannot be taken back.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Asks everything below to end at once; implies [`drain`](Self::drain).
    pub fn stop(&self) {
        self.drain.cancel();
        self.stop.cancel();
    }

    /// Whether [`drain`](Self::drain) or [`stop`](Self::stop) was called here or above.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Whether [`stop`](Self::stop) was called here or above.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits for [`drain`](Self::drain) or [`stop`](Self::stop). Cancel safe.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Cancelled by [`drain`](Self::drain) or [`stop`](Self::stop), for those who poll by hand.
    pub fn drain_token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Waits for [`stop`](Self::stop). Cancel safe.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Makes [`finished`](Self::finished) wait until the value is dropped.
    pub fn watch(&self) -> Watch {
        Watch { _token: self.tasks.token() }
    }

    /// How many tasks of the tree are watched now.
    pub fn watched(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until every [`Watch`] of the tree is dropped. It does not ask them to: call
    /// [`drain`](Self::drain) first, and put a deadline above this. Cancel safe.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_drains_alone_and_the_process_drains_all() {
        let process = Signal::new();
        let (one, two) = (process.child(), process.child());
        let connection = one.child();
        one.drain();
        connection.draining().await;
        assert!(!two.is_draining() && !process.is_draining());
        process.drain();
        two.draining().await;
        assert!(two.child().is_draining(), "a child of a draining signal drains from its start");
        assert!(!two.is_stopped());
    }

    #[tokio::test]
    async fn stop_implies_drain() {
        let process = Signal::new();
        let connection = process.child().child();
        process.stop();
        connection.stopped().await;
        assert!(connection.is_draining());
    }

    #[tokio::test]
    async fn finished_waits_for_the_last_watch_of_the_tree() {
        let process = Signal::new();
        let connection = process.child().child();
        let (first, second) = (process.watch(), connection.watch());
        assert_eq!(process.watched(), 2);
        process.drain();
        drop(first);
        let waiting = tokio::spawn({
            let process = process.clone();
            async move { process.finished().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
    }
}
