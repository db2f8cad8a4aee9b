// When a process was started, as the kernel counts: with its pid the identity of a process that no reuse fakes.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace isla::shim {

/// Field 22 of /proc/<pid>/stat, clock ticks since boot; 0 if there is no such process.
int64_t StartTicks(pid_t pid);

}  // namespace isla::shim
