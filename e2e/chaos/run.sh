#!/usr/bin/env bash
# Usage: run.sh [FAULT...]        without names: every test of e2e/tests/failover.rs
#
# Repeats faults of a cluster under load, ROUNDS times each (30), on clusters of BROKERS ("3 5"), with the release
# build or MILENA_BIN. Writes target/chaos/table.md: dated, a row a fault; that is what docs/reliability.md holds.
# Logs, data and ledgers of a fault that fails stay in target/release/clusters.
set -uo pipefail

cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
folder=$target/chaos
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
rows=$folder/rows
: > "$rows"

# A run is a session of its own: clients have process groups of theirs, and Ctrl-C has to end them, too.
session=
end() {
  trap - INT TERM
  for _ in {1..100}; do
    [ -n "$session" ] && pkill -KILL -s "$session" || break
    sleep 0.1
  done
  for namespace in $(ip netns list 2>/dev/null | sed -n 's/^\(mz[0-9]*x[^ ]*\).*/\1/p'); do
    owner=${namespace#mz}
    [ -d "/proc/${owner%%x*}" ] || ip netns del "$namespace"
  done
  echo "run.sh: interrupted; no broker, client or network namespace of it is left" >&2
  exit 130
}
trap end INT TERM

${CARGO:-cargo} build --release -p milena || exit 1
status=0
for brokers in ${BROKERS:-3 5}; do
  MILENA_CHAOS_ROUNDS=${ROUNDS:-30} MILENA_CHAOS_BROKERS=$brokers MILENA_CHAOS_RESULTS=$rows \
    setsid ${CARGO:-cargo} test --release -p e2e --test failover -- --test-threads=1 --nocapture "$@" &
  session=$!
  wait "$session" || status=1
  session=
done

model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
cat > "$folder/table.md" <<END
$(date -u '+%-d %B %Y'), $(git rev-parse --short HEAD), $(nproc) cores ($model):

| fault | brokers | rounds | gap, librdkafka: median / max | gap, Java: median / max | acknowledged | lost | duplicated | misread |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
$(cat "$rows")

A gap is the longest time in which one partition of six acknowledged nothing to a client that sends 500 records a
second, from the fault until every replica is in sync and every partition acknowledges again. Misread is what a consumer
read twice, out of order, not at all, or otherwise than it is stored, and every time that it was told to reset.
END
cat "$folder/table.md"
[ $status = 0 ] || echo "run.sh: some fault failed; what it left is in $target/release/clusters" >&2
exit $status
