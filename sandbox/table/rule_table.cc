#include "sandbox/table/rule_table.h"

#include <array>
#include <bit>
#include <cerrno>
#include <span>
#include <type_traits>

#include "sandbox/policy/glob.h"
#include "sandbox/table/rule_table_format.h"

namespace isla::sandbox {
namespace {

using namespace table;  // NOLINT: the records of the format

Status Bad(std::string_view what) { return Errorf(Code::kInvalidArgument, "not a rule table: {}", what); }

uint64_t NumberOf(uint8_t number, const NotifiedCall& call) {
  if (number < 6) return call.arguments[number];
  switch (static_cast<Number>(number)) {
    case Number::kUid: return call.uid;
    case Number::kFamily: return call.address.family;
    case Number::kPort: return call.address.port;
    default: return call.fields[number - static_cast<size_t>(Number::kField0)];
  }
}

std::string_view TextOf(uint8_t text, const NotifiedCall& call) {
  switch (static_cast<Text>(text)) {
    case Text::kPath0: return call.paths[0];
    case Text::kPath1: return call.paths[1];
    case Text::kExecutable: return call.executable;
    case Text::kAddressPath: return call.address.path;
  }
  return {};
}

}  // namespace

/// Where the arrays are.
struct RuleTable::Layout {
  explicit Layout(const std::vector<uint64_t>& words)
      : bytes(reinterpret_cast<const char*>(words.data())), header(*reinterpret_cast<const Header*>(bytes)) {
    size_t at = sizeof(Header);
    Place(rules, header.rules, at);
    Place(calls, header.calls, at);
    Place(call_rules, header.call_rules, at);
    Place(ops, header.ops, at);
    Place(intervals, header.intervals, at);
    Place(networks, header.networks, at);
    Place(indexes, header.indexes, at);
    Place(slots, header.slots, at);
    Place(masks, header.words, at);
    Place(positions, header.positions, at);
    strings = {bytes + at, header.string_bytes};
    end = at + header.string_bytes;
  }

  template <typename T>
  void Place(std::span<const T>& out, size_t count, size_t& at) {
    static_assert(std::is_trivially_copyable_v<T>);
    out = {reinterpret_cast<const T*>(bytes + at), count};
    at += (count * sizeof(T) + 7) / 8 * 8;
  }
  std::string_view String(StringRef ref) const { return strings.substr(ref.offset, ref.size); }

  Status Check() const;
  Status CheckProgram() const;
  Status CheckRules() const;
  Status CheckCalls() const;
  Status CheckOps(const CallRuleRecord& rule) const;
  Status CheckOp(const Op& op) const;
  Status CheckIndex(const IndexRecord& index, size_t rules_of_call) const;
  bool Fits(StringRef ref) const {
    return ref.offset <= header.string_bytes && ref.size <= header.string_bytes - ref.offset;
  }

  bool Holds(const CallRuleRecord& rule, const NotifiedCall& call) const;
  bool Holds(const Op& op, const NotifiedCall& call) const;
  const CallRuleRecord* First(const CallRecord& of, const NotifiedCall& call) const;
  const CallRuleRecord* FirstByIndex(const CallRecord& of, const NotifiedCall& call) const;

  const char* bytes;
  const Header& header;
  std::span<const RuleRecord> rules;
  std::span<const CallRecord> calls;
  std::span<const CallRuleRecord> call_rules;
  std::span<const Op> ops;
  std::span<const Interval> intervals;
  std::span<const NetworkRecord> networks;
  std::span<const IndexRecord> indexes;
  std::span<const SlotRecord> slots;
  std::span<const uint64_t> masks;
  std::span<const PositionRecord> positions;
  std::string_view strings;
  size_t end = 0;
};

// Deciding ---------------------------------------------------------------------------------------------

bool RuleTable::Layout::Holds(const Op& op, const NotifiedCall& call) const {
  switch (op.kind) {
    case OpKind::kEqual: return (NumberOf(op.operand, call) & op.a) == op.b;
    case OpKind::kSet: {
      const uint64_t value = NumberOf(op.operand, call) & op.a;
      const Interval* low = intervals.data() + op.b;
      const Interval* high = low + op.count;
      while (high - low > 1) {
        const Interval* middle = low + (high - low) / 2;
        (value < middle->first ? high : low) = middle;
      }
      return value >= low->first && value <= low->last;
    }
    case OpKind::kExact:
    case OpKind::kUnder:
    case OpKind::kGlob: {
      if (op.operand == static_cast<uint8_t>(Text::kAddressPath) && call.address.family != AF_UNIX) return false;
      const std::string_view text = TextOf(op.operand, call);
      const std::string_view pattern = strings.substr(op.a, op.b);
      if (op.kind == OpKind::kExact) return text == pattern;
      if (op.kind == OpKind::kGlob) return GlobMatches(pattern, text);
      return text.starts_with(pattern) &&
             (text.size() == pattern.size() || pattern.ends_with('/') || text[pattern.size()] == '/');
    }
    case OpKind::kNetwork: {
      if (call.address.family != AF_INET && call.address.family != AF_INET6) return false;
      const NetworkRecord& network = networks[op.a];
      uint64_t ip[2];
      std::memcpy(ip, call.address.ip.data(), sizeof ip);
      return ((ip[0] ^ network.bits[0]) & network.mask[0]) == 0 && ((ip[1] ^ network.bits[1]) & network.mask[1]) == 0;
    }
    case OpKind::kRate:
      return call.rates != nullptr && call.rates->Exceeds(op.b & 0xffffffffu, static_cast<uint32_t>(op.a),
                                                          (op.b >> 32) * 1'000'000'000, call.now_ns);
  }
  return false;
}

bool RuleTable::Layout::Holds(const CallRuleRecord& rule, const NotifiedCall& call) const {
  if (rule.op_count == 0) return true;
  for (const Op* op = ops.data() + rule.first_op;;) {
    const uint16_t next = Holds(*op, call) ? op->yes : op->no;
    if (next >= kFails) return next == kHolds;
    op += next;
  }
}

namespace {

/// The first '/' of `text` from `begin` on, or its end. Names are short: a call of memchr would take longer than eight bytes at a time do.
size_t NextSlash(std::string_view text, size_t begin) {
  static_assert(std::endian::native == std::endian::little);
  constexpr uint64_t kOnes = 0x0101010101010101u, kHighs = kOnes << 7;
  for (; text.size() - begin >= 8; begin += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + begin, 8);
    word ^= kOnes * '/';
    // The lowest byte that is zero is told rightly; what is above it may not be.
    if (const uint64_t found = (word - kOnes) & ~word & kHighs; found != 0) return begin + static_cast<size_t>(std::countr_zero(found)) / 8;
  }
  while (begin < text.size() && text[begin] != '/') ++begin;
  return begin;
}

}  // namespace

const CallRuleRecord* RuleTable::Layout::FirstByIndex(const CallRecord& of, const NotifiedCall& call) const {
  const IndexRecord& index = indexes[of.index];
  std::array<uint64_t, kMaxIndexed / 64> looked_at;
  std::memcpy(looked_at.data(), masks.data() + index.first_word, index.word_count * sizeof(uint64_t));
  const auto add = [this, &looked_at](uint32_t first, uint32_t count) {
    for (const PositionRecord& each : positions.subspan(first, count)) {
      looked_at[each.position / 64] |= uint64_t{1} << (each.position % 64);
    }
  };
  const std::string_view text = TextOf(static_cast<uint8_t>(index.text), call);
  PathHash hash;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end_of = NextSlash(text, begin);
    hash.Add(text.substr(begin, end_of - begin));
    const std::string_view prefix = text.substr(0, end_of);
    for (uint64_t probe = hash.value();; ++probe) {
      const SlotRecord& slot = slots[index.first_slot + (probe & index.slot_mask)];
      if (slot.path.size == 0) break;
      if (slot.hash != hash.value() || String(slot.path) != prefix) continue;
      add(slot.first_under, slot.under_count);
      if (end_of == text.size()) add(slot.first_exact, slot.exact_count);
      break;
    }
    begin = end_of + 1;
  }
  for (size_t word = 0; word < index.word_count; ++word) {
    for (uint64_t rest = looked_at[word]; rest != 0; rest &= rest - 1) {
      const CallRuleRecord& rule = call_rules[of.first + word * 64 + static_cast<size_t>(std::countr_zero(rest))];
      if (rule.certain != 0 || Holds(rule, call)) return &rule;
    }
  }
  return nullptr;
}

const CallRuleRecord* RuleTable::Layout::First(const CallRecord& of, const NotifiedCall& call) const {
  if (of.index != kNone) return FirstByIndex(of, call);
  for (const CallRuleRecord& rule : call_rules.subspan(of.first, of.count)) {
    if (Holds(rule, call)) return &rule;
  }
  return nullptr;
}

RuleTable::RuleTable(std::vector<uint64_t> words) : words_(std::move(words)), layout_(std::make_unique<const Layout>(words_)) {}
RuleTable::RuleTable(RuleTable&&) noexcept = default;
RuleTable& RuleTable::operator=(RuleTable&&) noexcept = default;
RuleTable::~RuleTable() = default;

Facts RuleTable::Needs(int number) const {
  const Layout& layout = *layout_;
  if (number < 0 || number >= kCallNumbers) return 0;
  return static_cast<Facts>(layout.calls[static_cast<size_t>(number)].facts);
}

namespace {

/// Apart from Decide(): that has one object to return, so it is made where the caller wants it.
Decision Unreadable(uint8_t mode) {
  const bool goes_on = mode != static_cast<uint8_t>(Mode::kEnforce);
  Decision out;
  out.kind = goes_on ? Decision::Kind::kContinue : Decision::Kind::kErrno;
  out.audit = true;
  out.error = EFAULT;
  out.rule = kUnreadable;
  return out;
}

}  // namespace

Decision RuleTable::Decide(const NotifiedCall& call) const {
  const Layout& layout = *layout_;
  RuleId rule = 0;
  if (call.number >= 0 && call.number < kCallNumbers) {
    const CallRecord& of = layout.calls[static_cast<size_t>(call.number)];
    if ((of.facts & kPointerFacts & ~call.known) != 0) return Unreadable(layout.header.mode);
    if (const CallRuleRecord* found = layout.First(of, call); found != nullptr) rule = found->rule;
  }
  const RuleRecord& record = layout.rules[rule];
  Decision out;
  out.kind = static_cast<Decision::Kind>(record.kind);
  out.enforced = static_cast<Decision::Kind>(record.enforced);
  out.audit = record.audit != 0;
  out.error = record.error;
  out.rule = rule;
  out.value = record.value;
  out.text = layout.String(record.text);
  out.address.family = record.family;
  out.address.port = record.port;
  out.address.ip = record.ip;
  return out;
}

Arch RuleTable::arch() const { return static_cast<Arch>(layout_->header.arch); }
Mode RuleTable::mode() const { return static_cast<Mode>(layout_->header.mode); }
std::optional<ProgramSection> RuleTable::program() const {
  const Layout& layout = *layout_;
  const Header& header = layout.header;
  if (header.program_time_us == 0) return std::nullopt;
  return ProgramSection{std::string(layout.String({header.program_offset, header.program_bytes})), header.program_memory,
                        std::chrono::microseconds(header.program_time_us), static_cast<uint16_t>(header.program_error)};
}

size_t RuleTable::rate_buckets() const { return layout_->header.rate_buckets; }
size_t RuleTable::rules() const { return layout_->header.rules; }

std::string_view RuleTable::RuleName(RuleId rule) const {
  if (rule == kUnreadable) return "unreadable";
  const Layout& layout = *layout_;
  return rule < layout.rules.size() ? layout.String(layout.rules[rule].name) : std::string_view();
}

// Checking ---------------------------------------------------------------------------------------------

Status RuleTable::Layout::CheckProgram() const {
  if (header.program_time_us == 0) return OkStatus();
  constexpr uint32_t kMostUs = 1'000'000, kMostMemory = 256u << 20;
  if (!Fits({header.program_offset, header.program_bytes}) || header.program_bytes > kMaxProgramBytes) return Bad("a program");
  const bool bounded = header.program_time_us <= kMostUs && header.program_memory <= kMostMemory;
  return bounded && header.program_error > 0 && header.program_error <= 4095 ? OkStatus() : Bad("the bounds of a program");
}

Status RuleTable::Layout::CheckRules() const {
  if (rules.empty()) return Bad("no default rule");
  for (const RuleRecord& rule : rules) {
    constexpr auto kLast = static_cast<uint8_t>(Decision::Kind::kProgram);
    if (rule.kind > kLast || rule.enforced > kLast) return Bad("an unknown action");
    const bool fails = rule.kind == static_cast<uint8_t>(Decision::Kind::kErrno);
    if (fails && (rule.error == 0 || rule.error > 4095)) return Bad("errno");
    if (!Fits(rule.text) || !Fits(rule.name)) return Bad("a string of a rule");
  }
  return OkStatus();
}

Status RuleTable::Layout::CheckOp(const Op& op) const {
  switch (op.kind) {
    case OpKind::kEqual:
      if (op.operand >= kNumbers) return Bad("a number");
      return OkStatus();
    case OpKind::kSet:
      if (op.operand >= kNumbers || op.count == 0) return Bad("a number");
      if (op.b > intervals.size() || op.count > intervals.size() - op.b) return Bad("intervals");
      return OkStatus();
    case OpKind::kExact:
    case OpKind::kUnder:
    case OpKind::kGlob:
      if (op.operand > static_cast<uint8_t>(Text::kAddressPath)) return Bad("a text");
      if (op.a > strings.size() || op.b > strings.size() - op.a) return Bad("a pattern");
      return OkStatus();
    case OpKind::kNetwork: return op.a < networks.size() ? OkStatus() : Bad("a network");
    case OpKind::kRate: return (op.b >> 32) != 0 && (op.b >> 32) <= 86'400 ? OkStatus() : Bad("a window");
  }
  return Bad("an unknown test");
}

Status RuleTable::Layout::CheckOps(const CallRuleRecord& rule) const {
  if (rule.first_op > ops.size() || rule.op_count > ops.size() - rule.first_op) return Bad("tests of a rule");
  for (size_t i = 0; i < rule.op_count; ++i) {
    const Op& op = ops[rule.first_op + i];
    for (const uint16_t next : {op.yes, op.no}) {
      if (next < kFails && (next == 0 || next >= rule.op_count - i)) return Bad("a way on");
    }
    RETURN_IF_ERROR(CheckOp(op));
  }
  return OkStatus();
}

Status RuleTable::Layout::CheckIndex(const IndexRecord& index, size_t rules_of_call) const {
  const uint64_t slot_count = uint64_t{index.slot_mask} + 1;
  if (index.text > static_cast<uint32_t>(Text::kAddressPath) || !std::has_single_bit(slot_count) ||
      index.first_slot > slots.size() || slot_count > slots.size() - index.first_slot) {
    return Bad("an index");
  }
  if (rules_of_call > kMaxIndexed || index.word_count != (rules_of_call + 63) / 64 ||
      index.first_word > masks.size() || index.word_count > masks.size() - index.first_word) {
    return Bad("the rules of an index");
  }
  // No bit beyond the last rule, and an empty slot, at which looking ends.
  if (rules_of_call % 64 != 0 && masks[index.first_word + index.word_count - 1] >> (rules_of_call % 64) != 0) {
    return Bad("the rules of an index");
  }
  bool has_empty = false;
  for (const SlotRecord& slot : slots.subspan(index.first_slot, slot_count)) {
    has_empty = has_empty || slot.path.size == 0;
    if (!Fits(slot.path)) return Bad("a path of an index");
    for (const auto& [first, count] : {std::pair(slot.first_exact, slot.exact_count),
                                       std::pair(slot.first_under, slot.under_count)}) {
      if (first > positions.size() || count > positions.size() - first) return Bad("positions of an index");
      for (const PositionRecord& each : positions.subspan(first, count)) {
        if (each.position >= rules_of_call) return Bad("a position of an index");
      }
    }
  }
  return has_empty ? OkStatus() : Bad("an index that is full");
}

Status RuleTable::Layout::CheckCalls() const {
  if (calls.size() != kCallNumbers) return Bad("the number of calls");
  for (const CallRecord& call : calls) {
    if (call.first > call_rules.size() || call.count > call_rules.size() - call.first) return Bad("rules of a call");
    if (call.index == kNone) continue;
    if (call.index >= indexes.size()) return Bad("the index of a call");
    RETURN_IF_ERROR(CheckIndex(indexes[call.index], call.count));
  }
  for (const CallRuleRecord& rule : call_rules) {
    if (rule.rule >= rules.size()) return Bad("a rule's number");
    RETURN_IF_ERROR(CheckOps(rule));
  }
  return OkStatus();
}

Status RuleTable::Layout::Check() const {
  if (header.arch > static_cast<uint8_t>(Arch::kArm64) || header.mode > static_cast<uint8_t>(Mode::kLearn)) {
    return Bad("architecture or mode");
  }
  RETURN_IF_ERROR(CheckProgram());
  RETURN_IF_ERROR(CheckRules());
  return CheckCalls();
}

StatusOr<RuleTable> RuleTable::FromBytes(std::string_view bytes) {
  if (bytes.size() > kMaxTableBytes) return Bad("too large");
  if (bytes.size() < sizeof(Header)) return Bad("too short");
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kMagic) return Bad("wrong first bytes");
  if (header.version != kVersion) {
    return Errorf(Code::kUnimplemented, "a rule table of format {}, and this program reads format {}: they are of different packages", header.version, kVersion);
  }
  std::vector<uint64_t> words((bytes.size() + 7) / 8);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  RuleTable out(std::move(words));
  // Counts are below 2^32 and records below 2^6 bytes: their sum doesn't overflow, and nothing is read before this.
  const Layout& layout = *out.layout_;
  if (layout.end != bytes.size()) return Bad("wrong size");
  RETURN_IF_ERROR(layout.Check());
  return out;
}

}  // namespace isla::sandbox
