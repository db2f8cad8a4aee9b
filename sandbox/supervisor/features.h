// What this kernel offers a supervisor. Probed, never derived from a version: distributions carry features back,
// and seccomp filters of an outer sandbox take them away.
#pragma once

#include <cstddef>
#include <string>

#include "api/base/status.h"

namespace isla::supervisor {

struct KernelFeatures {
  bool wait_killable = false;   // a received call is interrupted by fatal signals only (5.19)
  bool sync_wake_up = false;    // caller and supervisor change places on one cpu (6.6)
  bool add_fd = false;          // a descriptor can be put into the caller's table (5.9)
  bool add_fd_and_reply = false;  // ... in one step with the answer (5.14)
  bool pidfd_getfd = false;     // a descriptor can be taken from it (5.6)
  bool pidfd_thread = false;    // a pidfd can be had of any thread (6.9)
  bool openat2 = false;         // 5.6
  size_t notification_bytes = 0, response_bytes = 0;  // as the kernel has them: may grow

  /// "waitKillable=yes syncWakeUp=no ...": for logs and node attributes.
  std::string ToText() const;
};

/// UNIMPLEMENTED if the kernel has no seccomp listeners at all, or its structures don't fit this build.
/// Forks for a moment (a listener is needed to ask some of this): not for processes that have made a gRPC object.
StatusOr<KernelFeatures> ProbeKernel();

}  // namespace isla::supervisor
