// The bytes of a rule table. Internal to rule_table*.cc.
//
//   Header, then arrays of the records below in the order of Header's counts, each at a multiple of 8; the
//   strings last. Native byte order: a table never leaves its machine. References are indexes into those arrays.
//
// A condition is a run of ops, each a test with two ways on: further down in the run (relative, at least 1), or
// an end. So evaluating it ends, after at most as many tests as it has ops.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "sandbox/policy/call.h"
#include "sandbox/policy/policy.h"

namespace isla::sandbox::table {

inline constexpr uint32_t kMagic = 0x54'4c'53'49;  // "ISLT"
inline constexpr uint16_t kVersion = 3;
inline constexpr uint32_t kNone = ~uint32_t{0};

struct Header {
  uint32_t magic = kMagic;
  uint16_t version = kVersion;
  uint8_t arch = 0;
  uint8_t mode = 0;
  uint32_t rate_buckets = 0;
  uint32_t rules = 0;        // RuleRecord
  uint32_t calls = 0;        // CallRecord: kCallNumbers of them
  uint32_t call_rules = 0;   // CallRuleRecord
  uint32_t ops = 0;          // Op
  uint32_t intervals = 0;    // Interval
  uint32_t networks = 0;     // NetworkRecord
  uint32_t indexes = 0;      // IndexRecord
  uint32_t slots = 0;        // SlotRecord
  uint32_t positions = 0;    // PositionRecord
  uint32_t words = 0;        // uint64_t
  uint32_t string_bytes = 0;
  uint32_t program_offset = 0, program_bytes = 0;  // its source, in the strings
  uint32_t program_memory = 0, program_time_us = 0;  // time 0: there is no program
  uint32_t program_error = 0;
  uint32_t zero = 0;
};
static_assert(sizeof(Header) % 8 == 0);

struct StringRef {
  uint32_t offset = 0, size = 0;
};

struct RuleRecord {
  uint8_t kind = 0, enforced = 0, audit = 0, family = 0;  // Decision::Kind; family of `ip`, 0 if none
  uint16_t error = 0, port = 0;
  int64_t value = 0;
  StringRef text, name;
  std::array<uint8_t, 16> ip{};
};
static_assert(sizeof(RuleRecord) == 48);

struct CallRecord {
  uint32_t first = 0, count = 0;  // call_rules
  uint32_t index = kNone;         // indexes
  uint32_t facts = 0;
};

struct CallRuleRecord {
  uint32_t rule = 0;
  uint32_t first_op = 0;
  uint32_t op_count = 0;  // 0: always holds
  uint32_t certain = 0;   // not 0: it holds for all texts that lead to it in the index
};

enum class OpKind : uint8_t { kEqual, kSet, kExact, kUnder, kGlob, kNetwork, kRate };
inline constexpr uint16_t kHolds = 0xffff, kFails = 0xfffe, kMaxJump = 0xff00;

struct Op {
  OpKind kind = OpKind::kEqual;
  uint8_t operand = 0;          // Number or Text
  uint16_t yes = kHolds, no = kFails;
  uint16_t count = 0;           // kSet: of intervals
  uint64_t a = 0;               // kEqual, kSet: mask. texts: offset of the string. network: its index. rate: limit
  uint64_t b = 0;               // kEqual: value. kSet: first interval. texts: size. rate: bucket | window << 32
};
static_assert(sizeof(Op) == 24);

struct NetworkRecord {
  uint64_t mask[2] = {}, bits[2] = {};
};

// The index of a call with many rules that begin with a path: a hash table of those paths. A rule is looked at
// if it has no such path (`words`: a bit a rule), or if one of its paths was found in the call's.

struct IndexRecord {
  uint32_t text = 0;        // which Text is looked up
  uint32_t first_slot = 0, slot_mask = 0;  // a power of two of slots, less one; empty ones have no string
  uint32_t first_word = 0, word_count = 0;
  uint32_t zero = 0;
};

struct SlotRecord {
  uint64_t hash = 0;
  StringRef path;  // size 0: empty
  uint32_t first_exact = 0, exact_count = 0;  // positions
  uint32_t first_under = 0, under_count = 0;
};

struct PositionRecord {
  uint32_t position = 0;  // of a rule within the call's
};

inline constexpr size_t kMaxIndexed = 4096;  // rules of a call, so that a set of them fits the stack

/// Hashes a path component by component, so that all its beginnings are hashed in one pass.
class PathHash {
 public:
  void Add(std::string_view component) {
    uint64_t h = state_ ^ component.size();
    while (component.size() >= 8) {
      uint64_t word = 0;
      std::memcpy(&word, component.data(), 8);
      h = Mix(h ^ word);
      component.remove_prefix(8);
    }
    state_ = Mix(h ^ Tail(component));
  }
  uint64_t value() const { return state_; }

 private:
  /// Less than 8 bytes as a number, without a call of memcpy for so few.
  static uint64_t Tail(std::string_view bytes) {
    const size_t size = bytes.size();
    if (size >= 4) {
      uint32_t low = 0, high = 0;
      std::memcpy(&low, bytes.data(), 4);
      std::memcpy(&high, bytes.data() + size - 4, 4);
      return low | uint64_t{high} << (8 * (size - 4));
    }
    if (size == 0) return 0;
    const auto at = [bytes](size_t i) { return uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i); };
    return at(0) | at(size / 2) | at(size - 1);
  }
  /// The upper bits of a product hang on all bits of its factors, the lower ones on the lower ones only, and slots are found by the
  /// lower: so they change places. (Names of one folder often differ in their last letters, which are upper bits.)
  static uint64_t Mix(uint64_t x) { return __builtin_bswap64(x * 0x9e3779b97f4a7c15u); }
  uint64_t state_ = 0x1f83d9abfb41bd6bu;
};

inline uint64_t HashOfPath(std::string_view path) {
  PathHash hash;
  for (;;) {
    const size_t slash = path.find('/');
    hash.Add(path.substr(0, slash));
    if (slash == std::string_view::npos) return hash.value();
    path.remove_prefix(slash + 1);
  }
}

}  // namespace isla::sandbox::table
