//! What is known of a namespace and of the operator, in files, for whoever reads why a test has failed.

use std::fs;
use std::path::Path;

use super::{Kube, list, operator, text};

/// What of each of these is kept, as `kubectl get` names them.
const KINDS: &str = "kafkaclusters,topics.milena.dev,statefulsets,pods,persistentvolumeclaims,services,configmaps,\
    poddisruptionbudgets,networkpolicies,serviceaccounts";

/// Keeps what can be had; what can't, says why in its file.
pub fn keep(kube: &Kube, namespace: &str, folder: &Path) {
    let write = |file: &str, what: anyhow::Result<String>| {
        let text = what.unwrap_or_else(|error| format!("{error:#}\n"));
        if let Err(error) = fs::write(folder.join(file), text) {
            eprintln!("{file} can't be kept: {error}");
        }
    };
    write("nodes.txt", kube.kubectl(&["get", "nodes", "-o", "wide"]));
    for (file, namespace) in [("", namespace), ("operator-", operator::NAMESPACE)] {
        let get = |arguments: &[&str]| kube.kubectl(&[&["-n", namespace][..], arguments].concat());
        write(
            &format!("{file}resources.yaml"),
            get(&["get", KINDS, "-o", "yaml"]),
        );
        write(
            &format!("{file}overview.txt"),
            get(&["get", KINDS, "-o", "wide"]),
        );
        write(
            &format!("{file}events.txt"),
            get(&["get", "events", "--sort-by=.lastTimestamp"]),
        );
        write(
            &format!("{file}describe-pods.txt"),
            get(&["describe", "pods"]),
        );
        for pod in pods(kube, namespace) {
            let logs =
                |more: &[&str]| get(&[&["logs", &*pod, "--all-containers"][..], more].concat());
            write(&format!("{file}{pod}.log"), logs(&[]));
            if let Ok(before) = logs(&["--previous"]) {
                write(&format!("{file}{pod}.previous.log"), Ok(before));
            }
        }
    }
}

fn pods(kube: &Kube, namespace: &str) -> Vec<String> {
    let found = kube
        .json(&["-n", namespace, "get", "pods"])
        .unwrap_or_default();
    let names = list(&found["items"])
        .iter()
        .map(|pod| text(&pod["metadata"]["name"]));
    names.map(str::to_owned).collect()
}
