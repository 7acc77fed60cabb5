//! What the handlers of groups need of the broker around them.

use std::future::Future;
use std::sync::Arc;

use milena_metadata::Image;
use milena_protocol::ErrorCode;

use super::Groups;

/// A broker that coordinates groups.
pub trait GroupHost: Sync {
    fn groups(&self) -> &Groups;

    fn image(&self) -> Arc<Image>;

    /// Creates `__consumer_offsets` if it is not there yet, and waits until it is. An error is for the
    /// client to try again: COORDINATOR_NOT_AVAILABLE.
    fn ensure_offsets_topic(&self) -> impl Future<Output = Result<(), ErrorCode>> + Send;
}

impl<H: GroupHost + Send> GroupHost for Arc<H> {
    fn groups(&self) -> &Groups {
        (**self).groups()
    }

    fn image(&self) -> Arc<Image> {
        (**self).image()
    }

    fn ensure_offsets_topic(&self) -> impl Future<Output = Result<(), ErrorCode>> + Send {
        (**self).ensure_offsets_topic()
    }
}
