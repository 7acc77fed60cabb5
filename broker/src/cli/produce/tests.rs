//! How lines are cut.

use super::*;

#[test]
fn a_line_is_read_no_further_than_its_bound() {
    let longest = vec![b'x'; LINE_BYTES_MAX];
    let too_long = vec![b'x'; 2 * LINE_BYTES_MAX];
    let text = [&b"short\n"[..], &longest, b"\r\n", &too_long, b"\n"].concat();
    let mut reader = &text[..];
    let mut next = || next_line(&mut reader).unwrap().map(|line| line.len());
    assert_eq!(next(), Some(5));
    assert_eq!(next(), Some(LINE_BYTES_MAX));
    assert!((LINE_BYTES_MAX + 1..=BYTES_AHEAD).contains(&next().unwrap()));
}
