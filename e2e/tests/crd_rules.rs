//! The resources' rules on a real API server: what is refused, by `kubectl apply` of either kind, when an object is made,
//! changed, when a field is taken away, and when it is set again after that. Takes about a minute.
//!
//! E2E_CONTEXT names kubectl's context of a Kubernetes cluster; without it there is nothing to ask, and the test says so.
//! It installs `crds/` there, as they stand here, and uses a namespace of its own.

#[path = "crd_rules/cases.rs"]
mod cases;
#[path = "crd_rules/changes.rs"]
mod changes;
#[path = "crd_rules/kubectl.rs"]
mod kubectl;

use std::collections::BTreeSet;

use cases::{Refused, merge};
use changes::Change;
use e2e::skip::skipped;
use kubectl::{Kubectl, Mode, name_of};
use serde_json::{Value, json};

const DEFINITIONS: [&str; 2] = ["kafkaclusters", "topics"];
const MODES: [Mode; 2] = [Mode::ClientSide, Mode::ServerSide];

#[test]
fn each_rule_refuses_with_its_words_and_nothing_else_does() {
    let Some(kubectl) = Kubectl::from_environment() else {
        let why = "E2E_CONTEXT names no Kubernetes cluster; `make e2e` makes one";
        skipped("crd_rules", why).expect("it is told");
        return;
    };
    install(&kubectl);
    kubectl.must(&["create", "namespace", &kubectl.namespace], "");
    let mut said = String::new();
    for mode in MODES {
        said += &good_ones(&kubectl, mode);
        said += &created(&kubectl, mode, cases::cluster, &cases::clusters());
        said += &created(&kubectl, mode, cases::topic, &cases::topics());
        said += &changed(&kubectl, mode, cases::cluster, &changes::clusters());
        said += &changed(&kubectl, mode, cases::topic, &changes::topics());
    }
    let unsaid: Vec<_> = messages(&kubectl)
        .into_iter()
        .filter(|it| !said.contains(it))
        .collect();
    assert!(
        unsaid.is_empty(),
        "no case here is refused by these rules: {unsaid:#?}"
    );
}

fn install(kubectl: &Kubectl) {
    for name in DEFINITIONS {
        let path = format!("{}/../crds/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        kubectl.must(
            &["apply", "--server-side", "--force-conflicts", "-f", &path],
            "",
        );
        let crd = format!("crd/{name}.milena.dev");
        kubectl.must(
            &["wait", "--for=condition=Established", "--timeout=30s", &crd],
            "",
        );
    }
}

/// Every rule's message, as the API server has it.
fn messages(kubectl: &Kubectl) -> BTreeSet<String> {
    let mut messages = BTreeSet::new();
    for name in DEFINITIONS {
        let crd = format!("{name}.milena.dev");
        let text = kubectl.must(&["get", "crd", &crd, "-o", "json"], "");
        gather(
            &serde_json::from_str(&text).expect("kubectl writes JSON"),
            &mut messages,
        );
    }
    assert!(
        messages.len() > 30,
        "there are more rules than {messages:?}"
    );
    messages
}

fn gather(value: &Value, messages: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let rules = members
                .get("x-kubernetes-validations")
                .and_then(Value::as_array);
            let rules = rules.into_iter().flatten();
            messages.extend(rules.filter_map(|rule| Some(rule["message"].as_str()?.to_owned())));
            members.values().for_each(|member| gather(member, messages));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, messages)),
        _ => {}
    }
}

/// An object for one mode: both have their own.
fn object(base: fn(&str) -> Value, mode: Mode, name: &str, change: &Value) -> Value {
    let letter = match mode {
        Mode::ClientSide => "c",
        Mode::ServerSide => "s",
    };
    merge(
        base(&format!("{name}-{letter}")),
        &json!({ "spec": change }),
    )
}

fn good_ones(kubectl: &Kubectl, mode: Mode) -> String {
    let mut full = cases::full();
    let name = object(cases::cluster, mode, "full", &json!({}));
    full["metadata"] = name["metadata"].clone();
    let bare = [
        object(cases::cluster, mode, "bare", &json!({})),
        object(cases::topic, mode, "bare", &json!({})),
        full,
    ];
    let applied = kubectl.apply(mode, &bare);
    for object in &bare {
        applied.takes(&name_of(object));
    }
    applied.words().collect()
}

/// Each is refused when it is made, and when an object that is there becomes like it.
fn created(kubectl: &Kubectl, mode: Mode, base: fn(&str) -> Value, refused: &[Refused]) -> String {
    let objects: Vec<_> = refused
        .iter()
        .map(|case| object(base, mode, case.name, &case.change))
        .collect();
    let made = kubectl.apply(mode, &objects);
    for (case, object) in refused.iter().zip(&objects) {
        made.refuses(&name_of(object), case.words);
    }
    // Where the name is what is wrong, there is none to change.
    let changing = |case: &&Refused| {
        case.change
            .as_object()
            .is_some_and(|change| !change.is_empty())
    };
    let changing: Vec<_> = refused.iter().filter(changing).collect();
    let there: Vec<_> = changing
        .iter()
        .map(|case| object(base, mode, case.name, &json!({})))
        .collect();
    let taken = kubectl.apply(mode, &there);
    let after: Vec<_> = changing
        .iter()
        .map(|case| object(base, mode, case.name, &case.change))
        .collect();
    let changed = kubectl.apply(mode, &after);
    for (case, object) in changing.iter().zip(&after) {
        taken.takes(&name_of(object));
        changed.refuses(&name_of(object), case.words);
    }
    made.words().chain(changed.words()).collect()
}

fn changed(kubectl: &Kubectl, mode: Mode, base: fn(&str) -> Value, changes: &[Change]) -> String {
    let before: Vec<_> = changes
        .iter()
        .map(|case| object(base, mode, case.name, &case.before))
        .collect();
    let made = kubectl.apply(mode, &before);
    before
        .iter()
        .for_each(|object| made.takes(&name_of(object)));
    let mut said = String::new();
    let longest = changes
        .iter()
        .map(|case| case.then.len())
        .max()
        .unwrap_or(0);
    for at in 0..longest {
        let now: Vec<_> = changes
            .iter()
            .filter_map(|case| Some((case, case.then.get(at)?)))
            .collect();
        let objects: Vec<_> = now
            .iter()
            .map(|(case, (change, _))| object(base, mode, case.name, change))
            .collect();
        let applied = kubectl.apply(mode, &objects);
        for ((_, (_, words)), object) in now.iter().zip(&objects) {
            match words {
                Some(words) => applied.refuses(&name_of(object), words),
                None => applied.takes(&name_of(object)),
            }
        }
        said.extend(applied.words());
    }
    said
}
