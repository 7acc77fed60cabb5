//! `kubectl apply` of many objects at once, and what became of each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// How an object is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `kubectl apply`: by what it noted at the last time.
    ClientSide,
    /// `kubectl apply --server-side`: by who owns a field.
    ServerSide,
}

/// A cluster that kubectl knows, and a namespace of our own in it.
pub struct Kubectl {
    context: String,
    /// The namespace.
    pub namespace: String,
}

/// What became of the objects of one call.
#[derive(Debug)]
pub struct Applied {
    taken: BTreeSet<String>,
    refused: BTreeMap<String, String>,
    output: String,
}

impl Kubectl {
    /// The cluster named by E2E_CONTEXT, else none.
    pub fn from_environment() -> Option<Self> {
        let context = std::env::var("E2E_CONTEXT")
            .ok()
            .filter(|name| !name.is_empty())?;
        Some(Self {
            context,
            namespace: format!("crd-rules-{}", std::process::id()),
        })
    }

    /// Runs to its end; an error is an answer.
    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new("kubectl")
            .args(["--context", &self.context, "--request-timeout", "60s"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl is on the PATH");
        let mut stdin = child.stdin.take().expect("it has an input");
        stdin
            .write_all(input.as_bytes())
            .expect("it reads its input");
        drop(stdin);
        child.wait_with_output().expect("it can be waited for")
    }

    /// Runs, and returns its output.
    pub fn must(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {text}{errors}"
        );
        text
    }

    /// Applies all objects in one call.
    pub fn apply(&self, mode: Mode, objects: &[Value]) -> Applied {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
        // kubectl's own look at required fields would keep all objects back for one.
        let mut arguments = vec![
            "apply",
            "--validate=false",
            "-n",
            &self.namespace,
            "-f",
            "-",
        ];
        if mode == Mode::ServerSide {
            arguments.push("--server-side");
        }
        let output = self.run(&arguments, &list);
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        // "kafkacluster.milena.dev/main created"
        let name = |line: &str| Some(line.split(' ').next()?.split_once('/')?.1.to_owned());
        let taken = stdout.lines().filter_map(name).collect();
        let names = objects.iter().map(name_of);
        let refused = names.filter_map(|name| Some((name.clone(), refusal(&stderr, &name)?)));
        Applied {
            refused: refused.collect(),
            taken,
            output: format!("{stdout}{stderr}"),
        }
    }
}

impl Drop for Kubectl {
    fn drop(&mut self) {
        self.run(
            &[
                "delete",
                "namespace",
                &self.namespace,
                "--wait=false",
                "--ignore-not-found",
            ],
            "",
        );
    }
}

impl Applied {
    /// Asserts that the object was taken.
    pub fn takes(&self, name: &str) {
        assert!(
            self.taken.contains(name),
            "{name} was not taken:\n{}",
            self.output
        );
    }

    /// Asserts that the object was refused with these words.
    pub fn refuses(&self, name: &str, words: &str) {
        let Some(said) = self.refused.get(name) else {
            panic!("{name} was not refused:\n{}", self.output);
        };
        assert!(
            said.contains(words),
            "{name} was refused, but not with {words:?}:\n{said}"
        );
        assert!(
            !self.taken.contains(name),
            "{name} was taken:\n{}",
            self.output
        );
    }

    /// All refusals' words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.refused.values().map(String::as_str)
    }
}

pub fn name_of(object: &Value) -> String {
    object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The paragraph of kubectl's errors that is about the object.
fn refusal(stderr: &str, name: &str) -> Option<String> {
    let starts = |line: &&str| line.starts_with("Error from server") || line.starts_with("The ");
    let mut paragraphs: Vec<String> = Vec::new();
    for line in stderr.lines() {
        if starts(&line) || paragraphs.is_empty() {
            paragraphs.push(String::new());
        }
        let last = paragraphs.last_mut()?;
        last.push_str(line);
        last.push('\n');
    }
    // As `Topic "name" is invalid`, or `object (namespace/name; group/version, Kind=Topic)`.
    let (quoted, listed) = (format!("\"{name}\""), format!("/{name};"));
    paragraphs
        .into_iter()
        .find(|paragraph| paragraph.contains(&quoted) || paragraph.contains(&listed))
}
