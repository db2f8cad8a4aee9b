// The paths through a program: for one system call number every way from the first instruction to a return, with
// what it demands of the arguments. Programs have no loops, so there are finitely many. What a filter does is
// then known for all arguments, whoever made it.
#pragma once

#include <array>
#include <vector>

#include "api/base/status.h"
#include "sandbox/bpf/bpf.h"
#include "sandbox/policy/policy.h"

namespace isla::sandbox {

struct ProgramPath {
  /// All hold (words of arguments, as tests of the arguments' halves); together they can.
  std::vector<NumberTest> demands;
  std::array<uint64_t, 6> example{};  // arguments that take this path
  uint32_t result = 0;                // SECCOMP_RET_...
  size_t instructions = 0;            // executed
};

/// INVALID_ARGUMENT as Check() in evaluator.h;
/// RESOURCE_EXHAUSTED if there are more than `most`. Paths that no arguments take are left out.
StatusOr<std::vector<ProgramPath>> PathsOf(const Program& program, Arch arch, int number, size_t most = 100'000);

/// Proves that the program means what the policy means: for every number and all arguments it answers as the policy
/// decides, or with USER_NOTIF where arguments alone don't decide, or an action is the supervisor's. INTERNAL names a
/// call for which it doesn't; RESOURCE_EXHAUSTED if there are too many ways to look at.
Status Verify(const Policy& policy, const Program& program);

}  // namespace isla::sandbox
