// What the watch cache knows, and who is told: keys, kept history, watermark, subscribers. No thread and no store:
// the driver (watch_cache.cc) feeds it. Every method may be called from any thread.
//
// Invariants, under mu_:
//   - items_ is exactly the store's content under the prefix at watermark_.
//   - history_ holds every change with floor_ < revision <= watermark_, oldest first.
//   - every subscriber has been pushed all changes up to watermark_ after the revision it began at, or has ended.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/base/metrics.h"
#include "api/base/mutex.h"
#include "store/cache/subscription.h"
#include "store/kv_set.h"
#include "store/store.h"

namespace isla::store {

class CacheState {
 public:
  CacheState(const Clock& clock, size_t history, size_t subscriber_queue, Metrics* metrics);

  struct Difference {
    size_t added = 0, changed = 0, removed = 0;
  };
  /// Takes a whole list as the new content. History begins anew, and every subscription ends with OUT_OF_RANGE: what
  /// happened between the watermark and the list can't be told.
  Difference ApplyList(ListResult list);

  /// False: the batch doesn't continue what is here (a put whose version skips one, a delete of a key that
  /// isn't there), so an event was missed; it is applied all the same, and the cache must list again.
  bool ApplyBatch(const WatchBatch& batch);

  /// How many keys differ from a list made at a revision not above the watermark, leaving out keys that changed
  /// after it. Nothing known (0) if history doesn't reach back to the list. `example` is set to one of them.
  size_t CountDivergence(const ListResult& list, std::string& example) const;

  Revision watermark() const { return watermark_.load(std::memory_order_acquire); }
  std::shared_ptr<const KeyValue> Get(const Key& key) const;
  ListResult List(const Prefix& prefix) const;
  /// The put with the greatest revision that is known; null if there is none.
  std::shared_ptr<const KeyValue> LastPut() const;
  /// True once the watermark is there; false if `timeout` passed first.
  bool WaitFor(Revision revision, std::chrono::nanoseconds timeout) const;

  /// OUT_OF_RANGE: history doesn't reach back to `from`, or it is above the watermark.
  StatusOr<std::shared_ptr<SubscriptionQueue>> Subscribe(const Prefix& prefix, Revision from);
  void Unsubscribe(const std::shared_ptr<SubscriptionQueue>& queue);
  /// Ends all subscriptions, and refuses new ones.
  void Stop();

 private:
  using Queues = std::vector<std::shared_ptr<SubscriptionQueue>>;

  bool ApplyEvent(const Event& event, CacheBatch& change) REQUIRES(mu_);
  void Publish(CacheBatch change, Queues& wake) REQUIRES(mu_);
  void Advance(Revision revision) REQUIRES(mu_);
  void EndAll(const Status& status, Queues& wake) REQUIRES(mu_);
  /// What of a change is under a prefix; null if nothing is.
  static std::shared_ptr<const CacheBatch> Part(const CacheBatch& change, const Prefix& prefix);

  const Clock& clock_;
  const size_t history_limit_;
  const size_t subscriber_queue_;
  Gauge keys_gauge_, watermark_gauge_, subscribers_gauge_;
  Counter events_, dropped_;

  std::atomic<Revision> watermark_{0};  // written under mu_
  mutable Mutex mu_;
  mutable CondVar advanced_;
  KvSet items_ GUARDED_BY(mu_);
  std::shared_ptr<const KeyValue> last_put_ GUARDED_BY(mu_);
  std::deque<CacheBatch> history_ GUARDED_BY(mu_);
  size_t history_events_ GUARDED_BY(mu_) = 0;
  Revision floor_ GUARDED_BY(mu_) = 0;
  std::map<Prefix, Queues> subscribers_ GUARDED_BY(mu_);  // by prefix: what they are given is made once, and shared
  size_t subscriber_count_ GUARDED_BY(mu_) = 0;
  bool stopped_ GUARDED_BY(mu_) = false;
};

}  // namespace isla::store
