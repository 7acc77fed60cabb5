#!/usr/bin/env bash
# Usage: run.sh SECONDS [TARGET...]
# Fuzzes each target for that long from its kept corpus, in bounded memory. A crash stops it with a non-zero
# exit and the path of the input that caused it; new finds go below the target folder, not into the corpus.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:?usage: run.sh SECONDS [TARGET...]}
shift
if [ $# -eq 0 ]; then
    set -- $(basename -s .rs fuzz_targets/*.rs)
fi
version=0.13.2
root=$(cd ../../.. && pwd)
build=${CARGO_TARGET_DIR:-$root/target}
tools=$build/tools
unset CARGO_TARGET_DIR

# The sanitizer needs a nightly compiler, or a stable one that is told to act as one.
if cargo +nightly --version >/dev/null 2>&1; then
    export RUSTUP_TOOLCHAIN=nightly
else
    export RUSTC_BOOTSTRAP=1
fi
if [ ! -x "$tools/bin/cargo-fuzz" ]; then
    cargo install --quiet --locked --root "$tools" "cargo-fuzz@$version"
fi

for target in "$@"; do
    found=$build/fuzz-corpus/$target
    artifacts=$build/fuzz-artifacts/$target
    mkdir -p "$found" "$artifacts"
    "$tools/bin/cargo-fuzz" fuzz run --fuzz-dir . --target-dir "$build/fuzz" \
        "$target" "$found" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -timeout=10 \
        -rss_limit_mb=1024 -malloc_limit_mb=256 \
        -artifact_prefix="$artifacts/" -print_final_stats=1
done
