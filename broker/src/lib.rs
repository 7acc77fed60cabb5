//! The broker and its command line. `main.rs` only parses and calls.

pub mod allocator;
mod annotations;
mod api;
mod blocking;
mod broker;
pub mod cli;
mod clock;
pub mod config;
mod connection;
mod current_leader;
mod directory_moves;
#[cfg(test)]
mod docs;
mod fetcher;
mod group;
mod http;
mod identity;
mod isr;
mod lease;
mod limits;
mod logging;
mod metrics;
mod network;
mod partition;
mod partitions;
mod peer;
mod producer_ids;
mod quorum;
mod readiness;
mod repeated_signal;
mod replica_directories;
mod rule;
pub mod server;
mod suspects;

/// The software and its version, as brokers register with it.
fn software() -> String {
    format!("milena {}", milena_metadata::VERSION)
}
