//! The last offset of each key, by a 128-bit hash of it: bounded memory whatever the keys' sizes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Bytes that an entry may take: 24 of contents, its mark, and the table's free places.
const ENTRY_BYTES: usize = 56;

/// See the module. The hash is keyed anew each time, so nobody can prepare two keys with the same hash.
#[derive(Debug)]
pub(super) struct OffsetMap {
    states: [RandomState; 2],
    offsets: HashMap<[u64; 2], i64>,
    entries_max: usize,
}

impl OffsetMap {
    pub fn new(bytes: usize) -> Self {
        Self {
            states: [RandomState::new(), RandomState::new()],
            offsets: HashMap::new(),
            entries_max: (bytes / ENTRY_BYTES).max(1),
        }
    }

    /// Asked before each batch; the keys of one batch may exceed the bound, so that every run gets on.
    pub fn is_full(&self) -> bool {
        self.offsets.len() >= self.entries_max
    }

    pub fn put(&mut self, key: &[u8], offset: i64) {
        let hash = self.hash(key);
        self.offsets.insert(hash, offset);
    }

    /// The key's last offset among those that were put.
    pub fn get(&self, key: &[u8]) -> Option<i64> {
        self.offsets.get(&self.hash(key)).copied()
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.states[0].hash_one(key), self.states[1].hash_one(key)]
    }
}
