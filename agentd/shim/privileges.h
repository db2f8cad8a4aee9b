// The steps by which the container's first process becomes an unprivileged one, in the order of container.h.
#pragma once

#include <array>

#include "agentd/shim/step.h"
#include "sandbox/bpf/bpf.h"

namespace isla::shim {

/// The container is as good a candidate for the OOM killer as any process, whatever agentd is.
void ResetOomScore();

/// Enters the user namespace as its root, with no other groups and a session keyring of its own.
Step EnterUser(int user_namespace);

/// Keeps what root needs inside a container's own user namespace, drops the rest from every set, and sets
/// no_new_privs.
Step DropPrivileges();

/// Umask, resource limits, signal mask and dispositions as a login would have them.
Step ResetProcess();

/// stdin, stdout, stderr and the report socket to 0, 1, 2, 3; every other descriptor closes on exec.
Step ArrangeDescriptors(const std::array<int, 4>& fds);

/// The last step before exec: from here on the filter holds.
Step LoadFilter(const sandbox::Program& filter);

}  // namespace isla::shim
