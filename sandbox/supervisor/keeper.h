// Keeps a container's listener and journal, and an isla-supervisor at work on them: for the shim and for tools that
// run one program in a sandbox. Whatever happens to supervisors, the calling programs see delays only, while this lives.
//
//   Spawn() -> pidfd() becomes readable -> Reap(): ended with its last process, or died: Spawn() again after the delay given
//
// One thread. Doesn't block but for Replace(), which waits for the supervisor's answer, at most 5 s.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "api/base/clock.h"
#include "sandbox/supervisor/counters.h"
#include "sandbox/supervisor/journal.h"
#include "sandbox/supervisor/load.h"
#include "sandbox/supervisor/process.h"

namespace isla::supervisor {

struct KeeperOptions {
  std::string program;    // path of isla-supervisor; the file that is there at the beginning is the one for good
  ProcessConfig config;   // wait_killable is filled in
  std::string table;      // RuleTable's bytes
  UniqueFd audit = {};    // where lines go; not valid: nowhere
  UniqueFd memory_usage = {};
  UniqueFd user_namespace = {};  // where config.user_namespace: the keeper must be root in its own
};

class Keeper {
 public:
  static StatusOr<Keeper> Create(Handover handover, KeeperOptions options);
  Keeper(Keeper&&) noexcept = default;
  /// Ends the supervisor. Programs that still run get ENOSYS for notified calls from then on.
  ~Keeper();

  /// Starts one. There must be none.
  Status Spawn();
  bool running() const { return pidfd_.valid(); }
  /// Readable once the supervisor has ended. -1 if there is none.
  int pidfd() const { return pidfd_.get(); }
  pid_t pid() const { return pid_; }

  struct Ended {
    bool done = false;         // no process is left under the filter
    Duration respawn_after{};  // else: 0 at first, longer if they die soon again and again, at most 1 s
  };
  /// Once pidfd() is readable.
  Ended Reap(const Clock& clock);

  /// For calls from now on, and for later supervisors. INVALID_ARGUMENT if the table is none; then the old one stays. A supervisor
  /// that doesn't answer in 5 s is killed: its successor has the new table.
  Status Replace(std::string table, std::string version);
  /// The same for what bounds calls and lines. With a valid `audit` lines go there; a duplicate is kept for later supervisors.
  struct Tuning {
    uint32_t calls_per_second = 20'000;
    std::chrono::milliseconds deadline{5'000};
    AuditOptions audit;
  };
  Status Tune(const Tuning& tuning, UniqueFd audit);
  Tuning tuning() const { return {options_.config.calls_per_second, options_.config.deadline, options_.config.audit}; }
  /// As a watchdog does: the next Reap() tells when to start another.
  void Kill() const;

  /// The watchdog: kills a supervisor that lives and doesn't work, and says so. To be called every kLookEvery while one runs. It hangs if,
  /// from one look to the next, calls wait and none is received, or one isn't answered in twice its deadline.
  bool KillIfHung(const Clock& clock);
  static constexpr std::chrono::seconds kLookEvery{5};

  /// By rule of the table in use, since it is.
  const SharedCounters& counters() const { return *counters_; }
  const std::string& version() const { return options_.config.policy_version; }

  /// The listener, to be watched for POLLIN while there is no supervisor yet: the first may be started when the first call waits.
  int listener() const { return listener_.get(); }

 private:
  Keeper() = default;
  /// What the supervisor says to it. One that ended, or hangs and is killed, has agreed: its successor begins with what is to be.
  Status Ask(const json::Value& packet, int fd);

  UniqueFd listener_, journal_, control_, pidfd_;
  // isla-supervisor as it was at the beginning: a package that comes later may bring one that reads other tables and journals than these, and calls
  // would wait for a supervisor that can't begin. Not valid: it wasn't there, the path is tried each time.
  UniqueFd program_;
  std::optional<SharedCounters> counters_;
  KeeperOptions options_;
  pid_t pid_ = -1;
  std::optional<MonotonicTime> died_at_;
  int deaths_ = 0;
  // The watchdog's last look, if calls waited then: how many had been received.
  std::optional<uint64_t> stuck_at_;
};

}  // namespace isla::supervisor
