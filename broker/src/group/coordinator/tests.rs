//! The runtime's promises, kept with a machine that counts.

use std::time::Duration;

use tokio::time::{Instant, advance, sleep};

use super::memory_log::MemoryLog;
use super::*;
use crate::group::request::answer;

/// Adds up what it is told, one record each; expires when nobody talks to it for a second.
#[derive(Default)]
struct Counter {
    sum: u64,
    deadline: Option<u64>,
    expired: bool,
}

enum Ask {
    Add(u64, oneshot::Sender<Result<u64, ErrorCode>>),
    Beat(oneshot::Sender<Result<(), ErrorCode>>),
    Look(oneshot::Sender<Result<(u64, bool), ErrorCode>>),
}

const SILENCE_MS: u64 = 1000;

impl Machine for Counter {
    type Request = Ask;

    fn replay(&mut self, _key: &Bytes, value: Option<&Bytes>) {
        self.sum += value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()));
    }

    fn loaded(&mut self, _now: Now) -> Vec<Append<Self>> {
        Vec::new()
    }

    fn shares_append(request: &Ask) -> bool {
        !matches!(request, Ask::Look(_))
    }

    fn handle(&mut self, now: Now, request: Ask) -> Vec<Append<Self>> {
        match request {
            Ask::Add(more, reply) => {
                let record = Record {
                    key: "k".into(),
                    value: Some(more.to_be_bytes().to_vec().into()),
                };
                let done: Done<Self> = Box::new(move |counter, _, result| {
                    counter.sum += result.map_or(0, |()| more);
                    answer(reply, result.map(|()| counter.sum));
                    Vec::new()
                });
                return vec![Append {
                    records: vec![record],
                    done,
                }];
            }
            Ask::Beat(reply) => {
                self.deadline = Some(now.tick_ms + SILENCE_MS);
                answer(reply, Ok(()));
            }
            Ask::Look(reply) => answer(reply, Ok((self.sum, self.expired))),
        }
        Vec::new()
    }

    fn next_deadline(&self) -> Option<u64> {
        self.deadline
    }

    fn expire(&mut self, now: Now) -> Vec<Append<Self>> {
        assert!(self.deadline.take().is_some_and(|at| at <= now.tick_ms));
        self.expired = true;
        Vec::new()
    }

    fn refuse(request: Ask, error: ErrorCode) {
        match request {
            Ask::Add(_, reply) => answer(reply, Err(error)),
            Ask::Beat(reply) => answer(reply, Err(error)),
            Ask::Look(reply) => answer(reply, Err(error)),
        }
    }

    fn close(self, _error: ErrorCode) {}
}

type Counters = Arc<Coordinator<Counter>>;

fn counters(log: &Arc<MemoryLog>) -> Counters {
    Arc::new(Coordinator::new(log.clone(), 2, Counter::default))
}

async fn ask<T>(
    counters: &Counters,
    ask: impl FnOnce(oneshot::Sender<Result<T, ErrorCode>>) -> Ask,
) -> Result<T, ErrorCode> {
    let (reply, answer) = oneshot::channel();
    counters.send(0, ask(reply)).await;
    answer.await.unwrap_or(Err(ErrorCode::NotCoordinator))
}

async fn add(counters: &Counters, more: u64) -> Result<u64, ErrorCode> {
    ask(counters, |reply| Ask::Add(more, reply)).await
}

async fn loaded(counters: &Counters) {
    while counters.loaded_shards().is_empty() {
        tokio::task::yield_now().await;
    }
}

async fn running(log: &Arc<MemoryLog>) -> Counters {
    let counters = counters(log);
    counters.elected(0, 1);
    loaded(&counters).await;
    counters
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_is_there_after_a_restart() {
    let log = MemoryLog::new();
    let first = running(&log).await;
    for more in [1, 10, 100] {
        add(&first, more).await.unwrap();
    }
    let second = running(&log).await;
    assert_eq!(ask(&second, Ask::Look).await, Ok((111, false)));
}

#[tokio::test(start_paused = true)]
async fn a_failed_append_changes_nothing() {
    let log = MemoryLog::new();
    let counters = running(&log).await;
    log.fail_appends(Some(ErrorCode::NotEnoughReplicas));
    assert_eq!(add(&counters, 5).await, Err(ErrorCode::NotEnoughReplicas));
    log.fail_appends(None);
    assert_eq!(add(&counters, 1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_share_one_append() {
    let log = MemoryLog::new();
    let counters = running(&log).await;
    log.delay_appends(Duration::from_millis(10));
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let counters = counters.clone();
            tokio::spawn(async move { add(&counters, 1).await.unwrap() })
        })
        .collect();
    for asked in asked {
        asked.await.unwrap();
    }
    assert_eq!(ask(&counters, Ask::Look).await, Ok((100, false)));
    assert!(log.append_count() <= 3, "{} appends", log.append_count());
}

#[tokio::test(start_paused = true)]
async fn a_slow_append_expires_nobody_who_spoke_meanwhile() {
    let log = MemoryLog::new();
    let counters = running(&log).await;
    ask(&counters, Ask::Beat).await.unwrap();
    log.delay_appends(Duration::from_millis(5 * SILENCE_MS));
    let slow = tokio::spawn({
        let counters = counters.clone();
        async move { add(&counters, 1).await }
    });
    sleep(Duration::from_millis(SILENCE_MS / 2)).await;
    let beat = tokio::spawn({
        let counters = counters.clone();
        async move { ask(&counters, Ask::Beat).await }
    });
    slow.await.unwrap().unwrap();
    beat.await.unwrap().unwrap();
    assert_eq!(ask(&counters, Ask::Look).await, Ok((1, false)));
    advance(Duration::from_millis(SILENCE_MS + 1)).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(
        ask(&counters, Ask::Look).await,
        Ok((1, true)),
        "silence still counts afterwards"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_append_is_nobodys_silence() {
    let log = MemoryLog::new();
    let counters = running(&log).await;
    ask(&counters, Ask::Beat).await.unwrap();
    log.delay_appends(Duration::from_millis(5 * SILENCE_MS));
    add(&counters, 1).await.unwrap();
    assert_eq!(ask(&counters, Ask::Look).await, Ok((1, false)));
}

#[tokio::test(start_paused = true)]
async fn a_shard_elsewhere_refuses_and_one_that_loads_asks_for_patience() {
    let log = MemoryLog::new();
    let counters = counters(&log);
    assert_eq!(add(&counters, 1).await, Err(ErrorCode::NotCoordinator));
    log.fail_reads(Some(ErrorCode::KafkaStorageError));
    counters.elected(0, 1);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(
        add(&counters, 1).await,
        Err(ErrorCode::CoordinatorLoadInProgress)
    );
    assert!(counters.is_loading());
    log.fail_reads(None);
    let begin = Instant::now();
    while counters.is_loading() {
        sleep(Duration::from_millis(100)).await;
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "the load is tried again"
        );
    }
    assert_eq!(add(&counters, 1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn leadership_ends_by_epoch_and_answers_what_waits() {
    let log = MemoryLog::new();
    let counters = running(&log).await;
    counters.resigned(0, 0);
    assert_eq!(add(&counters, 1).await, Ok(1), "an older epoch is ignored");
    log.delay_appends(Duration::from_secs(60));
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let counters = counters.clone();
            tokio::spawn(async move { add(&counters, 1).await })
        })
        .collect();
    sleep(Duration::from_millis(10)).await;
    counters.resigned(0, 2);
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Err(ErrorCode::NotCoordinator));
    }
    counters.elected(0, 1);
    assert_eq!(
        add(&counters, 1).await,
        Err(ErrorCode::NotCoordinator),
        "an older epoch is ignored"
    );
    counters.elected(0, 3);
    loaded(&counters).await;
    assert_eq!(ask(&counters, Ask::Look).await, Ok((1, false)));
}

#[tokio::test(start_paused = true)]
async fn shards_of_a_topic_that_was_made_anew_begin_with_its_first_epoch() {
    let log = MemoryLog::new();
    let counters = running(&log).await;
    assert_eq!(add(&counters, 1).await, Ok(1));
    counters.forget_all();
    assert_eq!(add(&counters, 1).await, Err(ErrorCode::NotCoordinator));
    counters.elected(0, 0);
    loaded(&counters).await;
    assert_eq!(add(&counters, 1).await, Ok(2), "from what the log holds");
}
