//! Runs Milena on Kubernetes: brings each `KafkaCluster` and `Topic` closer to its spec, and says in its status what it
//! waits for.

pub mod apply;
pub mod cluster;
pub mod crd;
pub mod door;
pub mod reference;
pub mod revision;
pub mod topic;
