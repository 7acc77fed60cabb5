//! A coordinator's log in memory, which can be made slow or failing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use milena_protocol::ErrorCode;
use milena_protocol::records::BatchHeader;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{CoordinatorLog, LogFuture};

#[derive(Default)]
pub struct MemoryLog {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shards: HashMap<i32, Vec<Bytes>>,
    next_offset: HashMap<i32, i64>,
    append_error: Option<ErrorCode>,
    append_delay: Duration,
    read_error: Option<ErrorCode>,
    append_count: usize,
}

impl MemoryLog {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub fn fail_appends(&self, error: Option<ErrorCode>) {
        self.state.lock().append_error = error;
    }

    pub fn fail_reads(&self, error: Option<ErrorCode>) {
        self.state.lock().read_error = error;
    }

    pub fn delay_appends(&self, delay: Duration) {
        self.state.lock().append_delay = delay;
    }

    pub fn append_count(&self) -> usize {
        self.state.lock().append_count
    }
}

impl CoordinatorLog for MemoryLog {
    fn append(&self, shard: i32, batch: Bytes) -> LogFuture<'_, i64> {
        Box::pin(async move {
            let delay = self.state.lock().append_delay;
            sleep(delay).await;
            let mut state = self.state.lock();
            state.append_count += 1;
            if let Some(error) = state.append_error {
                return Err(error);
            }
            let next = state.next_offset.entry(shard).or_default();
            let base = *next;
            let header = BatchHeader {
                base_offset: base,
                ..BatchHeader::parse(&batch).unwrap()
            };
            header.check_crc(&batch).unwrap();
            *next = header.last_offset() + 1;
            let mut stored = BytesMut::from(&batch[..]);
            stored[..8].copy_from_slice(&base.to_be_bytes());
            state.shards.entry(shard).or_default().push(stored.freeze());
            Ok(base)
        })
    }

    /// Two batches at a time, the second cut short, as a log bounded by bytes gives them.
    fn read(&self, shard: i32, offset: i64) -> LogFuture<'_, Option<Bytes>> {
        Box::pin(async move {
            let state = self.state.lock();
            if let Some(error) = state.read_error {
                return Err(error);
            }
            let mut rest = state
                .shards
                .get(&shard)
                .into_iter()
                .flatten()
                .skip_while(|batch| BatchHeader::parse(batch).unwrap().last_offset() < offset);
            let Some(first) = rest.next() else {
                return Ok(None);
            };
            let second = rest
                .next()
                .map(|batch| &batch[..batch.len() / 2])
                .unwrap_or_default();
            Ok(Some([&first[..], second].concat().into()))
        })
    }
}
