// What the supervisor decides notified calls with: a policy as one flat, immutable block of bytes.
//
// Life of a table: compiled with the filter, by a process that may be under the tenant's influence; carried as
// bytes in a sealed memfd, the policy's program with it; checked once by FromBytes(), so that Decide() needs no bounds checks of its own;
// swapped for a newer one while calls come (hold it by shared_ptr<const RuleTable>: a call is decided by the
// table of its arrival).
//
// A table decides every call of its architecture, not only those that its own policy's filter hands over:
// the filter of a running container is that of its start, the table may be newer.
//
// Decide() is const, allocates nothing, takes no lock, and takes time by the rules of that one call (rules
// that begin with a path are found by hashing it). Safe from many threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/status.h"
#include "sandbox/policy/call.h"
#include "sandbox/policy/policy.h"
#include "sandbox/policy/sections.h"

namespace isla::sandbox {

/// What to do with one call.
struct Decision {
  enum class Kind : uint8_t {
    kContinue,         // SECCOMP_USER_NOTIF_FLAG_CONTINUE
    kErrno,            // `error`
    kKill,             // the process
    kSpoof,            // succeed with `value`
    kEmulate,          // by the emulator named `text`
    kFile,             // with the bytes `text`
    kRedirect,         // to the path `text`
    kRedirectAddress,  // to `text` ("127.0.0.1:8080"), decoded in `address`
    kPerform,          // for the caller
    kProgram,          // ask the function `text`
  };
  Kind kind = Kind::kErrno;
  /// What `enforce` would do: kind, unless the mode is warn or learn (then kind is kContinue).
  Kind enforced = Kind::kErrno;
  /// Write it down: denials, rewrites, log, and all that warn and learn let go on.
  bool audit = false;
  uint16_t error = 0;
  RuleId rule = 0;        // kUnreadable: a pointer that the call needs could not be read (error is EFAULT)
  int64_t value = 0;
  std::string_view text;  // in the table's memory
  SocketAddress address;  // kRedirectAddress
};

class RuleTable {
 public:
  /// The policy as bytes, with its program if it has one. RESOURCE_EXHAUSTED beyond kMaxTableBytes.
  static StatusOr<std::string> Build(const Policy& policy, const ProgramSection* program = nullptr);
  /// Checks them wholly. INVALID_ARGUMENT if they are no table, or one of another format.
  /// INVALID_ARGUMENT; UNIMPLEMENTED for one of another format (sandbox/README.md, Formats).
  static StatusOr<RuleTable> FromBytes(std::string_view bytes);

  RuleTable(RuleTable&&) noexcept;
  RuleTable& operator=(RuleTable&&) noexcept;
  ~RuleTable();

  /// What has to be found out about a call of this number before Decide(): nothing else is looked at.
  Facts Needs(int number) const;
  /// The first rule that holds. A number beyond the architecture's is decided by the default.
  Decision Decide(const NotifiedCall& call) const;

  Arch arch() const;
  Mode mode() const;
  /// What kProgram asks; its bounds are checked, its source isn't.
  std::optional<ProgramSection> program() const;
  /// How many RateBuckets it wants.
  size_t rate_buckets() const;
  /// Rule ids are below this.
  size_t rules() const;
  /// "rules[3]", "base", as in Policy; "unreadable" for kUnreadable, "" for no rule of this table.
  std::string_view RuleName(RuleId rule) const;

 private:
  struct Layout;
  explicit RuleTable(std::vector<uint64_t> words);

  std::vector<uint64_t> words_;           // aligned for every record; moving it moves no record
  std::unique_ptr<const Layout> layout_;  // of words_
};

inline constexpr size_t kMaxTableBytes = size_t{8} << 20;

}  // namespace isla::sandbox
