//! Why a StatefulSet makes no pods: a quota, a policy, an account that is missing. Only its events say so.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;

use crate::cluster::observed::Observed;
use crate::context::{Context, Key};

/// An older event may be about what has gone right since.
const LATELY: Duration = Duration::from_secs(300);

/// The last such event of each pool that lacks a pod. Where events may not be read, nothing is said.
pub async fn of(key: &Key, observed: &Observed, context: &Context) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    for (pool, set) in &observed.sets {
        let lacks = observed
            .set_ids(pool)
            .any(|id| !observed.pods.contains_key(&id));
        if !lacks {
            continue;
        }
        let events: Api<Event> = Api::namespaced(context.client.clone(), &key.namespace);
        let fields = format!(
            "involvedObject.kind=StatefulSet,involvedObject.name={},reason=FailedCreate",
            set.name
        );
        let listed = events.list(&ListParams::default().fields(&fields)).await;
        let events = listed.map(|listed| listed.items).unwrap_or_default();
        let last = events.iter().max_by_key(|event| at(event));
        let lately = last.filter(|event| is_late(observed.now, at(event)));
        if let Some(message) = lately.and_then(|event| event.message.clone()) {
            said.insert(pool.clone(), message);
        }
    }
    said
}

fn at(event: &Event) -> Option<Timestamp> {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    last.or_else(|| event.event_time.as_ref().map(|time| time.0))
}

fn is_late(now: Timestamp, at: Option<Timestamp>) -> bool {
    let age = at.map(|at| now.duration_since(at));
    age.is_some_and(|age| Duration::try_from(age).unwrap_or_default() < LATELY)
}
