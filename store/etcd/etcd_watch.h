// One watch on etcd: a stream of its own, whose events go to the watcher on the gRPC thread that read them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "store/etcd/channels.h"
#include "store/store.h"

namespace isla::store {

/// What a watch needs of its store.
struct EtcdWatchContext {
  uint64_t cluster_id = 0;  // what the store has seen so far; 0 = nothing
  std::string token;        // of authentication; may be empty
  /// Called, on a thread of gRPC's, before the watcher hears of it: the next watch needs another token.
  std::function<void()> token_refused;
  Counter dropped;
};

/// Starts a watch on the endpoint in use; never waits. `options.start_revision` must be set. `channels`, and what `token_refused`
/// uses, must outlive it. A watch whose token is refused ends with UNAVAILABLE: the next one will have another.
std::unique_ptr<Watch> StartEtcdWatch(Channels& channels, const WatchOptions& options, EtcdWatchContext context, Watcher& watcher);

}  // namespace isla::store
