// What the container's namespaces need beyond the flags of the clone that makes them (container.h): the maps of the
// user namespace, which only a process outside of it may write, and loopback.
#pragma once

#include <cstdint>

#include "agentd/shim/step.h"
#include "api/base/unique_fd.h"

namespace isla::shim {

/// A user namespace in which ids 0 to 65535 are the host's id_base to id_base + 65535, 65536 (the supervisor's) is the next, and no
/// other id is known.
Step MakeUserNamespace(uint32_t id_base, UniqueFd& out);

/// Brings loopback up in the calling process's network namespace, which the host's user namespace owns: container
/// root has no privilege over it, so ports below 1024 are opened to everybody in it.
Step LoopbackUp();

}  // namespace isla::shim
