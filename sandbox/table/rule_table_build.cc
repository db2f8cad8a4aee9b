// Policy -> the bytes of a rule table.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "sandbox/table/rule_table.h"
#include "sandbox/table/rule_table_format.h"

namespace isla::sandbox {
namespace {

using namespace table;  // NOLINT: the records of the format

// From this many rules with a path on, a call gets an index: below, looking at each is faster.
constexpr size_t kIndexFrom = 8;

/// A path of which a call must have, for a condition to hold, one that is it (exact) or is under it.
struct Guard {
  Text text;
  bool exact;
  std::string path;
};
using Guards = std::vector<Guard>;

std::optional<Guards> GuardsOf(const TextTest& test) {
  switch (test.match) {
    case Match::kExact:
      if (test.pattern.empty()) return std::nullopt;
      return Guards{{test.text, true, test.pattern}};
    case Match::kUnder:
      if (test.pattern.empty() || test.pattern.ends_with('/')) return std::nullopt;
      return Guards{{test.text, false, test.pattern}};
    case Match::kGlob: {
      // The folders before the first special character are the same in all paths that match.
      const size_t slash = std::string_view(test.pattern).substr(0, test.pattern.find_first_of("?*\\")).rfind('/');
      if (slash == std::string_view::npos || slash == 0) return std::nullopt;
      return Guards{{test.text, false, test.pattern.substr(0, slash)}};
    }
  }
  return std::nullopt;
}

/// Nothing if the condition can hold whatever that text is.
std::optional<Guards> GuardsOf(const Condition& condition, Text text) {
  switch (condition.kind()) {
    case Condition::Kind::kTest: {
      const auto* test = std::get_if<TextTest>(&condition.test());
      return test != nullptr && test->text == text ? GuardsOf(*test) : std::nullopt;
    }
    case Condition::Kind::kAnd:
      // Not from behind a rate test: a call that the guard turned away would not be counted.
      for (const Condition& part : condition.parts()) {
        if (auto guards = GuardsOf(part, text)) return guards;
        if ((part.facts() & kFactRate) != 0) return std::nullopt;
      }
      return std::nullopt;
    case Condition::Kind::kOr: {
      Guards out;
      for (const Condition& part : condition.parts()) {
        auto guards = GuardsOf(part, text);
        if (!guards) return std::nullopt;
        out.insert(out.end(), guards->begin(), guards->end());
      }
      return out;
    }
    default: return std::nullopt;
  }
}

/// Whether the condition says no more than its guards do: then it holds wherever one of them is found. (Of an address' path it says
/// that the address is a unix socket's, too.)
bool OnlyGuards(const Condition& condition, Text text) {
  if (condition.kind() == Condition::Kind::kTest) {
    const auto* test = std::get_if<TextTest>(&condition.test());
    return test != nullptr && test->text == text && text != Text::kAddressPath && test->match != Match::kGlob;
  }
  if (condition.kind() != Condition::Kind::kOr) return false;
  return std::all_of(condition.parts().begin(), condition.parts().end(), [text](const Condition& part) { return OnlyGuards(part, text); });
}

Decision::Kind KindOf(Action::Kind kind) {
  switch (kind) {
    case Action::Kind::kAllow:
    case Action::Kind::kLog: return Decision::Kind::kContinue;
    case Action::Kind::kErrno:
    case Action::Kind::kDeny: return Decision::Kind::kErrno;
    case Action::Kind::kKill: return Decision::Kind::kKill;
    case Action::Kind::kSpoof: return Decision::Kind::kSpoof;
    case Action::Kind::kEmulate: return Decision::Kind::kEmulate;
    case Action::Kind::kFile: return Decision::Kind::kFile;
    case Action::Kind::kRedirect: return Decision::Kind::kRedirect;
    case Action::Kind::kRedirectAddress: return Decision::Kind::kRedirectAddress;
    case Action::Kind::kPerform: return Decision::Kind::kPerform;
    case Action::Kind::kProgram: return Decision::Kind::kProgram;
  }
  return Decision::Kind::kKill;
}

class Builder {
 public:
  Builder(const Policy& policy, const ProgramSection* program) : policy_(policy), program_(program) {
    header_.arch = static_cast<uint8_t>(policy.arch);
    header_.mode = static_cast<uint8_t>(policy.mode);
  }

  StatusOr<std::string> Build() {
    for (const Rule& rule : policy_.rules) rules_.push_back(RecordOf(rule));
    calls_.resize(kCallNumbers);
    for (const auto& [number, rules] : policy_.calls) {
      if (number < 0 || number >= kCallNumbers) {
        return Errorf(Code::kInvalidArgument, "{} is not a system call number", number);
      }
      RETURN_IF_ERROR(AddCall(calls_[static_cast<size_t>(number)], rules));
    }
    if (program_ != nullptr) AddProgram();
    return Bytes();
  }

 private:
  StringRef Keep(std::string_view text) {
    const auto [at, is_new] = string_refs_.try_emplace(std::string(text));
    if (is_new) {
      at->second = {static_cast<uint32_t>(strings_.size()), static_cast<uint32_t>(text.size())};
      strings_ += text;
    }
    return at->second;
  }

  void AddProgram() {
    const StringRef source = Keep(program_->source);
    header_.program_offset = source.offset;
    header_.program_bytes = source.size;
    header_.program_memory = program_->memory_bytes;
    header_.program_time_us = static_cast<uint32_t>(program_->time.count());
    header_.program_error = program_->on_error;
  }

  RuleRecord RecordOf(const Rule& rule) {
    RuleRecord out;
    const Action& action = rule.action;
    const Decision::Kind enforced = KindOf(action.kind);
    const bool refuses = action.Restricts() && action.kind != Action::Kind::kProgram;
    const bool goes_on = policy_.mode == Mode::kLearn || (policy_.mode == Mode::kWarn && refuses);
    out.kind = static_cast<uint8_t>(goes_on ? Decision::Kind::kContinue : enforced);
    out.enforced = static_cast<uint8_t>(enforced);
    out.audit = goes_on || (action.kind != Action::Kind::kAllow && action.kind != Action::Kind::kPerform) ? 1 : 0;
    out.error = action.kind == Action::Kind::kDeny ? uint16_t{EPERM} : action.error;
    out.value = action.value;
    out.text = Keep(action.text);
    out.name = Keep(rule.name);
    if (action.kind == Action::Kind::kRedirectAddress) {
      const SocketAddress address = AddressFromText(action.text).value_or(SocketAddress());
      out.family = static_cast<uint8_t>(address.family);
      out.port = address.port;
      out.ip = address.ip;
    }
    return out;
  }

  Status AddCall(CallRecord& call, const std::vector<CallRule>& rules) {
    call.first = static_cast<uint32_t>(call_rules_.size());
    conditions_.clear();
    for (const CallRule& rule : rules) {
      if (rule.rule >= policy_.rules.size()) return Errorf(Code::kInvalidArgument, "no rule {}", rule.rule);
      CallRuleRecord record;
      record.rule = rule.rule;
      RETURN_IF_ERROR(AddCondition(record, rule.when));
      call_rules_.push_back(record);
      call.facts |= rule.when.facts();
      conditions_.push_back(&rule.when);
      if (rule.when.kind() == Condition::Kind::kTrue) break;  // nothing after it is looked at
    }
    call.count = static_cast<uint32_t>(conditions_.size());
    AddIndex(call, conditions_);
    return OkStatus();
  }

  // Conditions: ops in the order of evaluation, whose ways on are labels until all stand.

  using Label = size_t;
  static constexpr Label kLabelHolds = ~size_t{0}, kLabelFails = ~size_t{0} - 1;
  struct OpWays {
    Label yes, no;
  };

  Status AddCondition(CallRuleRecord& record, const Condition& condition) {
    record.first_op = static_cast<uint32_t>(ops_.size());
    if (condition.kind() == Condition::Kind::kTrue) return OkStatus();
    ways_.clear();
    labels_.clear();
    if (condition.kind() == Condition::Kind::kFalse) {
      AddOp({.kind = OpKind::kEqual, .operand = 0, .yes = 0, .no = 0, .count = 0, .a = 0, .b = 1}, kLabelHolds, kLabelFails);
    } else {
      RETURN_IF_ERROR(Emit(condition, kLabelHolds, kLabelFails));
    }
    record.op_count = static_cast<uint32_t>(ways_.size());
    for (size_t i = 0; i < ways_.size(); ++i) {
      Op& op = ops_[record.first_op + i];
      RETURN_IF_ERROR(SetWay(op.yes, i, ways_[i].yes));
      RETURN_IF_ERROR(SetWay(op.no, i, ways_[i].no));
    }
    return OkStatus();
  }

  Status SetWay(uint16_t& way, size_t at, Label label) const {
    if (label == kLabelHolds || label == kLabelFails) {
      way = label == kLabelHolds ? kHolds : kFails;
      return OkStatus();
    }
    const size_t distance = labels_[label] - at;
    if (distance > kMaxJump) return Error(Code::kResourceExhausted, "a condition has too many tests");
    way = static_cast<uint16_t>(distance);
    return OkStatus();
  }

  void AddOp(Op op, Label yes, Label no) {
    ops_.push_back(op);
    ways_.push_back({yes, no});
  }

  Status Emit(const Condition& condition, Label yes, Label no) {
    switch (condition.kind()) {
      case Condition::Kind::kTest: return std::visit([&](const auto& test) { return EmitTest(test, yes, no); }, condition.test());
      case Condition::Kind::kNot: return Emit(condition.parts().front(), no, yes);
      case Condition::Kind::kAnd:
      case Condition::Kind::kOr: break;
      default: return Error(Code::kInternal, "a constant within a condition");
    }
    const bool is_and = condition.kind() == Condition::Kind::kAnd;
    for (size_t i = 0; i < condition.parts().size(); ++i) {
      if (i + 1 == condition.parts().size()) return Emit(condition.parts()[i], yes, no);
      labels_.push_back(0);
      const Label next = labels_.size() - 1;
      RETURN_IF_ERROR(is_and ? Emit(condition.parts()[i], next, no) : Emit(condition.parts()[i], yes, next));
      labels_[next] = ways_.size();
    }
    return OkStatus();
  }

  Status EmitTest(const NumberTest& test, Label yes, Label no) {
    Op op;
    op.operand = static_cast<uint8_t>(test.number);
    op.a = test.mask & MaskOf(test.width);
    const auto& set = test.values.intervals();
    if (set.size() == 1 && set[0].first == set[0].last) {
      op.kind = OpKind::kEqual;
      op.b = set[0].first;
    } else if (set.empty()) {
      op.kind = OpKind::kEqual;
      op.a = 0;
      op.b = 1;
    } else {
      if (set.size() > 0xffff) return Error(Code::kResourceExhausted, "a list has too many values");
      op.kind = OpKind::kSet;
      op.count = static_cast<uint16_t>(set.size());
      op.b = intervals_.size();
      intervals_.insert(intervals_.end(), set.begin(), set.end());
    }
    AddOp(op, yes, no);
    return OkStatus();
  }

  Status EmitTest(const TextTest& test, Label yes, Label no) {
    Op op;
    op.kind = test.match == Match::kExact ? OpKind::kExact : test.match == Match::kUnder ? OpKind::kUnder : OpKind::kGlob;
    op.operand = static_cast<uint8_t>(test.text);
    const StringRef ref = Keep(test.pattern);
    op.a = ref.offset;
    op.b = ref.size;
    AddOp(op, yes, no);
    return OkStatus();
  }

  Status EmitTest(const NetworkTest& test, Label yes, Label no) {
    Op op;
    op.kind = OpKind::kNetwork;
    op.a = networks_.size();
    std::array<uint8_t, 16> mask{};
    for (unsigned bit = 0; bit < test.network.prefix_bits; ++bit) mask[bit / 8] |= static_cast<uint8_t>(0x80u >> bit % 8);
    NetworkRecord record;
    std::memcpy(record.mask, mask.data(), mask.size());
    std::memcpy(record.bits, test.network.ip.data(), test.network.ip.size());
    networks_.push_back(record);
    AddOp(op, yes, no);
    return OkStatus();
  }

  Status EmitTest(const RateTest& test, Label yes, Label no) {
    Op op;
    op.kind = OpKind::kRate;
    op.a = test.limit;
    op.b = test.bucket | uint64_t{test.window_seconds} << 32;
    header_.rate_buckets = std::max(header_.rate_buckets, test.bucket + 1);
    AddOp(op, yes, no);
    return OkStatus();
  }

  // The index ------------------------------------------------------------------------------------------

  void AddIndex(CallRecord& call, const std::vector<const Condition*>& conditions) {
    if (conditions.size() < kIndexFrom || conditions.size() > kMaxIndexed) return;
    std::vector<std::optional<Guards>> best;
    Text best_text = Text::kPath0;
    size_t best_count = 0;
    for (const Text text : {Text::kPath0, Text::kPath1, Text::kExecutable, Text::kAddressPath}) {
      std::vector<std::optional<Guards>> guards;
      size_t count = 0;
      for (const Condition* condition : conditions) {
        guards.push_back(GuardsOf(*condition, text));
        count += guards.back().has_value() ? 1 : 0;
      }
      if (count > best_count) {
        best = std::move(guards);
        best_text = text;
        best_count = count;
      }
    }
    if (best_count < kIndexFrom) return;
    for (size_t i = 0; i < conditions.size(); ++i) {
      call_rules_[call.first + i].certain = best[i] && OnlyGuards(*conditions[i], best_text) ? 1 : 0;
    }
    call.index = static_cast<uint32_t>(indexes_.size());
    indexes_.push_back(MakeIndex(best_text, best));
  }

  IndexRecord MakeIndex(Text text, const std::vector<std::optional<Guards>>& guards) {
    struct Lists {
      std::set<uint32_t> exact, under;
    };
    std::map<std::string, Lists> by_path;
    IndexRecord index;
    index.text = static_cast<uint32_t>(text);
    index.first_word = static_cast<uint32_t>(words_.size());
    index.word_count = static_cast<uint32_t>((guards.size() + 63) / 64);
    words_.resize(words_.size() + index.word_count);
    for (uint32_t position = 0; position < guards.size(); ++position) {
      if (!guards[position]) {
        words_[index.first_word + position / 64] |= uint64_t{1} << (position % 64);
        continue;
      }
      for (const Guard& guard : *guards[position]) {
        Lists& lists = by_path[guard.path];
        (guard.exact ? lists.exact : lists.under).insert(position);
      }
    }
    const size_t slot_count = std::bit_ceil(by_path.size() * 2 + 1);
    index.first_slot = static_cast<uint32_t>(slots_.size());
    index.slot_mask = static_cast<uint32_t>(slot_count - 1);
    slots_.resize(slots_.size() + slot_count);
    for (const auto& [path, lists] : by_path) {
      SlotRecord slot;
      slot.hash = HashOfPath(path);
      slot.path = Keep(path);
      slot.first_exact = KeepPositions(lists.exact, slot.exact_count);
      slot.first_under = KeepPositions(lists.under, slot.under_count);
      uint64_t probe = slot.hash;
      while (slots_[index.first_slot + (probe & index.slot_mask)].path.size != 0) ++probe;
      slots_[index.first_slot + (probe & index.slot_mask)] = slot;
    }
    return index;
  }

  uint32_t KeepPositions(const std::set<uint32_t>& all, uint32_t& count) {
    const auto first = static_cast<uint32_t>(positions_.size());
    for (const uint32_t position : all) positions_.push_back({position});
    count = static_cast<uint32_t>(all.size());
    return first;
  }

  template <typename T>
  static void Append(std::string& out, const std::vector<T>& records, uint32_t& count) {
    count = static_cast<uint32_t>(records.size());
    if (!records.empty()) out.append(reinterpret_cast<const char*>(records.data()), records.size() * sizeof(T));
    out.append((8 - out.size() % 8) % 8, '\0');
  }

  StatusOr<std::string> Bytes() {
    std::string body;
    Append(body, rules_, header_.rules);
    Append(body, calls_, header_.calls);
    Append(body, call_rules_, header_.call_rules);
    Append(body, ops_, header_.ops);
    Append(body, intervals_, header_.intervals);
    Append(body, networks_, header_.networks);
    Append(body, indexes_, header_.indexes);
    Append(body, slots_, header_.slots);
    Append(body, words_, header_.words);
    Append(body, positions_, header_.positions);
    header_.string_bytes = static_cast<uint32_t>(strings_.size());
    std::string out(reinterpret_cast<const char*>(&header_), sizeof header_);
    out += body;
    out += strings_;
    if (out.size() > kMaxTableBytes) {
      return Errorf(Code::kResourceExhausted, "the rule table has {} bytes: at most {}", out.size(), kMaxTableBytes);
    }
    return out;
  }

  const Policy& policy_;
  const ProgramSection* const program_;
  Header header_;
  std::vector<RuleRecord> rules_;
  std::vector<CallRecord> calls_;
  std::vector<CallRuleRecord> call_rules_;
  std::vector<Op> ops_;
  std::vector<Interval> intervals_;
  std::vector<NetworkRecord> networks_;
  std::vector<IndexRecord> indexes_;
  std::vector<SlotRecord> slots_;
  std::vector<uint64_t> words_;
  std::vector<PositionRecord> positions_;
  std::string strings_;
  std::unordered_map<std::string, StringRef> string_refs_;
  std::vector<OpWays> ways_;    // of the condition being added
  std::vector<size_t> labels_;  // where they stand, as its n-th op
  std::vector<const Condition*> conditions_;  // of the call being added
};

}  // namespace

StatusOr<std::string> RuleTable::Build(const Policy& policy, const ProgramSection* program) {
  return Builder(policy, program).Build();
}

}  // namespace isla::sandbox
