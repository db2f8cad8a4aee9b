// The supervisor's own bounds: what a supervisor that was taken over (by bytes of a hostile caller) could still do. Called by the
// program before its threads are started.
//
//   capabilities   those of a contained root, and CAP_SYS_PTRACE to look into callers, CAP_MKNOD for harmless devices
//   filter         the calls that it makes, and no others: no exec, no sockets of its own, no process but threads, no mounts
//
// No Landlock: a process under rules of its own can't look into one that is not under the same (ptrace is refused between domains).
#pragma once

#include "api/base/status.h"
#include "sandbox/policy/policy.h"

namespace isla::supervisor {

/// Everything else gets EPERM.
sandbox::Policy OwnPolicy(sandbox::Arch arch);

/// Of the calling thread and those that it starts. In sanitizer builds the filter is left out: their runtimes make calls of their own.
Status ConfineSupervisor();

}  // namespace isla::supervisor
