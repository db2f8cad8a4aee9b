// The watch cache: everything under isla's prefix, in memory, at one revision.
//
// One per islad. It holds the process's only store watch (two watches share no order; one does), so all
// that reads from it stands at one watermark. A thread of its own lists at revision R, watches from R+1,
// applies whole batches, then moves the watermark. After compaction, a revision that went back, or any
// doubt it lists again and derives the differences (deletes too). A slow periodic comparison against the
// store counts divergence (isla_store_cache_divergence_total must stay 0).
//
// Users: the API server (LIST, watch), the registry, and the informers of controllers/runtime.
//
// Subscribers get every change of the keys under their prefix, in order, through a bounded queue of their
// own. A subscriber that falls behind is dropped with OUT_OF_RANGE (an API watcher: 410; an informer:
// subscribe again); it never blocks the cache or the rest.
// Threads: every method may be called from any thread. The store's watch calls straight into the cache, so a batch is
// visible, and its subscribers woken, on the thread that received it. With `manual` the cache has no thread of
// its own and nothing in it waits: see Pump.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/base/metrics.h"
#include "api/base/status.h"
#include "api/base/uuid.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::store {

/// One transaction's changes under a subscriber's prefix, or a mark of progress (no events).
struct CacheBatch {
  Revision revision = 0;
  /// `previous` is always set where the cache had the key.
  std::vector<Event> events;
};

class Subscription {
 public:
  virtual ~Subscription() = default;  // unsubscribes
  /// The next batch, in order. Nothing within `wait` (0: don't wait): if the watermark has moved, a batch without
  /// events that says so, else DEADLINE_EXCEEDED. OUT_OF_RANGE: fell behind, or the cache listed again and history
  /// has a hole: list and subscribe anew. CANCELLED: the cache stopped. The last two are final.
  virtual StatusOr<CacheBatch> Next(std::chrono::nanoseconds wait) = 0;
  /// Calls `ready` (from a thread of the cache's; must return at once, may call Next(0), must not destroy the subscription)
  /// when batches or the end have come that Next can take; at once if there are some. Take until Next gives
  /// DEADLINE_EXCEEDED or a batch without events: it isn't called again for what was there before. After Notify
  /// (with another function, or an empty one) or the destructor has returned, the old one isn't called any more.
  /// For users with an event loop of their own.
  virtual void Notify(std::function<void()> ready) = 0;
};

struct CacheOptions {
  Keys keys{std::string(kDefaultPrefix)};
  size_t history = 20'000;         // events kept, so that a watch can start in the past
  size_t subscriber_queue = 1000;  // batches
  std::chrono::nanoseconds compare_every = std::chrono::minutes(10);
  std::string barrier_id;          // names this process's barrier/ key; "" = no barrier writes
  Metrics* metrics = nullptr;      // null: not counted; else must outlive the cache
  bool manual = false;             // no thread: Pump drives it (simulation)
  Random* random = nullptr;        // of the backoff's jitter; null = Random::Real()
};

class WatchCache {
 public:
  virtual ~WatchCache() = default;  // stops, joins; ends subscriptions with CANCELLED

  /// Waits for the first list. DEADLINE_EXCEEDED otherwise.
  virtual Status WaitSynced(std::chrono::nanoseconds timeout) = 0;
  virtual bool synced() const = 0;

  /// All changes up to this revision have been applied.
  virtual Revision watermark() const = 0;
  /// Raised each time the store's history was found to have gone back (restored from a backup).
  virtual int64_t epoch() const = 0;

  /// The key as of the watermark; null if there is none.
  virtual std::shared_ptr<const KeyValue> Get(const Key& key) const = 0;
  /// The keys under a prefix, sorted, all at one revision (returned).
  virtual ListResult List(const Prefix& prefix) const = 0;

  /// Waits until the watermark has reached `revision`. DEADLINE_EXCEEDED otherwise.
  virtual Status WaitFor(Revision revision, std::chrono::nanoseconds timeout) = 0;
  /// After it returns, the cache has everything that was committed before the call: reads the store's
  /// revision, and, if the watermark is behind it, puts barrier/<id> (one put shared by all who wait).
  virtual Status ReadBarrier(std::chrono::nanoseconds timeout) = 0;

  /// Changes after `from` (0: from the watermark on), as kept history allows; OUT_OF_RANGE if it doesn't
  /// reach back that far or the revision is in the future by more than the cache will wait for.
  virtual StatusOr<std::unique_ptr<Subscription>> Subscribe(const Prefix& prefix, Revision from) = 0;

  /// With `manual`: does what is due by the clock (list, start of the watch, comparison), without waiting; how many steps it was.
  /// The store's events come when the store delivers them (EmbeddedStore::DeliverPending). WaitSynced, WaitFor,
  /// Next then never wait, and ReadBarrier gives DEADLINE_EXCEEDED unless the cache is there already.
  virtual size_t Pump() = 0;
};

/// Starts a cache over `store`, which must outlive it, as must `clock`.
std::unique_ptr<WatchCache> StartWatchCache(Store& store, const Clock& clock, CacheOptions options);

}  // namespace isla::store
