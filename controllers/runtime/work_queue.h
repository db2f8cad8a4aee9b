// The work queue: keys that want to be reconciled. The meaning is client-go's (util/workqueue):
//
//   queue_       keys in order of arrival that a worker may take; each is in dirty_ too, none in processing_
//   dirty_       keys that want processing; adding a key that is dirty already does nothing
//   processing_  keys that a worker has; a key added meanwhile becomes dirty and enters queue_ at Done
//
// So a key is worked on by one worker at a time, many adds are one run, and every Add after a Get leads to a
// later run. Around it: delayed adds, and a back-off per key that doubles from base to cap with jitter until
// Forget. After `park_after` failures in a row a key counts as parked: it is still tried, at the cap.
//
// Threads: every method from any thread. Delays run on the Clock's monotonic time.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "api/base/clock.h"
#include "api/base/metrics.h"
#include "api/base/mutex.h"

namespace isla::controllers {

struct WorkQueueOptions {
  std::string name;  // the label "queue" of its metrics
  Duration base_delay = std::chrono::milliseconds(5);
  Duration max_delay = std::chrono::seconds(60);
  int park_after = 15;
  uint64_t seed = 1;  // of the jitter
};

class WorkQueue {
 public:
  /// `clock` must outlive it, as must `metrics` (may be null).
  WorkQueue(const Clock& clock, WorkQueueOptions options, Metrics* metrics = nullptr);

  void Add(const std::string& key);
  /// Adds it when `delay` has passed; of several delays the earliest wins.
  void AddAfter(const std::string& key, Duration delay);
  /// Adds it after its back-off, which grows by this call. The delay chosen.
  Duration AddRateLimited(const std::string& key);
  /// Ends the key's back-off: its last run went well.
  void Forget(const std::string& key);
  int failures(const std::string& key) const;
  bool parked(const std::string& key) const;

  /// Blocks for the next key; nothing once the queue is shut down and drained of what was ready. Each key
  /// that was got must be given back with Done.
  std::optional<std::string> Get();
  /// Does not block: a key that is ready now, or nothing.
  std::optional<std::string> TryGet();
  void Done(const std::string& key);

  /// Adds are ignored from now on, workers in Get return.
  void ShutDown();

  size_t depth() const;
  /// Time until the earliest delayed add; nothing if there is none. For loops of their own.
  std::optional<Duration> NextDelay() const;

 private:
  void AddLocked(const std::string& key) REQUIRES(mu_);
  void PromoteDue(MonotonicTime now) REQUIRES(mu_);
  std::optional<std::string> TakeLocked() REQUIRES(mu_);
  void UpdateGauges(MonotonicTime now) REQUIRES(mu_);

  const Clock& clock_;
  const WorkQueueOptions options_;
  const Gauge depth_, unfinished_seconds_, longest_running_seconds_, parked_;
  const Counter adds_, retries_;
  const Histogram queue_seconds_, work_seconds_;

  mutable Mutex mu_;
  CondVar ready_;
  std::deque<std::string> queue_ GUARDED_BY(mu_);
  std::unordered_map<std::string, MonotonicTime> dirty_ GUARDED_BY(mu_);       // since when
  std::unordered_map<std::string, MonotonicTime> processing_ GUARDED_BY(mu_);  // since when
  std::set<std::pair<MonotonicTime, std::string>> delayed_ GUARDED_BY(mu_);
  std::unordered_map<std::string, MonotonicTime> delayed_by_key_ GUARDED_BY(mu_);
  std::unordered_map<std::string, int> failures_ GUARDED_BY(mu_);
  std::mt19937_64 jitter_ GUARDED_BY(mu_);
  int parked_count_ GUARDED_BY(mu_) = 0;
  bool shut_down_ GUARDED_BY(mu_) = false;
};

}  // namespace isla::controllers
