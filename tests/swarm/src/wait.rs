//! Waiting for a condition: by looking again until a deadline, never by hoping that a pause is long enough.

use std::time::{Duration, Instant};

use anyhow::bail;

/// How long to pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Looks until `condition` gives a value, and fails after `limit` with `what` was waited for.
///
/// # Errors
/// The condition's own error, or that the limit has passed.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain: {what}", limit.as_secs());
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
}
