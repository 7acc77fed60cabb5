//! Follows the metadata until this life is ready.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Awaits, LEADERLESS_WAIT, Readiness, awaited};
use crate::broker::Broker;

/// The metadata is looked at no more often: each look passes over all partitions.
const LOOK: Duration = Duration::from_millis(50);
/// How often the log says what is waited for.
const TELL: Duration = Duration::from_secs(10);

/// Returns when it has latched, or when `stopping` comes first.
pub async fn watch(broker: &Broker, readiness: &Readiness, stopping: &CancellationToken) {
    tokio::select! {
        () = until_ready(broker, readiness) => {
            readiness.latch();
            tracing::info!(
                node = broker.node_id(),
                cluster = broker.image().cluster_id().map_or("", |id| &**id),
                "ready"
            );
        }
        () = stopping.cancelled() => {}
    }
}

async fn until_ready(broker: &Broker, readiness: &Readiness) {
    let mut images = broker.quorum().watch();
    let (id, epoch) = (broker.broker_id(), broker.broker_epoch());
    let mut unfenced_since = None;
    let mut tell_at = Instant::now() + TELL;
    loop {
        let image = images.borrow_and_update().clone();
        // What the image says of this broker it does from here on.
        broker.take_over().await;
        let now = Instant::now();
        let excused_at = unfenced_since.map(|since: Instant| since + LEADERLESS_WAIT);
        let leaderless = excused_at.is_none_or(|at| now < at);
        let Some(awaits) = awaited(&image, id, epoch, leaderless) else {
            return;
        };
        if matches!(awaits, Awaits::Replicas(_)) {
            unfenced_since.get_or_insert(now);
        }
        if now >= tell_at {
            tell_at = now + TELL;
            tracing::info!("not ready yet: {awaits}");
        }
        readiness.wait_for(awaits);
        sleep(LOOK).await;
        // Without news there is the end of the wait for leaders, and what the log is to say.
        let look_at = excused_at.filter(|at| *at > now).unwrap_or(tell_at);
        let news = timeout_at(look_at.min(tell_at), images.changed());
        if let Ok(Err(_)) = news.await {
            // The quorum has stopped, and so does the broker.
            std::future::pending::<()>().await;
        }
    }
}
