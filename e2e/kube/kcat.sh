#!/usr/bin/env bash
# Usage: e2e/kube/kcat.sh TAG        milena-e2e-kcat:TAG
#
# An image of kcat and the libraries that it loads, and of nothing else: a client of librdkafka for pods. kcat is the
# machine's own, or comes from Debian's packages (e2e/clients/install.sh).
set -euo pipefail
cd "$(dirname "$0")/../.."

image=milena-e2e-kcat:$1
folder=target/e2e/kcat
docker=${DOCKER:-docker}

e2e/clients/install.sh kcat || {
  echo 'e2e/kube/kcat.sh: kcat is needed for the client inside: https://github.com/edenhill/kcat' >&2
  exit 1
}
kcat=$(command -v kcat)
rm -rf "$folder"
for file in "$kcat" $(ldd "$kcat" | grep -o '/[^ ]*'); do
  install -D -m 755 "$(realpath "$file")" "$folder$file"
done
mv "$folder$kcat" "$folder/kcat"
printf 'FROM scratch\nCOPY . /\nENTRYPOINT ["/kcat"]\n' > "$folder/Dockerfile"
DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} "$docker" build -q -t "$image" "$folder" > /dev/null
echo "$image: $(($("$docker" image inspect -f '{{.Size}}' "$image") / 1000)) kB"
