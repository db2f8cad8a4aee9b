#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "sandbox/compiled_policy.h"
#include "sandbox/manifest/condition.h"
#include "sandbox/manifest/decoder.h"
#include "sandbox/manifest/expression.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/proof/cells.h"

namespace isla::sandbox {
namespace {

// Rules times calls: what compiling takes time by.
constexpr size_t kMaxRuleCalls = 65'536;

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= 63 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

/// What the rules that nobody writes are called: reports would mean two by one name.
bool IsTaken(std::string_view name) { return name == "base" || name == "default" || name.starts_with("view."); }

class RuleDecoder {
 public:
  RuleDecoder(Decoder& decoder, Policy& policy) : decoder_(decoder), policy_(policy) {}

  void Decode(const Field& field) {
    if (!decoder_.Object(field, {"name", "syscalls", "when", "action"})) return;
    const CallList calls = DecodeCalls(decoder_, field.Get("syscalls"));
    const auto action = DecodeAction(decoder_, field.Get("action"), calls.calls);
    const std::string name = Name(field);
    const std::string when = decoder_.String(field.Get("when"), kMaxExpressionBytes).value_or("");
    const std::vector<std::pair<int, Condition>> conditions = Conditions(field, calls, when);
    if (!action) return;
    const RuleId rule = policy_.AddRule(name, *action, field.value().position());
    policy_.rules[rule].when = when;
    policy_.rules[rule].where = Where(field);
    CheckNotified(field, calls, *action, conditions);
    for (const auto& [number, condition] : conditions) policy_.Append(number, rule, condition);
    rule_calls_ += conditions.size();
    if (rule_calls_ > kMaxRuleCalls && !too_many_) {
      too_many_ = true;
      decoder_.Bad(field, fmt::format("up to this rule, rules times their calls are more than {}", kMaxRuleCalls));
    }
  }

 private:
  static std::string Where(const Field& field) { return field.path().substr(std::string_view("spec.").size()); }

  std::string Name(const Field& field) {
    const auto name = decoder_.String(field.Get("name"), 64);
    if (!name) return Where(field);
    if (!IsName(*name)) decoder_.Bad(field.Get("name"), "must be of lower-case letters, digits, '-' and '.', at most 63 of them");
    else if (IsTaken(*name)) decoder_.Bad(field.Get("name"), "is what a rule of the policy's own is called (base, default, view.*)");
    if (!names_.insert(*name).second) decoder_.errors().push_back(Duplicate(field.Get("name").path(), field.Get("name").value()));
    return *name;
  }

  /// For each call that the architecture has. An error that several calls have is told once.
  std::vector<std::pair<int, Condition>> Conditions(const Field& field, const CallList& calls, const std::string& when) {
    std::vector<std::pair<int, Condition>> out;
    const Field text = field.Get("when");
    std::optional<Expression> expression;
    if (text.is_string()) {
      ExpressionError error;
      expression = ParseExpression(when, error);
      if (!expression) {
        decoder_.BadAt(text, error.offset, std::move(error.what));
        return out;
      }
    }
    std::map<size_t, uint32_t> buckets;
    std::vector<ExpressionError> first;
    size_t with_errors = 0;
    for (const Syscall* call : calls.calls) {
      const int number = call->NumberOn(decoder_.arch());
      std::vector<ExpressionError> errors;
      Condition condition;
      // On the other architecture it must be right as well.
      const Arch arch = number >= 0 ? decoder_.arch() : decoder_.arch() == Arch::kX86_64 ? Arch::kArm64 : Arch::kX86_64;
      if (expression) condition = MakeCondition(*expression, *call, arch, buckets, next_bucket_, errors);
      if (!errors.empty() && with_errors++ == 0) first = std::move(errors);
      if (number >= 0) out.emplace_back(number, std::move(condition));
    }
    for (ExpressionError& error : first) {
      if (with_errors > 1) error.what += fmt::format(" (and {} other calls of this rule)", with_errors - 1);
      decoder_.BadAt(text, error.offset, std::move(error.what));
    }
    if (out.empty() && !calls.calls.empty()) {
      decoder_.Warn(field.path(), field.value().position(), fmt::format("{} has none of its system calls", ArchName(decoder_.arch())));
    }
    return out;
  }

  void CheckNotified(const Field& field, const CallList& calls, const Action& action, const std::vector<std::pair<int, Condition>>& conditions) {
    const auto& never = NeverNotified();
    const bool looks = std::any_of(conditions.begin(), conditions.end(), [](const auto& each) { return each.second.facts() != 0; });
    if (action.InKernel() && !looks) return;
    std::vector<std::string_view> found;
    for (const Syscall* call : calls.calls) {
      if (std::binary_search(never.begin(), never.end(), call->name)) found.push_back(call->name);
    }
    if (found.empty()) return;
    decoder_.errors().push_back(
        {"FieldValueForbidden", field.path(),
         fmt::format("Forbidden: containers call '{}' before the supervisor listens: their rules look at arguments only, and their actions are "
                     "allow, log, errno or kill", fmt::join(found, "', '")),
         field.value().position()});
  }

  Decoder& decoder_;
  Policy& policy_;
  std::set<std::string> names_;
  uint32_t next_bucket_ = 0;
  size_t rule_calls_ = 0;
  bool too_many_ = false;
};

}  // namespace

void DecodeRules(Decoder& decoder, const Field& rules, Policy& policy) {
  RuleDecoder rule(decoder, policy);
  for (const Field& item : decoder.Items(rules, kMaxRules)) {
    if (decoder.full()) return;
    rule.Decode(item);
  }
  for (const auto& [number, list] : policy.calls) {
    uint64_t cost = 0;
    for (const CallRule& each : list) cost += CostOf(each.when);
    if (cost <= kMostCost) continue;
    decoder.Bad(rules, fmt::format("the rules of '{}' take up to {} steps to decide (at most {})", SyscallName(policy.arch, number), cost, kMostCost));
  }
}

}  // namespace isla::sandbox
