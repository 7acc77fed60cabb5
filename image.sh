#!/usr/bin/env bash
# Usage: image.sh [TAG]        without a tag: milena:dev
#
# Builds the program statically linked and puts it into an image of its own. Needs docker (the classic builder does),
# and glibc's static library, which Debian has in libc6-dev. DOCKER names another engine's command, such as podman.
set -euo pipefail
cd "$(dirname "$0")"

tag=${1:-milena:dev}
docker=${DOCKER:-docker}
size_max=$((25 * 1024 * 1024))
target=$(uname -m)-unknown-linux-gnu
# A folder of its own, so that these flags and the usual ones do not undo each other's work.
folder=target/image
files=$folder/files

command -v "$docker" > /dev/null || {
  echo "image.sh: $docker is not there: install it (Debian: apt-get install docker.io), or name another with DOCKER=" >&2
  exit 1
}

# With --target the flag is not for build scripts and macros, which must stay dynamic.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
  "${CARGO:-cargo}" build --release --locked -p milena --target "$target" --target-dir "$folder"
rm -rf "$files"
mkdir -p "$files/data"
strip -s -o "$files/milena" "$folder/$target/release/milena"

size=$(stat -c %s "$files/milena")
if [ "$size" -ge "$size_max" ]; then
  echo "image.sh: the program has $size bytes, $size_max is the bound: see with cargo-bloat what has grown" >&2
  exit 1
fi

# Only the classic builder can be relied on; the Dockerfile asks for nothing more.
DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} "$docker" build -t "$tag" .
echo "$tag: $((size / 1024)) KiB. docker run -p 9092:9092 -p 9404:9404 -v milena:/data $tag"
