//! The last offset of each key, by a 128-bit hash of it: bounded memory whatever the keys' sizes.

use std::hash::{BuildHasher, RandomState};

/// A hash in two parts, and the offset plus one: 0 in a free slot.
type Slot = [u64; 3];

const SLOT_BYTES: usize = size_of::<Slot>();
/// Beyond this part of all slots, searches would take long: 7 of 8.
const LOAD: (usize, usize) = (7, 8);

/// A table with linear probing. Its slots are all there from the start, so that it never needs two tables at once;
/// memory for those that are never touched is never taken. The hash is keyed anew each time, so nobody can prepare
/// two keys with the same hash.
#[derive(Debug)]
pub(super) struct OffsetMap {
    states: [RandomState; 2],
    slots: Vec<Slot>,
    keys: usize,
}

impl OffsetMap {
    /// For at most so many keys, in at most so many bytes.
    pub fn new(bytes: usize, keys_max: usize) -> Self {
        Self {
            states: [RandomState::new(), RandomState::new()],
            slots: vec![[0; 3]; slots_for(keys_max).min(bytes / SLOT_BYTES).max(1)],
            keys: 0,
        }
    }

    /// Whether so many more keys have room. Asked before each batch; the first one always has, so that every run gets
    /// on, whatever the bound.
    pub fn make_room(&mut self, keys: usize) -> bool {
        let needed = slots_for(self.keys.saturating_add(keys));
        if needed > self.slots.len() && self.keys == 0 {
            self.slots = vec![[0; 3]; needed];
        }
        needed <= self.slots.len()
    }

    /// Only after [`OffsetMap::make_room`].
    pub fn put(&mut self, key: &[u8], offset: i64) {
        let hash = self.hash(key);
        let at = self.find(hash);
        let slot = &mut self.slots[at];
        self.keys += usize::from(slot[2] == 0);
        *slot = [hash[0], hash[1], offset as u64 + 1];
    }

    /// The key's last offset among those that were put.
    pub fn get(&self, key: &[u8]) -> Option<i64> {
        let found = self.slots[self.find(self.hash(key))][2];
        found.checked_sub(1).map(|offset| offset as i64)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.states[0].hash_one(key), self.states[1].hash_one(key)]
    }

    /// The slot of this hash, or the free one where it belongs.
    fn find(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len();
        // The hash's share of its range is the slot's share of the table.
        let mut at = ((u128::from(hash[0]) * count as u128) >> u64::BITS) as usize;
        while self.slots[at][2] != 0 && self.slots[at][..2] != hash {
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        at
    }
}

/// At least one of them stays free, where every search ends.
fn slots_for(keys: usize) -> usize {
    (keys.saturating_mul(LOAD.1) / LOAD.0).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many keys as it takes.
    fn fill(map: &mut OffsetMap) -> i64 {
        let mut keys: i64 = 0;
        while map.make_room(1) {
            map.put(&keys.to_be_bytes(), keys);
            keys += 1;
        }
        keys
    }

    #[test]
    fn a_full_table_has_every_key_and_no_other() {
        let mut map = OffsetMap::new(1 << 16, usize::MAX);
        let keys = fill(&mut map);
        assert_eq!(keys as usize, (1 << 16) / SLOT_BYTES * LOAD.0 / LOAD.1);
        for key in 0..keys {
            assert_eq!(map.get(&key.to_be_bytes()), Some(key));
            assert_eq!(map.get(&(key + keys).to_be_bytes()), None);
        }
    }

    #[test]
    fn a_later_offset_takes_the_earlier_ones_place() {
        let mut map = OffsetMap::new(1 << 10, 1);
        for offset in [0, 7, 9] {
            assert!(map.make_room(0));
            map.put(b"key", offset);
        }
        assert_eq!((map.get(b"key"), map.keys), (Some(9), 1));
    }

    #[test]
    fn few_keys_take_few_bytes_and_the_first_batch_always_has_room() {
        let mut map = OffsetMap::new(1 << 30, 10);
        assert_eq!(map.slots.len(), slots_for(10));
        assert_eq!(fill(&mut map), 10);
        let mut map = OffsetMap::new(1, 1_000);
        assert!(map.make_room(1_000));
        for key in 0..1_000_i64 {
            map.put(&key.to_be_bytes(), key);
        }
        assert!(!map.make_room(1));
        assert_eq!(map.get(&999_i64.to_be_bytes()), Some(999));
    }
}
