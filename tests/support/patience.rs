//! Waiting for what no watch announces: the one place of the tests that sleeps.

use std::time::{Duration, Instant};

/// How long a story waits for something that must happen: generous, since a machine may be busy with other stories.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again and again until a claim is true, or `limit` has passed; gives whether it became true.
pub(crate) fn until(limit: Duration, claim: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !claim() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Lets a server that refuses connections come up again.
pub(crate) async fn moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}
