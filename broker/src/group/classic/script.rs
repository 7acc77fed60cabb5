//! Plays a group's members through its public face; writes succeed unless a test says otherwise.

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::api::join_group::JoinGroupResponse;
use milena_protocol::api::sync_group::SyncGroupResponse;
use tokio::sync::oneshot;

use super::*;

pub const SESSION_MS: i32 = 10_000;
pub const REBALANCE_MS: i32 = 60_000;
pub const INITIAL_DELAY_MS: i32 = 3_000;
pub const LIMITS: Limits = Limits {
    size_max: 4,
    initial_rebalance_delay_ms: INITIAL_DELAY_MS,
};

/// A request that may still wait for its answer.
pub struct Asked<T>(oneshot::Receiver<T>);

impl<T> Asked<T> {
    pub fn answer(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

pub struct Script {
    pub group: ClassicGroup,
    pub now: Now,
    /// What the next writes come back with.
    pub write_result: Result<(), ErrorCode>,
    /// What was written, in order.
    pub written: Vec<GroupMetadata>,
    unique: u32,
}

impl Script {
    pub fn new() -> Self {
        let now = Now {
            wall_ms: 1_000_000,
            tick_ms: 0,
        };
        Self {
            group: ClassicGroup::new(now, LIMITS),
            now,
            write_result: Ok(()),
            written: Vec::new(),
            unique: 0,
        }
    }

    pub fn offer(&mut self, member_id: &str) -> Join {
        self.unique += 1;
        Join {
            member_id: member_id.to_owned(),
            instance_id: None,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            protocol_type: CONSUMER.to_owned(),
            protocols: vec![protocol("range", b"")],
            unique: self.unique.to_string(),
            requires_known_id: true,
            can_skip_assignment: true,
        }
    }

    pub fn ask(&mut self, join: Join) -> Asked<JoinGroupResponse> {
        let (reply, answer) = oneshot::channel();
        let write = self.group.join(self.now, join, reply);
        self.finish(write);
        Asked(answer)
    }

    /// Gets an id first, if it has none, as clients do.
    pub fn join(&mut self, member_id: &str) -> Asked<JoinGroupResponse> {
        let offer = self.offer(member_id);
        self.join_with(offer)
    }

    pub fn join_with(&mut self, mut join: Join) -> Asked<JoinGroupResponse> {
        let mut asked = self.ask(join.clone());
        match asked.answer() {
            Some(answer) if answer.error_code == ErrorCode::MemberIdRequired => {
                join.member_id = answer.member_id.to_string();
                self.ask(join)
            }
            Some(answer) => answered(answer),
            None => asked,
        }
    }

    pub fn offer_static(&mut self, instance_id: &str) -> Join {
        Join {
            instance_id: Some(instance_id.to_owned()),
            ..self.offer("")
        }
    }

    pub fn sync(
        &mut self,
        joined: &JoinGroupResponse,
        assignments: &[(&str, &str)],
    ) -> Asked<SyncGroupResponse> {
        let sync = Syncing {
            member_id: joined.member_id.to_string(),
            generation: joined.generation_id,
            assignments: assignments
                .iter()
                .map(|(id, assignment)| (id.to_string(), Bytes::from(assignment.to_string())))
                .collect(),
            ..Syncing::default()
        };
        self.ask_sync(sync)
    }

    pub fn ask_sync(&mut self, sync: Syncing) -> Asked<SyncGroupResponse> {
        let (reply, answer) = oneshot::channel();
        let write = self.group.sync(self.now, sync, reply);
        self.finish(write);
        Asked(answer)
    }

    pub fn heartbeat(&mut self, joined: &JoinGroupResponse) -> Result<(), ErrorCode> {
        self.group
            .heartbeat(self.now, &joined.member_id, None, joined.generation_id)
    }

    pub fn leave(&mut self, member_id: &str, instance_id: Option<&str>) -> ErrorCode {
        let instance_id = instance_id.map(str::to_owned);
        let leaving = Leaving {
            member_id: member_id.to_owned(),
            instance_id,
        };
        let (errors, write) = self.group.leave(self.now, &[leaving]);
        self.finish(write);
        errors[0]
    }

    /// Lets time pass, stopping wherever something falls due.
    pub fn wait(&mut self, ms: i32) {
        let end = self.now.tick_ms + ms as u64;
        while let Some(due) = self.group.next_deadline().filter(|due| *due <= end) {
            self.set_tick(due.max(self.now.tick_ms));
            let write = self.group.expire(self.now);
            self.finish(write);
        }
        self.set_tick(end);
    }

    /// A stable group of dynamic members, the leader first; each is assigned its own id.
    pub fn stable(&mut self, size: usize) -> Vec<JoinGroupResponse> {
        let asked = (0..size).map(|_| self.join("")).collect();
        let joined = self.begin(asked);
        self.assign(&joined);
        joined
    }

    /// What the first generation's members are told when it begins, the leader first.
    pub fn begin(&mut self, asked: Vec<Asked<JoinGroupResponse>>) -> Vec<JoinGroupResponse> {
        self.wait(2 * INITIAL_DELAY_MS);
        let mut joined: Vec<_> = asked
            .into_iter()
            .map(|mut asked| asked.answer().unwrap())
            .collect();
        joined.sort_by_key(|member| member.members.is_empty());
        joined
    }

    pub fn assign(&mut self, joined: &[JoinGroupResponse]) {
        let assignments: Vec<(&str, &str)> = joined
            .iter()
            .map(|member| (member.member_id.as_str(), member.member_id.as_str()))
            .collect();
        let mut asked: Vec<_> = joined
            .iter()
            .skip(1)
            .map(|member| self.sync(member, &[]))
            .collect();
        asked.push(self.sync(&joined[0], &assignments));
        for mut asked in asked {
            assert_eq!(asked.answer().unwrap().error_code, ErrorCode::None);
        }
        assert_eq!(self.group.state(), GroupState::Stable);
    }

    fn set_tick(&mut self, tick_ms: u64) {
        self.now.wall_ms += (tick_ms - self.now.tick_ms) as i64;
        self.now.tick_ms = tick_ms;
    }

    fn finish(&mut self, write: Option<Write>) {
        let mut next = write;
        while let Some(write) = next {
            self.written.push(self.group.metadata_for(&write));
            next = self.group.written(self.now, write, self.write_result);
        }
    }
}

fn answered<T>(answer: T) -> Asked<T> {
    let (reply, asked) = oneshot::channel();
    assert!(reply.send(answer).is_ok());
    Asked(asked)
}

pub fn protocol(name: &str, metadata: &'static [u8]) -> Protocol {
    Protocol {
        name: name.to_owned(),
        metadata: Bytes::from_static(metadata),
    }
}
