//! What the end-to-end tests share: a broker process or a cluster of them, and the real clients that run against it.

pub mod answer;
pub mod broker;
pub mod cluster;
pub mod command;
pub mod http;
pub mod kube;
pub mod ledger;
pub mod load;
pub mod process;
pub mod skip;
pub mod suite;
pub mod trial;
pub mod wire;
pub mod witness;
