#!/usr/bin/env bash
# Usage: charts/crds.sh
#
# Copies crds/, which is generated from the operator's types, into the chart. A test notices when it was forgotten.
set -euo pipefail
cd "$(dirname "$0")/.."
to=charts/milena-operator/files/crds
rm -rf "$to"
mkdir -p "$to"
cp crds/*.yaml "$to/"
