//! Runs Milena on Kubernetes: brings each `KafkaCluster` and `Topic` closer to its spec, and says in its status what it
//! waits for.

pub mod apply;
pub mod cluster;
pub mod context;
pub mod controller;
pub mod crd;
pub mod door;
pub mod events;
pub mod leader;
pub mod metrics;
pub mod namespace;
pub mod nodes;
pub mod queue;
pub mod reference;
pub mod revision;
pub mod server;
pub mod topic;
