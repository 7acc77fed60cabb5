//! Which partition a record goes to: as the Java client decides, so that both agree on a key.

/// MurmurHash2 with Kafka's seed, as the Java client computes it.
pub fn murmur2(key: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(MIX);
        k ^= k >> 24;
        hash = hash.wrapping_mul(MIX) ^ k.wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        for (index, &byte) in rest.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ hash >> 15
}

/// The partition of a record with this key, of `count` (at least 1).
pub fn partition_of(key: &[u8], count: i32) -> i32 {
    // The sign bit is dropped, as Java's client does, and not the absolute value taken.
    (murmur2(key) & 0x7fff_ffff) as i32 % count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that the Java client's own tests fix.
    #[test]
    fn keys_hash_as_the_java_client_hashes_them() {
        let known: [(&[u8], i32); 6] = [
            (b"21", -973932308),
            (b"foobar", -790332482),
            (b"a-little-bit-long-string", -985981536),
            (b"a-little-bit-longer-string", -1486304829),
            (
                b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58897971,
            ),
            (b"abc", 479470107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key) as i32, hash, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn every_key_has_a_partition_that_exists() {
        for number in 0..1000u32 {
            let partition = partition_of(&number.to_be_bytes(), 7);
            assert!((0..7).contains(&partition));
        }
        assert_eq!(partition_of(b"", 1), 0);
    }
}
