#!/bin/bash
# The peers of bench_start, timed the same way on the same machine: `docker run`, `srun`, `runc run`, `crun run` of
# a command that ends at once, from the start of the client to its end. Run in a cell, by bench/run. A peer that
# isn't installed or doesn't start is left out, and said so.
#   peers.sh [ROUNDS]
set -euo pipefail
rounds=${1:-20}
work=$(mktemp -d /run/isla-peers-XXXX)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; umount "$work/cgroup" 2>/dev/null; true' EXIT

# row NAME GAP COMMAND...: the median and the 99th percentile of the rounds.
row() {
  local name=$1 gap=$2 i begin log=$work/peer.log
  shift 2
  "$@" >"$log" 2>&1 </dev/null || { printf '| %-38s | did not run: %s |\n' "$name" "$(tail -1 "$log" | cut -c1-80)"; return 0; }
  for ((i = 0; i < rounds; i++)); do
    begin=${EPOCHREALTIME/./}
    "$@" >/dev/null 2>&1 </dev/null
    echo $((${EPOCHREALTIME/./} - begin))
    [[ $gap == 0 ]] || sleep 0.1
  done | sort -n | awk -v name="$name" -v how="$([[ $gap == 0 ]] && echo 'back to back' || echo '100 ms gaps')" \
    '{ v[NR] = $1 / 1000 } END { printf "| %-38s | %-12s | %7.2f | %7.2f |        |\n", name, how, v[int((NR + 1) / 2)], v[int(NR * 0.99) + (NR * 0.99 > int(NR * 0.99))] }'
}
both() { row "$1" 0 "${@:2}"; row "$1" 1 "${@:2}"; }

mkdir -p "$work"/{root/bin,docker,munge,slurm}
cp /bin/busybox "$work/root/bin/busybox"
ln -s busybox "$work/root/bin/true"

if command -v runc >/dev/null; then
  mkdir "$work/bundle"
  ln -s "$work/root" "$work/bundle/rootfs"
  (cd "$work/bundle" && runc spec && sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"\/bin\/true"/; s/"rootfs"/"..\/root"/' config.json)
  one() { "$1" run --bundle "$work/bundle" "peer-$RANDOM$RANDOM"; }
  both 'runc run true' one runc
fi
if command -v dockerd >/dev/null; then
  dockerd --iptables=false --bridge=none --data-root="$work/docker/data" --exec-root="$work/docker/exec" \
    --pidfile="$work/docker/pid" -H "unix://$work/docker.sock" >"$work/dockerd.log" 2>&1 &
  pids+=($!)
  for _ in $(seq 100); do docker -H "unix://$work/docker.sock" info >/dev/null 2>&1 && break; sleep 0.1; done
  tar -C "$work/root" -c . | docker -H "unix://$work/docker.sock" import - peer >/dev/null 2>&1 || true
  both 'docker run --rm true' docker -H "unix://$work/docker.sock" run --rm --network=none --memory=64m peer /bin/true
fi
if command -v slurmctld >/dev/null; then
  host=$(uname -n)
  head -c 1024 /dev/urandom >"$work/munge.key"
  chown -R munge: "$work/munge" "$work/munge.key"
  chmod 755 "$work"
  chmod 400 "$work/munge.key"
  install -d -o munge -m 755 /run/munge /var/log/munge /var/lib/munge
  setpriv --reuid=munge --regid=munge --clear-groups munged --key-file="$work/munge.key" --force >/dev/null 2>&1 || true
  cat >"$work/slurm.conf" <<EOF
ClusterName=peer
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/munge
StateSaveLocation=$work/slurm/state
SlurmdSpoolDir=$work/slurm/spool
SlurmctldPidFile=$work/slurm/ctld.pid
SlurmdPidFile=$work/slurm/d.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
EOF
  mkdir -p "$work/slurm"/{state,spool}
  export SLURM_CONF=$work/slurm.conf
  slurmctld -D >"$work/ctld.log" 2>&1 &
  pids+=($!)
  slurmd -D >"$work/slurmd.log" 2>&1 &
  pids+=($!)
  for _ in $(seq 100); do [[ $(sinfo -h -o %T 2>/dev/null) == idle ]] && break; sleep 0.1; done
  both 'srun true' srun -Q /bin/true
fi
