//! What the end-to-end tests share: a broker process, and the suites of real clients that run against it.

pub mod broker;
pub mod command;
pub mod load;
pub mod process;
pub mod suite;
pub mod wire;
