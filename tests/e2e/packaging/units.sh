#!/bin/bash
# The units of packaging/ under a real systemd: they verify, start, are ready only when they serve, and come back after
# a kill. Within a cell (tests/cluster/cell.sh), whose root is thrown away:
#
#   tests/cluster/cell.sh run -- tests/e2e/packaging/units.sh build/bin
set -euo pipefail
bin=$(readlink -f "${1:?the folder of the programs}")
root=$(cd "$(dirname "$0")/../../.." && pwd)
units=/run/cell-units
[[ -d $units ]] || { echo 'run it in a cell: it installs units'; exit 2; }
failed=0
check() { # TITLE COMMAND...: passes if the command does, within 15 s; one that hangs is tried again
  local title=$1 _
  shift
  for _ in $(seq 150); do
    if timeout 20 bash -c '"$@"' - "$@" >/dev/null 2>&1; then echo "  ok    $title"; return; fi
    sleep 0.1
  done
  echo "  FAIL  $title: $*"
  failed=1
}
property() { systemctl show -p "$2" --value "$1"; }
is() { [[ $(property "$1" "$2") == "$3" ]]; }
keys() { ETCDCTL_API=3 etcdctl --endpoints=unix:///run/isla/etcd/c.sock:0 "$@"; }
export -f property is keys

install -m 0755 "$bin"/{islad,isla,isla-agentd,isla-shim,isla-init,isla-supervisor,isla-policyc} /usr/bin
cp "$root"/packaging/*.service "$units"
verified=$(env -u SYSTEMD_UNIT_PATH systemd-analyze verify --man=no "$root"/packaging/*.service 2>&1 |
  grep -E 'isla|packaging' || true)
if [[ -z $verified ]]; then echo '  ok    systemd-analyze verify'; else echo "  FAIL  systemd-analyze verify: $verified"; failed=1; fi

# No port of the host's: the cell shares its network.
mkdir -p /etc/isla "$units/islad.service.wants"
echo 'ISLAD_FLAGS=--store=etcd:unix:///run/isla/etcd/c.sock:0 --api-listen=' >/etc/isla/islad.env
ln -s ../isla-etcd.service "$units/islad.service.wants/" # as `systemctl enable` does
mkdir "$units/islad.service.d"
systemctl daemon-reload
check 'islad starts, and etcd before it' systemctl start islad.service
check 'etcd is active' is isla-etcd.service ActiveState active
check 'islad is active' is islad.service ActiveState active
check 'the watchdog is armed' is islad.service WatchdogUSec 30s
check 'etcd has the keys of isla' bash -c 'ETCDCTL_API=3 etcdctl --endpoints=unix:///run/isla/etcd/c.sock:0 get --keys-only /isla/default/meta/cluster | grep -q cluster'
check 'only its user can enter the folder of etcd' bash -c '[[ $(stat -c "%a %U" /run/isla/etcd) == "700 etcd" ]]'
check 'nor that of its data' bash -c '[[ $(stat -c "%a %U" /var/lib/isla/etcd) == "700 etcd" ]]'
check 'islad answers' isla get projects

# A killed etcd 3.4 leaves its socket: as systemd starts it again, and as after a crash of the machine's systemd.
before=$(property isla-etcd.service MainPID)
kill -KILL "$before"
check 'a killed etcd is started again' bash -c \
  "[[ \$(systemctl show -p MainPID --value isla-etcd.service) != 0 && \$(systemctl show -p MainPID --value isla-etcd.service) != $before ]]"
check 'and serves' keys get /isla/default/meta/cluster
check 'islad goes on' isla get projects
systemctl stop isla-etcd.service
check 'etcd stopped without an error' is isla-etcd.service Result success
# What a killed one leaves where the folder outlives it.
install -d -o etcd -g etcd -m 0700 /run/isla/etcd
runuser -u etcd -- python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind("/run/isla/etcd/c.sock:0")' 2>/dev/null ||
  runuser -u etcd -- touch '/run/isla/etcd/c.sock:0'
check 'a stale socket is no obstacle' systemctl start isla-etcd.service
check 'and it serves' keys get /isla/default/meta/cluster

# A process whose threads all hang is ended by the watchdog.
before=$(property islad.service MainPID)
printf '[Service]\nWatchdogSec=2\n' >"$units/islad.service.d/watchdog.conf"
systemctl daemon-reload
systemctl restart islad.service
before=$(property islad.service MainPID)
sleep 3
check 'an islad that lives is left alone' is islad.service MainPID "$before"
kill -STOP "$before"
check 'one that hangs is started again' bash -c \
  "[[ \$(systemctl show -p MainPID --value islad.service) != 0 && \$(systemctl show -p MainPID --value islad.service) != $before ]]"
check 'and answers' isla get projects
if [[ $failed != 0 ]]; then
  systemctl status --no-pager islad.service isla-etcd.service || true
fi
systemctl stop islad.service isla-etcd.service || true
exit $failed
