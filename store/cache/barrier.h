// The read barrier of the watch cache: after Pass, the cache has everything that was committed before the call.
//
// Rounds: one linearizable read of the store's revision (and, only if the cache doesn't reach it by itself, one put of
// barrier/<id>, whose event must come through the watch) serves all who were waiting when it began. A caller never
// joins a round that has begun, since that round's read may be older than the caller's own past.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/base/clock.h"
#include "api/base/metrics.h"
#include "api/base/mutex.h"
#include "store/cache/cache_state.h"
#include "store/store.h"

namespace isla::store {

class ReadBarrier {
 public:
  /// `key`: barrier/<id>, or "" to write nothing. `went_back` is called when the store's revision is below the watermark.
  ReadBarrier(Store& store, const Clock& clock, const CacheState& state, std::string key, bool wait,
              std::function<void()> went_back, Metrics* metrics);

  Status Pass(std::chrono::nanoseconds timeout);
  /// Puts barrier/<id>, so that an event above the store's present revision comes through the watch; the put's revision.
  /// FAILED_PRECONDITION: there is no key to put.
  StatusOr<Revision> Put(Duration timeout);

 private:
  struct Round {
    bool done = false;
    Status status;
    Revision target = 0;
  };
  StatusOr<Revision> Run(Duration left);

  Store& store_;
  const Clock& clock_;
  const CacheState& state_;
  const std::string key_;
  const bool wait_;
  const std::function<void()> went_back_;
  Counter reads_, puts_;
  Histogram seconds_;

  Mutex mu_;
  CondVar done_;
  std::shared_ptr<Round> next_ GUARDED_BY(mu_);  // has not begun
  bool running_ GUARDED_BY(mu_) = false;
  int64_t puts_made_ GUARDED_BY(mu_) = 0;
};

}  // namespace isla::store
