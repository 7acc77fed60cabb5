//! Zigzag variable-length numbers of magic 2 records (as in Protocol Buffers' `sint32` and `sint64`).

use super::RecordProblem;

/// Takes an `i32` of at most five bytes off the front of `rest`.
#[inline(always)]
pub(super) fn take_i32(rest: &mut &[u8]) -> Result<i32, RecordProblem> {
    let value = match take_short(rest) {
        Some(value) => value,
        None => u32::try_from(take_long(rest, 5)?).map_err(|_| RecordProblem::BadVarint)?,
    };
    Ok(unzigzag_32(value))
}

/// Takes an `i64` of at most ten bytes off the front of `rest`.
#[inline(always)]
pub(super) fn take_i64(rest: &mut &[u8]) -> Result<i64, RecordProblem> {
    let value = match take_short(rest) {
        Some(value) => value.into(),
        None => take_long(rest, 10)?,
    };
    Ok(unzigzag_64(value))
}

/// Takes a number of one to three bytes, as nearly all are. Branches that the processor foresees cost
/// less here than arithmetic that has to wait for where the number before ended.
#[inline(always)]
fn take_short(rest: &mut &[u8]) -> Option<u32> {
    let low = |byte: u8| u32::from(byte & 0x7f);
    let (value, after) = match **rest {
        [a, ref after @ ..] if a < 0x80 => (low(a), after),
        [a, b, ref after @ ..] if b < 0x80 => (low(a) | low(b) << 7, after),
        [a, b, c, ref after @ ..] if c < 0x80 => (low(a) | low(b) << 7 | low(c) << 14, after),
        _ => return None,
    };
    *rest = after;
    Some(value)
}

#[cold]
#[inline(never)]
fn take_long(rest: &mut &[u8], len_max: usize) -> Result<u64, RecordProblem> {
    let mut value = 0_u64;
    for (at, &byte) in rest.iter().take(len_max).enumerate() {
        // The tenth byte has room for one bit.
        if at == 9 && byte > 1 {
            return Err(RecordProblem::BadVarint);
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *rest = &rest[at + 1..];
            return Ok(value);
        }
    }
    Err(if rest.len() < len_max {
        RecordProblem::Truncated
    } else {
        RecordProblem::BadVarint
    })
}

/// Appends `value` in one to five bytes.
pub(super) fn put_i32(out: &mut Vec<u8>, value: i32) {
    put(out, u64::from(zigzag_32(value)));
}

/// Appends `value` in one to ten bytes.
pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag_64(value));
}

/// Bytes that `put_i32` appends.
pub(super) fn size_i32(value: i32) -> usize {
    size(u64::from(zigzag_32(value)))
}

/// Bytes that `put_i64` appends.
pub(super) fn size_i64(value: i64) -> usize {
    size(zigzag_64(value))
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn size(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag_32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

fn zigzag_64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag_32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

fn unzigzag_64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_in_the_size_foretold() {
        for value in [
            0,
            1,
            -1,
            63,
            64,
            -64,
            -65,
            8191,
            8192,
            i64::from(i32::MAX),
            i64::MAX,
            i64::MIN,
        ] {
            let mut out = Vec::new();
            put_i64(&mut out, value);
            assert_eq!(out.len(), size_i64(value), "{value}");
            assert_eq!(take_i64(&mut &out[..]), Ok(value));
        }
        for value in [0, -1, 64, i32::MAX, i32::MIN] {
            let mut out = Vec::new();
            put_i32(&mut out, value);
            assert_eq!(out.len(), size_i32(value), "{value}");
            assert_eq!(take_i32(&mut &out[..]), Ok(value));
        }
    }

    #[test]
    fn numbers_that_are_too_long_or_cut_short_are_refused() {
        assert_eq!(take_i32(&mut &[0xff; 9][..]), Err(RecordProblem::BadVarint));
        assert_eq!(
            take_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]),
            Err(RecordProblem::BadVarint)
        );
        assert_eq!(
            take_i64(&mut &[0xff; 10][..]),
            Err(RecordProblem::BadVarint)
        );
        assert_eq!(take_i64(&mut &[0x80; 3][..]), Err(RecordProblem::Truncated));
        assert_eq!(take_i64(&mut &[][..]), Err(RecordProblem::Truncated));
    }
}
