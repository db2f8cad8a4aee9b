// A network namespace for the calling process. The kernel takes as long for one as for all other namespaces and the mounts of a container
// together, so these are made at the same time, by a helper (meanwhile.h).
#pragma once

namespace isla::runner {

struct NetFailure {
  const char* what = nullptr;  // the step; null: it was done
  int error = 0;               // errno
};

/// The caller's own from now on, with its loopback up. Needs CAP_SYS_ADMIN in the user namespace. System calls and nothing else: neither
/// memory nor errno is touched, unless it fails.
NetFailure MakeNetNamespace();

}  // namespace isla::runner
