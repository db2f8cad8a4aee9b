// The informer: feeds the ClusterState from the watch cache, and tells listeners what changed.
//
// One per process, for all controllers and the gateway: they stand at one revision because they read one
// state. It lists at the cache's revision R, subscribes after R, applies batch by batch. When the subscription
// ends (it fell behind, the cache listed again, history went back) it lists again and derives the
// differences, so nobody is told less than what happened, though maybe less often.
// Threads: one of its own, which calls the listeners in order. Listeners must return soon.
#pragma once

#include <condition_variable>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "api/base/log.h"
#include "api/base/metrics.h"
#include "api/base/mutex.h"
#include "api/base/roll_call.h"
#include "controllers/runtime/cluster_state.h"
#include "store/cache/watch_cache.h"

namespace isla::controllers {

class ChangeListener {
 public:
  virtual ~ChangeListener() = default;
  /// The state has these changes already, and stands at `revision`. May be empty (progress only).
  virtual void OnChanges(const std::vector<Change>& changes, store::Revision revision) = 0;
  /// The state was listed anew (changes follow by OnChanges); revisions seen before may mean nothing now.
  virtual void OnReset() = 0;
};

/// Who listens: added and removed from any thread; after Remove returns no call runs or begins.
class Listeners : public ChangeListener {
 public:
  void Add(ChangeListener& listener);
  void Remove(ChangeListener& listener);
  void OnChanges(const std::vector<Change>& changes, store::Revision revision) override;
  void OnReset() override;

 private:
  Mutex mu_;  // held during the calls: that is what makes Remove a barrier
  std::vector<ChangeListener*> listeners_ GUARDED_BY(mu_);
};

class Informer {
 public:
  /// All must outlive it. `metrics` may be null.
  Informer(store::WatchCache& cache, ClusterState& state, Listeners& listeners, Metrics* metrics = nullptr);
  ~Informer();  // stops, joins

  /// Its thread has come by within `timeout`: neither it nor a listener hangs.
  bool Responds(Duration timeout);

 private:
  void Run(std::stop_token stop);
  bool Resubscribe();
  void Drain();

  store::WatchCache& cache_;
  ClusterState& state_;
  Listeners& listeners_;
  const Logger log_{"informer"};
  const Counter relists_;

  std::unique_ptr<store::Subscription> subscription_;  // the thread's own
  Mutex mu_;
  CondVar wake_;
  bool ready_ GUARDED_BY(mu_) = true;
  std::vector<std::shared_ptr<RollCall>> calls_ GUARDED_BY(mu_);  // to be answered after the next look
  bool stop_ GUARDED_BY(mu_) = false;
  std::jthread thread_;  // last: it uses all the rest
};

}  // namespace isla::controllers
