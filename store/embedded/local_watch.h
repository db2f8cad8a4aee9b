// One watch of the embedded store. What it does next is decided by Take under the store's lock; the watcher is called
// without it, by the watch's own thread or by whoever delivers by hand.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "api/base/mutex.h"
#include "store/embedded/mvcc.h"
#include "store/store.h"

namespace isla::store {

class LocalWatch;

/// What the store shares with its watches.
struct LocalState {
  Mutex mu;
  std::atomic<int> urgent{0};  // calls that wait for mu: pruning lets them in
  CondVar changed;  // something was committed, compacted or closed; a watch is to stop
  Mvcc mvcc GUARDED_BY(mu);
  Status failure GUARDED_BY(mu);                    // not OK: the store is closed
  std::vector<LocalWatch*> watches GUARDED_BY(mu);  // manual delivery: in order of their start
};

/// A MutexLock of `state.mu` that pruning gives way to.
class SCOPED_CAPABILITY UrgentLock {
 public:
  explicit UrgentLock(LocalState& state) ACQUIRE(state.mu) : mu_(state.mu) {
    state.urgent.fetch_add(1, std::memory_order_relaxed);
    mu_.Lock();
    state.urgent.fetch_sub(1, std::memory_order_relaxed);
  }
  ~UrgentLock() RELEASE() { mu_.Unlock(); }
  UrgentLock(const UrgentLock&) = delete;
  UrgentLock& operator=(const UrgentLock&) = delete;

 private:
  Mutex& mu_;
};

class LocalWatch final : public Watch {
 public:
  /// `next`: the first revision to deliver; one that is compacted ends the watch. `greeting`: not 0: deliver an empty batch with this revision first.
  LocalWatch(LocalState& state, const WatchOptions& options, Revision next, Revision greeting, Watcher& watcher)
      REQUIRES(state.mu)
      : state_(state), options_(options), watcher_(watcher), next_(next), greeting_(greeting), begins_too_late_(next <= state.mvcc.compacted()) {}
  ~LocalWatch() override;

  void StartThread() { thread_ = std::thread(&LocalWatch::Run, this); }

  struct Due {
    bool batch = false;
    bool end = false;
    WatchBatch events;
    Status status;
  };
  /// What is due now; neither batch nor end if there is nothing, or nothing in the changes that were looked at: then Behind.
  Due Take() REQUIRES(state_.mu);
  /// The same, but never Behind. For the store, under its lock (which the analysis doesn't know for ours).
  Due TakeNext() NO_THREAD_SAFETY_ANALYSIS;
  bool Behind() const REQUIRES(state_.mu) { return !ended_ && next_ <= state_.mvcc.committed(); }
  void Deliver(Due due);

 private:
  void Run();
  static Due End(const Status& status);

  LocalState& state_;
  const WatchOptions options_;
  Watcher& watcher_;
  std::thread thread_;
  Revision next_ GUARDED_BY(state_.mu);
  Revision greeting_ GUARDED_BY(state_.mu);
  const bool begins_too_late_;
  bool stop_ GUARDED_BY(state_.mu) = false;
  bool ended_ GUARDED_BY(state_.mu) = false;
};

}  // namespace isla::store
