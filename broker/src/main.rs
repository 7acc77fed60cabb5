//! The `milena` binary: parse, then call.

fn main() -> std::process::ExitCode {
    milena::allocator::return_large_blocks();
    milena::cli::Cli::read().run()
}
