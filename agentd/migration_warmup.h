// Moving a process between cgroups waits for an RCU grace period (about 10 ms) unless another move was waited for
// a moment ago: the kernel's cgroup_threadgroup_rwsem is cheap for forks, which read it, and slow for a first writer.
// systemd's move of a shim into its scope is such a write, and all of a start waits for it. So when a start is
// decided, this makes a move of its own, of this process to where it is, on its own thread: the wait runs while the
// shim is spawned and systemd reads the request. Starts come in bursts, so it goes on for a second: a move every 3 ms,
// which is less than a grace period, keeps the lock ready for the next start. (Every 5 ms is worse than nothing: a
// move that waits does so with cgroup_mutex held.) A machine whose cgroup2 is mounted with favordynmods (kernel 6.0)
// pays always what this costs for a second, forks that read the lock by the slower way; it has no such wait, and
// this does no harm there. Measured, delta to Running with starts 100 ms apart, p50 and p99: 8.3 and 11 ms, without
// it 24 and 37.
#pragma once

#include <string>
#include <thread>

#include "api/base/clock.h"
#include "api/base/mutex.h"

namespace isla::agent {

class MigrationWarmup {
 public:
  MigrationWarmup();
  ~MigrationWarmup();
  MigrationWarmup(const MigrationWarmup&) = delete;
  MigrationWarmup& operator=(const MigrationWarmup&) = delete;

  /// Returns at once; does nothing where this process may not write to its own cgroup. Thread-safe.
  void Kick();

 private:
  void Run();

  const Clock& clock_ = Clock::Real();
  const std::string procs_;  // this process's cgroup.procs; "" if there is none
  Mutex mu_;
  CondVar wake_;
  bool wanted_ GUARDED_BY(mu_) = false;
  bool stop_ GUARDED_BY(mu_) = false;
  std::jthread thread_;
};

}  // namespace isla::agent
