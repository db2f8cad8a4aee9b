// One subscriber's bounded queue: filled by the cache, emptied by the subscriber. Shared by both, since either may
// go first.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/base/mutex.h"
#include "store/cache/watch_cache.h"

namespace isla::store {

class SubscriptionQueue {
 public:
  /// `after`: the revision that the subscriber knows.
  SubscriptionQueue(Prefix prefix, size_t limit, Revision after)
      : prefix_(std::move(prefix)), limit_(limit), told_(after) {}

  const Prefix& prefix() const { return prefix_; }

  enum class Pushed { kQuiet, kWake, kOverflow };
  /// kWake: the queue was empty, so call Wake once no lock is held. kOverflow: it was full and has ended.
  Pushed Push(std::shared_ptr<const CacheBatch> batch);
  /// Everything up to `revision` that this subscriber must see has been pushed.
  void Advance(Revision revision) { progress_.store(revision, std::memory_order_release); }
  /// Final; what is queued is dropped. Call Wake after it.
  void End(const Status& status);
  /// Calls the subscriber's `ready`, if it has one. No lock of the caller's may be held.
  void Wake();

  StatusOr<CacheBatch> Next(std::chrono::nanoseconds wait);
  void Notify(std::function<void()> ready);

 private:
  size_t Waiting() const REQUIRES(mu_) { return batches_.size() - taken_; }
  bool Ready() const REQUIRES(mu_) { return Waiting() > 0 || !end_.ok(); }
  std::shared_ptr<const CacheBatch> Take() REQUIRES(mu_);

  const Prefix prefix_;
  const size_t limit_;
  std::atomic<Revision> progress_{0};

  // Held while ready_ runs: that is what makes Notify and the destructor a barrier. Taken before mu_.
  Mutex ready_mu_;
  std::function<void()> ready_ GUARDED_BY(ready_mu_);

  Mutex mu_;
  CondVar filled_;
  // Shared with other subscribers. The first `taken_` are gone: a subscriber that keeps up has its one batch in one place always,
  // which is what makes thousands of them quick.
  std::vector<std::shared_ptr<const CacheBatch>> batches_ GUARDED_BY(mu_);
  size_t taken_ GUARDED_BY(mu_) = 0;
  Status end_ GUARDED_BY(mu_);
  Revision told_ GUARDED_BY(mu_);  // the last revision that Next gave
};

}  // namespace isla::store
