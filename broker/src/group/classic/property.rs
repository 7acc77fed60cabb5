//! Random interleavings of members, time and failing writes keep the group's promises.

use std::collections::BTreeMap;

use milena_protocol::api::join_group::JoinGroupResponse;
use milena_protocol::api::sync_group::SyncGroupResponse;
use proptest::prelude::*;

use super::script::*;
use super::*;

const ACTORS: usize = 5;

#[derive(Debug, Clone)]
enum Act {
    Join { actor: usize, protocols: u8 },
    Sync(usize),
    Heartbeat(usize),
    Leave(usize),
    Crash(usize),
    Wait(i32),
    FailWrites(bool),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let actor = 0..ACTORS;
    prop_oneof![
        6 => (actor.clone(), 0..3u8).prop_map(|(actor, protocols)| Act::Join { actor, protocols }),
        6 => actor.clone().prop_map(Act::Sync),
        3 => actor.clone().prop_map(Act::Heartbeat),
        1 => actor.clone().prop_map(Act::Leave),
        1 => actor.prop_map(Act::Crash),
        3 => (1..20_000).prop_map(Act::Wait),
        1 => any::<bool>().prop_map(Act::FailWrites),
        1 => Just(Act::Restart),
    ]
}

/// One client, dynamic or (the last two) static.
#[derive(Default)]
struct Actor {
    id: String,
    joining: Option<(u64, Asked<JoinGroupResponse>)>,
    joined: Option<JoinGroupResponse>,
    syncing: Option<Asked<SyncGroupResponse>>,
    /// What it owns, by generation.
    owned: Option<(i32, bytes::Bytes)>,
}

struct Play {
    script: Script,
    actors: Vec<Actor>,
    generation: i32,
}

impl Play {
    fn new() -> Self {
        let actors = (0..ACTORS).map(|_| Actor::default()).collect();
        Self {
            script: Script::new(),
            actors,
            generation: 0,
        }
    }

    fn perform(&mut self, act: &Act) {
        match *act {
            Act::Join { actor, protocols } => self.join(actor, protocols),
            Act::Sync(actor) => self.sync(actor),
            Act::Heartbeat(actor) => {
                if let Some(joined) = &self.actors[actor].joined {
                    let _ = self.script.heartbeat(joined);
                }
            }
            Act::Leave(actor) => {
                let id = std::mem::take(&mut self.actors[actor]).id;
                self.script.leave(&id, None);
            }
            Act::Crash(actor) => self.actors[actor] = Actor::default(),
            Act::Wait(ms) => self.script.wait(ms),
            Act::FailWrites(fail) => {
                let error = ErrorCode::NotEnoughReplicas;
                self.script.write_result = if fail { Err(error) } else { Ok(()) };
            }
            Act::Restart => self.restart(),
        }
        self.collect();
        self.check();
    }

    fn join(&mut self, actor: usize, protocols: u8) {
        let names =
            [&["range"][..], &["range", "sticky"], &["sticky", "range"]][protocols as usize];
        let offer = Join {
            instance_id: (actor >= ACTORS - 2).then(|| actor.to_string()),
            protocols: names.iter().map(|name| protocol(name, b"")).collect(),
            ..self.script.offer(&self.actors[actor].id)
        };
        let asked = self.script.join_with(offer);
        self.actors[actor].joining = Some((self.script.now.tick_ms, asked));
    }

    fn sync(&mut self, actor: usize) {
        let Some(joined) = self.actors[actor].joined.clone() else {
            return;
        };
        // The leader gives everybody something that nobody else has.
        let assignments: Vec<(&str, &str)> = joined
            .members
            .iter()
            .map(|member| (&*member.member_id, &*member.member_id))
            .collect();
        let mut sync = self.script.sync(&joined, &assignments);
        match sync.answer() {
            Some(answer) => self.synced(actor, answer),
            None => self.actors[actor].syncing = Some(sync),
        }
    }

    fn synced(&mut self, actor: usize, answer: SyncGroupResponse) {
        let actor = &mut self.actors[actor];
        let generation = actor
            .joined
            .as_ref()
            .map_or(-1, |joined| joined.generation_id);
        actor.owned = answer
            .error_code
            .is_none()
            .then_some((generation, answer.assignment));
    }

    fn restart(&mut self) {
        let Some(recorded) = self.script.written.last().cloned() else {
            return;
        };
        if self.script.write_result.is_ok() && self.script.group.state() == GroupState::Stable {
            self.script.group = ClassicGroup::from_metadata(recorded, LIMITS);
            self.script.group.resume(self.script.now);
        }
    }

    fn collect(&mut self) {
        for index in 0..ACTORS {
            let actor = &mut self.actors[index];
            if let Some((_, asked)) = &mut actor.joining
                && let Some(answer) = asked.answer()
            {
                actor.joining = None;
                actor.id = answer.member_id.to_string();
                actor.joined = answer.error_code.is_none().then_some(answer);
            }
            if let Some(answer) = actor.syncing.as_mut().and_then(Asked::answer) {
                actor.syncing = None;
                self.synced(index, answer);
            }
        }
    }

    fn check(&mut self) {
        let group = &self.script.group;
        assert!(
            group.generation() >= self.generation,
            "a generation never goes back"
        );
        self.generation = group.generation();

        let mut owners = BTreeMap::new();
        for (index, actor) in self.actors.iter().enumerate() {
            if let Some((generation, owned)) = &actor.owned
                && !owned.is_empty()
            {
                let before = owners.insert((generation, owned), index);
                assert_eq!(before, None, "two members own the same in one generation");
            }
            if let Some((since, _)) = &actor.joining {
                let waited = self.script.now.tick_ms - since;
                assert!(
                    waited <= NEW_MEMBER_JOIN_TIMEOUT_MS + 2 * REBALANCE_MS as u64,
                    "a join is not answered"
                );
            }
        }
        for (instance_id, id) in &group.static_members {
            let member = group
                .members
                .get(id)
                .expect("a static name belongs to a member");
            assert_eq!(member.instance_id(), Some(instance_id.as_str()));
        }
        let leads = group
            .leader
            .as_ref()
            .is_some_and(|leader| group.members.contains_key(leader));
        assert_eq!(
            leads,
            !group.members.is_empty(),
            "a group with members has a leader"
        );
        assert!(group.members.is_empty() || group.state() != GroupState::Empty);
        let watched = group
            .members()
            .all(|member| member.deadline.is_some() || member.is_waiting());
        assert!(watched, "a member that nobody watches would stay for ever");
        let phase_ends =
            group.join_timer.is_some() || group.state() != GroupState::PreparingRebalance;
        assert!(phase_ends, "a rebalance without an end");
    }
}

proptest! {
    // A failure prints the acts that lead to it, and the seed to replay them.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn no_interleaving_breaks_a_group(acts in prop::collection::vec(act(), 1..120)) {
        let mut play = Play::new();
        acts.iter().for_each(|act| play.perform(act));

        // When everybody falls silent the group ends up empty.
        play.script.write_result = Ok(());
        play.script.wait(NEW_MEMBER_JOIN_TIMEOUT_MS as i32 + 4 * REBALANCE_MS);
        prop_assert_eq!(play.script.group.state(), GroupState::Empty);
        play.collect();
        prop_assert!(play.actors.iter().all(|actor| actor.joining.is_none()), "a join was left unanswered");
    }
}
