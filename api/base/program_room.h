// What the program of a sandbox policy adds to a container's memory, beside what its session is granted: the scope on the node has room for it
// (agentd/shim/policy.h), and so the scheduler counts it on the node (controllers/scheduler). One rule, that the two can't disagree.
#pragma once

#include <cstdint>

namespace isla {

/// spec.program.memory where a policy doesn't say it.
inline constexpr int64_t kDefaultProgramBytes = int64_t{16} << 20;

/// Its memory, and a quarter for what the allocator can't use again.
constexpr int64_t ProgramRoomOf(int64_t program_memory_bytes) { return program_memory_bytes + program_memory_bytes / 4; }

}  // namespace isla
