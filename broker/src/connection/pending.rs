//! A Produce whose records are appended and that waits for their replicas, or for the leader's disk.

use std::collections::VecDeque;
use std::sync::Arc;

use milena_protocol::api::produce::{ProduceRequest, ProduceResponse};
use milena_protocol::header::encode_response;
use milena_protocol::{ErrorCode, Frame, Request};
use tokio::time::{Instant, timeout_at};

use super::ConnectionError;
use crate::broker::Broker;
use crate::current_leader;
use crate::partition::{Commit, Partition};

/// What is to happen to appended records before they are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// All in-sync replicas have them, each as its `flush.messages` wants it (acks=all).
    Replicas,
    /// The leader has them, as its `flush.messages` wants it (acks=1).
    Disk,
}

/// What one partition's records wait for.
#[derive(Debug)]
pub struct Wait {
    pub partition: Arc<Partition>,
    pub last_offset: i64,
    pub leader_epoch: i32,
    pub awaits: Awaits,
    /// Where the result stands in the response: topic, partition.
    pub place: (usize, usize),
}

/// A Produce from its append to its answer. It holds offsets and a deadline, never the request's frame.
#[derive(Debug)]
pub struct PendingProduce {
    /// The response so far.
    pub response: ProduceResponse,
    /// What it still waits for, in the request's order.
    pub waits: VecDeque<Wait>,
    /// When the wait ends with REQUEST_TIMED_OUT, or NOT_ENOUGH_REPLICAS_AFTER_APPEND.
    pub deadline: Instant,
    pub version: i16,
    pub correlation_id: i32,
    /// The request's acks; 0 gets no answer.
    pub acks: i16,
    /// The listener that the client came in by.
    pub listener: Arc<str>,
    /// When the request was read.
    pub started: Instant,
}

impl PendingProduce {
    pub fn is_done(&self) -> bool {
        self.waits.is_empty()
    }

    /// Waits for the replicas, the disk or the deadline. It can be given up and called again.
    pub async fn wait(&mut self) {
        while let Some(wait) = self.waits.front() {
            let error = settle(wait, self.deadline).await;
            let (topic, partition) = wait.place;
            let result = &mut self.response.responses[topic].partition_responses[partition];
            if !error.is_none() {
                (result.error_code, result.base_offset) = (error, -1);
            }
            self.waits.pop_front();
        }
    }

    /// The encoded answer; `None` for acks=0, whose errors can only close the connection.
    pub fn into_answer(mut self, broker: &Broker) -> Result<Option<Frame>, ConnectionError> {
        let (version, listener) = (self.version, &self.listener);
        current_leader::tell_producer(&mut self.response, || broker.image(), version, listener);
        let frame =
            encode_response::<ProduceRequest>(&self.response, self.version, self.correlation_id);
        broker
            .metrics()
            .answered(ProduceRequest::KEY, frame.first_error(), self.started);
        match (self.acks, frame.first_error()) {
            (0, ErrorCode::None) => Ok(None),
            (0, error) => Err(ConnectionError::UnansweredProduce(error)),
            _ => Ok(Some(frame)),
        }
    }
}

async fn settle(wait: &Wait, deadline: Instant) -> ErrorCode {
    loop {
        let moved = wait.partition.high_watermark_moved();
        tokio::pin!(moved);
        // Registered before the question, so that no move is missed between question and wait.
        moved.as_mut().enable();
        let (last_offset, leader_epoch) = (wait.last_offset, wait.leader_epoch);
        let state = match wait.awaits {
            Awaits::Replicas => wait.partition.commit(last_offset, leader_epoch),
            Awaits::Disk => wait.partition.storing(last_offset, leader_epoch),
        };
        match state {
            Commit::Done => return ErrorCode::None,
            Commit::Lost(error) => return error,
            Commit::Waiting => {}
        }
        if timeout_at(deadline, moved).await.is_err() {
            return match wait.awaits == Awaits::Disk || wait.partition.has_enough_in_sync() {
                true => ErrorCode::RequestTimedOut,
                false => ErrorCode::NotEnoughReplicasAfterAppend,
            };
        }
    }
}

/// Waits for the oldest; for ever where none waits.
pub async fn front(pending: &mut VecDeque<Box<PendingProduce>>) {
    match pending.front_mut() {
        Some(oldest) => oldest.wait().await,
        None => std::future::pending().await,
    }
}
