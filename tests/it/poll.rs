//! The one way to wait: for a condition, with a generous limit.

use std::future::Future;
use std::time::Duration;

use crate::client::AT_MOST;

/// Waits until a condition holds: the one place that looks again and again.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let looked = tokio::time::timeout(AT_MOST, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    looked.await.unwrap_or_else(|_| panic!("never came: {what}"));
}

/// The result of something that must not take for ever.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(AT_MOST, future).await.unwrap_or_else(|_| panic!("never came: {what}"))
}
