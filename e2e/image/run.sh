#!/usr/bin/env bash
# Usage: e2e/image/run.sh [TAG]        tests the image milena:TAG (dev), which `make image` has built
#
# The image as people use it: first without any argument, as the README has it, which tells clients localhost:9092, so
# that port has to be free; then a broker for clients on this host and in other containers, which find it by its name,
# and which keeps what it has when it is made anew. Needs docker and kcat. What it starts is gone at its end.
set -euo pipefail

image=milena:${1:-dev}
docker=${DOCKER:-docker}
name=milena-image-test-$$
root=$(cd "$(dirname "$0")/../.." && pwd)
plain_port=9092
port=${PORT:-39092}

say() { printf '%s image: %s\n' "$(date +%T)" "$*"; }

clean_up() {
  local status=$?
  [ "$status" -eq 0 ] || "$docker" logs "$name" 2>&1 | tail -n 30 >&2 || true
  local file
  for file in compose.yaml compose.cluster.yaml; do
    compose "$file" down -v > /dev/null 2>&1 || true
  done
  "$docker" rm -f -v "$name" > /dev/null 2>&1 || true
  "$docker" volume rm "$name" > /dev/null 2>&1 || true
  "$docker" network rm "$name" > /dev/null 2>&1 || true
  exit "$status"
}

# compose FILE ARGUMENTS...: as docker's plugin, or as the program of its own that came before it.
compose() {
  local files=(-p "$name" -f "$root/$1")
  shift
  if "$docker" compose version > /dev/null 2>&1; then
    "$docker" compose "${files[@]}" "$@"
  elif command -v docker-compose > /dev/null; then
    docker-compose "${files[@]}" "$@"
  else
    return 127
  fi
}

# The arguments are those of compose.yaml, on another port.
start() {
  "$docker" run -d --name "$name" --network "$name" --network-alias milena -p "127.0.0.1:$port:9092" -v "$name:/data" \
    --read-only --cap-drop ALL "$image" serve --data=/data \
    --listeners=PLAINTEXT://:9092,INSIDE://:19092 \
    --advertised-listeners="PLAINTEXT://localhost:$port,INSIDE://milena:19092" \
    --set=listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT > /dev/null
}

inside() {
  "$docker" run --rm -i --network "$name" "$image" "$@"
}

until_it_serves() { # PORT
  local tries
  for tries in $(seq 100); do
    kcat -b "localhost:$1" -L -m 2 > /dev/null 2>&1 && return
    sleep 0.1
  done
  echo "e2e/image/run.sh: no broker answers at localhost:$1 after $tries tries" >&2
  return 1
}

expect() { # WANTED FOUND WHAT
  [ "$1" = "$2" ] || { echo "e2e/image/run.sh: $3: wanted '$1', found '$2'" >&2; exit 1; }
}

stop() {
  "$docker" stop -t 30 "$name" > /dev/null
  expect 0 "$("$docker" inspect -f '{{.State.ExitCode}}' "$name")" 'a stop in order'
}

trap clean_up EXIT
"$docker" image inspect "$image" > /dev/null || { echo "e2e/image/run.sh: no image $image: run make image" >&2; exit 1; }
"$docker" network create "$name" > /dev/null

say "$image with what it brings: its user, command and folder"
expect 65532:65532 "$("$docker" image inspect -f '{{.Config.User}}' "$image")" 'the user'
"$docker" run -d --name "$name" -p "127.0.0.1:$plain_port:9092" "$image" > /dev/null
until_it_serves "$plain_port"
echo plain | kcat -b "localhost:$plain_port" -P -t notes -p 0
expect plain "$(kcat -b "localhost:$plain_port" -C -t notes -p 0 -o beginning -e -q)" 'kcat reads what it wrote'
stop
"$docker" rm -v "$name" > /dev/null

say "a broker of $image"
start
until_it_serves "$port"
say 'clients on this host'
echo 'from the host' | kcat -b "localhost:$port" -P -t notes -p 0
expect 'from the host' "$(kcat -b "localhost:$port" -C -t notes -p 0 -o beginning -e -q)" 'kcat reads what it wrote'
say 'clients in another container, by name'
echo 'from inside' | inside produce notes -b milena:19092
expect $'from inside\nfrom the host' "$(inside consume notes -b milena:19092 --from beginning --exit | sort)" 'both records'
say 'the container is made anew on the same volume'
stop
"$docker" rm "$name" > /dev/null
start
until_it_serves "$port"
expect 2 "$(kcat -b "localhost:$port" -C -t notes -o beginning -e -q | wc -l)" 'the records are there'
stop

if [ "$image" != milena:dev ]; then
  say "SKIPPED compose: its files are for milena:dev"
elif ! compose compose.yaml version > /dev/null 2>&1; then
  say 'SKIPPED compose: neither docker compose nor docker-compose is there (Debian: apt-get install docker-compose)'
else
  for file in compose.yaml compose.cluster.yaml; do
    say "$file"
    compose "$file" up -d > /dev/null 2>&1
    until_it_serves "$plain_port"
    echo 'by compose' | kcat -b "localhost:$plain_port" -P -t notes -X acks=all
    expect 'by compose' "$(kcat -b "localhost:$plain_port" -C -t notes -o beginning -e -q)" 'kcat reads what it wrote'
    compose "$file" down -v > /dev/null 2>&1
  done
fi
say 'ok'
