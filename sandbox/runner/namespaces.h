// The namespaces of a run: which flags, and what makes them usable (ids). The network's: net_namespace.h.
#pragma once

#include <sys/types.h>

#include <string>

#include "api/base/status.h"
#include "sandbox/runner/request.h"

namespace isla::runner {

/// Why they can't be had, and what to do about it, after clone failed with this errno; " (...)" or "".
std::string WhyNone(int error);

/// Whether the ids of a user namespace of ours can be mapped one to one, by whoever stays outside. Else it is our own id only,
/// and the process inside maps it itself.
bool CanMapAllIds();

/// From outside, for the process that is alone in its new user namespace: every id means itself.
Status MapAllIds(pid_t pid);

/// From inside: our own ids, as themselves or as root. The process must be dumpable.
Status MapOwnId(uid_t uid, gid_t gid, bool as_root);

}  // namespace isla::runner
