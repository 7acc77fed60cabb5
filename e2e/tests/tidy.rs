//! The rules of CONTRIBUTING.md that a program can check. Each finding says how to mend it; an exception is written
//! down here, with its reason. Generated pages are kept by the tests beside what they are made from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file of code, tests included. Above the first it needs a reason here, above the second none will do.
const LINES_USUAL: usize = 500;
const LINES_MAX: usize = 800;
const LONG_FILES: &[(&str, &str)] = &[
    (
        "broker/metadata/src/record.rs",
        "every record, beside the table of their versions",
    ),
    (
        "operator/src/topic/decide/tests.rs",
        "one table of what is declared, known and decided",
    ),
    (
        "operator/src/topic/engine/tests/world.rs",
        "the doubles of both worlds that an engine stands between, which know each other",
    ),
];

/// Lines of a function, from its `fn` to its last brace.
const FUNCTION_LINES_MAX: usize = 70;
/// File, function, and why it is longer.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[(
    "broker/src/quorum/start.rs",
    "start",
    "one list of what a member consists of",
)];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "common",
    "data",
    "handle_it",
    "helper",
    "helpers",
    "info",
    "manager",
    "misc",
    "mod",
    "util",
    "utils",
];

/// Built, installed, written by a broker, or bytes for the decoders: not ours to read.
const SKIPPED: &[&str] = &[
    ".git",
    "__pycache__",
    "corpus",
    "milena-data",
    "node_modules",
    "target",
];

const CODE: &[&str] = &["rs", "py", "go", "js", "mjs", "java", "sh"];
const TEXT: &[&str] = &["md", "toml", "yaml", "yml", "json", "mod", "xml", "txt"];
/// Files of code or text whose names end otherwise.
const NAMED: &[&str] = &["Dockerfile", "Makefile", "run"];

/// What stays behind when work was meant to go on. Written so that this file does not hold them.
const LEFT_BEHIND: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("to", "do!("),
    concat!("db", "g!("),
    concat!("unimplement", "ed!("),
];

/// Where some machine has things; nobody else's has.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/tmp/", "wt"),
    concat!("/tmp/", "target"),
];

/// What a simulated cluster would not see, and the one file of the broker that may use it.
const PAST_THE_SIMULATION: &[(&str, &str)] = &[
    ("spawn_blocking", "broker/src/blocking.rs"),
    ("SystemTime", "broker/src/clock.rs"),
];

/// The workspace's manifests but for the root's; the fuzzer is a workspace of its own.
const FUZZER: &str = "broker/protocol/fuzz";

struct Source {
    /// From the repository's root, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, end)| end)
    }

    fn is_code(&self) -> bool {
        CODE.contains(&self.extension())
    }
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every file of code or text in the repository.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("the repository can be read");
        for entry in entries.map(|entry| entry.expect("a folder can be read")) {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if SKIPPED.contains(&&*name) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if is_read(&name) {
                found.push(read(&path));
            }
        }
    }
    assert!(found.len() > 100, "the repository has more than this");
    found
}

fn is_read(name: &str) -> bool {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    CODE.contains(&end) || TEXT.contains(&end) || NAMED.contains(&name)
}

fn read(path: &Path) -> Source {
    let text = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{} can't be read as text: {error}", path.display()));
    let path = path.strip_prefix(root()).expect("it is below the root");
    Source {
        path: path.to_string_lossy().into_owned(),
        text,
    }
}

/// Fails with all findings at once.
fn none_found(findings: &[String]) {
    let count = findings.len();
    assert!(
        findings.is_empty(),
        "{count} to mend:\n  {}\n",
        findings.join("\n  ")
    );
}

#[test]
fn files_are_of_a_length_that_is_read_in_one_go() {
    let mut findings = Vec::new();
    let mut long = Vec::new();
    for source in sources().iter().filter(|source| source.is_code()) {
        let (path, lines) = (source.path.as_str(), source.text.lines().count());
        let reason = LONG_FILES.iter().find(|(name, _)| *name == path);
        if lines > LINES_MAX {
            findings.push(format!(
                "{path} has {lines} lines, and {LINES_MAX} is the most: move a part that has a name into a file of the \
                 folder beside it"
            ));
        } else if lines > LINES_USUAL && reason.is_none() {
            findings.push(format!(
                "{path} has {lines} lines, above {LINES_USUAL}: split it, or give the reason in LONG_FILES"
            ));
        }
        if lines > LINES_USUAL {
            long.push(path.to_owned());
        }
    }
    let stale = LONG_FILES
        .iter()
        .filter(|(name, _)| !long.iter().any(|path| path == name));
    findings.extend(
        stale.map(|(name, _)| format!("{name} is not long any more: take it out of LONG_FILES")),
    );
    none_found(&findings);
}

/// A function's name, and its lines in all, as rustfmt writes it: it ends with the first brace that stands as far to the
/// left as it began. What has no body is none.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let rest = &lines[at..];
        let head_end = |line: &&str| line.ends_with(['{', ';', '}']);
        let Some(head) = rest.iter().position(head_end) else {
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let is_last = |line: &&str| line.strip_prefix(indent) == Some("}");
        let body = rest[head].ends_with('{').then(|| &rest[head..]);
        let end = body.and_then(|body| body.iter().position(is_last));
        found.extend(end.map(|end| (name, head + end + 1)));
    }
    found
}

/// The name where a line begins a function.
fn function_name(line: &str) -> Option<&str> {
    const BEFORE: &[&str] = &["pub", "const", "async", "unsafe", "extern", "\"C\""];
    let (before, after) = line.trim_start().split_once("fn ")?;
    let is_before = |word: &str| BEFORE.contains(&word) || word.starts_with("pub(");
    let is_inside = |word: &str| word.ends_with(')');
    let is_function = before
        .split_whitespace()
        .all(|word| is_before(word) || is_inside(word));
    let end = after.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())?;
    (is_function && end > 0).then(|| &after[..end])
}

#[test]
fn functions_fit_on_a_screen() {
    let mut findings = Vec::new();
    let mut long = Vec::new();
    let mut count = 0;
    let sources = sources();
    for source in sources.iter().filter(|source| source.extension() == "rs") {
        for (name, lines) in functions(&source.text) {
            count += 1;
            if lines <= FUNCTION_LINES_MAX {
                continue;
            }
            let reason = LONG_FUNCTIONS
                .iter()
                .position(|(path, function, _)| *path == source.path && *function == name);
            match reason {
                Some(index) => long.push(index),
                None => findings.push(format!(
                    "{}: {name} has {lines} lines, and {FUNCTION_LINES_MAX} is the most: give a part of it a name, or \
                     the reason in LONG_FUNCTIONS",
                    source.path
                )),
            }
        }
    }
    assert!(count > 1000, "functions are found as they are written");
    for (index, (path, name, _)) in LONG_FUNCTIONS.iter().enumerate() {
        if !long.contains(&index) {
            findings.push(format!(
                "{path}: {name} is not long any more: take it out of LONG_FUNCTIONS"
            ));
        }
    }
    none_found(&findings);
}

#[test]
fn a_functions_lines_are_counted_to_its_own_brace() {
    let text = "impl A {\n    pub(in crate::b) async fn long(\n        a: u8,\n    ) -> u8 {\n        if a {\n        }\n    }\n\n    \
                fn short() {}\n}\n\ntrait B {\n    fn none(&self);\n}\n\nconst fn last() {\n    // the fn of old\n}\n";
    assert_eq!(functions(text), [("long", 6), ("last", 3)]);
}

#[test]
fn names_say_what_is_inside() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.is_code()) {
        for part in source.path.split('/') {
            let stem = part.split('.').next().unwrap_or_default();
            if EMPTY_NAMES.contains(&stem) {
                findings.push(format!(
                    "{}: {part} says nothing: name it after what it holds, and put `x.rs` beside `x/`",
                    source.path
                ));
            }
        }
    }
    none_found(&findings);
}

#[test]
fn nothing_is_left_for_later() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| source.is_code()) {
        for (at, line) in source.text.lines().enumerate() {
            if let Some(word) = LEFT_BEHIND.iter().find(|word| line.contains(*word)) {
                findings.push(format!(
                    "{}:{}: {word} is to be done now or dropped",
                    source.path,
                    at + 1
                ));
            }
        }
    }
    none_found(&findings);
}

#[test]
fn the_broker_reaches_what_is_not_its_own_by_one_module_each() {
    let mut findings = Vec::new();
    for Source { path, text } in sources() {
        let is_simulated = path.starts_with("broker/src/") && !path.starts_with("broker/src/cli/");
        for (word, module) in PAST_THE_SIMULATION {
            if is_simulated && !path.contains("tests") && path != *module && text.contains(word) {
                findings.push(format!("{path}: {word} is what {module} is for"));
            }
        }
    }
    none_found(&findings);
}

#[test]
fn no_path_is_of_one_machine() {
    let mut findings = Vec::new();
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(*path)) {
                findings.push(format!(
                    "{}:{}: {path} is not there on other machines: take the path from an argument, or relative",
                    source.path,
                    at + 1
                ));
            }
        }
    }
    none_found(&findings);
}

/// The names in a section of a manifest, each with its line.
fn section(manifest: &str, is_ours: impl Fn(&str) -> bool) -> Vec<(&str, &str)> {
    let mut ours = false;
    let mut entries = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            ours = is_ours(line.trim_matches(['[', ']']));
        } else if let Some((name, _)) = line
            .split_once('=')
            .filter(|_| ours && !line.starts_with('#'))
        {
            let name = name.trim();
            entries.push((name.strip_suffix(".workspace").unwrap_or(name), line));
        }
    }
    entries
}

#[test]
fn each_dependency_is_used_and_has_its_version_in_one_place() {
    let sources = sources();
    let mut manifests: Vec<&Source> = sources
        .iter()
        .filter(|source| source.path.ends_with("Cargo.toml") && !source.path.starts_with(FUZZER))
        .collect();
    manifests.sort_by_key(|source| source.path.len());
    let (table, members) = manifests.split_first().expect("there is a root manifest");
    let mut uses: BTreeMap<&str, usize> =
        section(&table.text, |name| name == "workspace.dependencies")
            .into_iter()
            .map(|(name, _)| (name, 0))
            .collect();
    assert!(
        !uses.is_empty(),
        "the root manifest has [workspace.dependencies]"
    );
    let mut findings = Vec::new();
    for member in members {
        for (name, line) in section(&member.text, |name| name.ends_with("dependencies")) {
            // A crate that names itself, for a feature of its tests, has no version to keep.
            if !line.contains("workspace") && !line.contains("path = \".\"") {
                findings.push(format!(
                    "{}: {name} has a version of its own: move it to the root manifest and write workspace = true",
                    member.path
                ));
            }
            if let Some(count) = uses.get_mut(name) {
                *count += 1;
            }
        }
    }
    let unused = uses.iter().filter(|(_, count)| **count == 0);
    findings
        .extend(unused.map(|(name, _)| format!("Cargo.toml: no crate uses {name}: take it out")));
    none_found(&findings);
}

/// The API's number in `//! Name (key N)`, where the line begins so and the name is the file's.
fn api_key(source: &Source) -> Option<i16> {
    let stem = source.path.rsplit('/').next()?.strip_suffix(".rs")?;
    let name: String = stem
        .split('_')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect();
    let rest = source.text.strip_prefix(&format!("//! {name} (key "))?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

#[test]
fn files_of_an_api_open_with_its_name_and_key() {
    const SCHEMAS: &str = "broker/protocol/src/api";
    const HANDLERS: &str = "broker/src/api";
    let mut findings = Vec::new();
    let mut keys: BTreeMap<String, i16> = BTreeMap::new();
    let mut sources = sources();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    for source in &sources {
        let Some((folder, file)) = source.path.rsplit_once('/') else {
            continue;
        };
        if folder != SCHEMAS && folder != HANDLERS {
            continue;
        }
        let Some(key) = api_key(source) else {
            findings.push(format!(
                "{}: begin with `//! Name (key N): what it is`, the name being the file's in capitals",
                source.path
            ));
            continue;
        };
        match keys.insert(file.to_owned(), key) {
            Some(other) if other != key => findings.push(format!(
                "{file} has key {other} in {SCHEMAS} and {key} in {HANDLERS}: one of them is wrong"
            )),
            _ => {}
        }
    }
    assert!(keys.len() >= 30, "the APIs are where this looks for them");
    none_found(&findings);
}

/// The fields in a table of settings: `"a.name" a_field: type = ...`.
fn setting_fields(table: &str) -> Vec<(&str, &str)> {
    let rows = table.lines().filter_map(|line| {
        let (name, rest) = line.trim().strip_prefix('"')?.split_once("\" ")?;
        Some((name, rest.split_once(':')?.0))
    });
    let is_field = |field: &str| field.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
    rows.filter(|(_, field)| is_field(field)).collect()
}

#[test]
fn each_setting_that_is_said_to_have_an_effect_is_read() {
    const CONFIG: &str = "broker/src/config/";
    // What turns a setting, or several, into an answer, in a table's file or beside it.
    const READERS: &[&str] = &["listeners.rs", "load.rs", "quorum.rs", "topic.rs"];
    let sources = sources();
    let text = |path: &str| {
        let found = sources.iter().find(|source| source.path == path);
        &*found.expect("the tables are where this looks").text
    };
    let (of_broker, of_topic) = (
        text("broker/src/config/broker.rs"),
        text("broker/src/config/topic.rs"),
    );
    let readers: Vec<&Source> = sources
        .iter()
        .filter(|source| source.path.starts_with("broker/src/"))
        .filter(|source| match source.path.strip_prefix(CONFIG) {
            Some(file) => READERS.contains(&file),
            None => true,
        })
        .collect();
    let is_read = |field: &str| {
        let end = |rest: &str| !rest.starts_with(|c: char| c == '_' || c.is_ascii_alphanumeric());
        let read = format!(".{field}");
        readers
            .iter()
            .any(|source| source.text.split(&read).skip(1).any(end))
    };
    // Decisions ask for a setting by its name.
    let is_named = |name: &str| {
        let named = format!("\"{name}\"");
        let mut decisions = sources.iter();
        decisions.any(|source| {
            source.path.starts_with("broker/metadata/src/") && source.text.contains(&named)
        })
    };
    let fields = [setting_fields(of_broker), setting_fields(of_topic)].concat();
    assert!(fields.len() > 80, "the rows are read as they are written");
    let mut findings = Vec::new();
    for (name, field) in fields {
        // A topic's setting may stand for the broker's.
        let inherited = of_topic.contains(&format!("\"{name}\" * "));
        if !inherited && !is_read(field) && !is_named(name) {
            findings.push(format!(
                "{name} changes nothing, as nobody reads {field}: honour it, or move it to {CONFIG}accepted.rs with \
                 the reason"
            ));
        }
    }
    none_found(&findings);
}
