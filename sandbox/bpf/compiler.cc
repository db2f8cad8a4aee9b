#include "sandbox/bpf/compiler.h"

#include <linux/seccomp.h>

#include <algorithm>
#include <bitset>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <set>
#include <utility>

#include "sandbox/bpf/code_graph.h"
#include "sandbox/compiled_policy.h"
#include "sandbox/names/syscalls.h"

namespace isla::sandbox {
namespace {

using Block = CodeGraph::Block;

constexpr uint32_t kX32Bit = 0x40000000;
constexpr uint64_t kLow = 0xffffffff;

/// The words of an argument: little endian on both architectures.
uint32_t LowOffset(Number argument) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + static_cast<size_t>(argument) * sizeof(uint64_t));
}
uint32_t HighOffset(Number argument) { return LowOffset(argument) + 4; }

/// What a test looks at: tests with the same key can be decided together.
struct Key {
  Number argument = Number::kArgument0;
  uint64_t mask = 0;
  friend bool operator==(const Key&, const Key&) = default;
};

Key KeyOf(const NumberTest& test) { return {test.number, test.mask & MaskOf(test.width)}; }

/// The values that can be under the mask, in the set: normal, so that equal tests look equal.
IntervalSet Possible(const IntervalSet& set, uint64_t mask) {
  // Of a mask of one bit there are two values; with more, what is beyond the mask is enough to leave out.
  if (mask != 0 && (mask & (mask - 1)) == 0) {
    std::vector<Interval> out;
    for (const uint64_t value : {uint64_t{0}, mask}) {
      if (set.Contains(value)) out.push_back({value, value});
    }
    return IntervalSet(std::move(out));
  }
  return set.Intersection(IntervalSet::Range(0, mask));
}

/// Where to go for each value of a key, in order, without gaps from 0 to the mask.
struct Piece {
  uint64_t first = 0, last = 0;
  Block block;
};
using Pieces = std::vector<Piece>;

Pieces Everywhere(uint64_t mask, const Block& to) { return {{0, mask, to}}; }

/// The values of `set` go to `block` instead.
Pieces Overlay(const Pieces& below, const IntervalSet& set, const Block& block) {
  Pieces out;
  const auto add = [&out](uint64_t first, uint64_t last, const Block& to) {
    if (!out.empty() && out.back().block == to) out.back().last = last;
    else out.push_back({first, last, to});
  };
  auto next = set.intervals().begin();
  const auto end = set.intervals().end();
  for (const Piece& piece : below) {
    uint64_t at = piece.first;
    for (;;) {
      while (next != end && next->last < at) ++next;
      if (next == end || next->first > piece.last) {
        add(at, piece.last, piece.block);
        break;
      }
      if (next->first > at) add(at, next->first - 1, piece.block);
      const uint64_t last = std::min(next->last, piece.last);
      add(std::max(at, next->first), last, block);
      if (last == piece.last) break;
      at = last + 1;
    }
  }
  return out;
}

class RuleCompiler {
 public:
  RuleCompiler(CodeGraph& graph, const Policy& policy) : graph_(graph), policy_(policy) {}

  /// The code of one call's rules, and then the default.
  Block Rules(const std::vector<CallRule>& rules, bool notifiable) {
    notify_ = graph_.Return(SECCOMP_RET_USER_NOTIF);
    Block next = graph_.Return(ReturnOf(policy_.rules[0].action, notifiable));
    std::optional<std::pair<Key, Pieces>> pending;  // rules at hand that look at one argument only
    const auto flush = [&] {
      if (pending) next = Decide(pending->first, pending->second);
      pending.reset();
    };
    for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
      const Block action = graph_.Return(ReturnOf(policy_.ActionOf(rule->rule), notifiable));
      if (rule->when.kind() == Condition::Kind::kTrue) {
        pending.reset();
        next = action;
        continue;
      }
      const NumberTest* test = AloneOnArgument(rule->when);
      if (test == nullptr) {
        flush();
        next = Emit(rule->when, action, next, notify_);
        continue;
      }
      const Key key = KeyOf(*test);
      if (pending && pending->first != key) flush();
      if (!pending) pending = {key, Everywhere(key.mask, next)};
      pending->second = Overlay(pending->second, Possible(test->values, key.mask), action);
    }
    flush();
    return next;
  }

  uint32_t ReturnOf(const Action& action, bool notifiable) const {
    if (policy_.mode == Mode::kLearn || (policy_.mode == Mode::kWarn && !action.Continues())) {
      if (notifiable) return SECCOMP_RET_USER_NOTIF;
      return action.kind == Action::Kind::kAllow ? SECCOMP_RET_ALLOW : SECCOMP_RET_LOG;
    }
    switch (action.kind) {
      case Action::Kind::kAllow: return SECCOMP_RET_ALLOW;
      case Action::Kind::kLog: return SECCOMP_RET_LOG;
      case Action::Kind::kErrno: return SECCOMP_RET_ERRNO | action.error;
      case Action::Kind::kKill: return SECCOMP_RET_KILL_PROCESS;
      default: return SECCOMP_RET_USER_NOTIF;
    }
  }

 private:
  static const NumberTest* AloneOnArgument(const Condition& when) {
    if (when.kind() != Condition::Kind::kTest) return nullptr;
    const auto* test = std::get_if<NumberTest>(&when.test());
    return test != nullptr && IsArgument(test->number) ? test : nullptr;
  }

  /// The condition's code: to `yes` if it holds, `no` if it doesn't, `maybe` if arguments alone don't tell.
  Block Emit(const Condition& when, const Block& yes, const Block& no, const Block& maybe) {
    switch (when.kind()) {
      case Condition::Kind::kTrue: return yes;
      case Condition::Kind::kFalse: return no;
      case Condition::Kind::kNot: return Emit(when.parts().front(), no, yes, maybe);
      case Condition::Kind::kTest: break;
      default: return EmitJunction(when, yes, no, maybe);
    }
    const NumberTest* test = AloneOnArgument(when);
    if (test == nullptr) return maybe;
    const Key key = KeyOf(*test);
    return Decide(key, Overlay(Everywhere(key.mask, no), Possible(test->values, key.mask), yes));
  }

  /// Once a part is unknown, the rest can still decide: an "and" by failing, an "or" by holding.
  Block EmitJunction(const Condition& when, const Block& yes, const Block& no, const Block& maybe) {
    const bool is_and = when.kind() == Condition::Kind::kAnd;
    const bool can_be_unknown = when.facts() != 0;
    Block known = is_and ? yes : no, unknown = maybe;
    for (auto part = when.parts().rbegin(); part != when.parts().rend(); ++part) {
      const Block known_before = known;
      known = is_and ? Emit(*part, known, no, unknown) : Emit(*part, yes, known, unknown);
      if (can_be_unknown) unknown = is_and ? Emit(*part, unknown, no, unknown) : Emit(*part, yes, unknown, unknown);
      else unknown = known_before;
    }
    return known;
  }

  // Deciding by one masked argument --------------------------------------------------------------------

  Block Decide(const Key& key, const Pieces& pieces) {
    if (pieces.size() == 1) return pieces.front().block;
    if (key.mask >> 32 == 0) return DecideLow(key, pieces);
    return DecideHigh(key, pieces);
  }

  Block DecideLow(const Key& key, const Pieces& pieces) {
    const auto mask = static_cast<uint32_t>(key.mask);
    const uint32_t offset = LowOffset(key.argument);
    // "Any of these bits" is one instruction, and leaves the word as it was.
    const bool one_bit = mask != 0 && (mask & (mask - 1)) == 0;
    if (pieces.size() == 2 && pieces[0].last == 0 && mask != kLow) return Jset(offset, mask, pieces[1].block, pieces[0].block);
    if (one_bit) return Jset(offset, mask, At(pieces, mask), At(pieces, 0));
    std::vector<CodeGraph::Case> cases;
    for (const Piece& piece : pieces) {
      cases.push_back({static_cast<uint32_t>(piece.first), static_cast<uint32_t>(piece.last), piece.block});
    }
    const Word word = {offset, mask};
    return graph_.Loaded(word, graph_.Switch(word, cases));
  }

  static Pieces::const_iterator PieceAt(const Pieces& pieces, uint64_t value) {
    return std::lower_bound(pieces.begin(), pieces.end(), value, [](const Piece& each, uint64_t v) { return each.last < v; });
  }
  static const Block& At(const Pieces& pieces, uint64_t value) { return PieceAt(pieces, value)->block; }

  Block Jset(uint32_t offset, uint32_t mask, const Block& some, const Block& none) {
    const Word whole = {offset, 0xffffffffu};
    return graph_.Loaded(whole, graph_.Branch(BPF_JSET, mask, some.From(whole), none.From(whole)));
  }

  /// The upper word first: where it decides alone it does, else the lower one decides for it.
  Block DecideHigh(const Key& key, const Pieces& pieces) {
    const auto highest = static_cast<uint32_t>(key.mask >> 32);
    std::set<uint32_t> split, starts = {0};  // upper words within which pieces meet; where what to do changes
    for (const Piece& piece : pieces) {
      const auto high = static_cast<uint32_t>(piece.last >> 32);
      if (&piece == &pieces.back()) break;
      if ((piece.last & kLow) != kLow) {
        split.insert(high);
        starts.insert(high);
      }
      if (high < highest) starts.insert(high + 1);
    }
    std::vector<CodeGraph::Case> cases;
    for (auto start = starts.begin(); start != starts.end(); ++start) {
      const auto next = std::next(start);
      const uint32_t last = next == starts.end() ? highest : *next - 1;
      const uint64_t bottom = uint64_t{*start} << 32;
      cases.push_back({*start, last,
                       split.count(*start) == 0 ? At(pieces, bottom)
                                                : Decide({key.argument, key.mask & kLow}, Lows(pieces, bottom, key.mask & kLow))});
    }
    const Word word = {HighOffset(key.argument), highest};
    return graph_.Loaded(word, graph_.Switch(word, cases));
  }

  /// The pieces from `bottom` on, for a lower word of at most `mask`.
  static Pieces Lows(const Pieces& pieces, uint64_t bottom, uint64_t mask) {
    Pieces out;
    for (auto piece = PieceAt(pieces, bottom); piece != pieces.end() && piece->first <= bottom + mask; ++piece) {
      const uint64_t first = std::max(piece->first, bottom) - bottom, last = std::min(piece->last, bottom + mask) - bottom;
      if (!out.empty() && out.back().block == piece->block) out.back().last = last;
      else out.push_back({first, last, piece->block});
    }
    return out;
  }

  CodeGraph& graph_;
  const Policy& policy_;
  Block notify_;
};

// Checking ---------------------------------------------------------------------------------------------

Status CheckAction(const Action& action) {
  if (action.kind == Action::Kind::kErrno && (action.error == 0 || action.error > 4095)) {
    return Errorf(Code::kInvalidArgument, "errno {} is not within 1 to 4095", action.error);
  }
  return OkStatus();
}

Status CheckCondition(const Condition& when) {
  for (const Condition& part : when.parts()) RETURN_IF_ERROR(CheckCondition(part));
  if (when.kind() != Condition::Kind::kTest) return OkStatus();
  const auto* test = std::get_if<NumberTest>(&when.test());
  if (test != nullptr && (test->mask & ~MaskOf(test->width)) != 0) {
    return Errorf(Code::kInvalidArgument, "mask {:#x} is wider than its test", test->mask);
  }
  return OkStatus();
}

Status CheckPolicy(const Policy& policy) {
  if (policy.rules.empty()) return Error(Code::kInvalidArgument, "a policy without a default");
  for (const Rule& rule : policy.rules) RETURN_IF_ERROR(Annotate(CheckAction(rule.action), rule.name));
  for (const auto& [number, rules] : policy.calls) {
    if (number < 0 || number >= kCallNumbers) {
      return Errorf(Code::kInvalidArgument, "{} is not a system call number", number);
    }
    for (const CallRule& rule : rules) {
      if (rule.rule >= policy.rules.size()) return Errorf(Code::kInvalidArgument, "there is no rule {}", rule.rule);
      RETURN_IF_ERROR(Annotate(CheckCondition(rule.when), policy.rules[rule.rule].name));
    }
  }
  return OkStatus();
}

/// The numbers that nobody may be asked about, on this architecture.
std::bitset<kCallNumbers> Unnotifiable(Arch arch) {
  std::bitset<kCallNumbers> out;
  for (const std::string_view name : NeverNotified()) {
    if (const auto number = SyscallNumber(arch, name)) out.set(static_cast<size_t>(*number));
  }
  return out;
}

/// A run of numbers that are decided by the same code.
struct Run {
  uint32_t first = 0;
  Block block;
};

class NumberTree {
 public:
  explicit NumberTree(const Block& rest) { runs_.push_back({0, rest}); }
  /// Numbers from `first` on, until said otherwise.
  void From(uint32_t first, const Block& block) {
    if (runs_.back().first == first) runs_.pop_back();
    if (runs_.empty() || runs_.back().block != block) runs_.push_back({first, block});
  }
  CodeGraph::Node Build(CodeGraph& graph, Word number) const {
    std::vector<CodeGraph::Case> cases;
    for (size_t i = 0; i < runs_.size(); ++i) {
      const uint32_t last = i + 1 < runs_.size() ? runs_[i + 1].first - 1 : ~uint32_t{0};
      cases.push_back({runs_[i].first, last, runs_[i].block});
    }
    return graph.Switch(number, cases);
  }

 private:
  std::vector<Run> runs_;
};

}  // namespace

StatusOr<Filter> Compile(const Policy& policy) {
  RETURN_IF_ERROR(CheckPolicy(policy));
  CodeGraph graph;
  RuleCompiler compiler(graph, policy);
  const std::bitset<kCallNumbers> unnotifiable = Unnotifiable(policy.arch);
  Filter out;
  const Block rest = compiler.Rules({}, true);
  NumberTree tree(rest);
  out.notifies_rest = graph.Reaches(rest.entry, SECCOMP_RET_USER_NOTIF);
  static const std::vector<CallRule> kNoRules;
  // Where the default is the supervisor's, a call without rules is decided by it too, unless it mustn't be.
  auto next = policy.calls.begin();
  for (int number = 0; number < kCallNumbers; ++number) {
    const bool has_rules = next != policy.calls.end() && next->first == number;
    const bool notifiable = !unnotifiable.test(static_cast<size_t>(number));
    const Block block = compiler.Rules(has_rules ? next->second : kNoRules, notifiable);
    if (has_rules) ++next;
    tree.From(static_cast<uint32_t>(number), block);
    if (!graph.Reaches(block.entry, SECCOMP_RET_USER_NOTIF)) continue;
    if (!notifiable) {
      return Errorf(Code::kInvalidArgument, "'{}' can't be handed to a supervisor: containers call it before one listens",
                    SyscallName(policy.arch, number));
    }
    out.notified.push_back(number);
  }
  tree.From(kCallNumbers, rest);
  if (policy.arch == Arch::kX86_64) {
    const Block no_such_call = graph.Return(SECCOMP_RET_ERRNO | ENOSYS);
    tree.From(512, no_such_call);
    tree.From(548, rest);
    tree.From(kX32Bit, no_such_call);
  }
  const Word number = {offsetof(seccomp_data, nr)}, arch = {offsetof(seccomp_data, arch)};
  const Block native = graph.Loaded(number, tree.Build(graph, number));
  const Block foreign = graph.Return(SECCOMP_RET_KILL_PROCESS);
  const CodeGraph::Node begin = graph.Branch(BPF_JEQ, AuditArch(policy.arch), native.From(arch), foreign.entry);
  ASSIGN_OR_RETURN(out.program, graph.Assemble(graph.Loaded(arch, begin).entry));
  return out;
}

Policy UnderFloor(const Policy& floor, const Policy& policy) {
  ISLA_CHECK(floor.arch == policy.arch);
  Policy merged = policy;
  merged.calls.clear();
  const auto offset = static_cast<RuleId>(merged.rules.size());
  for (const Rule& rule : floor.rules) merged.rules.push_back(rule);
  for (const auto& [number, rules] : floor.calls) {
    for (const CallRule& rule : rules) merged.Append(number, rule.rule + offset, rule.when);
  }
  for (const auto& [number, rules] : policy.calls) {
    for (const CallRule& rule : rules) merged.Append(number, rule.rule, rule.when);
  }
  return merged;
}

}  // namespace isla::sandbox
