#!/bin/bash
# A virtual machine as a user's node is: Debian 12 with systemd as PID 1, pure cgroup v2 and Debian's stock kernel
# 6.1. Emulated (no KVM is needed), so about ten times slower than the machine below: for behaviour, not for times.
#
#   vm.sh run [--with DIR]... -- COMMAND [ARG...]   boots one, runs the command as root in it, powers it off; its status
#   vm.sh prepare                                   only makes the root disk and the kernel (cached in build/vm)
#
# Each DIR is copied in, under the same path. Whatever the machine writes is gone with it. Needs Debian's
# qemu-system-x86, mmdebstrap and e2fsprogs; about two minutes the first time.
set -euo pipefail
self=$(readlink -f "$0")
project=$(dirname "$(dirname "$(dirname "$self")")")
cache=${ISLA_VM_CACHE:-$project/build/vm}
# What the project's programs link, and what its tests run inside.
packages=systemd,systemd-sysv,dbus,procps,util-linux,kmod,curl,gcc,libc6-dev,python3-minimal,etcd-server,etcd-client
packages+=,libgrpc++1.51,libprotobuf32,libfmt9,libspdlog1.10,libyajl2,libseccomp2,libssl3,libsystemd0,libsqlite3-0,libabsl20220623

die() { echo "vm: $*" >&2; exit 125; }

prepare() {
  [[ -f $cache/root.ext4 && -f $cache/vmlinuz && -f $cache/initrd ]] && return 0
  command -v qemu-system-x86_64 mmdebstrap mke2fs cpio >/dev/null ||
    die 'needs: apt-get install qemu-system-x86 mmdebstrap e2fsprogs cpio'
  echo 'vm: making the root disk (once)' >&2
  rm -rf "$cache.tmp"
  mkdir -p "$cache.tmp"/{root,initrd/bin,kernel}
  cd "$cache.tmp"
  local name
  name=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
  apt-get download -q "$name" >/dev/null 2>&1 || die "can't download $name"
  dpkg -x "$name"_*.deb kernel
  cp kernel/boot/vmlinuz-* vmlinuz
  mmdebstrap --variant=apt --mode=root --include="$packages" --dpkgopt='path-exclude=/usr/share/{doc,man,locale}/*' \
    bookworm root >mmdebstrap.log 2>&1 || { tail -5 mmdebstrap.log >&2; die 'mmdebstrap failed'; }
  local release modules=root/lib/modules m
  release=$(ls kernel/lib/modules)
  mkdir -p "$modules/$release/kernel/fs" "$modules/$release/kernel/drivers/block"
  cp -a kernel/lib/modules/"$release"/kernel/fs/overlayfs "$modules/$release/kernel/fs/"
  cp kernel/lib/modules/"$release"/modules.{order,builtin,builtin.modinfo} "$modules/$release/"
  chroot root /sbin/depmod "$release"
  printf '[Unit]\nDescription=the command of vm.sh\nAfter=multi-user.target\n[Service]\nType=oneshot\nExecStart=/host/command\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/ttyS1\nExecStopPost=/usr/bin/systemctl --no-block poweroff\n[Install]\nWantedBy=default.target\n' \
    >root/etc/systemd/system/isla-vm.service
  ln -sf /lib/systemd/system/multi-user.target root/etc/systemd/system/default.target
  mkdir -p root/etc/systemd/system/default.target.wants root/host
  ln -sf ../isla-vm.service root/etc/systemd/system/default.target.wants/isla-vm.service
  for m in getty@tty1 serial-getty@ttyS0 serial-getty@ttyS1 apt-daily.timer apt-daily-upgrade.timer etcd systemd-timesyncd; do
    ln -sf /dev/null "root/etc/systemd/system/$m$([[ $m == *.* ]] || echo .service)"
  done
  echo isla-vm >root/etc/hostname
  : >root/etc/fstab # no udev in it: the initrd mounts both disks
  mke2fs -q -t ext4 -d root root.ext4 3G
  cp /bin/busybox initrd/bin/ 2>/dev/null || die 'needs: apt-get install busybox-static'
  for m in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
    find "kernel/lib/modules/$release" -name "$m.ko" -exec cp {} initrd/ \;
  done
  cat >initrd/init <<'EOF'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /new
/bin/busybox mount -t devtmpfs dev /dev
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
  [ -f /$m.ko ] && /bin/busybox insmod /$m.ko
done
for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; /bin/busybox sleep 0.2; done
/bin/busybox mount -t ext4 /dev/vda /new && /bin/busybox mount -t ext4 /dev/vdb /new/host || exec /bin/busybox poweroff -f
/bin/busybox umount /dev
exec /bin/busybox switch_root /new /lib/systemd/systemd
EOF
  chmod 755 initrd/init
  (cd initrd && find . | cpio -o -H newc 2>/dev/null) >initrd.cpio
  mv initrd.cpio initrd.img
  rm -rf root kernel initrd ./*.deb
  mv initrd.img initrd
  rm -rf "$cache"
  mv "$cache.tmp" "$cache"
}

run() {
  local with=() work status
  while [[ ${1:-} == --* ]]; do
    case $1 in
      --with) with+=("$(readlink -f "$2")"); shift 2 ;;
      --) shift; break ;;
      *) die "unknown option '$1'" ;;
    esac
  done
  [[ $# -gt 0 ]] || die 'run: no command'
  prepare
  work=$(mktemp -d "${TMPDIR:-/tmp}/isla-vm-XXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  mkdir "$work/host"
  local d
  {
    printf '#!/bin/bash\n'
    for d in "${with[@]}"; do
      mkdir -p "$work/host/tree$(dirname "$d")"
      cp -a "$d" "$work/host/tree$d"
      printf 'mkdir -p %q; mount --bind %q %q\n' "$d" "/host/tree$d" "$d"
    done
    env | grep -E '^ISLA_' | sed -E "s/^([^=]+)=(.*)$/export \1='\2'/"
    printf 'cd / ; %s\necho "vm: status $?"\nsync\n' "$(printf '%q ' "$@")"
  } >"$work/host/command"
  chmod 755 "$work/host/command"
  mke2fs -q -t ext4 -d "$work/host" "$work/host.ext4" 2G 2>/dev/null
  timeout "${ISLA_VM_TIMEOUT:-600}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3G -nographic -no-reboot \
    -kernel "$cache/vmlinuz" -initrd "$cache/initrd" -snapshot \
    -append 'console=ttyS0 root=/dev/vda quiet loglevel=3 systemd.show_status=no mitigations=off no_timer_check' \
    -drive "file=$cache/root.ext4,if=virtio,format=raw" -drive "file=$work/host.ext4,if=virtio,format=raw" \
    -monitor none -nic none -serial "file:$work/console" -serial "file:$work/output" </dev/null >"$work/qemu" 2>&1 ||
    { tail -n 20 "$work/console" >&2; tail -n 20 "$work/qemu" >&2; die 'the machine did not end by itself'; }
  tr -d '\r' <"$work/output" | grep -v '^vm: status ' || true
  status=$(tr -d '\r' <"$work/output" | sed -n 's/^vm: status //p' | tail -1)
  if [[ -z $status ]]; then tail -30 "$work/console" >&2; die 'the command did not end'; fi
  exit "$status"
}

case "${1:-}" in
  run) shift; run "$@" ;;
  prepare) prepare ;;
  *) sed -n '2,11s/^# \{0,1\}//p' "$self" >&2; exit 2 ;;
esac
