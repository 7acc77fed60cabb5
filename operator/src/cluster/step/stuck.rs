//! Pods that are Terminating and that nobody will end, because their node is gone: deleted by force, so that they are
//! made anew elsewhere. Only where the broker is fenced, and the node itself can't run it any more as far as anybody
//! can know.

use jiff::Timestamp;

use super::{Decision, Named, Step};
use crate::cluster::observed::{Node, Observed, Pod};
use crate::cluster::wanted::Wanted;

/// The pods to delete by force.
pub fn next(_: &Wanted, observed: &Observed) -> Decision {
    let Some(view) = &observed.view else {
        return Decision::default();
    };
    let stuck = observed.pods.iter().filter_map(|(id, pod)| {
        let why = why(observed, pod)?;
        view.is_fenced(*id).then(|| Step::ForceDeletePod {
            id: *id,
            pod: Named::pod(pod),
            why,
        })
    });
    Decision {
        steps: stuck.collect(),
        waits: Vec::new(),
    }
}

fn why(observed: &Observed, pod: &Pod) -> Option<String> {
    can_not_end(observed.now, pod, observed.node_of(pod)?)
}

/// Why nobody will end this pod, as far as its node says.
pub(in crate::cluster) fn can_not_end(now: Timestamp, pod: &Pod, node: &Node) -> Option<String> {
    let deadline = pod.deadline?;
    let name = pod.node.as_deref().unwrap_or_default();
    match node {
        Node { gone: true, .. } => Some(format!("node {name} is gone")),
        Node {
            out_of_service: true,
            ..
        } => Some(format!("node {name} is out of service")),
        Node { ready: false, .. } if now > deadline => Some(format!(
            "node {name} is not ready, and the pod's time to stop is over"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::cluster::step::samples::{self, node_of};

    fn terminating(seconds_left: i64) -> (Wanted, Observed) {
        let (wanted, mut observed) = samples::healthy();
        samples::fence(&mut observed, 1);
        let left = SignedDuration::from_secs(seconds_left);
        let deadline = observed.now.checked_add(left).unwrap();
        observed.pods.get_mut(&1).unwrap().deadline = Some(deadline);
        (wanted, observed)
    }

    fn forced(wanted: &Wanted, observed: &Observed) -> bool {
        !next(wanted, observed).steps.is_empty()
    }

    #[test]
    fn a_terminating_pod_is_forced_only_where_its_node_can_not_end_it() {
        let (wanted, observed) = terminating(-1);
        assert!(!forced(&wanted, &observed), "the kubelet is there");
        for spoil in [
            (|node: &mut Node| node.ready = false) as fn(&mut Node),
            |node| node.gone = true,
            |node| node.out_of_service = true,
        ] {
            let (wanted, mut observed) = terminating(-1);
            spoil(node_of(&mut observed, 1));
            assert!(forced(&wanted, &observed));
            samples::broker_of(&mut observed, 1).state = crate::cluster::brokers::State::Serving;
            assert!(!forced(&wanted, &observed), "the broker lives");
            observed.view = None;
            assert!(!forced(&wanted, &observed), "nobody knows");
        }
    }

    #[test]
    fn a_node_that_is_not_ready_has_the_pods_whole_time() {
        let (wanted, mut observed) = terminating(30);
        node_of(&mut observed, 1).ready = false;
        assert!(!forced(&wanted, &observed));
        node_of(&mut observed, 1).out_of_service = true;
        assert!(forced(&wanted, &observed), "somebody said so");
    }
}
