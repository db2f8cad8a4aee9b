// What Debian 12's headers lack of the kernel's interface, and the numbers that are spelled out once.
#pragma once

#include <linux/seccomp.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace isla::supervisor {

inline constexpr unsigned long kSetFlags = SECCOMP_IOW(4, uint64_t);  // SECCOMP_IOCTL_NOTIF_SET_FLAGS
inline constexpr unsigned long kSyncWakeUp = 1;                       // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
inline constexpr unsigned kPidfdThread = 0200;                        // PIDFD_THREAD, which is O_EXCL

}  // namespace isla::supervisor
