// What the command sees as "/": the host's root or a folder, with a /proc and /dev of its own, and the mounts of the policy and of
// the request over it. Called by the container's first process, alone in its mount namespace.
//
//   /proc   new, where the pid namespace is. For root what reaches the kernel's configuration is masked or read-only
//   /dev    new: null, zero, full, random, urandom, tty, pts, ptmx, shm, fd, stdin, stdout, stderr
//   /sys    as it is; for root read-only
//
// Control groups are read-only wherever they are mounted, if the run is in one of its own.
#pragma once

#include <functional>
#include <vector>

#include "api/base/status.h"
#include "sandbox/policy/sections.h"
#include "sandbox/runner/request.h"

namespace isla::runner {

/// The files that show a grant, asked for when all else is there: they may be on their way.
using GrantedFiles = std::function<StatusOr<std::vector<sandbox::ViewFile>>()>;

/// Errors name the field of the policy that can't be honoured ("spec.view.files[0].path: ..."), or the step.
Status BuildRoot(const Request& request, const GrantedFiles& granted);

}  // namespace isla::runner
