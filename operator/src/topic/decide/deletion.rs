//! A resource that is being deleted: whether its topic goes with it.
//!
//! Whatever is in doubt is kept: only the very topic that this resource made or took over is deleted, by its id, while the
//! cluster and the namespace stay, and while nobody else has it.

use super::super::status::{self, Holds, Kind, Verdict};
use super::super::wanted;
use super::{Case, Feed, Plan, Step, said};

pub fn next(case: &Case<'_>) -> Plan {
    if !case.held() {
        return Plan::only(Step::Rest);
    }
    let Some(id) = case.own_id().or(case.made) else {
        return let_go();
    };
    // With its cluster or namespace gone nobody waits for the topic: it must not hold up their end.
    let going = |cluster: &crate::crd::KafkaCluster| cluster.metadata.deletion_timestamp.is_some();
    let cluster = case.cluster.filter(|cluster| !going(cluster));
    let Some(cluster) = cluster.filter(|_| !case.namespace.terminating && case.deletes()) else {
        return let_go();
    };
    if case.unreadable.is_some() {
        let why = "The topic is kept: what this resource says can't be read.";
        return Plan::only(Step::LetGo(Some(why.to_owned())));
    }
    let name = wanted::name(case.topic);
    if let Some(why) = kept(case, cluster, name, id) {
        return Plan::only(Step::LetGo(Some(why)));
    }
    if case.gone {
        return let_go();
    }
    match case.feed {
        Feed::Starting => return Plan::only(Step::Rest),
        Feed::Down(why) => {
            let message = format!(
                "No broker answers, and the topic can't be deleted yet: {why}. To keep the topic and let this resource \
                 go, set spec.deletionPolicy to Retain."
            );
            return wait(case, "ClusterUnreachable", message);
        }
        Feed::Live => {}
    }
    if let Some(words) = case.refused {
        return wait(case, "Refused", words.to_owned());
    }
    if cluster.spec.paused {
        return wait(case, "ClusterPaused", said::PAUSED.to_owned());
    }
    Plan::only(Step::Delete(id.to_owned()))
}

/// Why the topic stays, where it does.
fn kept(
    case: &Case<'_>,
    cluster: &crate::crd::KafkaCluster,
    name: &str,
    id: &str,
) -> Option<String> {
    if wanted::is_internal(name) || case.known.is_some_and(|known| known.internal) {
        return Some(format!("Topic {name:?} is kept: it is one of Kafka's own."));
    }
    if let Some(older) = case.older {
        return Some(format!(
            "Topic {name:?} is kept: it belongs to resource {older}."
        ));
    }
    if !case.access(cluster, name).delete {
        return Some(format!(
            "Topic {name:?} is kept: the KafkaCluster's spec.topicAccess does not allow to delete it from here."
        ));
    }
    let other = case.known.filter(|known| known.id != id);
    other.map(|known| {
        format!(
            "Topic {name:?} is kept: its id is {}, and this resource's was {id}.",
            known.id
        )
    })
}

fn let_go() -> Plan {
    Plan::only(Step::LetGo(None))
}

fn wait(case: &Case<'_>, reason: &'static str, message: String) -> Plan {
    let verdict = Verdict {
        reassignment: case.status().and_then(|status| status.reassignment.clone()),
        ..Default::default()
    };
    let verdict = [
        Kind::Ready,
        Kind::Synced,
        Kind::Reassigning,
        Kind::Conflict,
        Kind::NotPermitted,
        Kind::PlacementSatisfied,
    ]
    .into_iter()
    .filter(|kind| status::condition(case.status(), *kind).is_some())
    .fold(verdict, Verdict::keep);
    Plan::rest(verdict.say(Kind::Deleting, Holds::True, reason, message))
}
