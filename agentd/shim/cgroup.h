// The two leaves of a container's scope: payload/ with its limits exactly (what is granted, or less if its policy says so), shim/ with this process.
// They keep a container from starving or OOM-killing its shim, and the counters of payload/ outlive the payload.
//
// On cgroup v2 the leaves are in the scope's one folder. On v1 and hybrid machines they are in the scope's folder of
// each of the controllers cpu, memory and pids. Where the scope is comes from /proc/self/cgroup and
// /proc/self/mountinfo, so it is right inside a cgroup namespace too.
//
// A write to cgroup.procs, or of another process's id to `tasks`, waits for an RCU grace period (about 10 ms) when it
// is the first in a while. Here it never is: systemd has just moved this process into the scope.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "agentd/shim/step.h"
#include "api/base/cgroup_folders.h"
#include "api/base/status.h"
#include "api/base/unique_fd.h"

namespace isla::shim {

struct Limits {
  int64_t cpu_millis = 0;
  int64_t memory_bytes = 0;
  int64_t tasks = 0;
  friend bool operator==(const Limits&, const Limits&) = default;
};

struct Usage {
  int64_t oom_kills = 0;
  int64_t peak_memory_bytes = 0;  // 0 = not known
  int64_t cpu_time_usec = 0;      // 0 = not known
};

class Leaves {
 public:
  /// Finds the scope's folders, which must end in `scope` (else limits would be set on somebody else's cgroup), makes
  /// the leaves, moves this process into shim/ and `payload`, which has one thread, into payload/, sets the limits
  /// but that of cpu time, and reads them back.
  Step Create(const std::string& scope, const Limits& limits, pid_t payload);

  /// Sets the limit of cpu time and reads it back: when the payload was executed. A grant of 10m is 1 ms in 100, and a
  /// start takes about 2 ms: under it a start would take 100 to 200 ms. Until then the scope's own quota holds.
  Step LimitCpu();

  /// Other limits for a payload that is there: all of them, or none. Nothing is killed for want of memory: RESOURCE_EXHAUSTED if more is in use than can be
  /// taken back. FAILED_PRECONDITION: one can't be set, or isn't in force.
  Status Change(const Limits& limits);

  bool is_v2() const { return v2_; }
  /// The scope's folder of the v2 hierarchy, be it the only one or one without controllers. Empty: it has none.
  const std::string& unified_folder() const { return unified_folder_; }
  /// Sees to it that `payload` is in that folder or below: where v2 has no controllers, nobody has moved it there.
  Step EnterUnified(pid_t payload) const;

  /// Makes oom_event_fd(), once the payload is being started: it is on no start's way.
  Step WatchOom();
  /// A descriptor that becomes readable when the payload ran out of memory, for v1, where the kernel kills one process
  /// and leaves the rest; -1 on v2, which kills all (memory.oom.group) by itself.
  int oom_event_fd() const { return oom_event_.get(); }

  Usage ReadUsage() const;
  /// A file whose text is how many bytes payload/ uses; not valid where nobody counts.
  UniqueFd OpenMemoryUsage() const;

  /// Kills every process in payload/.
  void Kill() const;
  /// Removes payload/ (and on v1 shim/, after leaving it; on v2 shim/ ends with the scope). False if it still has
  /// processes: try again.
  bool Remove();

 private:
  Step SetMemory(int64_t bytes) const;
  Status LowerMemory(int64_t bytes) const;
  Step WriteCpu(int64_t cpu_millis) const;
  Step CreateV2(const std::string& folder, const Limits& limits, pid_t payload);
  Step CreateV1(const std::string& folder, std::string_view controller, const Limits& limits, pid_t payload);
  bool v2_ = false;
  std::vector<std::string> folders_;   // of the scope: one on v2, one a hierarchy on v1
  std::string unified_folder_;
  std::string memory_folder_;          // of the hierarchy that has memory; "" if none
  std::string cpu_folder_;
  std::string pids_folder_;
  Limits limits_;
  bool cpu_limited_ = false;  // LimitCpu() was called
  UniqueFd oom_event_;
};

}  // namespace isla::shim
