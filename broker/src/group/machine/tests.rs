//! A shard of groups: what is written reads back, and what is forgotten is gone.

use milena_protocol::Uuid;
use tokio::sync::oneshot;

use super::*;
use crate::group::classic::Limits;
use crate::group::record::CommittedOffset;
use crate::group::request::{Commit, MemberOf};

const RETENTION_MS: i64 = 1000;

fn settings() -> Settings {
    Settings {
        limits: Limits {
            size_max: 10,
            initial_rebalance_delay_ms: 0,
        },
        session_timeout_ms: 1..=100_000,
        offset_metadata_size_max: 4,
        offsets_retention_ms: RETENTION_MS,
        offsets_retention_check_interval_ms: 100,
    }
}

fn at(ms: i64) -> Now {
    Now {
        wall_ms: ms,
        tick_ms: ms as u64,
    }
}

/// A machine with a log that never fails unless told to.
struct Bench {
    machine: GroupMachine,
    log: Vec<record::Record>,
    result: Result<(), ErrorCode>,
}

impl Bench {
    fn new() -> Self {
        let mut machine = GroupMachine::new(settings());
        machine.loaded(at(0));
        Self {
            machine,
            log: Vec::new(),
            result: Ok(()),
        }
    }

    fn write(&mut self, now: Now, appends: Vec<Append<GroupMachine>>) {
        for append in appends {
            if self.result.is_ok() {
                self.log.extend(append.records);
            }
            let more = (append.done)(&mut self.machine, now, self.result);
            self.write(now, more);
        }
    }

    fn ask<T>(
        &mut self,
        now: Now,
        request: impl FnOnce(oneshot::Sender<Result<T, ErrorCode>>) -> Request,
    ) -> Result<T, ErrorCode> {
        let (reply, mut answer) = oneshot::channel();
        let appends = self.machine.handle(now, request(reply));
        self.write(now, appends);
        answer.try_recv().expect("an answer")
    }

    fn commit(
        &mut self,
        now: Now,
        group: &str,
        offset: i64,
        metadata: &str,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let commit = Commit {
            group: group.to_owned(),
            member: MemberOf {
                member_id: String::new(),
                instance_id: None,
                generation: -1,
            },
            retention_ms: -1,
            knows_group_not_found: true,
            offsets: vec![("t".to_owned(), 0, committed(offset, metadata))],
        };
        self.ask(now, |reply| Request::Commit { commit, reply })
    }

    fn fetch(&mut self, group: &str) -> Option<i64> {
        let wanted = Some(vec![("t".to_owned(), vec![0])]);
        let group = group.to_owned();
        let answer = self
            .ask(at(0), |reply| Request::Fetch {
                group,
                wanted,
                reply,
            })
            .unwrap();
        answer[0].partitions[0]
            .1
            .as_ref()
            .map(|offset| offset.offset)
    }

    fn expire(&mut self, now: Now) {
        let appends = self.machine.expire(now);
        self.write(now, appends);
    }

    fn restarted(&self) -> Self {
        let mut machine = GroupMachine::new(settings());
        self.log
            .iter()
            .for_each(|record| machine.replay(&record.key, record.value.as_ref()));
        machine.loaded(at(0));
        Self {
            machine,
            log: self.log.clone(),
            result: Ok(()),
        }
    }

    fn delete(&mut self, group: &str) -> Result<(), ErrorCode> {
        let group = group.to_owned();
        self.ask(at(0), |reply| Request::Delete { group, reply })
    }
}

fn committed(offset: i64, metadata: &str) -> CommittedOffset {
    CommittedOffset {
        offset,
        leader_epoch: -1,
        metadata: metadata.to_owned(),
        commit_timestamp_ms: -1,
        expire_timestamp_ms: None,
        topic_id: Uuid::ZERO,
    }
}

#[test]
fn a_committed_offset_is_there_after_a_restart() {
    let mut bench = Bench::new();
    assert_eq!(bench.commit(at(1), "g", 7, "m"), Ok(vec![ErrorCode::None]));
    assert_eq!(bench.fetch("g"), Some(7));
    assert_eq!(bench.restarted().fetch("g"), Some(7));
    assert_eq!(bench.fetch("other"), None);
}

#[test]
fn a_group_record_that_cannot_be_read_takes_no_offsets_with_it() {
    let mut bench = Bench::new();
    bench.commit(at(1), "g", 7, "").unwrap();
    for value in [&[0, 99][..], &[0, 3, 1]] {
        let unreadable = record::Record {
            value: Some(Bytes::copy_from_slice(value)),
            ..group_record("g", None)
        };
        bench.log.push(unreadable);
    }
    assert_eq!(bench.restarted().fetch("g"), Some(7));
}

#[test]
fn an_offset_whose_append_failed_is_not_seen() {
    let mut bench = Bench::new();
    bench.result = Err(ErrorCode::NotEnoughReplicas);
    assert_eq!(
        bench.commit(at(1), "g", 7, ""),
        Err(ErrorCode::CoordinatorNotAvailable)
    );
    assert_eq!(bench.fetch("g"), None);
}

#[test]
fn too_much_metadata_is_refused_for_its_partition() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.commit(at(1), "g", 7, "12345"),
        Ok(vec![ErrorCode::OffsetMetadataTooLarge])
    );
    assert_eq!(bench.fetch("g"), None);
    assert!(bench.log.is_empty());
}

#[test]
fn a_commit_of_a_generation_needs_its_group() {
    let mut bench = Bench::new();
    let commit = |knows_group_not_found| Commit {
        group: "g".to_owned(),
        member: MemberOf {
            member_id: "m".to_owned(),
            instance_id: None,
            generation: 1,
        },
        retention_ms: -1,
        knows_group_not_found,
        offsets: vec![],
    };
    let mut ask = |commit| bench.ask(at(1), |reply| Request::Commit { commit, reply });
    assert_eq!(ask(commit(true)), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(ask(commit(false)), Err(ErrorCode::IllegalGeneration));
}

#[test]
fn expired_offsets_go_and_the_group_with_them() {
    let mut bench = Bench::new();
    bench.commit(at(1), "g", 7, "").unwrap();
    bench.expire(at(RETENTION_MS));
    assert_eq!(bench.fetch("g"), Some(7));
    bench.expire(at(RETENTION_MS + 200));
    assert_eq!(bench.fetch("g"), None);
    assert!(bench.machine.groups.is_empty());
    assert!(bench.restarted().machine.groups.is_empty());
}

#[test]
fn a_deleted_group_is_gone_for_good() {
    let mut bench = Bench::new();
    bench.commit(at(1), "g", 7, "").unwrap();
    assert_eq!(bench.delete("g"), Ok(()));
    assert_eq!(bench.delete("g"), Err(ErrorCode::GroupIdNotFound));
    assert!(bench.restarted().machine.groups.is_empty());
}

#[test]
fn a_deleted_topics_offsets_are_forgotten() {
    let mut bench = Bench::new();
    bench.commit(at(1), "g", 7, "").unwrap();
    let topic = "t".to_owned();
    bench
        .ask(at(2), |reply| Request::TopicDeleted { topic, reply })
        .unwrap();
    assert_eq!(bench.fetch("g"), None);
    assert_eq!(bench.restarted().fetch("g"), None);
}

#[test]
fn offsets_are_deleted_one_by_one() {
    let mut bench = Bench::new();
    bench.commit(at(1), "g", 7, "").unwrap();
    let mut delete = |group: &str| {
        let (group, partitions) = (
            group.to_owned(),
            vec![("t".to_owned(), 0), ("t".to_owned(), 1)],
        );
        bench.ask(at(2), |reply| Request::DeleteOffsets {
            group,
            partitions,
            reply,
        })
    };
    assert_eq!(delete("none"), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(delete("g"), Ok(vec![ErrorCode::None, ErrorCode::None]));
    assert_eq!(bench.fetch("g"), None);
}

#[test]
fn a_group_with_members_expires_them_and_is_kept_while_they_live() {
    let mut bench = Bench::new();
    let join = classic::Join {
        member_id: String::new(),
        instance_id: None,
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 500,
        rebalance_timeout_ms: 500,
        protocol_type: "consumer".to_owned(),
        protocols: vec![classic::Protocol {
            name: "range".to_owned(),
            metadata: Bytes::new(),
        }],
        unique: "1".to_owned(),
        requires_known_id: false,
        can_skip_assignment: true,
    };
    let (reply, mut joined) = oneshot::channel();
    let group = "g".to_owned();
    let appends = bench
        .machine
        .handle(at(10), Request::Join { group, join, reply });
    bench.write(at(10), appends);
    bench.expire(at(10));
    let joined = joined.try_recv().expect("the initial delay is 0");
    assert_eq!(
        (joined.error_code, joined.generation_id),
        (ErrorCode::None, 1)
    );
    assert_eq!(bench.delete("g"), Err(ErrorCode::NonEmptyGroup));
    let described = bench.machine.describe("g").unwrap();
    assert_eq!(
        (described.group_state.as_str(), described.members.len()),
        ("CompletingRebalance", 1)
    );
    assert!(bench.machine.next_deadline().is_some());

    for ms in [510, 520, 600, 700] {
        bench.expire(at(ms));
    }
    assert!(
        bench.machine.groups.is_empty(),
        "nobody is left, nothing was committed"
    );
    assert_eq!(bench.machine.timers.len(), 0);
}
