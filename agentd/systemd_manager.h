// What agentd asks of systemd, as an interface: the real one is over sd-bus (sdbus_systemd.h), tests use
// FakeSystemd (tests/unit/agentd). Asynchronous: a callback runs later on the loop thread, exactly once, never
// within the call. Codes of the callbacks:
//   NOT_FOUND            no such unit is loaded
//   ALREADY_EXISTS       StartScope: a unit of that name is loaded
//   FAILED_PRECONDITION  systemd refused, or the job ended with another result than "done"
//   UNAVAILABLE          not sent: there is no connection
//   DEADLINE_EXCEEDED    the outcome is unknown (no answer in time, or the connection broke): read back
//
// Sources: org.freedesktop.systemd1(5), systemd.resource-control(5).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/base/status.h"

namespace isla::agent {

struct ScopeSpec {
  std::string unit;         // "isla-<uid>-<incarnation>.scope"
  std::string slice;        // "isla-<namespace>.slice"
  std::string description;
  std::vector<pid_t> pids;
  int64_t cpu_millis = 0;   // of one CPU's time: CPUQuotaPerSecUSec
  int64_t memory_bytes = 0;
  int64_t tasks = 0;
  Duration stop_timeout = std::chrono::seconds(35);
};

struct UnitInfo {
  std::string unit;
  std::string active_state;  // "active", "inactive", "failed", "activating", "deactivating"
  std::string invocation_id;
  std::string control_group;  // "/isla.slice/..."
};

class SystemdManager {
 public:
  template <typename T>
  using Callback = std::function<void(T)>;

  virtual ~SystemdManager() = default;
  /// Starts a transient scope and waits for its job ("done"), then reads the unit back.
  virtual void StartScope(const ScopeSpec& spec, Callback<StatusOr<UnitInfo>> done) = 0;
  /// Ends all processes of the unit (SIGTERM, after its TimeoutStopUSec SIGKILL) and waits for the job.
  virtual void StopUnit(const std::string& unit, Callback<Status> done) = 0;
  /// Sends a signal to every process of the unit.
  virtual void KillUnit(const std::string& unit, int signal, Callback<Status> done) = 0;
  /// Forgets that the unit failed, so that its name is free.
  virtual void ResetFailed(const std::string& unit, Callback<Status> done) = 0;
  /// NOT_FOUND also for a unit that is inactive and only lingers.
  virtual void GetUnit(const std::string& unit, Callback<StatusOr<UnitInfo>> done) = 0;
  /// The loaded units isla-*.scope, in any state; only `unit` and `active_state` are set.
  virtual void ListScopes(Callback<StatusOr<std::vector<UnitInfo>>> done) = 0;
};

}  // namespace isla::agent
