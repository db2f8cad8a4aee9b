// Calls that the supervisor answers out of its own knowledge: what a container was granted, instead of what the
// machine has. Each follows the kernel's own rules for errors and return values (sched_getaffinity(2), sysinfo(2), uname(2)).
//
// Cpu ids stay the true ones: sched_getcpu() and rseq tell them without any system call, and programs index arrays by them. So
// an affinity mask is the first n bits that are set in the real one, never a renumbered one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "sandbox/supervisor/caller.h"

namespace isla::supervisor {

struct Grant {
  unsigned cpus = 0;            // 0: as the machine has them
  uint64_t memory_bytes = 0;    // 0: as the machine has it
  uint64_t tasks = 0;           // sysinfo's procs are at most this; 0: unknown
  std::string hostname = {};    // "": the supervisor's own
  /// Bytes that the container uses; may be empty (then nothing is used). Called by any thread of the supervisor.
  std::function<uint64_t()> memory_usage = {};
};

struct EmulatedResult {
  int error = 0;  // errno
  int64_t value = 0;
};

/// "affinity" (sched_getaffinity), "sysinfo" and "uname" exist.
bool HasEmulator(std::string_view name);

/// Answers the call with these arguments. ENOSYS: there is no such emulator. Doesn't block but for the caller's own pages.
EmulatedResult Emulate(std::string_view name, const Grant& grant, const Caller& caller, const uint64_t (&arguments)[6]);

}  // namespace isla::supervisor
