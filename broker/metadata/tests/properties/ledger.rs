//! Logs beside the decisions: replicas append, fetch, die and come back, and a leader that was elected in the ISR
//! or the ELR has every record that was ever committed.

use std::collections::BTreeMap;

use milena_metadata::*;
use proptest::prelude::*;

use super::apply;
use super::asks::{self, broker, propose};

const BROKERS: i32 = 4;

#[derive(Debug, Clone)]
enum Event {
    Produce,
    Fetch(i32),
    Join(i32),
    Leave(i32),
    Fence(Vec<i32>),
    Unfence(i32),
    Restart(i32, LastEnd, bool),
    Drain(i32, bool),
    MinIsr(u8),
    Unclean(bool),
    Reassign(Option<Vec<i32>>),
    Elect(ElectionKind),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let id = || 0..BROKERS;
    let list = prop::sample::subsequence(vec![0, 1, 2, 3], 1..4).prop_shuffle();
    let event = prop_oneof![
        6 => Just(Event::Produce),
        8 => id().prop_map(Event::Fetch),
        5 => id().prop_map(Event::Join),
        3 => id().prop_map(Event::Leave),
        3 => prop::collection::vec(id(), 1..3).prop_map(Event::Fence),
        5 => id().prop_map(Event::Unfence),
        3 => (id(), asks::ends(), any::<bool>()).prop_map(|(id, end, f)| Event::Restart(id, end, f)),
        1 => (id(), any::<bool>()).prop_map(|(id, on)| Event::Drain(id, on)),
        1 => (1..4u8).prop_map(Event::MinIsr),
        1 => any::<bool>().prop_map(Event::Unclean),
        2 => prop::option::weighted(0.8, list).prop_map(Event::Reassign),
        1 => Just(Event::Elect(ElectionKind::Preferred)),
        1 => prop::bool::weighted(0.1).prop_map(|unclean| Event::Elect(match unclean {
            true => ElectionKind::Unclean,
            false => ElectionKind::Preferred,
        })),
    ];
    prop::collection::vec(event, 1..120)
}

/// One partition: what the quorum knows, and what is on the disks.
struct World {
    image: Image,
    logs: BTreeMap<BrokerId, Vec<u32>>,
    committed: Vec<u32>,
    produced: u32,
    lives: u8,
    lossy: u32,
    /// Where the leader's epoch begins.
    epoch_start: usize,
}

impl World {
    fn new() -> Self {
        Self {
            image: super::start(),
            logs: (0..BROKERS).map(|id| (broker(id), Vec::new())).collect(),
            committed: Vec::new(),
            produced: 0,
            lives: 0,
            lossy: 0,
            epoch_start: 0,
        }
    }

    fn partition(&self) -> Partition {
        (**self.image.partition("a", 0).unwrap()).clone()
    }

    fn ask(&mut self, command: impl Into<Command>) {
        let _ = apply(&mut self.image, &command.into());
    }

    fn change(&mut self, changes: Vec<(i32, [Option<bool>; 3])>) {
        let ask = asks::Ask::Change(changes).on(&self.image);
        self.ask(ask);
    }

    fn propose(&mut self, isr: &[BrokerId]) {
        let isr: Vec<i32> = isr.iter().map(|id| id.get()).collect();
        let ask = propose(&self.image, "a", 0, &isr, 0, 0);
        self.ask(ask);
    }

    fn happen(&mut self, event: Event) {
        let before = self.partition();
        match event {
            Event::Produce => {
                if let Some(leader) = before.leader {
                    self.produced += 1;
                    self.logs.get_mut(&leader).unwrap().push(self.produced);
                }
            }
            // Truncates where it diverges, then copies.
            Event::Fetch(id) => {
                let follower = broker(id);
                if let Some(leader) = before.leader
                    && super::check::is_up(&self.image, &before, follower)
                {
                    let log = self.logs[&leader].clone();
                    self.logs.insert(follower, log);
                }
            }
            Event::Join(id) => {
                let joins = broker(id);
                if before.hosts(joins) && !before.isr.contains(&joins) && self.caught_up(joins) {
                    let isr = before.isr.iter().copied().chain([joins]);
                    self.propose(&isr.collect::<Vec<_>>());
                }
            }
            Event::Leave(id) => {
                let rest = before.isr.iter().filter(|member| member.get() != id);
                self.propose(&rest.copied().collect::<Vec<_>>());
            }
            Event::Fence(ids) => {
                self.change(
                    ids.into_iter()
                        .map(|id| (id, [Some(true), None, None]))
                        .collect(),
                );
            }
            Event::Unfence(id) => self.change(vec![(id, [Some(false), None, None])]),
            Event::Drain(id, on) => self.change(vec![(id, [None, Some(on), None])]),
            Event::Restart(id, end, fenced) => self.restart(id, end, fenced),
            Event::MinIsr(min) => self.ask(asks::configure(
                ConfigResource::broker(None),
                "min.insync.replicas",
                Some(&min.to_string()),
            )),
            Event::Unclean(on) => {
                let ask = asks::Ask::Unclean(on).on(&self.image);
                self.ask(ask);
            }
            Event::Reassign(brokers) => self.ask(AlterPartitionReassignments {
                partitions: vec![WantedReplicas {
                    topic: "a".into(),
                    partition: 0,
                    brokers,
                }],
                allow_replication_factor_change: true,
            }),
            Event::Elect(kind) => self.ask(ElectLeaders {
                kind,
                partitions: Some(vec![("a".into(), 0)]),
            }),
        }
        self.follow(before.leader_epoch);
    }

    /// It has reached the high watermark, and all that the leader had when it began to lead: what may be committed
    /// without the leader knowing.
    fn caught_up(&self, follower: BrokerId) -> bool {
        let Some(leader) = self.partition().leader else {
            return false;
        };
        let log = &self.logs[&follower];
        let reached = self.epoch_start.max(self.committed.len());
        self.logs[&leader].starts_with(log) && log.len() >= reached
    }

    fn restart(&mut self, id: i32, end: LastEnd, fenced: bool) {
        self.lives += 1;
        if matches!(end, LastEnd::Unclean | LastEnd::None) {
            let log = self.logs.get_mut(&broker(id)).unwrap();
            log.truncate(log.len() / 2);
        }
        self.ask(asks::register(id, self.lives, end, fenced));
    }

    /// What brokers do on seeing the new state: drop what they no longer host, and let the high watermark move.
    fn follow(&mut self, epoch: i32) {
        let partition = self.partition();
        for (id, log) in &mut self.logs {
            if !partition.hosts(*id) {
                log.clear();
            }
        }
        let Some(leader) = partition.leader else {
            return;
        };
        let log = &self.logs[&leader];
        if partition.leader_epoch > epoch {
            self.epoch_start = log.len();
            if partition.elected.may_lose() {
                self.lossy += 1;
                let kept = self.committed.iter().zip(log).take_while(|(a, b)| a == b);
                let kept = kept.count();
                self.committed.truncate(kept);
            }
            assert!(
                log.starts_with(&self.committed),
                "{leader} leads without {:?}: {partition:?}",
                self.committed
            );
        }
        let policy = TopicPolicy::of(&self.image, &NoConfigRules, "a");
        let enough = partition.isr.len() >= partition.min_isr(policy.min_insync_replicas);
        if enough && partition.elr.is_empty() {
            let shared = |id: &BrokerId| {
                let pairs = self.logs[id].iter().zip(log);
                pairs.take_while(|(a, b)| a == b).count()
            };
            let end = partition.isr.iter().map(shared).min().unwrap();
            if end > self.committed.len() {
                self.committed = log[..end].to_vec();
            }
        }
    }
}

proptest! {
    #[test]
    fn a_leader_elected_without_loss_has_every_committed_record(events in events()) {
        let mut world = World::new();
        for event in events {
            let before = world.image.clone();
            world.happen(event);
            super::check::check(&before, &world.image);
        }
    }
}

#[test]
fn unclean_ends_of_everybody_bring_the_last_leader_back_and_say_so() {
    let mut world = World::new();
    world.happen(Event::MinIsr(2));
    world.happen(Event::Produce);
    (0..BROKERS).for_each(|id| world.happen(Event::Fetch(id)));
    let first = world.partition();
    let leader = first.leader.unwrap();
    let others = first.isr.iter().filter(|id| **id != leader);
    let all: Vec<i32> = first.isr.iter().map(|id| id.get()).collect();
    world.happen(Event::Fence(all));
    assert_eq!(world.partition().isr, first.isr, "each may lead first");
    for id in others {
        world.happen(Event::Restart(id.get(), LastEnd::Unclean, false));
        assert_eq!(world.partition().leader, None);
    }
    world.happen(Event::Restart(leader.get(), LastEnd::Unclean, false));
    let last = world.partition();
    assert_eq!(
        (last.leader, last.elected),
        (Some(leader), Elected::LastKnown)
    );
    assert_eq!((last.isr, last.elr), (vec![leader], vec![]));
    assert_eq!(world.lossy, 1);
}

#[test]
fn unclean_ends_cost_nothing_where_records_are_on_disk_before_they_count() {
    let mut world = World::new();
    world.happen(Event::MinIsr(2));
    let topic = ConfigResource::topic("a");
    world.ask(asks::configure(topic, "flush.messages", Some("1")));
    let first = world.partition();
    let all: Vec<i32> = first.isr.iter().map(|id| id.get()).collect();
    world.happen(Event::Fence(all.clone()));
    for id in &all {
        // Of the records none was there yet.
        world.happen(Event::Restart(*id, LastEnd::Unclean, true));
        assert_eq!(world.partition().isr, first.isr);
    }
    let back = *all.last().unwrap();
    world.happen(Event::Unfence(back));
    let last = world.partition();
    assert_eq!(
        (last.leader.map(|id| id.get()), last.elected),
        (Some(back), Elected::InSync)
    );
    assert_eq!(world.lossy, 0);
    // A life that does not say how the one before ended may be on another disk.
    world.happen(Event::Fence(vec![back]));
    world.happen(Event::Restart(back, LastEnd::None, true));
    assert!(!world.partition().isr.contains(&broker(back)));
}
