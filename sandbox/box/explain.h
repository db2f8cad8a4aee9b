// Which rule decides a call, and why: the floor, the filter's own answer, and every rule of the call up to the one
// that decides, with the test that turned the others away.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/program/policy_program.h"
#include "sandbox/proof/solver.h"

namespace isla::sandbox {

struct ExplainStep {
  RuleId rule = 0;
  bool holds = false;
  std::string why;  // "flags has O_CREAT", "!(path under '/etc')"; "" if the rule has no condition
};

struct Explanation {
  std::string call;                // as text
  bool by_floor = false;           // the floor's answer is stricter than the filter's
  std::string floor;               // "floor: forbidden: errno EPERM", or "" if it leaves the call open
  std::vector<ExplainStep> steps;  // the policy's rules, in order, up to the one that decides
  RuleId rule = 0;                 // of the policy: what decides, or would without the floor
  bool by_supervisor = false;      // the policy's filter asks the supervisor
  size_t instructions = 0;         // that the policy's filter executes for the call
  std::string limit;               // what limits.memory or .pids make of too many of it: "pids 100: with more processes and threads EAGAIN"; "" if nothing
  std::string program;             // what the policy's function made of it: "f answers errno EPERM"; "" if none was asked
  std::string action;              // what happens in the end: "errno EPERM"
  std::string decided_by;          // "rules[2]", "default", "floor: forbidden"
};

/// Whether the floor's answer is what the caller gets: of two filters' answers the kernel takes the stricter; of two that are as
/// strict that of the filter that was loaded last, the policy's. Where both say the same, the floor is named: a policy can't lift it.
bool FloorDecides(const Action& floor, uint32_t filter_answer);
/// What the caller gets of both filters.
uint32_t AnswerUnderFloor(const Action& floor, uint32_t filter_answer);

/// A policy's functions as its supervisor runs them, and without a process: the caller's pid is 0.
class ProgramRunner {
 public:
  explicit ProgramRunner(const SandboxPolicy& policy);
  /// The action, or if it is a function what that answers; then `*error` says why it is onError, or "".
  Action Decided(const Action& action, const NotifiedCall& call, std::string* error) const;

 private:
  std::unique_ptr<const PolicyProgram> program_;
};

/// Rates are taken as not exceeded. INTERNAL if filter and rules don't agree (a bug of the compiler).
StatusOr<Explanation> Explain(const SandboxPolicy& policy, const CallExample& call);

/// For people, lines with an end.
std::string ToText(const SandboxPolicy& policy, const Explanation& explanation);

}  // namespace isla::sandbox
