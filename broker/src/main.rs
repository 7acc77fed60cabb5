//! The `milena` binary.

fn main() {}
