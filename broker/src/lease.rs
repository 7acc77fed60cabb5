//! May this broker stop? Gathers what the quorum's decision has to know, and asks for it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `lease/followers.rs` | what this broker tells of the partitions that it leads |
//! | `lease/gather.rs` | what all leaders and the quorum tell |
//!
//! The decision itself is `RequestLease` of the metadata. Whoever does not answer in time is left out, which the
//! decision takes for the worst: a lease is then refused, never granted in error.

mod followers;
mod gather;

use std::sync::{Arc, Weak};
use std::time::Duration;

use milena_metadata::{
    BrokerId, LeaseAnswer, NeverSafe, PartitionProgress, Refusal, ReleaseLease, RequestLease,
};

use crate::broker::{Broker, into_refusal};
use crate::peer::{Door, Progressing, Watched};
pub use gather::reassigning;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedStop {
    pub broker: BrokerId,
    /// How long it may take, until its next life has caught up. Bounded by the decision.
    pub duration: Duration,
    /// How many leases may be out, this one included.
    pub max_unavailable: u32,
    /// What becomes of partitions that no stop is safe for.
    pub never_safe: NeverSafe,
}

/// Asks for the lease of a broker: any broker may be asked for any. Refused by the quorum where the broker is not
/// registered, or no majority answers.
pub async fn request(broker: &Arc<Broker>, wanted: WantedStop) -> Result<LeaseAnswer, Refusal> {
    let (partitions, voters) = match broker.image().stopping() {
        // Nothing speaks against a stop of the whole cluster, and its brokers answer less and less.
        Some(_) => (Vec::new(), Vec::new()),
        None => tokio::join!(
            gather::hosted_by(broker, wanted.broker),
            gather::voters(broker)
        ),
    };
    let command = RequestLease {
        broker: wanted.broker,
        now_ms: broker.now_ms(),
        duration_ms: i64::try_from(wanted.duration.as_millis()).unwrap_or(i64::MAX),
        max_unavailable: wanted.max_unavailable,
        never_safe: wanted.never_safe,
        voters,
        partitions,
    };
    let asked = broker.quorum().request(command).await;
    let answer = asked.map_err(into_refusal)?;
    if let LeaseAnswer::Granted(granted) = &answer {
        tracing::info!(
            broker = %granted.lease.broker,
            until_ms = granted.lease.expires_ms,
            pausing = granted.pausing_count,
            "a broker may stop"
        );
    }
    Ok(answer)
}

/// Gives a broker's lease back. Whether there was one.
pub async fn release(broker: &Broker, id: BrokerId) -> Result<bool, Refusal> {
    let asked = broker.quorum().request(ReleaseLease { broker: id }).await;
    let released = asked.map_err(into_refusal)?;
    if released {
        tracing::info!(broker = %id, "a stop lease was given back");
    }
    Ok(released)
}

/// From now on peers are told how far the followers are of what this broker leads.
pub fn serve(broker: &Arc<Broker>) {
    let weak: Weak<Broker> = Arc::downgrade(broker);
    broker.quorum().open_door(weak);
}

impl Door for Broker {
    fn progress(self: Arc<Self>, of: Watched) -> Progressing {
        Box::pin(followers::progress(self, of))
    }
}

/// Topic and partition, in an order.
fn place(progress: &PartitionProgress) -> (String, i32) {
    (progress.topic.to_string(), progress.partition.get())
}

#[cfg(test)]
mod tests;
