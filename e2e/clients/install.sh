#!/usr/bin/env bash
# Usage: install.sh [SUITE...]        without names: every suite
#
# Makes each suite runnable as DIR/bin/SUITE, where DIR is $MILENA_CLIENTS_DIR or target/clients. What is there and
# fits the lock files is left as it is. Several may run at once.
#
# Runtimes that are missing come from Debian's packages when this runs as root. A suite that can't be installed is
# skipped: DIR/skipped/SUITE says why and what would help, and the exit status is 3. A failed download is an error: 1.
# Tests that are skipped add to that folder (e2e/src/skip.rs), which is emptied before every suite is installed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
dir=${MILENA_CLIENTS_DIR:-$here/../../target/clients}
mkdir -p "$dir"/{bin,locks,stamps,skipped,logs}
dir=$(cd "$dir" && pwd)

all=(kcat confluent-kafka kafka-python aiokafka pykafka sarama sarama-1.28 kafka-go franz-go kafkajs apache dump-log
  ledger-librdkafka ledger-java cluster-tools log-dirs)

install_suite() {
  case $1 in
    kcat)            system kcat kcat && python3_is_there && script kcat python3 kcat_suite.py ;;
    confluent-kafka) venv python requirements.txt && script "$1" "$dir/python/bin/python" confluent_suite.py ;;
    kafka-python)    venv python requirements.txt && script "$1" "$dir/python/bin/python" kafka_python_suite.py ;;
    aiokafka)        venv python requirements.txt && script "$1" "$dir/python/bin/python" aiokafka_suite.py ;;
    pykafka)         venv pykafka requirements-pykafka.txt && script "$1" "$dir/pykafka/bin/python" pykafka_suite.py ;;
    sarama)          go_suite "$1" ./sarama ;;
    sarama-1.28)     go_suite "$1" ./sarama -modfile sarama-1.28.mod -tags old ;;
    kafka-go)        go_suite "$1" ./kafkago ;;
    franz-go)        go_suite "$1" ./franzgo ;;
    kafkajs)         node_modules && node_script "$1" ;;
    apache)          kafka_jars && python3_is_there && script "$1" python3 apache_suite.py ;;
    dump-log)        kafka_jars && python3_is_there && script "$1" python3 dump_log.py ;;
    ledger-librdkafka) venv python requirements.txt && script "$1" "$dir/python/bin/python" ledger.py ;;
    ledger-java)     kafka_jars && java_ledger && java_script "$1" Ledger ;;
    cluster-tools)   kafka_jars && python3_is_there && script "$1" python3 cluster_suite.py ;;
    log-dirs)        kafka_jars && python3_is_there && script "$1" python3 log_dirs_suite.py ;;
    # No suites of clients, and so not installed with all of them: for e2e/image/run.sh, and for the tests of alerts.
    compose)         "${DOCKER:-docker}" compose version > /dev/null 2>&1 || system docker-compose docker-compose ;;
    prometheus)      system promtool prometheus && system prometheus prometheus ;;
    *) echo "install.sh: no suite '$1'; there are: ${all[*]}" >&2; exit 2 ;;
  esac
}

# ---------------------------------------------------------------- once

# once NAME INPUTS... -- COMMAND...: runs the command unless it has succeeded for the same inputs before.
once() {
  local name=$1 inputs=() wanted
  shift
  while [ "$1" != -- ]; do inputs+=("$1"); shift; done
  shift
  wanted=$(cat "${inputs[@]}" | sha256sum)
  (
    flock 9
    [ "$(cat "$dir/stamps/$name" 2>/dev/null)" = "$wanted" ] && exit 0
    if ! "$@" > "$dir/logs/$name" 2>&1; then
      echo "install.sh: $name could not be installed; the end of $dir/logs/$name:" >&2
      tail -n 20 "$dir/logs/$name" >&2
      exit 1
    fi
    echo "$wanted" > "$dir/stamps/$name"
  ) 9> "$dir/locks/$name" || exit 1
}

# write FILE: replaces an executable by what comes on stdin, at once, since others may be running it.
write() {
  local part
  part=$(mktemp "$1.XXXXXX")
  cat > "$part"
  chmod 755 "$part"
  mv "$part" "$1"
}

# ---------------------------------------------------------------- runtimes

# system COMMAND PACKAGE...: the command is there, or comes from Debian's packages.
system() {
  local command=$1
  shift
  command -v "$command" > /dev/null && return 0
  packages "$command is missing" "$@" && command -v "$command" > /dev/null
}

# packages REASON PACKAGE...: installs them, or says why that is not for us to do; the status tells which. Where it is, and
# fails, that is an error.
packages() {
  local reason=$1
  shift
  missing="$reason; install with: apt-get install --no-install-recommends $*"
  [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || return 1
  (
    flock 9
    export DEBIAN_FRONTEND=noninteractive
    # Somebody else may install something just now.
    apt=(apt-get -o DPkg::Lock::Timeout=600)
    "${apt[@]}" install -y --no-install-recommends "$@" ||
      { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "$@"; }
  ) 9> "$dir/locks/apt" >> "$dir/logs/apt" 2>&1 && return
  echo "install.sh: $* could not be installed; the end of $dir/logs/apt:" >&2
  tail -n 20 "$dir/logs/apt" >&2
  exit 1
}

python3_is_there() {
  system python3 python3
}

# script SUITE PYTHON FILE
script() {
  write "$dir/bin/$1" <<END
#!/bin/sh
export PYTHONDONTWRITEBYTECODE=1 MILENA_KAFKA_JARS='$dir/jars'
exec '$2' '$here/python/$3' "\$@"
END
}

# venv NAME REQUIREMENTS: an environment of its own. pykafka comes as source: its only wheel is for one old Python.
venv() {
  python3_is_there || return 1
  python3 -c 'import ensurepip, venv' 2> /dev/null ||
    packages "Python's venv is missing" python3-venv || return 1
  once "$1" "$here/python/$2" -- make_venv "$dir/$1" "$here/python/$2"
}

make_venv() {
  rm -rf "$1"
  python3 -m venv "$1" || return 1
  "$1/bin/python" -m pip install --disable-pip-version-check --no-input --no-binary pykafka -r "$2"
}

node_modules() {
  system node nodejs && system npm npm || return 1
  once node "$here/node/package.json" "$here/node/package-lock.json" -- make_node_modules
}

make_node_modules() {
  mkdir -p "$dir/node"
  cp "$here/node/package.json" "$here/node/package-lock.json" "$dir/node"
  cd "$dir/node" && npm ci --omit=dev --no-audit --no-fund
}

node_script() {
  write "$dir/bin/$1" <<END
#!/bin/sh
export NODE_PATH='$dir/node/node_modules' KAFKAJS_NO_PARTITIONER_WARNING=1
exec node '$here/node/kafkajs_suite.js' "\$@"
END
}

# Java 17 or newer, and Maven, which fetches the jars.
kafka_jars() {
  system java default-jre-headless && system mvn maven || return 1
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
  if [ "${version:-0}" -lt 17 ]; then
    missing="Java is $version, Kafka's tools need 17; install with: apt-get install openjdk-17-jre-headless"
    return 1
  fi
  once jars "$here/java/pom.xml" -- make_jars
}

make_jars() {
  rm -rf "$dir/jars"
  mvn -q -B -f "$here/java/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    "-DoutputDirectory=$dir/jars" || return 1
  archive_classes
}

# Half of a tool's second is class loading. This run ends at a closed port, and its classes are kept.
archive_classes() {
  printf 'default.api.timeout.ms=300\nrequest.timeout.ms=200\n' > "$dir/jars/impatient.properties"
  java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m "-XX:ArchiveClassesAtExit=$dir/jars/tools.jsa" \
    "-Dlog4j2.configurationFile=$here/java/log4j2.properties" -cp "$dir/jars/*" \
    org.apache.kafka.tools.TopicCommand --bootstrap-server 127.0.0.1:1 --list \
    --command-config "$dir/jars/impatient.properties" || true # it can't connect
}

java_ledger() {
  system javac default-jdk-headless || return 1
  once java-ledger "$here/java/Ledger.java" "$here/java/pom.xml" -- \
    javac -Xlint:all -d "$dir/java" -cp "$dir/jars/*" "$here/java/Ledger.java"
}

# java_script SUITE CLASS: a client that lives for minutes, beside brokers that need the cores more.
java_script() {
  write "$dir/bin/$1" <<END
#!/bin/sh
exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m "-Dlog4j2.configurationFile=$here/java/log4j2.properties" \
  -cp '$dir/jars/*:$dir/java' $2 "\$@"
END
}

# ---------------------------------------------------------------- Go

# go_suite SUITE PACKAGE BUILD-OPTIONS...
go_suite() {
  local suite=$1 package=$2
  shift 2
  system go golang-go || return 1
  once "$suite" "$here"/go/*.mod "$here"/go/*.sum "$here"/go/*/*.go -- \
    build_go "$dir/bin/$suite" "$package" "$@"
}

build_go() {
  local output=$1 package=$2
  shift 2
  cd "$here/go"
  PATH=$(recent_go):$PATH
  (
    flock 8 # one compiler at a time: two cores have enough to do with it
    GOTOOLCHAIN=auto CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build "$@" -o "$output" "$package"
  ) 8> "$dir/locks/go-build"
}

# recent_go: the folder of a go command that can read go.mod. Since 1.21 go fetches the toolchain that go.mod names;
# to an older one (Debian 12 has 1.19) the toolchain is a module like others, whose files lack their x bits.
recent_go() {
  local have toolchain root
  have=$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go1\.\([0-9]*\).*/\1/')
  if [ "$have" -ge 21 ]; then
    dirname "$(command -v go)"
    return
  fi
  toolchain=golang.org/toolchain@v0.0.1-go$(sed -n 's/^go //p' go.mod).$(go env GOOS)-$(go env GOARCH)
  (cd / && GO111MODULE=on GOFLAGS=-mod=mod go mod download "$toolchain") >&2
  root=$(go env GOMODCACHE)/$toolchain
  chmod -R u+w "$root"
  chmod +x "$root"/bin/* "$root"/pkg/tool/*/*
  echo "$root/bin"
}

# ---------------------------------------------------------------- main

[ $# -gt 0 ] || rm -f "$dir"/skipped/*
skipped=0
for suite in "${@:-${all[@]}}"; do
  missing=
  if install_suite "$suite"; then
    rm -f "$dir/skipped/$suite"
  else
    echo "${missing:-it could not be installed}" > "$dir/skipped/$suite"
    echo "SKIPPED $suite: $(cat "$dir/skipped/$suite")" >&2
    skipped=1
  fi
done
[ $skipped = 0 ] || exit 3
