//! What Kubernetes says of the pod that this broker is in: `broker.annotations.file`, a file of the downward API with
//! `metadata.annotations` (<https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>).
//!
//! | line | says |
//! | --- | --- |
//! | `milena.dev/zone="…"` | the broker's rack |
//! | `milena.dev/claim-uid="…"` | the uid of the claim of its data volume |
//!
//! Other lines are passed over. Values are in quotes, escaped as Go's `%q` does. Kubernetes replaces the file whole,
//! by a new one under its name.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const ZONE: &str = "milena.dev/zone";
const CLAIM_UID: &str = "milena.dev/claim-uid";
/// Kubernetes allows 256 KiB of annotations; escaping may make it four times as much.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// A label's value has 63 characters, a uid 36.
const VALUE_BYTES_MAX: usize = 255;

/// What is said so far: the operator sets annotations after the pod has been given a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// The zone that the pod's node is in.
    pub zone: Option<String>,
    /// The claim that the data directory is on.
    pub claim_uid: Option<String>,
}

/// Why the file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The system says so.
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
    /// It is not what Kubernetes writes.
    #[error("line {line}: {problem}")]
    Line {
        /// From 1.
        line: usize,
        problem: &'static str,
    },
}

impl Annotations {
    pub fn read(path: &Path) -> Result<Self, Unreadable> {
        let mut text = String::new();
        File::open(path)?
            .take(FILE_BYTES_MAX)
            .read_to_string(&mut text)?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut found = Self::default();
        for (line, number) in text.lines().zip(1..) {
            let problem = |problem| Unreadable::Line {
                line: number,
                problem,
            };
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let place = match key.trim() {
                ZONE => &mut found.zone,
                CLAIM_UID => &mut found.claim_uid,
                _ => continue,
            };
            let value = unquoted(value.trim()).map_err(problem)?;
            if value.len() > VALUE_BYTES_MAX {
                return Err(problem("the value is longer than 255 bytes"));
            }
            // An annotation that is to be filled may be there, and empty.
            *place = Some(value).filter(|value| !value.is_empty());
        }
        Ok(found)
    }
}

/// The text that Go's `%q` has written.
fn unquoted(quoted: &str) -> Result<String, &'static str> {
    let inside = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or("the value is not in quotes")?;
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside.chars();
    while let Some(next) = rest.next() {
        let plain = match next {
            '"' => return Err("the value has a quote inside that is not escaped"),
            '\\' => match escaped(&mut rest).ok_or("the value has an escape that is none")? {
                Escaped::Char(plain) => plain,
                Escaped::Byte(byte) => {
                    bytes.push(byte);
                    continue;
                }
            },
            plain => plain,
        };
        bytes.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| "the value is not UTF-8 text")
}

/// What follows a backslash.
enum Escaped {
    Char(char),
    /// `\x` stands for a byte that is no text.
    Byte(u8),
}

fn escaped(rest: &mut std::str::Chars<'_>) -> Option<Escaped> {
    let plain = match rest.next()? {
        'x' => {
            return hexadecimal(rest, 2)
                .and_then(|byte| u8::try_from(byte).ok())
                .map(Escaped::Byte);
        }
        'u' => char::from_u32(hexadecimal(rest, 4)?)?,
        'U' => char::from_u32(hexadecimal(rest, 8)?)?,
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        same @ ('\\' | '"') => same,
        _ => return None,
    };
    Some(Escaped::Char(plain))
}

fn hexadecimal(rest: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0_u32, |number, _| {
        let digit = rest.next()?.to_digit(16)?;
        number.checked_mul(16)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Annotations {
        Annotations::parse(text).unwrap()
    }

    #[test]
    fn zone_and_claim_are_found_among_whatever_else_a_pod_has() {
        let file = "kubernetes.io/config.seen=\"2026-01-01T00:00:00Z\"\nmilena.dev/claim-uid=\"3f8a\"\n\
                    milena.dev/zone=\"eu-1a\"\nnote=\"a \\\"milena.dev/zone=\\\" of\\nlines\"\nno line\n";
        let found = told(file);
        assert_eq!(found.zone.as_deref(), Some("eu-1a"));
        assert_eq!(found.claim_uid.as_deref(), Some("3f8a"));
    }

    #[test]
    fn what_is_missing_or_empty_is_not_said() {
        assert_eq!(told(""), Annotations::default());
        assert_eq!(told("milena.dev/zone=\"\"\n"), Annotations::default());
        assert_eq!(told("milena.dev/zones=\"a\"\n"), Annotations::default());
    }

    #[test]
    fn escapes_are_gos() {
        let zone = |quoted: &str| told(&format!("milena.dev/zone={quoted}")).zone.unwrap();
        assert_eq!(zone(r#""a\\b\"c\td\u00e9\U0001f600=é""#), "a\\b\"c\tdé😀=é");
        assert_eq!(
            zone(r#""K\xc3\xb6ln\a\b\f\n\r\v""#),
            "Köln\u{7}\u{8}\u{c}\n\r\u{b}"
        );
    }

    #[test]
    fn what_kubernetes_would_not_write_is_told_with_its_line_and_never_believed() {
        for (value, problem) in [
            ("eu", "not in quotes"),
            ("\"eu", "not in quotes"),
            ("\"", "not in quotes"),
            (r#""a"b""#, "not escaped"),
            (r#""a\q""#, "escape"),
            (r#""a\""#, "escape"),
            (r#""\u12g4""#, "escape"),
            (r#""\ud800""#, "escape"),
            (r#""\U7fffffff""#, "escape"),
            (r#""\uffé""#, "escape"),
            (r#""\xff""#, "UTF-8"),
        ] {
            let text = format!("other=\"1\"\nmilena.dev/zone={value}\n");
            let error = Annotations::parse(&text).unwrap_err().to_string();
            assert!(
                error.starts_with("line 2: ") && error.contains(problem),
                "{value}: {error}"
            );
        }
        let long = format!("milena.dev/zone=\"{}\"", "z".repeat(256));
        assert!(
            Annotations::parse(&long)
                .unwrap_err()
                .to_string()
                .contains("255")
        );
    }
}
