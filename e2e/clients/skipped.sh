#!/usr/bin/env bash
# Prints what install.sh and the tests had to skip, by reason, and what would help, so that nothing passes in silence.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
dir=${MILENA_CLIENTS_DIR:-$here/../../target/clients}
for file in "$dir"/skipped/*; do
  if [ -f "$file" ]; then echo "$(basename "$file")|$(tr '\n' ' ' < "$file" | sed 's/ $//')"; fi
done |
  awk '{
    bar = index($0, "|"); what = substr($0, 1, bar - 1); why = substr($0, bar + 1)
    if (why in names) names[why] = names[why] ", " what; else names[why] = what
  }
  END { for (why in names) print "SKIPPED " names[why] ": " why }' |
  LC_ALL=C sort
