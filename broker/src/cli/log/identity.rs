//! `meta.properties` that says nothing any more: whose the data directory is. No log tells that, and a directory that is taken
//! for another's loses records; so nothing is made up, and it is said where each line is to be found.
//!
//! | line | where else it is |
//! | --- | --- |
//! | `version` | always 1 |
//! | `cluster.id` | in the broker's other directories; in its cluster |
//! | `node.id` | in the broker's other directories; in its settings |
//! | `directory.id` | in the metadata, from where a start takes it for the directory that has them; of others nowhere |

use std::path::{Path, PathBuf};

use milena_log::{DirectoryError, LogError, identity_of};
use milena_protocol::Uuid;
use serde_json::{Value, json};

const FILE: &str = "meta.properties";
/// No broker has this `node.id`: a directory that says whose it is says that it is another's.
const NOBODY: i32 = -1;

/// A line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Version,
    Cluster,
    Node,
    Directory,
}

impl Key {
    const ALL: [Self; 4] = [Self::Version, Self::Cluster, Self::Node, Self::Directory];

    fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Cluster => "cluster.id",
            Self::Node => "node.id",
            Self::Directory => "directory.id",
        }
    }

    fn has(self, value: &str) -> bool {
        match self {
            Self::Version => value == "1",
            Self::Cluster => !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()),
            Self::Node => value.parse().is_ok_and(|id: i32| id >= 0),
            Self::Directory => Uuid::parse(value).is_some(),
        }
    }

    /// The value, where the text still has one that can be.
    fn value_in(self, text: &str) -> Option<&str> {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let mut values = pairs.filter(|(name, _)| name.trim() == self.name());
        let value = values.next()?.1.trim();
        self.has(value).then_some(value)
    }

    /// Where a person finds it.
    fn elsewhere(self) -> &'static str {
        match self {
            Self::Version => "1",
            Self::Cluster => {
                "in meta.properties of another data directory of the broker; `milena cluster describe` and \
                 `kafka-cluster.sh cluster-id` name it"
            }
            Self::Node => "the node.id of the broker's settings",
            Self::Directory => {
                "lost: without the file, moved aside, a start gives the directory with the metadata the ids that it had, and \
                 another one a new directory.id"
            }
        }
    }
}

/// A data directory that does not say whose it is.
#[derive(Debug, Clone)]
pub(super) struct Unnamed {
    data: PathBuf,
    problem: String,
    /// Whether it was read. Otherwise its disk or its rights are to be mended, and it may be whole.
    is_garbled: bool,
    /// What is left of it.
    text: String,
}

impl Unnamed {
    /// One whose file is there and says nothing. Where it is not there the directory is nobody's, which is no damage.
    pub(super) fn look(data: &Path) -> Option<Self> {
        let (problem, is_garbled) = match identity_of(data, NOBODY, None) {
            Ok(_) | Err(DirectoryError::Foreign { .. }) => return None,
            Err(DirectoryError::Log(LogError::Malformed { problem, .. })) => (problem, true),
            Err(DirectoryError::Log(error)) => (error.to_string(), false),
            Err(other) => (other.to_string(), false),
        };
        Some(Self {
            data: data.to_path_buf(),
            problem,
            is_garbled,
            text: text_of(data),
        })
    }

    pub(super) fn file(&self) -> PathBuf {
        self.data.join(FILE)
    }

    fn in_words(&self) -> String {
        let left = Key::ALL
            .iter()
            .filter_map(|key| Some(format!("{}={}", key.name(), key.value_in(&self.text)?)));
        let left = left.collect::<Vec<_>>().join(", ");
        let left = match (self.is_garbled, left.is_empty()) {
            (false, _) => String::new(),
            (true, true) => "; nothing is left of it".to_owned(),
            (true, false) => format!("; left of it: {left}"),
        };
        format!("{}{left}: no broker takes the directory", self.problem)
    }

    pub(super) fn row(&self) -> [String; 4] {
        let directory = self.data.display().to_string();
        [directory, FILE.to_owned(), String::new(), self.in_words()]
    }

    pub(super) fn shown(&self) -> Value {
        json!({
            "folder": self.data,
            "problems": [{
                "file": self.file(),
                "kind": "identity",
                "problem": self.in_words(),
            }],
        })
    }

    /// Why nothing is done about it, and what a person does, in lines; `others` are the broker's other directories.
    pub(super) fn left_as_it_is(&self, others: &[PathBuf]) -> Vec<String> {
        let file = self.file();
        if !self.is_garbled {
            let text = "left as it is: its disk or its rights are to be mended first";
            return vec![format!("{}: {text}", file.display())];
        }
        let head = format!(
            "{}: left as it is: no log says whose a directory is, and a guess would cost records. Put a copy of the file \
             back, or, sure whose it is, write these lines:",
            file.display()
        );
        let lines = Key::ALL.iter().map(|key| self.line(*key, others));
        std::iter::once(head).chain(lines).collect()
    }

    fn line(&self, key: Key, others: &[PathBuf]) -> String {
        let name = key.name();
        if let Some(own) = key.value_in(&self.text) {
            return format!("  {name}={own}");
        }
        let is_shared = matches!(key, Key::Cluster | Key::Node);
        let mut others = others
            .iter()
            .filter(|other| is_shared && **other != self.data);
        let told = others.find_map(|other| {
            let value = key.value_in(&text_of(other))?.to_owned();
            Some(format!("  {name}={value}    as in {}", other.display()))
        });
        match (key, told) {
            (_, Some(line)) => line,
            (Key::Version, None) => format!("  {name}={}", key.elsewhere()),
            (_, None) => format!("  {name}=…    {}", key.elsewhere()),
        }
    }
}

fn text_of(data: &Path) -> String {
    let bytes = std::fs::read(data.join(FILE)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "version=1\ncluster.id=4OA50TPHTzinUqeLMIKfxA\nnode.id=3\ndirectory.id=LtZ9S5LqR1-UJfMQEsqsDw\n";

    fn directory(text: &str) -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(FILE), text).unwrap();
        data
    }

    #[test]
    fn a_directory_that_says_whose_it_is_or_is_nobodys_is_whole() {
        assert!(Unnamed::look(directory(WHOLE).path()).is_none());
        assert!(Unnamed::look(tempfile::tempdir().unwrap().path()).is_none());
    }

    #[test]
    fn what_is_left_of_a_garbled_file_is_told_and_what_is_lost_is_looked_for_elsewhere() {
        let garbled = directory(
            "version=1\ncluster.\0\0\0\0\nnode.id=\u{fffd}\ndirectory.id=LtZ9S5LqR1-UJfMQEsqsDw\n",
        );
        let found = Unnamed::look(garbled.path()).unwrap();
        let words = found.in_words();
        assert!(
            words.starts_with("it has no cluster.id; left of it: version=1, directory.id="),
            "{words}"
        );
        let alone = found.left_as_it_is(&[garbled.path().to_owned()]);
        assert!(
            alone[2].starts_with("  cluster.id=…    in meta.properties of another"),
            "{alone:?}"
        );
        assert_eq!(alone[4], "  directory.id=LtZ9S5LqR1-UJfMQEsqsDw");
        let other = directory(WHOLE);
        let beside = found.left_as_it_is(&[garbled.path().to_owned(), other.path().to_owned()]);
        let from = format!("    as in {}", other.path().display());
        assert_eq!(
            beside[2],
            format!("  cluster.id=4OA50TPHTzinUqeLMIKfxA{from}")
        );
        assert_eq!(beside[3], format!("  node.id=3{from}"));
    }

    #[test]
    fn the_id_of_another_directory_is_not_offered() {
        let (empty, other) = (directory(""), directory(WHOLE));
        let found = Unnamed::look(empty.path()).unwrap();
        assert!(found.in_words().contains("nothing is left of it"));
        let lines = found.left_as_it_is(&[other.path().to_owned()]);
        assert!(lines[4].starts_with("  directory.id=…"), "{lines:?}");
    }
}
