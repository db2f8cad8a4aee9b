// Who keeps what of a run that concerns all of its processes together: its limits, and the `net` section of its policy. A control group
// of its own (sandbox/runner/box_group.h) where one can be had; else what means the same:
//
//                 with a control group             else
//   net           the kernel, by BPF programs      the supervisor, which performs connect and bind; a section that restricts `send` is refused
//   memory        memory.max, without swap         nobody: a note says so
//   cpus          cpu.max                          affinity to whole processors (with a group, too)
//   pids          pids.max                         RLIMIT_NPROC in a user namespace of an ordinary user; else refused
//
// Limits are the flags' and the policy's (spec.limits), the smaller of both: who runs a command may give it less than its policy allows, not more. What the policy
// says is kept or refused, never noted only, unless --cgroup=no says that it is known: affinity,
// which a command can change by itself, is no limit then. (That a command without a mount namespace can leave its group is noted.)
//
// The kernel writes no audit of what it refuses. So with --audit the supervisor keeps `net`, if it can.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sandbox/box/options.h"
#include "sandbox/cgroup_net/cgroup_net.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/runner/box_group.h"
#include "sandbox/runner/lower.h"

namespace isla::sandbox {

struct Keeping {
  ResourceLimits asked;                    // by flags, of the start and of reload
  ResourceLimits limits;                   // in force, as far as somebody keeps them: and by the policy, whichever is smaller
  std::optional<runner::BoxGroup> group;
  std::optional<cgroup_net::CgroupNet> net;  // with a group, if net_by is that
  runner::NetBy net_by = runner::NetBy::kNobody;
  uint64_t own_tasks = 0;                  // ours among the group's
  std::vector<std::string> notes;          // what isn't kept, and why
  std::vector<std::string> facts;          // who keeps what, from the start on
  std::string no_net;                      // why no control group keeps `net`
};

/// Makes the group, sets the limits, attaches the programs; and says in `request` how to come in, and what else is to be limited.
/// Errors: what was asked for explicitly and can't be had.
StatusOr<Keeping> Keep(const RunFlags& flags, const SandboxPolicy& policy, runner::Request& request);

/// The facts, and the limits that are in force; one line that there are none of either.
std::vector<std::string> KeptText(const Keeping& keeping);

/// "--memory", or "spec.limits.memory" if the policy's is the smaller: whose a limit is.
std::string MemoryOrigin(const Keeping& keeping);

/// One line for people if the kernel killed for want of memory; "" otherwise.
std::string OomText(const Keeping& keeping, int exit);

/// "512 MiB", "1.5 GiB", "1000 bytes".
std::string SizeText(uint64_t bytes);

}  // namespace isla::sandbox
