//! The `milena` binary: parse, then call.

fn main() {}
