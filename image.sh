#!/usr/bin/env bash
# Usage: image.sh [TAG]        milena:TAG and milena-operator:TAG; without a tag: dev, and the version, as the charts want it
#
# Builds both programs statically linked and puts each into an image of its own. Needs docker (the classic builder does),
# and glibc's static library, which Debian has in libc6-dev. DOCKER names another engine's command, such as podman.
#
# IMAGE_OF=debug makes milena-debug and milena-operator-debug of the programs of `cargo build`, with the libraries that they
# load: for tests, in a fraction of the time. Everything else about those images is the same.
#
# STAMP_VERSION=0.2.0 STAMP_LEVEL=2 builds programs that call themselves that version and whose feature milena.version has
# that level, of the same sources: for tests of version changes. Without a tag of its own the image has that version as tag.
set -euo pipefail
cd "$(dirname "$0")"

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
tags=("${1:-${STAMP_VERSION:-dev}}")
[ $# -gt 0 ] || [ -n "${STAMP_VERSION:-}" ] || tags+=("$version")
docker=${DOCKER:-docker}
cargo=${CARGO:-cargo}
of=${IMAGE_OF:-release}
target=$(uname -m)-unknown-linux-gnu
# A folder of its own, so that these flags and the usual ones do not undo each other's work.
folder=target/image
# Bytes of a release's program, and of its image, which has nothing else.
size_max=$((25 * 1000 * 1000))

command -v "$docker" > /dev/null || {
  echo "image.sh: $docker is not there: install it (Debian: apt-get install docker.io), or name another with DOCKER=" >&2
  exit 1
}

build() {
  case $of in
    release)
      # With --target the flag is not for build scripts and macros, which must stay dynamic.
      RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
        "$cargo" build --release --locked -p milena -p milena-operator --target "$target" --target-dir "$folder"
      programs=$folder/$target/release
      ;;
    debug)
      "$cargo" build --locked -p milena -p milena-operator
      programs=${CARGO_TARGET_DIR:-target}/debug
      ;;
    *) echo "image.sh: IMAGE_OF is $of; it can be release or debug" >&2; exit 2 ;;
  esac
}

# bounded WHAT SIZE: nothing of a release may be as large as the bound; programs for tests may.
bounded() {
  [ "$of" = debug ] || [ "$2" -lt "$size_max" ] || {
    echo "image.sh: $1 has $2 bytes, $size_max is the bound: see with cargo-bloat what has grown" >&2
    exit 1
  }
}

# lay_out PROGRAM: what goes into its image, below target/image/files.
lay_out() {
  local files=$folder/files/$1 size library
  mkdir -p "$files"
  strip -s -o "$files/$1" "$programs/$1"
  size=$(stat -c %s "$files/$1")
  if [ "$of" = debug ]; then
    for library in $(ldd "$programs/$1" | grep -o '/[^ ]*'); do
      install -D -m 755 "$(realpath "$library")" "$files$library"
    done
  fi
  bounded "$1" "$size"
  echo "$1: $((size / 1000)) kB"
}

# Only the classic builder can be relied on; the Dockerfiles ask for nothing more.
pack() { # DOCKERFILE PROGRAM
  local image=$2 arguments=() tag size
  [ "$of" = release ] || image=$2-$of
  for tag in "${tags[@]}"; do
    arguments+=(-t "$image:$tag")
  done
  DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} "$docker" build -q -f "$1" "${arguments[@]}" . > /dev/null
  size=$("$docker" image inspect -f '{{.Size}}' "$image:${tags[0]}")
  bounded "the image $image:${tags[0]}" "$size"
  echo "$image:${tags[*]}: $((size / 1000)) kB"
}

build
rm -rf "$folder/files"
lay_out milena
lay_out milena-operator
mkdir -p "$folder/files/milena/data"
pack Dockerfile milena
pack operator/Dockerfile milena-operator
