//! The broker and its command line. `main.rs` only parses and calls.

pub mod api;
pub mod config;
