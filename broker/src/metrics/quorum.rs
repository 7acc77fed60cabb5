//! What the metadata quorum tells of itself, its counters too: it counts from before there are metrics.

use super::table;
use super::text::Page;
use crate::quorum::{MemberStatus, QuorumStatus};

pub fn write(status: &QuorumStatus, page: &mut Page) {
    let leader = status.leader.as_ref();
    let leads = leader.is_some_and(|(id, _)| *id == status.id);
    let led_by = leader.filter(|_| status.is_led);
    let broker = led_by.map_or(-1, |(_, node)| node.broker);
    let lag = status.last_index - status.applied_index;
    page.one(&table::QUORUM_LEADER, broker.into());
    page.one(
        &table::QUORUM_IS_LEADER,
        f64::from(u8::from(leads && status.is_led)),
    );
    page.one(&table::QUORUM_TERM, status.term as f64);
    page.one(&table::QUORUM_VOTERS, status.voters.len() as f64);
    page.one(&table::QUORUM_LAST_INDEX, status.last_index as f64);
    page.one(&table::QUORUM_APPLIED_INDEX, status.applied_index as f64);
    // They are read one after the other.
    page.one(&table::QUORUM_COMMIT_LAG, lag.max(0) as f64);
    write_members(status, leads, page);
    page.one(&table::QUORUM_ELECTIONS, status.elections as f64);
    let mut family = page.family(&table::BROKERS_FENCED);
    for (reason, count) in status.fenced {
        family.series(&[reason.name()], count as f64);
    }
}

/// How far behind the others are. A broker has two members while a new disk takes an old one's place: the nearer
/// one is shown.
fn write_members(status: &QuorumStatus, leads: bool, page: &mut Page) {
    let mut family = page.family(&table::QUORUM_MEMBER_LAG);
    if !leads {
        return;
    }
    let behind = |member: &MemberStatus| {
        let matched = member.matched_index.unwrap_or(-1);
        (status.last_index - matched).max(0)
    };
    let members = status.voters.iter().chain(&status.learners);
    let mut lags: Vec<(i32, i64)> = members
        .map(|member| (member.node.broker, behind(member)))
        .collect();
    lags.sort_unstable();
    lags.dedup_by_key(|(broker, _)| *broker);
    for (broker, lag) in lags {
        family.series(&[&broker.to_string()], lag as f64);
    }
}

#[cfg(test)]
pub mod tests {
    use crate::quorum::FenceReason;
    use crate::quorum::types::Node;

    use super::*;

    /// Broker 1 leads, 2 lags, and 3 has a new disk.
    pub fn status() -> QuorumStatus {
        let member = |id, broker, matched_index| MemberStatus {
            id,
            node: Node {
                broker,
                ..Node::default()
            },
            matched_index,
            last_contact: None,
        };
        QuorumStatus {
            id: 11,
            leader: Some((11, member(11, 1, None).node)),
            term: 4,
            last_index: 20,
            applied_index: 18,
            is_led: true,
            voters: vec![
                member(11, 1, Some(20)),
                member(12, 2, Some(15)),
                member(13, 3, None),
            ],
            learners: vec![member(14, 3, Some(19))],
            elections: 3,
            fenced: FenceReason::ALL.map(|reason| (reason, reason as u64)),
        }
    }

    #[test]
    fn a_leader_tells_how_far_its_members_are_and_others_do_not() {
        let mut page = Page::default();
        write(&status(), &mut page);
        let page = page.into_text();
        assert!(page.contains("milena_quorum_leader 1\n"));
        assert!(page.contains("milena_quorum_is_leader 1\n"));
        assert!(page.contains("milena_quorum_commit_lag_entries 2\n"));
        assert!(page.contains("milena_quorum_member_lag_entries{broker=\"2\"} 5\n"));
        assert!(page.contains("milena_quorum_member_lag_entries{broker=\"3\"} 1\n"));
        assert!(page.contains("milena_broker_fenced_total{reason=\"refused\"} 1\n"));
        let mut page = Page::default();
        let follower = QuorumStatus { id: 12, ..status() };
        write(&follower, &mut page);
        let page = page.into_text();
        assert!(page.contains("milena_quorum_is_leader 0\n"));
        assert!(!page.contains("member_lag_entries{"));
    }

    #[test]
    fn without_a_majority_or_news_of_the_leader_nobody_leads() {
        for id in [11, 12] {
            let mut page = Page::default();
            let alone = QuorumStatus {
                id,
                is_led: false,
                ..status()
            };
            write(&alone, &mut page);
            let page = page.into_text();
            assert!(page.contains("milena_quorum_leader -1\n"), "{page}");
            assert!(page.contains("milena_quorum_is_leader 0\n"), "{page}");
        }
    }
}
