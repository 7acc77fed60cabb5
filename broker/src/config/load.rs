//! Loading: the files' values, a later file's over an earlier one's, over them the environment's, over them the
//! flags'. Every problem is found before any is reported, each with its place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::listeners::Surroundings;
use super::quorum;
use super::setting::Effect;
use super::{
    BrokerConfig, Layers, TopicConfig, Values, accepted, broker_settings, find, listeners,
};

mod properties;
mod yaml;

/// Where values come from, in rising order.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Files of `name: value` (YAML) or `name=value` (Java properties) by their endings.
    pub files: Vec<PathBuf>,
    /// The process's environment; names that don't begin with `MILENA_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Flags: the flag as the user wrote it, the setting's name, the value.
    pub flags: Vec<(String, String, String)>,
    /// This machine's name, which clients are told for a listener without a host.
    pub host_name: String,
}

impl Sources {
    /// The process's environment and machine, without files and flags.
    pub fn here() -> Self {
        let host_name = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        Self {
            host_name,
            environment,
            ..Self::default()
        }
    }

    /// Settings as flags give them; everything else is the default. For tests.
    pub fn of(settings: &[(&str, &str)]) -> Self {
        let flag = |(name, value): &(&str, &str)| {
            ("--set".to_owned(), (*name).to_owned(), (*value).to_owned())
        };
        Self {
            host_name: "localhost".into(),
            flags: settings.iter().map(flag).collect(),
            ..Self::default()
        }
    }

    /// Reads and checks everything: the configuration, and sentences for the log about settings that have
    /// no effect here.
    pub fn load(&self) -> Result<(BrokerConfig, Vec<String>), LoadError> {
        let texts = read_files(&self.files)?;
        let mut problems = Vec::new();
        let given = self.given(&texts, &mut problems);
        let (values, warnings) = check(&given, &mut problems);
        let config = build(&values, &given, self, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok((config, warnings)),
            _ => Err(LoadError { problems }),
        }
    }

    /// What each source says, the last one counting.
    fn given(
        &self,
        files: &[(&Path, String)],
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<String, Given> {
        let mut given = BTreeMap::new();
        for (path, text) in files {
            let parsed = if is_yaml(path, text) {
                yaml::parse(text)
            } else {
                properties::parse(text)
            };
            read_entries(path, parsed, &mut given, problems);
        }
        let variables: BTreeMap<String, &str> =
            broker_settings().map(|s| (s.variable(), s.name)).collect();
        for (variable, value) in self
            .environment
            .iter()
            .filter(|(name, _)| name.starts_with("MILENA_"))
        {
            let place = Place::Variable(variable.clone());
            match variables.get(variable) {
                Some(name) => {
                    given.insert(
                        (*name).to_owned(),
                        Given {
                            value: value.clone(),
                            place,
                        },
                    );
                }
                None if is_not_a_setting(variable) => {}
                None => {
                    let known = nearest(variable, variables.keys().map(String::as_str));
                    problems.push(unknown_variable(place, known));
                }
            }
        }
        for (flag, name, value) in &self.flags {
            given.insert(
                name.clone(),
                Given {
                    value: value.clone(),
                    place: Place::Flag(flag.clone()),
                },
            );
        }
        given
    }
}

/// A line of a file: its number from 1, the setting's name, the value.
struct Entry {
    line: usize,
    name: String,
    value: String,
}

/// A line that can't be read.
struct Unreadable {
    line: usize,
    problem: String,
}

/// The value of a setting and where it was given.
struct Given {
    value: String,
    place: Place,
}

fn read_entries(
    path: &Path,
    parsed: Result<Vec<Entry>, Unreadable>,
    given: &mut BTreeMap<String, Given>,
    problems: &mut Vec<Problem>,
) {
    let place = |line| Place::File(path.to_owned(), line);
    let entries = match parsed {
        Ok(entries) => entries,
        Err(bad) => {
            problems.push(Problem {
                place: place(bad.line),
                name: None,
                text: bad.problem,
            });
            return;
        }
    };
    for entry in entries {
        if let Some(Given {
            place: Place::File(file, first),
            ..
        }) = given.get(&entry.name)
            && file == path
        {
            let text = format!("is given in line {first} already; keep one of them");
            problems.push(Problem {
                place: place(entry.line),
                name: Some(entry.name.clone()),
                text,
            });
        }
        given.insert(
            entry.name,
            Given {
                value: entry.value,
                place: place(entry.line),
            },
        );
    }
}

/// Checks each value by its row.
fn check(given: &BTreeMap<String, Given>, problems: &mut Vec<Problem>) -> (Values, Vec<String>) {
    let mut values = Values::new();
    let mut warnings = Vec::new();
    for (name, Given { value, place }) in given {
        let Some(setting) = find(name) else {
            if accepted::PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
            {
                warnings.push(format!(
                    "{place}: {name} has no effect: it belongs to a part that is not there."
                ));
            } else {
                let dotted = find(&name.replace('_', ".")).map(|setting| setting.name);
                let known =
                    dotted.or_else(|| nearest(name, broker_settings().map(|setting| setting.name)));
                let mut problem = Problem::unknown(place.clone(), "is not a setting", known);
                if let Some(known) = known.and_then(|known| given.get(known)) {
                    problem.text +=
                        &format!(" That is given too: {}; keep one of them", known.place);
                }
                problems.push(Problem {
                    name: Some(name.clone()),
                    ..problem
                });
            }
            continue;
        };
        match setting.check(value) {
            Ok(value) => {
                if setting.effect == Effect::Ignored {
                    warnings.push(format!(
                        "{place}: {name} has no effect. {}",
                        setting.documentation()
                    ));
                }
                values.insert(name.clone(), value);
            }
            Err(text) => problems.push(Problem {
                place: place.clone(),
                name: Some(name.clone()),
                text,
            }),
        }
    }
    (values, warnings)
}

/// Types the values and checks what concerns several of them.
fn build(
    values: &Values,
    given: &BTreeMap<String, Given>,
    sources: &Sources,
    problems: &mut Vec<Problem>,
) -> Option<BrokerConfig> {
    let layers = Layers {
        start: Arc::new(values.clone()),
        ..Layers::default()
    };
    let mut settings = layers.settings();
    let mut found = super::check_together(&settings);
    if settings.broker_id >= 0 {
        if values.contains_key("node.id") && settings.node_id != settings.broker_id {
            let text = format!(
                "is {} but node.id is {}; give one of them",
                settings.broker_id, settings.node_id
            );
            found.push(("broker.id", text));
        }
        settings.node_id = settings.broker_id;
    }
    let around = Surroundings {
        given: &|name| values.contains_key(name),
        host_name: &sources.host_name,
    };
    let listeners = listeners::resolve(&settings, &around)
        .map_err(|bad| found.extend(bad))
        .ok();
    let quorum = listeners.as_deref().and_then(|listeners| {
        quorum::resolve(&settings, listeners)
            .map_err(|bad| found.extend(bad))
            .ok()
    });
    let place = |name: &str| {
        given
            .get(name)
            .map_or(Place::Default, |given| given.place.clone())
    };
    let located = |(name, text): (&'static str, String)| Problem {
        place: place(name),
        name: Some(name.into()),
        text,
    };
    // A value that its own row refused has been left out above: what follows from its absence is no news.
    let news = |(name, _): &(&'static str, String)| {
        values.contains_key(*name) || !given.contains_key(*name)
    };
    problems.extend(found.into_iter().filter(news).map(located));
    let topic_defaults = Arc::new(TopicConfig::resolve(&layers, &Values::new()));
    Some(BrokerConfig {
        settings,
        listeners: listeners?,
        quorum: quorum?,
        topic_defaults,
        layers,
        sources: Arc::new(sources.clone()),
    })
}

/// Everything that keeps the broker from starting, sorted by place.
#[derive(Debug)]
pub struct LoadError {
    problems: Vec<Problem>,
}

impl std::error::Error for LoadError {}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[derive(Debug)]
struct Problem {
    place: Place,
    name: Option<String>,
    text: String,
}

impl Problem {
    fn unknown(place: Place, what: &str, known: Option<&str>) -> Self {
        let text = match known {
            Some(known) => format!("{what}; did you mean {known}?"),
            None => format!("{what}; `milena config reference` lists all that are"),
        };
        Self {
            place,
            name: None,
            text,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) if matches!(self.place, Place::Default) => {
                write!(f, "{name}: {}", self.text)
            }
            Some(name) => write!(f, "{}: {name}: {}", self.place, self.text),
            None => write!(f, "{}: {}", self.place, self.text),
        }
    }
}

/// A broker that goes on without a setting that someone believes to have made is worse than none.
fn unknown_variable(place: Place, known: Option<&str>) -> Problem {
    let hint = match known {
        Some(known) => format!("did you mean {known}?"),
        None => "`milena config reference` lists all that are.".to_owned(),
    };
    let text = format!("is not a setting; {hint} Unset it if it is meant for another program.");
    Problem {
        place,
        name: None,
        text,
    }
}

/// Where a value was given.
#[derive(Debug, Clone)]
enum Place {
    File(PathBuf, usize),
    Variable(String),
    Flag(String),
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The largest file that is read: far above any configuration, far below what would hurt.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Each file with its text, in their order. One that is named twice is a mistake: which place would count?
fn read_files(paths: &[PathBuf]) -> Result<Vec<(&Path, String)>, LoadError> {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for (at, path) in paths.iter().enumerate() {
        let is_same = |other: &PathBuf| other == path || is_one_file(other, path);
        let text = match paths[..at].iter().any(is_same) {
            true => {
                Err("is named twice; name it once, in the place where it is to count".to_owned())
            }
            false => read_file(path),
        };
        match text {
            Ok(text) => texts.push((path.as_path(), text)),
            Err(text) => problems.push(Problem {
                place: Place::Flag(path.display().to_string()),
                name: None,
                text,
            }),
        }
    }
    match problems.is_empty() {
        true => Ok(texts),
        false => Err(LoadError { problems }),
    }
}

fn is_one_file(one: &Path, other: &Path) -> bool {
    let (one, other) = (one.canonicalize(), other.canonicalize());
    one.ok()
        .is_some_and(|one| other.is_ok_and(|other| one == other))
}

fn read_file(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| format!("can't be read: {error}"))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(format!(
            "has {size} bytes, which is more than a configuration has ({FILE_BYTES_MAX})"
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("can't be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".into())
}

/// By the ending, and without a known one by the first line that says something.
fn is_yaml(path: &Path, text: &str) -> bool {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml" | "json") => true,
        Some("properties" | "conf" | "cfg") => false,
        _ => {
            let lines = text.lines().map(str::trim);
            let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
            lines.next().is_some_and(|line| {
                line == "---"
                    || line
                        .find(':')
                        .is_some_and(|colon| line.find('=').is_none_or(|equals| colon < equals))
            })
        }
    }
}

/// Variables that are no settings: those of the command line, and those that Kubernetes adds to every pod
/// beside a Service whose name begins with `milena`.
fn is_not_a_setting(variable: &str) -> bool {
    let rest = &variable["MILENA_".len()..];
    let is_port = rest.ends_with("_PORT") || rest == "PORT";
    let is_port_detail = rest.starts_with("PORT_") || rest.contains("_PORT_");
    COMMAND_LINE_VARIABLES.contains(&variable)
        || rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || is_port
        || is_port_detail
}

/// Variables that the command line reads itself.
pub const COMMAND_LINE_VARIABLES: &[&str] = &[
    "MILENA_CONFIG",
    "MILENA_BOOTSTRAP",
    "MILENA_TOKEN_FILE",
    "MILENA_GRACE_PERIOD",
];

/// The known name that is most like this one, where one is like it at all.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE: f64 = 0.8;
    let scored = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score >= LIKE)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests;
