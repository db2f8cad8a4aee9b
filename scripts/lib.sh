# What the scripts share: steps with their time, and the one place that installs packages. Sourced.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
started=$(date +%s.%N)

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
seconds_since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }

# step TEXT: ends the step before with its time, begins the next.
step_name= step_started=
step() {
  if [[ -n $step_name ]]; then printf -- '--- %s: %s s\n' "$step_name" "$(seconds_since "$step_started")"; fi
  step_name=${1:-} step_started=$(date +%s.%N)
  if [[ -n $step_name ]]; then printf '\n=== %s\n' "$step_name"; fi
}

# install_packages [FILE...]: installs what scripts/packages, and the files of scripts/ that are given, name and is missing. Needs
# root only when something is missing.
install_packages() {
  local missing=() name
  while read -r name; do
    dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done < <(sed 's/#.*//; /^[[:space:]]*$/d' "$root/scripts/packages" "${@/#/$root/scripts/}")
  [[ ${#missing[@]} -gt 0 ]] || return 0
  say "installing: ${missing[*]}"
  [[ $(id -u) == 0 ]] || fail "packages are missing; as root: apt-get install ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local log
  log=$(mktemp)
  # Installing etcd-server must not start an etcd of the system's.
  local policy=/usr/sbin/policy-rc.d made=
  if [[ ! -e $policy ]]; then printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; made=1; fi
  local status=0
  { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
    </dev/null >"$log" 2>&1 || status=$?
  [[ -z $made ]] || rm -f "$policy"
  if [[ $status != 0 ]]; then tail -30 "$log" >&2; fail "apt-get failed (all of its output: $log)"; fi
  rm -f "$log"
}

# build PRESET [TARGET...]: configures and builds into build/PRESET.
build() {
  local preset=$1
  shift
  export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
  local log=$root/build/$preset.configure.log
  mkdir -p "$root/build"
  (cd "$root" && cmake --preset "$preset" "${configure[@]}" >"$log" 2>&1) ||
    { tail -30 "$log" >&2; fail "cmake failed (all of its output: $log)"; }
  # One line a target is too much on a terminal that isn't one.
  ninja -C "$root/build/$preset" --quiet "$@" || fail "the build of '$preset' failed; again with: ninja -C build/$preset"
}
configure=()
