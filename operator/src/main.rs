//! `milena-operator`: runs Milena's clusters and topics on Kubernetes.

fn main() {}
