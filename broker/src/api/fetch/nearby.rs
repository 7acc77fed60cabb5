//! Reading from a replica in the reader's own rack (KIP-392), as Kafka's `RackAwareReplicaSelector` chooses it.

use milena_metadata::BrokerId;
use milena_protocol::api::fetch::FetchRequest;

use crate::api::RequestContext;
use crate::broker::Broker;
use crate::partition::Partition;

/// The first version that says where the reader is, and that knows of followers to read from.
const RACK_FROM: i16 = 11;
/// The one class of `replica.selector.class` that is known here; every other leaves all readers with the leader.
pub(super) const RACK_AWARE: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// What a consumer may be given.
#[derive(Debug, Clone, Copy)]
pub struct Consumer<'a> {
    pub reads_followers: bool,
    /// Its rack, where the leader looks for a replica there.
    rack: Option<&'a str>,
    listener: &'a str,
}

impl<'a> Consumer<'a> {
    /// Who sent the request.
    pub fn of(broker: &Broker, context: &'a RequestContext, request: &'a FetchRequest) -> Self {
        let reads_followers = context.version >= RACK_FROM;
        let config = broker.config();
        let selects = config.replica_selector_class.as_deref() == Some(RACK_AWARE);
        let rack = Some(&*request.rack_id).filter(|rack| reads_followers && !rack.is_empty());
        Self {
            reads_followers,
            rack: rack.filter(|_| selects),
            listener: &context.listener,
        }
    }

    /// The replica that is nearer than this leader, where one in sync has what is asked for.
    pub fn nearer(self, broker: &Broker, partition: &Partition, offset: i64) -> Option<BrokerId> {
        let (rack, image) = (self.rack?, broker.image());
        let mine = image.brokers().find(|one| one.id.get() == broker.node_id());
        if mine.is_some_and(|mine| mine.rack.as_deref() == Some(rack)) {
            return None;
        }
        let is_near = |id: &BrokerId| {
            image.broker(*id).is_some_and(|one| {
                !one.fenced
                    && one.rack.as_deref() == Some(rack)
                    && one.endpoint(self.listener).is_some()
            })
        };
        let in_sync = partition.in_sync_followers(offset).into_iter();
        let near = in_sync.filter(|(id, _)| is_near(id));
        near.max_by_key(|&(id, end)| (end, id)).map(|(id, _)| id)
    }
}
