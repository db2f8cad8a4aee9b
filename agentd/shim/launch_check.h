// What a launch request must be beyond its types: the last check before root acts on it. agentd has
// checked the same against the manifest and the node's ceiling; this one trusts nobody.
#pragma once

#include "agentd/shim/protocol.h"

namespace isla::shim {

/// The container's ids are [id_base, id_base + kIdCount).
inline constexpr uint32_t kIdCount = 65536;
/// The supervisor's uid and gid in the container's user namespace: the first beyond the container's. The container's root may take it, too,
/// and has nothing of it: the supervisor is in none of its pid namespaces, and can't be looked into.
inline constexpr uint32_t kSupervisorId = kIdCount;

/// INVALID_ARGUMENT names the member. Paths are absolute and have no '.', '..' or empty component; argv is not
/// empty; env entries have a name; limits are in range; the id range never contains the host's own ids.
Status CheckLaunchRequest(const LaunchRequest& request);

/// "/a/b": begins with '/', no empty, '.' or '..' component, no trailing '/', at most 4095 bytes. "/" is fine.
bool IsCleanPath(std::string_view path);

}  // namespace isla::shim
