// What two policies do differently, call by call, for all calls: not what their texts say differently. Under isla's floor, as in explain and
// test: what the floor refuses either way isn't a change, whatever the policies say.
//
// Each change says how it can reach containers that run with the first policy:
//   live          the supervisor already decides these calls: a new table is enough
//   tighten-only  the second refuses more than the running filter does: new processes of the container can be given it,
//                 those that run keep what they have
//   restart       the running filter answers in the kernel, and answers differently: only a new container changes that
// A filter can be added to by its own process alone, and never taken off: that is why.
// What a control group keeps (net, limits.memory, .cpus, .pids) is live where there is one: a container's scope, or that of a run of isla-box, which
// finds out by itself that it has none (control_clerk.cc).
#pragma once

#include <string>
#include <vector>

#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/proof/solver.h"

namespace isla::sandbox {

enum class Reach : uint8_t { kLive, kTightenOnly, kRestart };  // in the order of how much it takes
std::string_view ReachName(Reach reach);

struct CallChange {
  int number = 0;          // kCallNumbers: every call without a rule in either
  std::string before, after;            // actions
  std::string before_rule, after_rule;  // what decides
  Reach reach = Reach::kRestart;
  /// False if perhaps there is no such call (patterns of paths that can't be told apart for certain).
  bool certain = true;
  std::string example;  // a call; "" if not certain
  std::string when;     // the tests that single the calls out
};

struct SectionChange {
  std::string section;  // "net", "view"
  Reach reach = Reach::kRestart;
  std::string what;
};

struct PolicyDiff {
  std::vector<CallChange> calls;  // by number
  std::vector<SectionChange> sections;
  /// Calls with too many ways to decide to compare them all: their changes may be missing. By name.
  std::vector<std::string> incomplete;

  bool same() const { return calls.empty() && sections.empty() && incomplete.empty(); }
  /// What it takes for all changes together.
  Reach reach() const;
};

/// Both must be decoded for one architecture. INVALID_ARGUMENT otherwise; errors of Compile().
StatusOr<PolicyDiff> Diff(const SandboxPolicy& before, const SandboxPolicy& after);

/// For people, lines with an end; "" if nothing differs.
std::string ToText(const PolicyDiff& diff, Arch arch);

}  // namespace isla::sandbox
