//! Runs Milena on Kubernetes: brings each `KafkaCluster` and `Topic` closer to its spec, and says in its status what it
//! waits for.

pub mod crd;
