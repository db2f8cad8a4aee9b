// The capabilities that a contained root keeps: over its own files, processes and ids. Not here: SYS_ADMIN, NET_ADMIN, NET_RAW, SYS_PTRACE,
// MKNOD, and the rest, which nothing in a container needs. Containers of sessions and runs of isla-box have the same. And the calls that keep a process
// to a set, raw: they are made between fork and exec, where the C library's would tell other threads, of which there are none.
#pragma once

#include <linux/capability.h>

#include <cstdint>
#include <initializer_list>

namespace isla::sandbox {

/// Bit n: capability n.
inline constexpr uint64_t kContainerCapabilities = [] {
  uint64_t mask = 0;
  for (const int capability : {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_SETFCAP,
                                    CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT}) {
    mask |= uint64_t{1} << capability;
  }
  return mask;
}();

/// Takes all that isn't in `kept` out of the bounding set: no exec gives it back. Does nothing for who may not do it (no CAP_SETPCAP): an exec gives such
/// a one no more either once no_new_privs is set. False with errno.
bool BoundCapabilities(uint64_t kept);

/// What is permitted and in `kept` is permitted and effective from now on; nothing is inheritable or ambient. False with errno.
bool DropCapabilities(uint64_t kept);

}  // namespace isla::sandbox
