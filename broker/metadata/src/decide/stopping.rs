//! The mark of a cluster that is being stopped as a whole. While it is set every stop lease is granted at once: there
//! is nobody left to wait for.
//!
//! Forgotten, it would let brokers stop that others still count on. So it is over
//!
//! - when it is taken back,
//! - when the cluster has come back: a broker serves in a life that has begun after the mark, and none serves on in a
//!   life from before it. A broker that comes back while others are still to stop ends it not,
//! - [`STOPPING_MS_MAX`] after it was last set, whatever has become of the cluster.
//!
//! Leases that it had granted end as all others do.

use super::Draft;
use crate::command::SetStopping;
use crate::record::{ClusterStateRecord, Stopping};

/// Brokers take minutes to stop; who stops them sets the mark again where they take longer.
pub const STOPPING_MS_MAX: i64 = 60 * 60 * 1_000;

/// Set again, the mark lasts anew, and also concerns the lives that have begun since. Asking often writes little.
pub(super) fn set(draft: &mut Draft, ask: &SetStopping) {
    let present = draft.image.stopping();
    let stopping = ask.stopping.then(|| Stopping {
        // As a broker that registered here would have it.
        since: draft.image.position().offset as i64 + 1,
        until_ms: ask.now_ms.saturating_add(STOPPING_MS_MAX),
    });
    let is_said = match (present, stopping) {
        (Some(present), Some(_)) => {
            let left = present.until_ms.saturating_sub(ask.now_ms);
            let begun_since = draft.image.brokers().any(|life| life.epoch > present.since);
            left > STOPPING_MS_MAX / 2 && !begun_since
        }
        (present, wanted) => present.is_none() && wanted.is_none(),
    };
    if !is_said {
        draft.push(ClusterStateRecord { stopping });
    }
}

pub(super) fn end_expired(draft: &mut Draft, now_ms: i64) {
    let expired = |mark: Stopping| mark.until_ms <= now_ms;
    if draft.image.stopping().is_some_and(expired) {
        end(draft);
    }
}

/// Ends the mark of a cluster that has come back. For every decision, once it is made.
pub(super) fn end_returned(draft: &mut Draft) {
    let Some(mark) = draft.image.stopping() else {
        return;
    };
    let (mut back, mut still) = (false, false);
    for life in draft.image.brokers().filter(|life| !life.fenced) {
        match life.epoch > mark.since {
            true => back = true,
            false => still = true,
        }
    }
    if back && !still {
        end(draft);
    }
}

fn end(draft: &mut Draft) {
    draft.push(ClusterStateRecord { stopping: None });
}
