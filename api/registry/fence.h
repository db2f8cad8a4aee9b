// meta/cluster in each write: an islad that missed a restore or a change of the level can't write.
// Threads: any; calls may wait for the cache.
#pragma once

#include <memory>
#include <string>

#include "api/base/clock.h"
#include "api/base/status.h"
#include "store/cache/watch_cache.h"

namespace isla::registry {

class ClusterFence {
 public:
  /// `cache` must outlive it. `key`: of meta/cluster. `timeout`: how long a call waits for the cache.
  ClusterFence(store::WatchCache& cache, std::string key, Duration timeout);

  const std::string& key() const { return key_; }
  /// meta/cluster's mod_revision as the cache has it, to be compared in the write's transaction. UNAVAILABLE: it isn't
  /// there, or of a level that this islad doesn't write. What a closed store answers: cluster.h.
  StatusOr<store::Revision> Get();
  /// After a transaction failed: OK if its fence was not the reason or the cache knows the new one by now. `cluster`: as the
  /// transaction found it (null: not there); `used`: what was compared.
  Status Check(const std::shared_ptr<const store::KeyValue>& cluster, store::Revision used);

 private:
  store::WatchCache& cache_;
  const std::string key_;
  const Duration timeout_;
};

}  // namespace isla::registry
