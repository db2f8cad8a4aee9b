// A policy ready for use: everything that agentd, shim and supervisor need of it, with no text to parse but the
// sections' normal form. Made once per version of a manifest, kept and handed on as bytes, known by the
// hash of the manifest's text.
//
// A container carries two filters, floor first. The kernel runs both and takes the stricter answer, so nothing in
// `filter` lifts the floor; and only `filter` has the listener.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/base/mutex.h"
#include "api/base/status.h"
#include "sandbox/bpf/bpf.h"
#include "sandbox/policy/policy.h"
#include "sandbox/policy/sections.h"

namespace isla::sandbox {

struct CompiledPolicy {
  std::string name;
  std::string hash;  // of the manifest's text: lower-case hexadecimal SHA-256
  Arch arch = kNativeArch;
  Mode mode = Mode::kEnforce;
  Program floor;  // empty: `filter` has it inside, as only the built-in policy's does
  Program filter;
  std::vector<int> notified;   // the numbers for which `filter` may answer USER_NOTIF, sorted: fixed for a running container
  bool notifies_rest = false;  // and numbers without a name
  std::string table;           // RuleTable's bytes
  Sections sections;

  /// Whether `filter` is to be loaded with a listener.
  bool NeedsSupervisor() const { return !notified.empty() || notifies_rest; }

  /// Everything, with a checksum.
  std::string ToBytes() const;
  /// Checks all of it: both programs load, the table is sound and of this architecture and mode. INVALID_ARGUMENT;
  /// DATA_LOSS for a wrong checksum; UNIMPLEMENTED for a format, of it or of its table, that this program doesn't read, or a section that it doesn't know.
  static StatusOr<CompiledPolicy> FromBytes(std::string_view bytes);
  /// The same, but for the table: for who only hands it on, to programs that may be of a newer package and check it themselves.
  static StatusOr<CompiledPolicy> FromBytesButTable(std::string_view bytes);
};

/// Floor and policy as programs, and the table. `floor`: FloorPolicy() of the policy's architecture, compiled, if somebody has it; it is
/// half of the work. INVALID_ARGUMENT and RESOURCE_EXHAUSTED as Compile() and RuleTable::Build().
StatusOr<CompiledPolicy> CompilePolicy(const Policy& policy, Sections sections, std::string name, std::string hash, const Program* floor = nullptr);

/// What CompilePolicy() does but for name, hash, floor and sections, which `out` has: sets all else of it.
Status CompileInto(const Policy& policy, CompiledPolicy& out);

/// SECCOMP_RET_*'s action for the call that starts a command: whether anything can be run under a policy's filter.
uint32_t AnswerToExecve(const Program& filter, Arch arch);

/// A name of a filter, by its bytes: to find out whether one is meant that is known. No proof against who wants another one to have it.
std::string FilterId(const Program& filter);

/// Calls that no filter may hand to a supervisor: a starting container makes them between loading its filter and
/// execve, when nobody may be listening yet; or a notification could never be answered. By name, sorted.
const std::vector<std::string_view>& NeverNotified();

/// Compiled policies by hash: a version is compiled once, whoever starts with it. The ones not asked for longest go
/// first when there are too many. Safe from any thread.
class PolicyCache {
 public:
  explicit PolicyCache(size_t most = 64) : most_(most) {}

  /// Null if it isn't there.
  std::shared_ptr<const CompiledPolicy> Find(const std::string& hash) EXCLUDES(mu_);
  /// The one that is kept: `policy`, or the one that was there.
  std::shared_ptr<const CompiledPolicy> Insert(CompiledPolicy policy) EXCLUDES(mu_);

 private:
  using Entry = std::shared_ptr<const CompiledPolicy>;

  const size_t most_;
  Mutex mu_;
  std::list<Entry> by_use_ GUARDED_BY(mu_);  // the last asked for first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_hash_ GUARDED_BY(mu_);
};

}  // namespace isla::sandbox
