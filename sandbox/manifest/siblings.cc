// Calls that do the same by another name. A rule that refuses one by what a pointer points to, a path mostly, while another of them goes on whatever
// its path is, is a mistake more often than not: programs, and those who try, have the choice.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "sandbox/manifest/decoder.h"
#include "sandbox/names/syscalls.h"

namespace isla::sandbox {
namespace {

const std::vector<std::vector<const char*>>& Families() {
  static const std::vector<std::vector<const char*>> families = {
      {"open", "creat", "openat", "openat2"}, {"rename", "renameat", "renameat2"}, {"link", "linkat"},           {"unlink", "unlinkat"},
      {"mkdir", "mkdirat"},                   {"mknod", "mknodat"},                {"symlink", "symlinkat"},     {"readlink", "readlinkat"},
      {"chmod", "fchmodat", "fchmodat2"},     {"chown", "lchown", "fchownat"},     {"execve", "execveat"},       {"stat", "lstat", "newfstatat", "statx"},
      {"access", "faccessat", "faccessat2"},
  };
  return families;
}

/// The first rule of the manifest that gives less than was asked for because of what a pointer points to; 0 = none.
RuleId RefusesByPointer(const Policy& policy, const std::vector<CallRule>& rules) {
  const auto found = std::find_if(rules.begin(), rules.end(), [&policy](const CallRule& each) {
    const Rule& rule = policy.rules[each.rule];
    return rule.where.starts_with("rules[") && (each.when.facts() & kPointerFacts) != 0 && !rule.action.Continues() && rule.action.kind != Action::Kind::kPerform;
  });
  return found == rules.end() ? 0 : found->rule;
}

/// Whether it can go on, and nothing looks behind its pointers. `rules`: of the call, or null.
bool GoesOnUnseen(const Policy& policy, const std::vector<CallRule>* rules) {
  const auto goes_on = [&policy](RuleId rule) { return policy.ActionOf(rule).Continues() || policy.ActionOf(rule).kind == Action::Kind::kPerform; };
  if (rules == nullptr) return goes_on(0);
  for (const CallRule& each : *rules) {
    if ((each.when.facts() & kPointerFacts) != 0 || policy.ActionOf(each.rule).kind == Action::Kind::kProgram) return false;
    if (goes_on(each.rule)) return true;
    if (each.when.kind() == Condition::Kind::kTrue) return false;
  }
  return goes_on(0);
}

}  // namespace

void FindOpenSiblings(Decoder& decoder, const Policy& policy) {
  std::set<RuleId> told;
  for (const auto& family : Families()) {
    RuleId rule = 0;
    std::vector<std::string> unseen;
    for (const char* call : family) {
      const auto number = SyscallNumber(policy.arch, call);
      if (!number) continue;
      const auto found = policy.calls.find(*number);
      const auto* const rules = found == policy.calls.end() ? nullptr : &found->second;
      const RuleId refuses = rules == nullptr ? 0 : RefusesByPointer(policy, *rules);
      if (refuses != 0 && rule == 0) rule = refuses;
      if (refuses == 0 && GoesOnUnseen(policy, rules)) unseen.emplace_back(call);
    }
    if (rule == 0 || unseen.empty() || !told.insert(rule).second) continue;
    std::string list;
    for (const std::string& call : unseen) list += (list.empty() ? "" : ", ") + call;
    decoder.Warn("spec." + policy.rules[rule].where, policy.rules[rule].position,
                 fmt::format("says nothing of {}, which {} the same and may go on: name {} too", list, unseen.size() == 1 ? "does" : "do", unseen.size() == 1 ? "it" : "them"));
  }
}

}  // namespace isla::sandbox
