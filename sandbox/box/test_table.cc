#include "sandbox/box/test_table.h"

#include <fmt/format.h>

#include "sandbox/box/call_text.h"
#include "sandbox/box/describe.h"
#include "sandbox/box/explain.h"
#include "sandbox/bpf/compiler.h"
#include "sandbox/bpf/evaluator.h"
#include "sandbox/default_policy.h"

namespace isla::sandbox {
namespace {

std::string_view Trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

}  // namespace

StatusOr<std::vector<TableTest>> ParseTable(std::string_view text) {
  std::vector<TableTest> out;
  std::string errors;
  size_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    // A number without a name begins with '#', too, and a digit.
    if (line.empty() || (line[0] == '#' && (line.size() < 2 || line[1] < '0' || line[1] > '9'))) continue;
    const size_t arrow = line.rfind("->");
    TableTest test;
    test.line = number;
    test.call = Trimmed(line.substr(0, arrow));
    if (arrow != std::string_view::npos) test.expected = Trimmed(line.substr(arrow + 2));
    if (test.call.empty() || test.expected.empty()) {
      errors += fmt::format("{}line {}: expected CALL -> ACTION, with ' by RULE' after it if the rule matters", errors.empty() ? "" : "\n", number);
      continue;
    }
    if (const size_t by = test.expected.find(" by "); by != std::string::npos) {
      test.rule = Trimmed(std::string_view(test.expected).substr(by + 4));
      test.expected = Trimmed(std::string_view(test.expected).substr(0, by));
    }
    out.push_back(std::move(test));
  }
  if (!errors.empty()) return Error(Code::kInvalidArgument, errors);
  return out;
}

StatusOr<std::vector<TableResult>> RunTable(const SandboxPolicy& policy, const std::vector<TableTest>& tests) {
  const Policy& rules = policy.policy;
  const Policy floor = FloorPolicy(rules.arch);
  ASSIGN_OR_RETURN(const Filter filter, Compile(rules));
  const ProgramRunner program(policy);
  std::vector<TableResult> out;
  for (const TableTest& test : tests) {
    TableResult& result = out.emplace_back();
    result.test = test;
    const StatusOr<CallExample> call = ParseCall(test.call, rules.arch);
    if (!call.ok()) {
      result.error = Message(call.status());
      continue;
    }
    const RuleId of_floor = floor.Decide(call->View()), of_policy = rules.Decide(call->View());
    const uint32_t answer = RunProgram(filter.program, CallOn(rules.arch, call->number, call->arguments));
    const bool by_floor = FloorDecides(floor.ActionOf(of_floor), answer);
    const Action& of_rule = rules.ActionOf(of_policy);
    const Action decided = by_floor ? of_rule : program.Decided(of_rule, call->View(), &result.program_error);
    result.action = by_floor ? DescribeAction(floor.ActionOf(of_floor)) : DescribeAction(decided, rules.mode);
    result.rule = by_floor ? floor.rules[of_floor].name : rules.rules[of_policy].name;
    const bool function_named = !by_floor && of_rule.kind == Action::Kind::kProgram && test.expected == DescribeAction(of_rule, rules.mode);
    result.passed = (result.action == test.expected || function_named) && (test.rule.empty() || test.rule == result.rule);
  }
  return out;
}

}  // namespace isla::sandbox
