#include "sandbox/box/explain.h"

#include <fmt/format.h>
#include <linux/seccomp.h>

#include <algorithm>

#include "sandbox/box/describe.h"
#include "sandbox/bpf/compiler.h"
#include "sandbox/bpf/evaluator.h"
#include "sandbox/default_policy.h"
#include "sandbox/table/rule_table.h"

namespace isla::sandbox {
namespace {

/// The tests that make the condition hold or not: of an "and" that fails the part that does, of an "or" that holds
/// the part that does, else all.
std::string Reason(Arch arch, const Condition& when, const NotifiedCall& call) {
  const bool holds = Holds(when, call);
  switch (when.kind()) {
    case Condition::Kind::kTrue: return {};
    case Condition::Kind::kFalse: return "false";
    case Condition::Kind::kTest: return DescribeTest(arch, call.number, when.test(), holds);
    case Condition::Kind::kNot: return Reason(arch, when.parts().front(), call);
    default: break;
  }
  const bool one_is_enough = holds == (when.kind() == Condition::Kind::kOr);
  std::string out;
  size_t shown = 0;
  for (const Condition& part : when.parts()) {
    if (one_is_enough && Holds(part, call) != holds) continue;
    if (++shown > 4) return out + " && ...";
    out += fmt::format("{}{}", out.empty() ? "" : " && ", Reason(arch, part, call));
    if (one_is_enough) break;
  }
  return out;
}

/// In the order of the kernel (seccomp(2)): the higher of two wins.
int Precedence(uint32_t answer) {
  switch (answer & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW: return 0;
    case SECCOMP_RET_LOG: return 1;
    case SECCOMP_RET_USER_NOTIF: return 2;
    case SECCOMP_RET_ERRNO: return 3;
    default: return 4;
  }
}

uint32_t AnswerOf(const Action& floor) {
  switch (floor.kind) {
    case Action::Kind::kAllow: return SECCOMP_RET_ALLOW;
    case Action::Kind::kErrno: return SECCOMP_RET_ERRNO | floor.error;
    default: return SECCOMP_RET_KILL_PROCESS;
  }
}

/// What `limits` make of a call that goes on: those of resources are kept by a control group, whatever rules say.
std::string LimitOf(const ResourceLimits& limits, std::string_view call) {
  static constexpr std::string_view kProcesses[] = {"clone", "clone3", "fork", "vfork"}, kMemory[] = {"brk", "mmap", "mremap"};
  const auto is_one = [call](const auto& names) { return std::find(std::begin(names), std::end(names), call) != std::end(names); };
  if (limits.tasks != 0 && is_one(kProcesses)) return fmt::format("pids {}: EAGAIN with more processes and threads", PidsText(limits.tasks));
  if (limits.memory_bytes != 0 && is_one(kMemory)) return fmt::format("memory {}: with more in use the kernel kills", MemoryText(limits.memory_bytes));
  return {};
}

Facts FactsThatMatter(const Policy& policy, int number) { return policy.Needs(number) & (kFactExecutable | kFactUid); }

}  // namespace

ProgramRunner::ProgramRunner(const SandboxPolicy& policy) {
  if (policy.sections.program) program_ = std::make_unique<PolicyProgram>(*policy.sections.program, policy.policy.arch);
}

Action ProgramRunner::Decided(const Action& action, const NotifiedCall& call, std::string* error) const {
  error->clear();
  if (action.kind != Action::Kind::kProgram || program_ == nullptr) return action;
  ProgramAnswer answer = program_->Run(action.text, call, 0);
  *error = std::move(answer.error);
  return std::move(answer.action);
}

bool FloorDecides(const Action& floor, uint32_t filter_answer) {
  const uint32_t answer = AnswerOf(floor);
  if (answer == SECCOMP_RET_ALLOW) return false;
  return answer == filter_answer || Precedence(answer) > Precedence(filter_answer);
}

uint32_t AnswerUnderFloor(const Action& floor, uint32_t filter_answer) { return FloorDecides(floor, filter_answer) ? AnswerOf(floor) : filter_answer; }

StatusOr<Explanation> Explain(const SandboxPolicy& policy, const CallExample& example) {
  const Policy& rules = policy.policy;
  const NotifiedCall call = example.View();
  Explanation out;
  out.call = DescribeCall(rules.arch, example, FactsThatMatter(rules, example.number));
  const Policy floor = FloorPolicy(rules.arch);
  const RuleId floor_rule = floor.Decide(call);
  if (floor_rule != 0) out.floor = fmt::format("{}: {}", floor.rules[floor_rule].name, DescribeAction(floor.ActionOf(floor_rule)));
  out.rule = rules.Decide(call);
  if (const auto found = rules.calls.find(example.number); found != rules.calls.end()) {
    for (const CallRule& rule : found->second) {
      const bool holds = Holds(rule.when, call);
      out.steps.push_back({rule.rule, holds, Reason(rules.arch, rule.when, call)});
      if (holds) break;
    }
  }
  ASSIGN_OR_RETURN(const Filter filter, Compile(rules));
  const seccomp_data data = CallOn(rules.arch, example.number, example.arguments);
  const uint32_t answer = RunProgram(filter.program, data);
  out.by_supervisor = answer == SECCOMP_RET_USER_NOTIF;
  out.instructions = CountInstructions(filter.program, data);
  const Action& action = rules.ActionOf(out.rule);
  out.by_floor = FloorDecides(floor.ActionOf(floor_rule), answer);
  if (out.by_floor) {
    out.action = DescribeAction(floor.ActionOf(floor_rule));
    out.decided_by = floor.rules[floor_rule].name;
  } else {
    std::string error;
    const Action decided = ProgramRunner(policy).Decided(action, call, &error);
    if (action.kind == Action::Kind::kProgram) {
      out.program = error.empty() ? fmt::format("{} answers {}", action.text, DescribeAction(decided))
                                  : fmt::format("{} fails, so it is onError: {}", action.text, error);
    }
    out.action = DescribeAction(decided, rules.mode);
    out.decided_by = rules.rules[out.rule].name;
    if (decided.kind == Action::Kind::kAllow || decided.kind == Action::Kind::kLog) out.limit = LimitOf(policy.sections.resources, SyscallText(rules.arch, example.number));
  }
  const bool numbered = example.number >= 0 && example.number < kCallNumbers;
  if (!out.by_supervisor && numbered && rules.mode == Mode::kEnforce && !action.InKernel()) {
    return Errorf(Code::kInternal, "the filter answers {} itself with {}, but the rules leave it to the supervisor", out.call, ActionName(answer));
  }
  return out;
}

std::string ToText(const SandboxPolicy& policy, const Explanation& explanation) {
  std::string out = explanation.call + "\n";
  out += fmt::format("  floor     {}\n", explanation.floor.empty() ? "leaves it to the policy" : explanation.floor);
  out += fmt::format("  filter    {} ({} instructions)\n", explanation.by_supervisor ? "asks the supervisor" : "decides by itself", explanation.instructions);
  for (const ExplainStep& step : explanation.steps) {
    const Rule& rule = policy.policy.rules[step.rule];
    const std::string where = rule.position.line == 0 ? "" : fmt::format(" (line {})", rule.position.line);
    out += fmt::format("  {:<9} {}{}: {}{}\n", step.holds ? "decides" : "no", rule.name, where, DescribeAction(rule.action, policy.policy.mode),
                       step.why.empty() ? "" : fmt::format(", because {}", step.why));
  }
  if (explanation.rule == 0) out += fmt::format("  decides   default: {}\n", DescribeAction(policy.policy.rules[0].action, policy.policy.mode));
  if (policy.policy.mode != Mode::kEnforce) out += fmt::format("  mode      {}\n", ModeName(policy.policy.mode));
  if (!explanation.limit.empty()) out += fmt::format("  limits    {}\n", explanation.limit);
  if (!explanation.program.empty()) out += fmt::format("  program   {}\n", explanation.program);
  out += fmt::format("=> {}, by {}\n", explanation.action, explanation.decided_by);
  return out;
}

}  // namespace isla::sandbox
