//! `.milena-rack` in the first data directory: the rack that the broker was told of, and the machine that it was on then.
//! A start on the same machine registers with it, until it is told again.
//!
//! | key | value |
//! | --- | --- |
//! | `version` | 1 |
//! | `node` | `broker.node` |
//! | `rack` | the rack |
//!
//! It is a memory and no truth: what does not read is passed over, and nothing is synced.

use std::io;
use std::path::Path;

const FILE: &str = ".milena-rack";
const VERSION: &str = "version=1\n";

/// The rack of that machine, where it is the one that the broker was on last.
pub fn recorded(folder: &Path, node: &str) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(FILE)).ok()?;
    let rest = text.strip_prefix(VERSION)?.strip_prefix("node=")?;
    let (of, rest) = rest.split_once('\n')?;
    let rack = rest.strip_prefix("rack=")?.strip_suffix('\n')?;
    (of == node && !rack.is_empty()).then(|| rack.to_owned())
}

/// From now on this is the machine's rack.
pub fn record(folder: &Path, node: &str, rack: &str) -> io::Result<()> {
    if node.contains('\n') || rack.contains('\n') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    std::fs::write(
        folder.join(FILE),
        format!("{VERSION}node={node}\nrack={rack}\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rack_is_remembered_for_the_machine_that_it_was_told_of_on() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(recorded(dir.path(), "worker-1"), None);
        record(dir.path(), "worker-1", "eu = 1a").unwrap();
        assert_eq!(recorded(dir.path(), "worker-1").as_deref(), Some("eu = 1a"));
        assert_eq!(recorded(dir.path(), "worker-2"), None, "it has moved");
        record(dir.path(), "worker-2", "eu-1b").unwrap();
        assert_eq!(recorded(dir.path(), "worker-2").as_deref(), Some("eu-1b"));
        assert!(record(dir.path(), "worker-2", "a\nb").is_err());
    }

    #[test]
    fn what_does_not_read_is_no_rack() {
        let dir = tempfile::tempdir().unwrap();
        for text in [
            "",
            "version=1\nnode=a\nrack=",
            "version=1\nnode=a\nrack=\n",
            "version=1\nnode=a\nrack=half",
            "version=2\nnode=a\nrack=b\n",
        ] {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            assert_eq!(recorded(dir.path(), "a"), None, "{text:?}");
        }
    }
}
