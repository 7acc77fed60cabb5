//! The broker and its command line. `main.rs` only parses and calls.

pub mod api;
pub mod cli;
pub mod config;
pub mod group;
pub mod logging;
pub mod quorum;
