#!/bin/bash
# Unpacks Debian's kubernetes-client (kubectl 1.20) to build/kubectl-1.20 without installing it; prints the
# path of its kubectl. Done already: nothing to do.
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
folder=$root/build/kubectl-1.20
if [[ ! -x $folder/usr/bin/kubectl ]]; then
  mkdir -p "$root/build"
  work=$(mktemp -d "$root/build/kubectl-1.20.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  (cd "$work" && apt-get download -q kubernetes-client >&2)
  dpkg -x "$work"/kubernetes-client_*.deb "$work/tree"
  rm -rf "$folder"
  mv "$work/tree" "$folder"
fi
echo "$folder/usr/bin/kubectl"
