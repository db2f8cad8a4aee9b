// The program isla-supervisor: one process that supervises one listener. What it inherits is the contract between it and
// whoever keeps it (keeper.h):
//
//   3  the listener (a duplicate: the keeper has another)
//   4  the journal
//   5  ProcessConfig as JSON, a memfd
//   6  the policy's rule table, a memfd
//   7  where the audit's lines go, or /dev/null
//   8  control: a SOCK_SEQPACKET socket to the keeper
//   9  a file whose text is the bytes of memory that the container uses, or /dev/null
//  10  the user namespace to work in, if ProcessConfig has userNamespace
//  11  counters by rule (counters.h), or /dev/null: nothing is counted
//  12  the program itself, by which it was started; closed at once
//
// With a user namespace the process, started as root, first becomes `uid` there, with `capabilities` and no others, and no way to more.
// Nothing that is a tenant's (table, journal, calls) is looked at before that. It stays in its keeper's other namespaces.
//
// Control packets are JSON objects of at most 4096 bytes, each answered by one:
//   {"command":"replace","version":S} with a table's memfd as SCM_RIGHTS   ->  {"ok":true} or {"ok":false,"error":S}
//   {"command":"tune", and members of ProcessConfig: callsPerSecond, deadlineMsec, auditOneOfAllowed, auditLinesPerSecond}, perhaps with another
//   file for the audit as SCM_RIGHTS                                     ->  the same
// The keeper's end changes nothing: it goes on, and ends (status 0) with the last process under the filter. Unknown members
// are ignored.
#pragma once

#include <cstdint>
#include <string>

#include "api/base/json.h"
#include "sandbox/supervisor/audit.h"
#include "sandbox/supervisor/supervisor.h"

namespace isla::supervisor {

enum ProcessFd : int { kListenerFd = 3, kJournalFd, kConfigFd, kTableFd, kAuditFd, kControlFd, kUsageFd, kUserNamespaceFd, kCountersFd, kProgramFd };
inline constexpr size_t kMaxControlBytes = 4096;

struct ProcessConfig {
  bool wait_killable = false;
  std::string policy_version;
  unsigned cpus = 0;  // of Grant
  uint64_t memory_bytes = 0, tasks = 0;
  std::string hostname;
  uint32_t calls_per_second = 20'000;
  std::chrono::milliseconds deadline{5'000};
  AuditOptions audit;
  bool user_namespace = false;
  uint32_t uid = 0;           // and gid, as the namespace has them
  uint64_t capabilities = 0;  // as bits
};

/// What a supervisor needs in the namespace of those that it answers: looking at callers and killing them; and, if it `performs`, taking
/// their ids and at most their capabilities.
uint64_t SupervisorCapabilities(bool performs);

json::Value ToJson(const ProcessConfig& config);
/// INVALID_ARGUMENT for members of the wrong type.
StatusOr<ProcessConfig> ProcessConfigFromJson(const json::Value& value);

/// What main() does: returns the exit status.
int RunProcess();

}  // namespace isla::supervisor
