#!/usr/bin/env bash
# Usage: run.sh [--quick] [--rounds N] [CASE...]; run.sh --help says more.
#
# Builds what is measured, gets the clients, measures, and writes docs/benchmarks.md with its plots.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
${CARGO:-cargo} build --release -p milena -p e2e --bin milena --bin floor
./e2e/clients/install.sh confluent-kafka || echo "run.sh: goes on without librdkafka" >&2
PYTHONDONTWRITEBYTECODE=1 exec python3 "$here/main.py" "$@"
