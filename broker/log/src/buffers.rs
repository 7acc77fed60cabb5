//! Reused read buffers: already initialised and already mapped, which a fresh allocation of this size is not.

use bytes::Bytes;
use parking_lot::Mutex;

/// Smaller buffers come from the allocator, which is quick there.
const POOLED_FROM: usize = 32 << 10;
/// Larger ones are rare (one huge batch), and would only be held for nothing.
const POOLED_TO: usize = 4 << 20;
/// What the pool may hold while nobody reads.
const POOL_BYTES_MAX: usize = 16 << 20;

static POOL: Mutex<Pool> = Mutex::new(Pool {
    free: Vec::new(),
    bytes: 0,
});

struct Pool {
    free: Vec<Vec<u8>>,
    bytes: usize,
}

/// A buffer of at least the asked-for length; its bytes are initialised to whatever was there before.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` bytes.
    pub fn of(len: usize) -> Self {
        let bytes = take(len).unwrap_or_else(|| vec![0; size_class(len)]);
        Self { bytes, len }
    }

    /// The buffer's bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The bytes, shared; the memory returns to the pool with the last of them.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn size_class(len: usize) -> usize {
    if (POOLED_FROM..=POOLED_TO).contains(&len) {
        len.next_power_of_two()
    } else {
        len
    }
}

fn take(len: usize) -> Option<Vec<u8>> {
    if !(POOLED_FROM..=POOLED_TO).contains(&len) {
        return None;
    }
    let mut pool = POOL.lock();
    let class = size_class(len);
    let index = pool.free.iter().rposition(|free| free.len() == class)?;
    let bytes = pool.free.swap_remove(index);
    pool.bytes -= bytes.len();
    Some(bytes)
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if !(POOLED_FROM..=POOLED_TO).contains(&bytes.len()) {
            return;
        }
        let mut pool = POOL.lock();
        if pool.bytes + bytes.len() <= POOL_BYTES_MAX {
            pool.bytes += bytes.len();
            pool.free.push(bytes);
        }
    }
}
