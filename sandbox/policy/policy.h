// A sandbox policy as typed rules: pure data between the texts that people write (sandbox/manifest) and what
// decides calls: the program that the kernel runs (compiler.h) and the table of the supervisor (rule_table.h).
//
//   policy    = mode, default action, for every system call a list of (condition, rule)
//   rule      = name, action
//   condition = true | false | test | not condition | and {condition} | or {condition}
//   test      = number (argument, uid, port...) & mask in a set | path, executable = / under / like a pattern
//             | address in a network | calls a second beyond a limit
//   action    = allow | log | errno N | kill              the kernel alone, where numbers of the call decide
//             | deny | spoof | emulate | file | redirect | perform | program        the supervisor
//
// Meaning: of the rules of a call the first whose condition holds decides; if none does, or the call has no
// rules, rules[0], the default. Policy::Decide() is that sentence as code, and what compiler and table are tested
// against. Foreign architectures never reach the rules.
//
// Width: a test looks at the bits that the kernel looks at. For an int argument it drops the upper 32 bits,
// so a 64-bit comparison of such an argument could be dodged by setting them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"
#include "sandbox/names/arch.h"
#include "sandbox/policy/call.h"
#include "sandbox/policy/interval_set.h"

namespace isla::sandbox {

// Actions ----------------------------------------------------------------------------------------------

struct Action {
  enum class Kind : uint8_t {
    kAllow,
    kLog,        // allow, and write it down (by the kernel's audit where the kernel decides)
    kErrno,      // `error`, 1 to 4095
    kKill,       // the process
    kDeny,       // EPERM, by the supervisor, and write it down
    kSpoof,      // succeed with `value`, without doing anything
    kEmulate,    // the supervisor's own answer, `text` its name (emulator.h)
    kFile,       // for calls that open: a descriptor of a sealed file with the bytes `text`
    kRedirect,   // as if the path (the last one of the call) were `text`
    kRedirectAddress,  // as if the socket address were `text`
    kPerform,    // done by the supervisor for the caller, on its own copy of what pointers point to
    kProgram,    // the function `text` of the policy's program decides
  };
  Kind kind = Kind::kAllow;
  uint16_t error = 0;
  int64_t value = 0;
  std::string text;

  static Action Allow() { return {}; }
  static Action Errno(int error) { return {Kind::kErrno, static_cast<uint16_t>(error), 0, {}}; }
  static Action Kill() { return {Kind::kKill, 0, 0, {}}; }
  static Action Of(Kind kind, std::string text = {}) { return {kind, 0, 0, std::move(text)}; }

  /// Whether the kernel can do it alone: allow, log, errno, kill.
  bool InKernel() const { return kind <= Kind::kKill; }
  /// Whether the caller goes on as if there were no filter: allow, log.
  bool Continues() const { return kind <= Kind::kLog; }
  /// Whether the caller gets less than it asked for: what a thread that changes memory behind a pointer
  /// after the check would want to get around.
  bool Restricts() const {
    return kind == Kind::kErrno || kind == Kind::kKill || kind == Kind::kDeny || kind == Kind::kProgram;
  }
  /// "allow", "errno 1", "spoof 0", "emulate affinity", "redirect /x"...
  std::string ToText() const;
  friend bool operator==(const Action&, const Action&) = default;
};

// Tests ------------------------------------------------------------------------------------------------

/// Where a number comes from: an argument of the call, or what the supervisor found out.
enum class Number : uint8_t {
  kArgument0, kArgument1, kArgument2, kArgument3, kArgument4, kArgument5,
  kUid, kFamily, kPort, kField0, kField1, kField2,
};
inline constexpr size_t kNumbers = 12;
inline bool IsArgument(Number number) { return number <= Number::kArgument5; }

enum class Width : uint8_t { k16, k32, k64 };
uint64_t MaskOf(Width width);

/// (number & width & mask) in values. The mask lies within the width.
struct NumberTest {
  Number number = Number::kArgument0;
  Width width = Width::k32;
  uint64_t mask = 0xffffffffu;
  IntervalSet values;
  friend bool operator==(const NumberTest&, const NumberTest&) = default;
};

enum class Text : uint8_t { kPath0, kPath1, kExecutable, kAddressPath };
enum class Match : uint8_t {
  kExact,
  kUnder,  // the path itself and all below it
  kGlob,   // see glob.h
};
struct TextTest {
  Text text = Text::kPath0;
  Match match = Match::kExact;
  std::string pattern;
  friend bool operator==(const TextTest&, const TextTest&) = default;
};

/// The address is an internet one, and in the network.
struct NetworkTest {
  IpNetwork network;
  friend bool operator==(const NetworkTest&, const NetworkTest&) = default;
};

/// More than `limit` calls got as far as this test within the window.
struct RateTest {
  uint32_t limit = 0;
  uint32_t window_seconds = 1;
  uint32_t bucket = 0;  // index into RateBuckets: one for each rate test that a policy's text has
  friend bool operator==(const RateTest&, const RateTest&) = default;
};

using AnyTest = std::variant<NumberTest, TextTest, NetworkTest, RateTest>;

/// What must be known of a call for the test; 0 for an argument.
Facts FactsOf(const AnyTest& test);
bool Holds(const AnyTest& test, const NotifiedCall& call);

// Conditions -------------------------------------------------------------------------------------------

class Condition {
 public:
  enum class Kind : uint8_t { kTrue, kFalse, kTest, kNot, kAnd, kOr };

  Condition() = default;  // true
  Condition(AnyTest test) : kind_(Kind::kTest), test_(std::move(test)) {}        // NOLINT: implicit by design
  Condition(NumberTest test) : kind_(Kind::kTest), test_(std::move(test)) {}  // NOLINT
  Condition(TextTest test) : kind_(Kind::kTest), test_(std::move(test)) {}    // NOLINT
  Condition(NetworkTest test) : kind_(Kind::kTest), test_(test) {}            // NOLINT
  Condition(RateTest test) : kind_(Kind::kTest), test_(test) {}               // NOLINT
  static Condition True() { return {}; }
  static Condition False();
  // Constants are folded, nested ands and ors flattened.
  static Condition Not(Condition condition);
  static Condition And(std::vector<Condition> parts);
  static Condition Or(std::vector<Condition> parts);

  Kind kind() const { return kind_; }
  const AnyTest& test() const { return test_; }                      // kTest
  const std::vector<Condition>& parts() const { return parts_; }  // kNot: one; kAnd, kOr: two or more

  /// What must be known of a call to evaluate it: of all its tests together.
  Facts facts() const;
  friend bool operator==(const Condition&, const Condition&) = default;

 private:
  Kind kind_ = Kind::kTrue;
  AnyTest test_;
  std::vector<Condition> parts_;
};

/// From left to right, no further than needed (a rate test that isn't reached doesn't count the call).
bool Holds(const Condition& condition, const NotifiedCall& call);

// The policy -------------------------------------------------------------------------------------------

using RuleId = uint32_t;
/// No rule: what a call needs could not be read.
inline constexpr RuleId kUnreadable = ~RuleId{0};

struct Rule {
  std::string name;         // as its author named it, or where it stands: "rules[3]", "base", "default"
  Action action;
  json::Position position;  // in the manifest; line 0 if it has none
  std::string when;         // its condition as written, for people; "" if it has none
  std::string where;        // in the manifest's spec: "rules[3]"; "" if it isn't from one
};

struct CallRule {
  RuleId rule = 0;
  Condition when;
};

enum class Mode : uint8_t {
  kEnforce,
  kWarn,   // what would be refused is written down and goes on
  kLearn,  // every call that can be is written down and goes on
};
std::string_view ModeName(Mode mode);

struct Policy {
  Arch arch = kNativeArch;
  Mode mode = Mode::kEnforce;
  std::vector<Rule> rules = {{"default", Action::Errno(38), {}, {}, "default"}};  // by RuleId; [0] is the default
  std::map<int, std::vector<CallRule>> calls;                      // by number on `arch`

  /// Adds a rule for no call yet.
  RuleId AddRule(std::string name, Action action, json::Position position = {});
  void Append(int number, RuleId rule, Condition when = {});

  /// What must be known of a call to decide it.
  Facts Needs(int number) const;
  /// The rule that decides: the policy's own meaning, with no program and no table. kUnreadable if the call lacks
  /// a pointer fact that it needs.
  RuleId Decide(const NotifiedCall& call) const;
  const Action& ActionOf(RuleId rule) const { return rules.at(rule).action; }
};

/// Numbers are below this on every architecture; x32's begin at 512.
inline constexpr int kCallNumbers = 512;

}  // namespace isla::sandbox
