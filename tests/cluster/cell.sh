#!/bin/bash
# A cell: a private systemd, with PID 1, root, cgroups and D-Bus of its own, on a machine whose PID 1 may
# not be systemd (a container, a CI machine). Tests and scripts/quickstart run isla's daemons in one.
#
#   cell.sh run [--bind DIR]... [--] COMMAND [ARG...]   boot a cell, run one command in it, end it; its status
#   cell.sh boot NAME [--bind DIR]...                   boot one that stays
#   cell.sh enter NAME [--] COMMAND [ARG...]            run a command in it
#   cell.sh stop NAME                                   end it with all that runs in it
#   cell.sh list                                        the names of those that stay
#
# Needs root and Debian's systemd and dbus. The cell shares the host's network and kernel. It sees the host's
# files through an overlay whose upper layer is a tmpfs: whatever it writes is gone with it, but for the
# folders given by --bind (made if missing), which are the host's own. Its cgroups are a subtree of the
# host's; both pure v2 and hybrid v1 work. That systemd knows a handful of units made here: with the host's
# unit path, its tmpfiles rules would empty the host's /tmp and the host's services would start twice.
#
# Files: /run/isla-cell/NAME/{pid,log,work}. A cell's processes die with its `unshare`.
set -euo pipefail
self=$(readlink -f "$0")
project=$(dirname "$(dirname "$(dirname "$self")")")
state=/run/isla-cell
legacy=(cpu cpuacct cpuset memory devices freezer blkio pids)

die() { echo "cell: $*" >&2; exit 125; }

# Sets `binds`; what is left of the arguments goes to `rest`.
options() {
  binds=()
  while [[ ${1:-} == --* ]]; do
    case $1 in
      --bind) binds+=("$(readlink -m "$2")"); shift 2 ;;
      --) shift; break ;;
      *) die "unknown option '$1'" ;;
    esac
  done
  rest=("$@")
}

boot() { # NAME; uses binds
  local name=$1
  [[ $name =~ ^[a-z0-9][a-z0-9.-]*$ ]] || die "bad name '$name'"
  [[ $(id -u) == 0 ]] || die 'needs root'
  [[ -x /lib/systemd/systemd && -x /usr/bin/dbus-daemon ]] ||
    die "needs Debian's systemd and dbus: apt-get install systemd dbus"
  mkdir -p "$state"
  mkdir "$state/$name" 2>/dev/null || die "'$name' exists; end it with: $0 stop $name"
  local dir=$state/$name b i init
  mkdir "$dir/work"
  # /tmp is the cell's own: a checkout that lies there must be shown again.
  if [[ $project == /tmp/* ]]; then binds+=("$project"); fi
  for b in "${binds[@]}"; do mkdir -p "$b"; done
  CELL_STAGE=join CELL_NAME=$name CELL_WORK=$dir/work CELL_BIND=$(IFS=:; echo "${binds[*]}") \
    setsid unshare --pid --fork --mount --uts --ipc --kill-child=KILL --propagation private \
    "$self" </dev/null >"$dir/log" 2>&1 &
  echo $! >"$dir/pid"
  disown $!
  for i in $(seq 300); do
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
    if init_of "$name" && enter "$name" systemctl is-active --quiet default.target 2>/dev/null; then
      return 0
    fi
    sleep 0.03
  done
  cat "$dir/log" >&2
  stop "$name"
  die 'systemd did not start'
}

# The pid of the cell's PID 1, as the host sees it, goes to `init`.
init_of() {
  local outer
  outer=$(cat "$state/$1/pid" 2>/dev/null) || return 1
  init=$(cat "/proc/$outer/task/$outer/children" 2>/dev/null) || return 1
  init=${init%% *}
  [[ -n $init && $(cat "/proc/$init/comm" 2>/dev/null) == systemd ]]
}

enter() {
  local name=$1 init
  shift
  if [[ ${1:-} == -- ]]; then shift; fi
  init_of "$name" || die "no cell '$name'"
  local folder=$PWD
  [[ -d /proc/$init/root$folder ]] || folder=/
  nsenter -t "$init" --mount --pid --cgroup --uts --ipc --wdns="$folder" -- "$@"
}

stop() {
  local name=$1 outer h i
  [[ -d $state/$name ]] || return 0
  outer=$(cat "$state/$name/pid" 2>/dev/null || true)
  if [[ -n $outer ]]; then
    kill -KILL "$outer" 2>/dev/null || true
    for i in $(seq 100); do kill -0 "$outer" 2>/dev/null || break; sleep 0.02; done
  fi
  for h in $(hierarchies); do
    for i in $(seq 50); do
      [[ -d $h/isla-cell-$name ]] || break
      find "$h/isla-cell-$name" -depth -type d -exec rmdir {} + 2>/dev/null && break
      sleep 0.05
    done
  done
  rm -rf --one-file-system "${state:?}/$name"
}

# The mount points of the host's cgroup hierarchies that a cell takes part in.
hierarchies() {
  if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then echo /sys/fs/cgroup; return; fi
  local h
  for h in /sys/fs/cgroup/*/; do
    if [[ -w ${h}cgroup.procs ]]; then echo "${h%/}"; fi
  done
}

join() { # in own pid, mount, uts, ipc namespaces: enter cgroups of one's own, then unshare the view
  local h
  for h in $(hierarchies); do
    mkdir "$h/isla-cell-$CELL_NAME"
    if [[ $h == */cpuset ]]; then # a new cpuset of v1 is empty
      cat "$h/cpuset.cpus" >"$h/isla-cell-$CELL_NAME/cpuset.cpus"
      cat "$h/cpuset.mems" >"$h/isla-cell-$CELL_NAME/cpuset.mems"
    fi
    echo $$ >"$h/isla-cell-$CELL_NAME/cgroup.procs"
  done
  CELL_STAGE=root exec unshare --cgroup "$self"
}

root() { # build the private root, become its systemd
  local work=$CELL_WORK new=$CELL_WORK/new b c t
  mount -t tmpfs -o mode=755 cell "$work"
  mkdir "$work"/{upper,layer,new}
  mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/layer" cell "$new"
  mount -t proc proc "$new/proc"
  mount --rbind /dev "$new/dev"
  mount -t sysfs sysfs "$new/sys"
  mount -t tmpfs -o mode=755 cell "$new/run"
  mount -t tmpfs -o mode=1777 cell "$new/tmp"
  IFS=: read -ra binds <<<"${CELL_BIND:-}"
  for b in "${binds[@]}"; do mkdir -p "$new$b"; mount --rbind "$b" "$new$b"; done
  if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then
    mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
  else
    mount -t tmpfs -o mode=755 cell "$new/sys/fs/cgroup"
    for c in "${legacy[@]}"; do
      mkdir "$new/sys/fs/cgroup/$c"
      mount -t cgroup -o "$c" cgroup "$new/sys/fs/cgroup/$c"
    done
    mkdir "$new"/sys/fs/cgroup/{systemd,unified}
    mount -t cgroup -o none,name=systemd cgroup "$new/sys/fs/cgroup/systemd"
    mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup/unified"
  fi
  mkdir -p "$new/run/cell-units" "$new/run/systemd/system"
  cp /lib/systemd/system/dbus.{socket,service} "$new/run/cell-units/"
  for t in sysinit basic sockets shutdown slices; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$t" >"$new/run/cell-units/$t.target"
  done
  printf '[Unit]\nDescription=cell\nRequires=dbus.socket\nAfter=dbus.socket\nAllowIsolate=yes\n' \
    >"$new/run/cell-units/default.target"
  mkdir -p "$new/oldroot"
  cd "$new"
  pivot_root . oldroot
  umount -l /oldroot
  export container=isla-cell SYSTEMD_UNIT_PATH=/run/systemd/transient:/run/cell-units SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=err
  unset CELL_STAGE CELL_NAME CELL_WORK CELL_BIND
  exec /lib/systemd/systemd --system --show-status=no
}

run() {
  options "$@"
  [[ ${#rest[@]} -gt 0 ]] || die 'run: no command'
  local name=run-$$ status=0
  # shellcheck disable=SC2064
  trap "stop $name" EXIT
  boot "$name"
  enter "$name" systemd-run --scope --quiet --unit=cell -p Delegate=yes -- "${rest[@]}" || status=$?
  exit "$status"
}

case "${CELL_STAGE:-}" in
join | root) "$CELL_STAGE" ;;
*)
  case "${1:-}" in
    run) shift; run "$@" ;;
    boot) name=${2:?NAME}; shift 2; options "$@"; boot "$name" ;;
    enter) shift; enter "$@" ;;
    stop) stop "${2:?NAME}" ;;
    list) ls "$state" 2>/dev/null || true ;;
    *) sed -n '2,20s/^# \{0,1\}//p' "$self" >&2; exit 2 ;;
  esac ;;
esac
