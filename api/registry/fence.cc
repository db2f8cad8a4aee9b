#include "api/registry/fence.h"

#include <utility>

#include "api/registry/cluster.h"

namespace isla::registry {
ClusterFence::ClusterFence(store::WatchCache& cache, std::string key, Duration timeout)
    : cache_(cache), key_(std::move(key)), timeout_(timeout) {}

StatusOr<store::Revision> ClusterFence::Get() {
  std::shared_ptr<const store::KeyValue> cluster = cache_.Get(key_);
  if (cluster == nullptr) {
    RETURN_IF_ERROR(cache_.ReadBarrier(timeout_));
    cluster = cache_.Get(key_);
  }
  if (cluster == nullptr) return Error(Code::kUnavailable, "the store has no meta/cluster yet");
  const StatusOr<ClusterRecord> record = DecodeCluster(*cluster);
  const int64_t level = record.ok() ? record->level : 0;
  if (level != kKnownLevel) {
    return Errorf(Code::kUnavailable, "the cluster is at level {}, and this islad writes level {}", level,
                  kKnownLevel);
  }
  RETURN_IF_ERROR(CheckOpen(*record));
  return cluster->mod_revision;
}

Status ClusterFence::Check(const std::shared_ptr<const store::KeyValue>& cluster, store::Revision used) {
  if (cluster != nullptr && cluster->mod_revision == used) return OkStatus();
  if (cluster == nullptr) return Error(Code::kUnavailable, "meta/cluster is gone from the store");
  if (const Status ok = cache_.WaitFor(cluster->mod_revision, timeout_); !ok.ok()) {
    return Error(Code::kUnavailable, "meta/cluster has changed, and the cache isn't there yet");
  }
  return OkStatus();
}

}  // namespace isla::registry
