// What is said of all rules together.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "sandbox/manifest/decoder.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/catalogue.h"
#include "sandbox/proof/cells.h"

namespace isla::sandbox {
namespace {

constexpr Facts kPointers = kPointerFacts;

// Of each check, for all calls of a policy together: a second or so.
constexpr uint64_t kMostWork = 50'000'000;

/// Most calls of a group have the same rules: what is found of one is true of all.
class SeenLists {
 public:
  /// True for the first of several lists that are the same.
  bool IsNew(const std::vector<CallRule>& rules) {
    size_t hash = rules.size();
    for (const CallRule& each : rules) hash = hash * 31 + each.rule;
    std::vector<const std::vector<CallRule>*>& alike = by_hash_[hash];
    const auto same = [&rules](const std::vector<CallRule>* other) {
      return std::equal(rules.begin(), rules.end(), other->begin(), other->end(),
                        [](const CallRule& a, const CallRule& b) { return a.rule == b.rule && a.when == b.when; });
    };
    if (std::any_of(alike.begin(), alike.end(), same)) return false;
    alike.push_back(&rules);
    return true;
  }

 private:
  std::map<size_t, std::vector<const std::vector<CallRule>*>> by_hash_;
};

bool LooksBehindPointers(const Condition& when) { return (when.facts() & kPointers) != 0; }

json::Position PositionOf(const Policy& policy, RuleId rule) { return policy.rules[rule].position; }

std::string FieldOf(const Policy& policy, RuleId rule) {
  const Rule& found = policy.rules[rule];
  if (found.where.empty()) return found.name;
  // A bare profile has no spec around it.
  const bool bare = found.where.starts_with("syscalls[") || found.where == "defaultAction";
  return bare ? found.where : "spec." + found.where;
}

/// As texts speak of it: by its own name, if it has one.
std::string NameOf(const Policy& policy, RuleId rule) {
  const Rule& found = policy.rules[rule];
  return found.name == found.where ? FieldOf(policy, rule) : fmt::format("'{}'", found.name);
}

// Continuing on pointer data ---------------------------------------------------------------------------

/// Looks for two calls that differ only behind their pointers, of which one goes on and the other is refused. Between
/// the check and the kernel's own look another thread can make the one into the other.
class ContinueChecker {
 public:
  ContinueChecker(Decoder& decoder, const Policy& policy) : decoder_(decoder), policy_(policy) {}

  void Check(int number, const std::vector<CallRule>& rules) {
    for (const CallRule& rule : rules) {
      if (policy_.ActionOf(rule.rule).kind == Action::Kind::kAllow && LooksBehindPointers(rule.when)) {
        Refuse(rule.rule, rule.rule, fmt::format("lets {} go on by what a pointer points to", SyscallName(policy_.arch, number)));
      }
    }
    const bool pointers = std::any_of(rules.begin(), rules.end(), [](const CallRule& each) { return LooksBehindPointers(each.when); });
    if (!pointers || !decoder_.errors().empty()) return;
    std::set<std::vector<std::pair<const AnyTest*, bool>>> looked_at;
    const CellOptions options = {.most_cells = kMostCells, .work_left = &work_left_, .situation = {}};
    const Status status = ForEachCell(rules, nullptr, options, [&](const Cell& cell) {
      if (!policy_.ActionOf(cell.first).Continues()) return true;
      // What can't be changed behind the back of the check.
      std::vector<std::pair<const AnyTest*, bool>> fixed;
      for (const auto& [test, holds] : cell.tests) {
        if ((FactsOf(*test) & kPointers) == 0) fixed.emplace_back(test, holds);
      }
      if (fixed.size() < cell.tests.size() && !CanPerform(SyscallName(policy_.arch, number))) ReportMadeByNobody(number, rules);
      if (looked_at.insert(fixed).second) CheckCell(number, rules, cell, fixed);
      return decoder_.errors().empty();
    });
    if (!status.ok()) Conservative(number, rules);
  }

 private:
  static constexpr size_t kMostCells = 4'000;

  void CheckCell(int number, const std::vector<CallRule>& rules, const Cell& cell, const std::vector<std::pair<const AnyTest*, bool>>& fixed) {
    CellOptions options;
    options.most_cells = kMostCells;
    options.work_left = &work_left_;
    for (const auto& [test, holds] : fixed) options.situation.Add(*test, holds);
    const Status status = ForEachCell(rules, nullptr, options, [&](const Cell& other) {
      if (!policy_.ActionOf(other.first).Restricts()) return true;
      Report(number, cell.first, other.first);
      return false;
    });
    if (!status.ok()) Conservative(number, rules);
  }

  /// After a look behind a pointer the supervisor doesn't let a call go on, but makes it itself; or refuses it, if it
  /// can't.
  void ReportMadeByNobody(int number, const std::vector<CallRule>& rules) {
    const std::string_view call = SyscallName(policy_.arch, number);
    const RuleId looks = std::find_if(rules.begin(), rules.end(), [](const CallRule& each) { return LooksBehindPointers(each.when); })->rule;
    if (!reported_.insert(looks).second) return;
    decoder_.errors().push_back({"FieldValueForbidden", FieldOf(policy_, looks),
                                 fmt::format("Forbidden: it looks at what a pointer of {0} points to, and some calls of {0} go on after that; the supervisor would "
                                             "have to make those itself on its own copy, and can't make {0} (only {1})", call, fmt::join(PerformableCalls(), ", ")),
                                 PositionOf(policy_, looks)});
  }

  /// Too many ways to look at them all: from the first rule on that looks behind a pointer, one that goes on and one that
  /// refuses are taken to be two answers to calls that differ in that alone.
  void Conservative(int number, const std::vector<CallRule>& rules) {
    const auto first = std::find_if(rules.begin(), rules.end(), [](const CallRule& each) { return LooksBehindPointers(each.when); });
    std::optional<RuleId> goes_on, refuses;
    const auto take = [&](RuleId rule) {
      const Action& action = policy_.ActionOf(rule);
      if (action.Continues() && !goes_on) goes_on = rule;
      if (action.Restricts() && !refuses) refuses = rule;
    };
    bool always = false;
    for (auto rule = first; rule != rules.end() && !always; ++rule) {
      take(rule->rule);
      always = rule->when.kind() == Condition::Kind::kTrue;
    }
    if (!always) take(0);
    if (!goes_on) return;
    if (!CanPerform(SyscallName(policy_.arch, number))) return ReportMadeByNobody(number, rules);
    if (refuses) Report(number, *goes_on, *refuses);
  }

  void Report(int number, RuleId goes_on, RuleId refuses) {
    const std::string_view call = SyscallName(policy_.arch, number);
    const bool log = goes_on != 0 && policy_.ActionOf(goes_on).kind == Action::Kind::kLog &&
                     policy_.rules[goes_on].position.line != 0 && goes_on < refuses;
    if (log) {
      Refuse(goes_on, goes_on, fmt::format("lets {} go on by what a pointer points to, and {} refuses it otherwise", call, NameOf(policy_, refuses)));
    } else {
      Refuse(refuses == 0 ? goes_on : refuses, goes_on,
             fmt::format("refuses {} by what a pointer points to, and what it doesn't refuse goes on by {}", call, NameOf(policy_, goes_on)));
    }
  }

  void Refuse(RuleId at, RuleId goes_on, std::string what) {
    if (!reported_.insert(at).second) return;
    decoder_.errors().push_back(
        {"FieldValueForbidden", FieldOf(policy_, at),
         fmt::format("Forbidden: {}; another thread can change that after it was looked at. {}", what,
                     at == goes_on ? "Its action must be 'perform': the supervisor makes the call on its own copy"
                                   : "Add a rule after it for the same calls with the action 'perform': the supervisor makes them on its own copy"),
         PositionOf(policy_, at)});
  }

  Decoder& decoder_;
  const Policy& policy_;
  std::set<RuleId> reported_;
  uint64_t work_left_ = kMostWork;
};

// Rules that never decide ------------------------------------------------------------------------------

class ReachFinder {
 public:
  explicit ReachFinder(const Policy& policy) : policy_(policy) {}

  /// The rules that decide some call, or may for all that can be known with the work that there is.
  std::set<RuleId> Run() {
    std::set<RuleId> out;
    SeenLists seen;
    for (const auto& [number, rules] : policy_.calls) {
      if (!seen.IsNew(rules)) continue;
      const CellOptions options = {.work_left = &work_left_, .situation = {}};
      const Status status = ForEachCell(rules, nullptr, options, [&out](const Cell& cell) { return out.insert(cell.first), true; });
      if (status.ok()) continue;
      complete_ = false;
      for (const CallRule& rule : rules) out.insert(rule.rule);
    }
    return out;
  }

  bool complete() const { return complete_; }

  /// Why a rule never does: what comes before it where it holds.
  std::string Why(RuleId rule) {
    std::set<RuleId> before;
    bool can_hold = false, has_calls = false;
    uint64_t work_left = kWorkOfAReason;
    for (const auto& [number, rules] : policy_.calls) {
      const auto found = std::find_if(rules.begin(), rules.end(), [rule](const CallRule& each) { return each.rule == rule; });
      if (found == rules.end()) continue;
      has_calls = true;
      if (CanHold(found->when, &work_left) == Answer::kNo) continue;
      can_hold = true;
      for (auto other = rules.begin(); other != found && before.size() < 4; ++other) {
        if (before.count(other->rule) == 0 && CanHold(Condition::And({found->when, other->when}), &work_left) != Answer::kNo) before.insert(other->rule);
      }
    }
    if (!has_calls) return {};
    if (!can_hold) return "its condition never holds";
    std::string list;
    size_t count = 0;
    for (const RuleId each : before) {
      if (++count <= 3) list += fmt::format("{}{}", list.empty() ? "" : ", ", NameOf(policy_, each));
    }
    return fmt::format("{}{} decide{} first", list, count > 3 ? " and others" : "", count == 1 ? "s" : "");
  }

 private:
  static constexpr uint64_t kWorkOfAReason = 100'000;

  const Policy& policy_;
  uint64_t work_left_ = kMostWork;
  bool complete_ = true;
};

}  // namespace

void CheckContinues(Decoder& decoder, const Policy& policy) {
  ContinueChecker checker(decoder, policy);
  for (const auto& [number, rules] : policy.calls) {
    if (decoder.full()) return;
    checker.Check(number, rules);
  }
}

void FindUnreachable(Decoder& decoder, const Policy& policy) {
  ReachFinder finder(policy);
  const std::set<RuleId> decides = finder.Run();
  for (RuleId rule = 1; rule < policy.rules.size(); ++rule) {
    if (IsFull(decoder.warnings())) return;
    if (decides.count(rule) != 0 || policy.rules[rule].where == "base") continue;
    const std::string why = finder.Why(rule);
    if (!why.empty()) decoder.Warn(FieldOf(policy, rule), PositionOf(policy, rule), fmt::format("never decides: {}", why));
  }
  if (!finder.complete()) decoder.Warn("spec.rules", {}, "too many ways to decide: rules that never do may not be among these warnings");
}

}  // namespace isla::sandbox
