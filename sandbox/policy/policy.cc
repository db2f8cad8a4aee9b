#include "sandbox/policy/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>

#include "sandbox/policy/glob.h"

namespace isla::sandbox {
namespace {

uint64_t NumberOf(Number number, const NotifiedCall& call) {
  switch (number) {
    case Number::kUid: return call.uid;
    case Number::kFamily: return call.address.family;
    case Number::kPort: return call.address.port;
    case Number::kField0: return call.fields[0];
    case Number::kField1: return call.fields[1];
    case Number::kField2: return call.fields[2];
    default: return call.arguments[static_cast<size_t>(number)];
  }
}

std::string_view TextOf(Text text, const NotifiedCall& call) {
  switch (text) {
    case Text::kPath0: return call.paths[0];
    case Text::kPath1: return call.paths[1];
    case Text::kExecutable: return call.executable;
    case Text::kAddressPath: return call.address.path;
  }
  return {};
}

bool IsUnder(std::string_view path, std::string_view top) {
  if (!path.starts_with(top)) return false;
  return path.size() == top.size() || top.ends_with('/') || path[top.size()] == '/';
}

bool HoldsFor(const NumberTest& test, const NotifiedCall& call) {
  return test.values.Contains(NumberOf(test.number, call) & MaskOf(test.width) & test.mask);
}

bool HoldsFor(const TextTest& test, const NotifiedCall& call) {
  if (test.text == Text::kAddressPath && call.address.family != AF_UNIX) return false;
  const std::string_view text = TextOf(test.text, call);
  switch (test.match) {
    case Match::kExact: return text == test.pattern;
    case Match::kUnder: return IsUnder(text, test.pattern);
    case Match::kGlob: return GlobMatches(test.pattern, text);
  }
  return false;
}

bool HoldsFor(const NetworkTest& test, const NotifiedCall& call) {
  const bool internet = call.address.family == AF_INET || call.address.family == AF_INET6;
  return internet && test.network.Contains(call.address.ip);
}

bool HoldsFor(const RateTest& test, const NotifiedCall& call) {
  if (call.rates == nullptr) return false;
  return call.rates->Exceeds(test.bucket, test.limit, uint64_t{test.window_seconds} * 1'000'000'000, call.now_ns);
}

}  // namespace

std::string Action::ToText() const {
  switch (kind) {
    case Kind::kAllow: return "allow";
    case Kind::kLog: return "log";
    case Kind::kErrno: return fmt::format("errno {}", error);
    case Kind::kKill: return "kill";
    case Kind::kDeny: return "deny";
    case Kind::kSpoof: return fmt::format("spoof {}", value);
    case Kind::kEmulate: return fmt::format("emulate {}", text);
    case Kind::kFile: return fmt::format("file of {} bytes", text.size());
    case Kind::kRedirect:
    case Kind::kRedirectAddress: return fmt::format("redirect {}", text);
    case Kind::kPerform: return "perform";
    case Kind::kProgram: return fmt::format("program {}", text);
  }
  return {};
}

uint64_t MaskOf(Width width) {
  switch (width) {
    case Width::k16: return 0xffff;
    case Width::k32: return 0xffffffff;
    case Width::k64: break;
  }
  return ~uint64_t{0};
}

Facts FactsOf(const AnyTest& test) {
  return std::visit(
      [](const auto& each) -> Facts {
        using T = std::decay_t<decltype(each)>;
        if constexpr (std::is_same_v<T, NumberTest>) {
          if (IsArgument(each.number)) return 0;
          if (each.number == Number::kUid) return kFactUid;
          return each.number == Number::kFamily || each.number == Number::kPort ? kFactAddress : kFactFields;
        } else if constexpr (std::is_same_v<T, TextTest>) {
          constexpr Facts kOfText[] = {kFactPath0, kFactPath1, kFactExecutable, kFactAddress};
          return kOfText[static_cast<size_t>(each.text)];
        } else {
          return std::is_same_v<T, NetworkTest> ? kFactAddress : kFactRate;
        }
      },
      test);
}

bool Holds(const AnyTest& test, const NotifiedCall& call) {
  return std::visit([&call](const auto& each) { return HoldsFor(each, call); }, test);
}

// Conditions -------------------------------------------------------------------------------------------

Condition Condition::False() {
  Condition out;
  out.kind_ = Kind::kFalse;
  return out;
}

Condition Condition::Not(Condition condition) {
  if (condition.kind_ == Kind::kTrue) return False();
  if (condition.kind_ == Kind::kFalse) return True();
  if (condition.kind_ == Kind::kNot) return Condition(condition.parts_.front());
  Condition out;
  out.kind_ = Kind::kNot;
  out.parts_.push_back(std::move(condition));
  return out;
}

namespace {

/// And and or, which differ in what ends them (false, true) and in what says nothing (true, false).
enum class Junction { kAnd, kOr };

std::vector<Condition> Flattened(Junction junction, std::vector<Condition> parts, bool& ends) {
  const auto neutral = junction == Junction::kAnd ? Condition::Kind::kTrue : Condition::Kind::kFalse;
  const auto final = junction == Junction::kAnd ? Condition::Kind::kFalse : Condition::Kind::kTrue;
  const auto same = junction == Junction::kAnd ? Condition::Kind::kAnd : Condition::Kind::kOr;
  std::vector<Condition> out;
  for (Condition& part : parts) {
    if (part.kind() == neutral) continue;
    if (part.kind() == same) {
      out.insert(out.end(), part.parts().begin(), part.parts().end());
      continue;
    }
    // What comes before is still evaluated: a rate test there counts. But nothing after it.
    ends = part.kind() == final;
    if (ends && (out.empty() || std::none_of(out.begin(), out.end(), [](const Condition& each) {
                   return (each.facts() & kFactRate) != 0;
                 }))) {
      return {std::move(part)};
    }
    out.push_back(std::move(part));
    if (ends) break;
  }
  return out;
}

}  // namespace

Condition Condition::And(std::vector<Condition> parts) {
  bool ends = false;
  Condition out;
  out.parts_ = Flattened(Junction::kAnd, std::move(parts), ends);
  if (out.parts_.empty()) return True();
  if (out.parts_.size() == 1) return Condition(out.parts_.front());
  out.kind_ = Kind::kAnd;
  return out;
}

Condition Condition::Or(std::vector<Condition> parts) {
  bool ends = false;
  Condition out;
  out.parts_ = Flattened(Junction::kOr, std::move(parts), ends);
  if (out.parts_.empty()) return False();
  if (out.parts_.size() == 1) return Condition(out.parts_.front());
  out.kind_ = Kind::kOr;
  return out;
}

Facts Condition::facts() const {
  if (kind_ == Kind::kTest) return FactsOf(test_);
  Facts out = 0;
  for (const Condition& part : parts_) out |= part.facts();
  return out;
}

bool Holds(const Condition& condition, const NotifiedCall& call) {
  const auto holds = [&call](const Condition& part) { return Holds(part, call); };
  switch (condition.kind()) {
    case Condition::Kind::kTrue: return true;
    case Condition::Kind::kFalse: return false;
    case Condition::Kind::kTest: return Holds(condition.test(), call);
    case Condition::Kind::kNot: return !Holds(condition.parts().front(), call);
    case Condition::Kind::kAnd: return std::all_of(condition.parts().begin(), condition.parts().end(), holds);
    case Condition::Kind::kOr: return std::any_of(condition.parts().begin(), condition.parts().end(), holds);
  }
  return false;
}

// The policy -------------------------------------------------------------------------------------------

std::string_view ModeName(Mode mode) {
  switch (mode) {
    case Mode::kEnforce: return "enforce";
    case Mode::kWarn: return "warn";
    case Mode::kLearn: return "learn";
  }
  return {};
}

RuleId Policy::AddRule(std::string name, Action action, json::Position position) {
  rules.push_back({std::move(name), std::move(action), position, {}, {}});
  return static_cast<RuleId>(rules.size() - 1);
}

void Policy::Append(int number, RuleId rule, Condition when) { calls[number].push_back({rule, std::move(when)}); }

Facts Policy::Needs(int number) const {
  Facts out = 0;
  const auto found = calls.find(number);
  if (found == calls.end()) return out;
  for (const CallRule& rule : found->second) {
    out |= rule.when.facts();
    if (rule.when.kind() == Condition::Kind::kTrue) break;  // nothing after it is looked at
  }
  return out;
}

RuleId Policy::Decide(const NotifiedCall& call) const {
  const auto found = calls.find(call.number);
  if (found == calls.end()) return 0;
  if ((Needs(call.number) & kPointerFacts & ~call.known) != 0) return kUnreadable;
  for (const CallRule& rule : found->second) {
    if (Holds(rule.when, call)) return rule.rule;
  }
  return 0;
}

}  // namespace isla::sandbox
