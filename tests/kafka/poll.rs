//! The one way to wait: for a condition, with a generous limit.

use std::time::{Duration, Instant};

use crate::Result;

/// How long a condition may take on a small busy machine before it counts as never.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Probes until `probe` gives a value; fails with `what` and the last error when `limit` has passed.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = probe();
        if let Ok(Some(value)) = seen {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            let cause = seen.err().map_or_else(String::new, |error| format!(": {error}"));
            return Err(format!("{what}: not within {} s{cause}", limit.as_secs()).into());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Like [`until`], for a condition without a value.
pub(crate) fn until_true(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
    until(what, limit, || Ok(probe()?.then_some(())))
}

/// Between two probes.
const INTERVAL: Duration = Duration::from_millis(50);
