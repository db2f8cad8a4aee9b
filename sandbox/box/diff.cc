#include "sandbox/box/diff.h"

#include <fmt/format.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <map>
#include <set>

#include "sandbox/box/describe.h"
#include "sandbox/box/explain.h"
#include "sandbox/bpf/compiler.h"
#include "sandbox/bpf/evaluator.h"
#include "sandbox/default_policy.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/proof/cells.h"

namespace isla::sandbox {
namespace {

/// How much a filter's answer takes away; the kernel takes the highest of several filters.
int Strictness(uint32_t answer) {
  switch (answer & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
    case SECCOMP_RET_LOG: return 0;
    case SECCOMP_RET_USER_NOTIF: return 1;
    case SECCOMP_RET_ERRNO: return 2;
    default: return 3;
  }
}

/// The running filter's answer and that of the filter that would be.
Reach ReachOf(uint32_t running, uint32_t wanted) {
  if (running == SECCOMP_RET_USER_NOTIF) return Reach::kLive;
  // A second listener can't be had: what was not notified can't become so.
  if (wanted == SECCOMP_RET_USER_NOTIF) return Reach::kRestart;
  return Strictness(wanted) > Strictness(running) ? Reach::kTightenOnly : Reach::kRestart;
}

/// Rate tests of the two policies that are the n-th with one limit are one question.
class RateNames {
 public:
  std::vector<CallRule> Renamed(const std::vector<CallRule>& rules) {
    std::vector<CallRule> out;
    for (const CallRule& rule : rules) out.push_back({rule.rule, Renamed(rule.when)});
    return out;
  }

 private:
  Condition Renamed(const Condition& when) {
    if ((when.facts() & kFactRate) == 0) return when;
    std::vector<Condition> parts;
    for (const Condition& part : when.parts()) parts.push_back(Renamed(part));
    switch (when.kind()) {
      case Condition::Kind::kNot: return Condition::Not(std::move(parts.front()));
      case Condition::Kind::kAnd: return Condition::And(std::move(parts));
      case Condition::Kind::kOr: return Condition::Or(std::move(parts));
      default: break;
    }
    const auto* rate = std::get_if<RateTest>(&when.test());
    if (rate == nullptr) return when;
    const auto [found, is_new] = names_.try_emplace(rate->bucket, 0);
    if (is_new) found->second = counts_[{rate->limit, rate->window_seconds}]++;
    return RateTest{rate->limit, rate->window_seconds, found->second};
  }

  std::map<uint32_t, uint32_t> names_;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> counts_;
};

/// The rules of a call, taken apart by which rule of the floor its calls meet: what the policy says of those that the floor refuses counts only
/// where it is stricter.
class FlooredRules {
 public:
  struct Pair {
    RuleId floor = 0, rule = 0;  // 0: none, the default
  };

  FlooredRules(const std::vector<CallRule>* floor, const std::vector<CallRule>& rules) {
    if (floor != nullptr) {
      for (const CallRule& over : *floor) {
        for (const CallRule& rule : rules) Append({over.rule, rule.rule}, Condition::And({over.when, rule.when}));
        Append({over.rule, 0}, over.when);
      }
    }
    for (const CallRule& rule : rules) Append({0, rule.rule}, rule.when);
  }

  const std::vector<CallRule>& rules() const { return rules_; }
  Pair PairOf(RuleId rule) const { return pairs_[rule]; }

 private:
  void Append(Pair pair, Condition when) {
    rules_.push_back({static_cast<RuleId>(pairs_.size()), std::move(when)});
    pairs_.push_back(pair);
  }

  std::vector<CallRule> rules_;
  std::vector<Pair> pairs_{1};  // by rule; the first is what no rule decides
};

class Differ {
 public:
  Differ(const Policy& before, const Policy& after, const Filter& running, const Filter& wanted)
      : before_(before), after_(after), running_(running), wanted_(wanted), floor_(FloorPolicy(before.arch)) {}

  void Run(PolicyDiff& out) {
    static const std::vector<CallRule> kNone;
    std::set<int> numbers;
    for (const Policy* policy : {&before_, &after_}) {
      for (const auto& [number, rules] : policy->calls) numbers.insert(number);
    }
    // Calls without a rule in either are decided alike, but for those that can't be notified.
    for (int number = 0; number < kCallNumbers; ++number) {
      if (SyscallName(before_.arch, number).empty() || numbers.count(number) != 0 || floor_.calls.count(number) != 0) continue;
      numbers_without_rules_.push_back(number);
    }
    CompareRest(out);
    for (const int number : numbers) {
      const auto a = before_.calls.find(number), b = after_.calls.find(number);
      Compare(number, a == before_.calls.end() ? kNone : a->second, b == after_.calls.end() ? kNone : b->second, out);
    }
  }

 private:
  std::string ActionOf(const Policy& policy, RuleId rule) const { return DescribeAction(policy.ActionOf(rule), policy.mode); }

  void CompareRest(PolicyDiff& out) {
    if (ActionOf(before_, 0) == ActionOf(after_, 0)) return;
    CallChange change;
    change.number = kCallNumbers;
    change.before = ActionOf(before_, 0);
    change.after = ActionOf(after_, 0);
    change.before_rule = change.after_rule = "default";
    const int number = numbers_without_rules_.empty() ? kCallNumbers + 100 : numbers_without_rules_.front();
    const seccomp_data data = CallOn(before_.arch, number, {});
    change.reach = ReachOf(RunProgram(running_.program, data), RunProgram(wanted_.program, data));
    change.example = fmt::format("{}()", SyscallText(before_.arch, number));
    out.calls.push_back(std::move(change));
  }

  void Compare(int number, const std::vector<CallRule>& before, const std::vector<CallRule>& after, PolicyDiff& out) {
    RateNames before_rates, after_rates;
    const auto floor = floor_.calls.find(number);
    const std::vector<CallRule>* const over = floor == floor_.calls.end() ? nullptr : &floor->second;
    const FlooredRules a(over, before_rates.Renamed(before)), b(over, after_rates.Renamed(after));
    std::map<std::tuple<std::string, std::string, Reach>, CallChange> found;
    const CellOptions options = {.work_left = &work_left_, .situation = {}};
    const Status status = ForEachCell(a.rules(), &b.rules(), options, [&](const Cell& cell) {
      CallChange change = ChangeOf(number, cell, a.PairOf(cell.first), b.PairOf(cell.second));
      if (change.before.empty()) return true;
      // Of many calls that change alike the first certain one is shown.
      CallChange& kept = found.try_emplace({change.before, change.after, change.reach}, change).first->second;
      if (!kept.certain && change.certain) kept = std::move(change);
      return true;
    });
    if (!status.ok()) out.incomplete.push_back(SyscallText(before_.arch, number));
    for (auto& [key, change] : found) out.calls.push_back(std::move(change));
  }

  /// Without a text of what was if nothing changes.
  CallChange ChangeOf(int number, const Cell& cell, FlooredRules::Pair was, FlooredRules::Pair is) {
    // Which patterns of texts it meets isn't known: then the supervisor is asked, unless the floor refuses.
    uint32_t running = SECCOMP_RET_USER_NOTIF, wanted = SECCOMP_RET_USER_NOTIF;
    if (cell.certain) {
      const seccomp_data data = CallOn(before_.arch, number, cell.example.arguments);
      running = RunProgram(running_.program, data);
      wanted = RunProgram(wanted_.program, data);
    }
    // Of one call both lists meet the same rule of the floor.
    const Action& floor = floor_.ActionOf(was.floor);
    const bool floor_decided = FloorDecides(floor, running), floor_decides = FloorDecides(floor, wanted);
    CallChange change;
    if (floor_decided && floor_decides) return change;
    const std::string before = floor_decided ? DescribeAction(floor) : ActionOf(before_, was.rule);
    std::string after = floor_decides ? DescribeAction(floor) : ActionOf(after_, is.rule);
    if (before == after && (floor_decided || floor_decides || before_.ActionOf(was.rule) == after_.ActionOf(is.rule))) return change;
    if (before == after) after += " (another one)";
    change.number = number;
    change.before = before;
    change.after = std::move(after);
    change.before_rule = floor_decided ? floor_.rules[was.floor].name : before_.rules[was.rule].name;
    change.after_rule = floor_decides ? floor_.rules[is.floor].name : after_.rules[is.rule].name;
    change.certain = cell.certain;
    for (const auto& [test, holds] : cell.tests) {
      change.when += fmt::format("{}{}", change.when.empty() ? "" : " && ", DescribeTest(before_.arch, number, *test, holds));
    }
    if (!cell.certain) {
      // Nobody knows such a call: what is notified at all can change live, else it takes a restart.
      const bool notified = std::binary_search(running_.notified.begin(), running_.notified.end(), number);
      change.reach = notified ? Reach::kLive : Reach::kRestart;
      return change;
    }
    CallExample example = cell.example;
    example.number = number;
    const Facts facts = (before_.Needs(number) | after_.Needs(number)) & (kFactExecutable | kFactUid);
    change.example = DescribeCall(before_.arch, example, facts);
    change.reach = ReachOf(AnswerUnderFloor(floor, running), AnswerUnderFloor(floor, wanted));
    return change;
  }

  const Policy &before_, &after_;
  const Filter &running_, &wanted_;
  const Policy floor_;
  std::vector<int> numbers_without_rules_;
  uint64_t work_left_ = 500'000'000;  // ten seconds or so
};

// Sections ---------------------------------------------------------------------------------------------

/// Everything that `inner` allows `outer` allows: the other way round it would be a widening.
bool AllowsNoMore(const std::vector<PathAccess>& inner, const std::vector<PathAccess>& outer) {
  if (outer.empty()) return true;  // nothing was restricted
  if (inner.empty()) return false;
  return std::all_of(inner.begin(), inner.end(), [&outer](const PathAccess& each) {
    uint8_t allowed = 0;
    for (const PathAccess& top : outer) {
      const bool above = each.path == top.path || top.path == "/" || each.path.starts_with(top.path + "/");
      if (above) allowed = static_cast<uint8_t>(allowed | top.access);
    }
    return (each.access & ~allowed) == 0;
  });
}

void DiffSections(const Sections& before, const Sections& after, PolicyDiff& out) {
  const auto add = [&out](std::string section, Reach reach, std::string what) { out.sections.push_back({std::move(section), reach, std::move(what)}); };
  if (before.files != after.files) {
    const FilesSection a = before.files.value_or(FilesSection()), b = after.files.value_or(FilesSection());
    const bool tighter = AllowsNoMore(b.allow, a.allow);
    if (a.allow != b.allow) {
      add("files.allow", tighter ? Reach::kTightenOnly : Reach::kRestart, tighter ? "allows less: by Landlock, for new processes" : "allows other paths");
    }
    if (a.mask != b.mask || a.read_only != b.read_only) add("files", Reach::kRestart, "other mounts");
  }
  if (before.exec != after.exec) {
    const auto access = [](const std::optional<ExecSection>& section) {
      std::vector<PathAccess> all;
      if (section) for (const std::string& path : section->allow) all.push_back({path, kExecute});
      return all;
    };
    const bool tighter = AllowsNoMore(access(after.exec), access(before.exec));
    add("exec.allow", tighter ? Reach::kTightenOnly : Reach::kRestart, tighter ? "allows less: by Landlock, for new processes" : "allows other paths");
  }
  if (before.net != after.net) {
    // Programs on a container's cgroup can be swapped, but must have been there from the start.
    const bool both = before.net.has_value() && after.net.has_value();
    add("net", both || before.net ? Reach::kLive : Reach::kRestart, both ? "other rules" : before.net ? "no rules any more" : "rules where there were none");
  }
  if (before.view != after.view) {
    const ViewSection a = before.view.value_or(ViewSection()), b = after.view.value_or(ViewSection());
    if (a.files != b.files) add("view.files", Reach::kRestart, "other files");
    if (a.hostname != b.hostname) add("view.hostname", Reach::kRestart, "another host name");
    if (a.granted_cpus != b.granted_cpus) add("view.cpus", Reach::kRestart, "files of processors");
    if (a.granted_memory != b.granted_memory) add("view.memory", Reach::kRestart, "files of memory");
  }
  if (before.limits != after.limits) add("limits", Reach::kLive, "other limits of the supervisor");
  const ResourceLimits &a = before.resources, &b = after.resources;
  if (a.memory_bytes != b.memory_bytes) add("limits.memory", Reach::kLive, fmt::format("{} -> {}", MemoryText(a.memory_bytes), MemoryText(b.memory_bytes)));
  if (a.cpu_millis != b.cpu_millis) add("limits.cpus", Reach::kLive, fmt::format("{} -> {}", CpusText(a.cpu_millis), CpusText(b.cpu_millis)));
  if (a.tasks != b.tasks) add("limits.pids", Reach::kLive, fmt::format("{} -> {}", PidsText(a.tasks), PidsText(b.tasks)));
  if (before.audit != after.audit) add("audit", Reach::kLive, "other things are written down");
  if (before.program != after.program) add("program", Reach::kLive, "another program");
}

}  // namespace

std::string_view ReachName(Reach reach) {
  switch (reach) {
    case Reach::kLive: return "live";
    case Reach::kTightenOnly: return "tighten-only";
    case Reach::kRestart: return "restart";
  }
  return {};
}

Reach PolicyDiff::reach() const {
  Reach out = incomplete.empty() ? Reach::kLive : Reach::kRestart;
  for (const CallChange& change : calls) out = std::max(out, change.reach);
  for (const SectionChange& change : sections) out = std::max(out, change.reach);
  return out;
}

StatusOr<PolicyDiff> Diff(const SandboxPolicy& before, const SandboxPolicy& after) {
  if (before.policy.arch != after.policy.arch) return Error(Code::kInvalidArgument, "policies of two architectures");
  ASSIGN_OR_RETURN(const Filter running, Compile(before.policy));
  ASSIGN_OR_RETURN(const Filter wanted, Compile(after.policy));
  PolicyDiff out;
  Differ(before.policy, after.policy, running, wanted).Run(out);
  DiffSections(before.sections, after.sections, out);
  return out;
}

std::string ToText(const PolicyDiff& diff, Arch arch) {
  std::string out;
  for (const CallChange& change : diff.calls) {
    const std::string name = change.number >= kCallNumbers ? "every other call" : SyscallText(arch, change.number);
    out += fmt::format("{}: {} -> {}  [{}]\n", name, change.before, change.after, ReachName(change.reach));
    if (!change.example.empty()) out += fmt::format("    for example {}\n", change.example);
    else out += "    perhaps: patterns that may have no text in common\n";
    if (!change.when.empty()) out += fmt::format("    when {}\n", change.when);
    out += fmt::format("    {} -> {}\n", change.before_rule, change.after_rule);
  }
  for (const SectionChange& change : diff.sections) out += fmt::format("spec.{}: {}  [{}]\n", change.section, change.what, ReachName(change.reach));
  for (const std::string& name : diff.incomplete) out += fmt::format("{}: too many ways to compare them all; changes may be missing\n", name);
  return out;
}

}  // namespace isla::sandbox
