// A lease that is kept alive by a thread: what lead/controllers and gateway/<id> hang on.
//
// A lease is a hint (see store.h): its holder may learn late that it is gone. So it counts as held only for two
// thirds of its time from the moment that the last renewal that succeeded was *sent*, on this process's monotonic
// clock. The last third is the margin for clocks that run at different speeds, for a pause between the question
// and the act, and for what is in flight: whoever acts while `held` is over before the store gives the lease up.
// Renewals go out every ttl/3, and more often after one that failed, until the whole time has passed: the lease
// may be there yet, and is held again if one succeeds.
// Threads: one of its own; all methods from any thread.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "api/base/clock.h"
#include "api/base/mutex.h"
#include "api/base/status.h"
#include "store/store.h"

namespace isla::controllers {

class HeldLease {
 public:
  /// Grants a lease and begins to renew it. `on_lost` is called once, from the lease's thread, when the store says that
  /// it is gone, or its whole time has passed without a renewal; it must not destroy this object. Everything must
  /// outlive it.
  static StatusOr<std::unique_ptr<HeldLease>> Grant(store::Store& store, const Clock& clock, std::chrono::seconds ttl,
                                                    std::function<void()> on_lost);
  /// Stops renewing; the lease runs out by itself unless it was released.
  ~HeldLease();

  store::LeaseId id() const { return id_; }
  bool held() const;
  /// When `held` turns false unless a renewal comes before.
  MonotonicTime held_until() const;
  /// Ends the lease at once, so that its keys go and others needn't wait. Blocks for a round trip.
  void Release();

 private:
  HeldLease(store::Store& store, const Clock& clock, std::chrono::seconds ttl, store::LeaseId id,
            MonotonicTime sent, std::function<void()> on_lost);
  void Run();
  /// The lease had `left` when the request that was sent at `sent` was answered.
  void Renewed(MonotonicTime sent, Duration left) REQUIRES(mu_);

  store::Store& store_;
  const Clock& clock_;
  const std::chrono::seconds ttl_;
  const store::LeaseId id_;
  const std::function<void()> on_lost_;
  const MonotonicTime sent_;  // the grant

  mutable Mutex mu_;
  CondVar wake_;
  MonotonicTime held_until_ GUARDED_BY(mu_);
  MonotonicTime gone_at_ GUARDED_BY(mu_);  // the store may have let it go
  bool stop_ GUARDED_BY(mu_) = false;
  bool lost_ GUARDED_BY(mu_) = false;
  std::jthread thread_;
};

}  // namespace isla::controllers
