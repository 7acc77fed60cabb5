#!/usr/bin/env bash
# Usage: e2e/kube/run.sh [TEST...]        names below e2e/tests without .rs; without one: every kube_* and crd_rules
#
# Makes a cluster of kind, builds both images and one of kcat, the client inside, and brings them there, runs the tests, and
# deletes what it made. Needs kind, kubectl, helm and docker on the PATH. kcat is the machine's own or comes by apt-get, and
# what else clients need is installed below target/clients (e2e/clients/README.md).
#
#   E2E_CONTEXT=kind-NAME  use this cluster, and leave it; any other context has to have the images already
#   KIND_IMAGE=IMAGE       another node image than kind's own
#   KINDBOX=PROGRAM        makes the cluster where no image registry can be reached; ../shared/kindbox/kindbox is used
#                          where it is there and KIND_IMAGE is not given. It installs kind and the rest.
#   E2E_KEEP=1             leave the cluster that was made
#   IMAGE_OF=release       test the images of `make image`, and not those that are quick to build
#   E2E_SKIP_BUILD=1       take the images as they are
#   TESTS_AT_ONCE=2        how many files of tests run side by side, of those that may
#
# crd_rules, which asks the API server alone, needs no images; with it goes what else asks for one (operator/tests). For
# kube_versions a second pair of images is built, stamped with the next version and a level more.
#
# What can be known of a failure is below target/e2e.
set -euo pipefail
cd "$(dirname "$0")/../.."

name=milena-e2e
config=$PWD/e2e/kind.yaml
export IMAGE_OF=${IMAGE_OF:-debug}
suffix=; [ "$IMAGE_OF" = release ] || suffix=-$IMAGE_OF
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
images=("milena$suffix:$version" "milena-operator$suffix:$version" "milena-e2e-kcat:$version")
# The next minor version, of the second pair.
next=$(awk -F. '{ print $1 "." $2 + 1 ".0" }' <<< "$version")
next_level=2
logs=target/e2e
tests=("$@")
((${#tests[@]})) || tests=(crd_rules 'kube_*')

kindbox=${KINDBOX-../shared/kindbox/kindbox}
[ -z "${KIND_IMAGE:-}" ] && [ -x "$kindbox" ] || kindbox=

say() { printf '%s e2e: %s\n' "$(date +%T)" "$*"; }

need() {
  local program
  for program in "$@"; do
    command -v "$program" > /dev/null || {
      echo "e2e/kube/run.sh: $program is not on the PATH. kind: https://kind.sigs.k8s.io, helm: https://helm.sh" >&2
      exit 1
    }
  done
}

# asked_for TEST: whether it is among those that are to run, by its name or by a pattern.
asked_for() {
  local test
  for test in "${tests[@]}"; do
    # shellcheck disable=SC2053 # a pattern
    [[ $1 == $test ]] && return
  done
  return 1
}

make_cluster() {
  export E2E_CONTEXT=kind-$name
  trap clean_up EXIT
  if [ -n "$kindbox" ]; then
    "$kindbox" install
    KINDBOX_CONFIG=$config "$kindbox" up "$name"
  else
    need kind
    kind create cluster --name "$name" --config "$config" --wait 3m ${KIND_IMAGE:+--image "$KIND_IMAGE"}
  fi
}

clean_up() {
  local status=$?
  [ "$status" -eq 0 ] || keep_evidence
  if [ -z "${E2E_KEEP:-}" ]; then
    say "deleting the cluster $name"
    kind delete cluster --name "$name" > /dev/null 2>&1 || true
  fi
  exit "$status"
}

# What the tests themselves can't know of: a cluster that does not come up.
keep_evidence() {
  mkdir -p "$logs"
  kubectl --context "$E2E_CONTEXT" get nodes,pods -A -o wide > "$logs/cluster.txt" 2>&1 || true
  kubectl --context "$E2E_CONTEXT" get events -A --sort-by=.lastTimestamp > "$logs/events.txt" 2>&1 || true
  say "what is known of the failure: $logs"
}

# The stamped pair first, so that what is left built is as everywhere else.
build_images() {
  if asked_for kube_versions; then
    say "building the images of $next"
    STAMP_VERSION=$next STAMP_LEVEL=$next_level ./image.sh "$next"
  fi
  say 'building the images'
  ./image.sh "$version"
  e2e/kube/kcat.sh "$version"
}

load_images() {
  [ "${tests[*]}" != crd_rules ] || return 0
  [ -n "${E2E_SKIP_BUILD:-}" ] || build_images
  if asked_for kube_versions; then
    images+=("milena$suffix:$next" "milena-operator$suffix:$next")
    export E2E_NEXT_VERSION=$next
  fi
  case $E2E_CONTEXT in
    kind-*)
      say 'bringing the images to the nodes'
      kind load docker-image --name "${E2E_CONTEXT#kind-}" "${images[@]}"
      ;;
    *) say "$E2E_CONTEXT is not of kind: ${images[*]} have to be there" ;;
  esac
}

# Files that stop nodes or the operator, need the whole cluster, or measure: nothing runs beside them.
alone=(kube_alerts kube_charts kube_drain kube_drain_replicas kube_faults kube_lost_node kube_many_topics kube_monitoring
  kube_one_broker kube_operator kube_rights kube_uninstall kube_versions)

is_alone() {
  local one
  for one in "${alone[@]}"; do
    [ "$1" != "$one" ] || return 0
  done
  return 1
}

# run_one TEST [E2E_BESIDE=1]: one file of tests; what it has said is shown at its end, so that two do not speak at once.
run_one() {
  local test=$1 log=$logs/$1.log begun=$SECONDS status=0
  env "${@:2}" "$cargo" test -q -p e2e --test "$test" -- --test-threads=1 --nocapture > "$log" 2>&1 || status=$?
  cat "$log"
  say "$test: $([ "$status" -eq 0 ] && echo passed || echo FAILED), $((SECONDS - begun)) s"
  return "$status"
}

# Those that may run side by side first, some at a time, then the others.
run_files() {
  local file test status=0 running=0 others=()
  for file in e2e/tests/*.rs; do
    test=$(basename "$file" .rs)
    if ! asked_for "$test" || [ "$test" = crd_rules ]; then
      continue
    elif is_alone "$test"; then
      others+=("$test")
      continue
    fi
    if ((running == ${TESTS_AT_ONCE:-2})); then
      wait -n || status=1
      running=$((running - 1))
    fi
    run_one "$test" E2E_BESIDE=1 &
    running=$((running + 1))
  done
  while ((running > 0)); do
    wait -n || status=1
    running=$((running - 1))
  done
  # The next ones have nothing beside them, and take the operator away that ends namespaces.
  until_gone || status=1
  for test in ${others[@]+"${others[@]}"}; do
    run_one "$test" || status=1
  done
  return "$status"
}

run_tests() {
  local status=0 begun=$SECONDS cargo=${CARGO:-cargo}
  mkdir -p "$logs"
  if asked_for crd_rules; then
    "$cargo" test -p milena-operator --test applying -- --nocapture || status=$?
  fi
  "$cargo" test -q -p e2e --no-run
  # The definitions are its own while it runs: nothing is beside it.
  if asked_for crd_rules; then
    run_one crd_rules || status=1
  fi
  run_files || status=1
  until_gone || status=1
  say "the tests took $((SECONDS - begun)) s"
  return "$status"
}

# No test waits for the end of its namespace, and none of those that run side by side for that of its brokers.
until_gone() {
  local kubectl=(kubectl --context "$E2E_CONTEXT") gone=(--for=delete namespaces -l milena.dev/e2e --timeout=300s)
  "${kubectl[@]}" wait "${gone[@]}" && return
  "${kubectl[@]}" get namespaces -l milena.dev/e2e -o yaml > "$logs/namespaces.yaml"
  say "these have not ended: $logs/namespaces.yaml"
  return 1
}

# The operator and what it looks after, where the cluster stays.
remove_operator() {
  local context=(--kube-context "$E2E_CONTEXT")
  helm "${context[@]}" status -n milena-e2e-operator milena-operator > /dev/null 2>&1 || return 0
  helm "${context[@]}" uninstall -n milena-e2e-operator milena-operator --wait
  kubectl --context "$E2E_CONTEXT" delete namespace milena-e2e-operator
}

main() {
  need docker
  if [ -n "${E2E_CONTEXT:-}" ]; then
    need kubectl helm
    load_images
    run_tests
    [ -n "${E2E_KEEP:-}" ] || remove_operator
  else
    make_cluster
    need kubectl helm
    load_images
    run_tests
  fi
}

# On one line: bash reads on where this file has changed meanwhile, and would run all of it again.
main; exit
