// The settings of the cluster, its groups and nodes in the store (api/config says what they are and how their
// keys look): read, explained, written, watched. Used by the HTTP server.
//
// A write changes many settings of one scope in one compare-and-set transaction: all or nothing, checked
// against the table first, fenced by meta/cluster. Reads are live, and all of one answer at one revision.
// Threads: any; calls block (store round trips).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/config/merge.h"
#include "api/registry/caller.h"
#include "api/registry/fence.h"
#include "store/cache/watch_cache.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::registry {

struct ConfigValues {
  config::Leaves leaves;  // of one scope, unknown and unusable ones too
  store::Revision revision = 0;
};

struct ConfigExplained {
  std::vector<config::Effective> settings;
  std::string group;         // the group that counts; "" = none
  store::Revision revision = 0;
};

struct ConfigChange {
  /// By name; nothing: it is unset, which is fine if it isn't set.
  std::map<std::string, std::optional<json::Value>> values;
  /// By name: the mod_revision that a setting must have, 0 = it must not be set. Names of `values` only.
  std::map<std::string, store::Revision> preconditions;
  bool dry_run = false;
};

struct ConfigWritten {
  std::vector<std::string> changed;  // sorted; empty: all was so already, and nothing was written
  ConfigValues values;               // of the settings named by the change that are set now
  std::vector<std::string> warnings; // what is right and yet may be a slip: a node or group that isn't there
};

struct ConfigEvent {
  enum class Type { kAdded, kModified, kDeleted };
  Type type = Type::kModified;
  std::string name;
  config::Leaf leaf;  // kDeleted: its revision only
};

/// A watch of one scope; its destructor ends it.
class ConfigWatch {
 public:
  ConfigWatch(std::unique_ptr<store::Subscription> subscription, store::Keys keys, config::Scope scope, std::string prefix);
  /// As store::Subscription: DEADLINE_EXCEEDED nothing yet, OUT_OF_RANGE 410, CANCELLED shutting down. One thread at a time.
  StatusOr<std::vector<ConfigEvent>> Next(std::chrono::nanoseconds wait);
  /// As store::Subscription::Notify.
  void Notify(std::function<void()> ready) { subscription_->Notify(std::move(ready)); }

 private:
  const store::Keys keys_;
  const config::Scope scope_;
  const std::string prefix_;
  const std::unique_ptr<store::Subscription> subscription_;
};

class ConfigRegistry {
 public:
  /// All references must outlive it.
  ConfigRegistry(store::Store& store, store::WatchCache& cache, store::Keys keys, Duration read_timeout);

  /// What a scope has itself, below `prefix` ("" = all). INVALID_ARGUMENT: no such scope or prefix can be.
  StatusOr<ConfigValues> Read(const config::Scope& scope, const std::string& prefix);
  /// What holds for a scope: of a node its own over its group's over the global ones over the defaults.
  StatusOr<ConfigExplained> Explain(const config::Scope& scope, const std::string& prefix);
  /// INVALID_ARGUMENT with field errors, ABORTED: a precondition doesn't hold, or too many races were lost. DEADLINE_EXCEEDED:
  /// its answer was lost, and what is stored doesn't show that it was done; with preconditions, it is not even looked for.
  StatusOr<ConfigWritten> Write(const config::Scope& scope, const ConfigChange& change);
  /// From after `revision` (0: from now on). OUT_OF_RANGE: history doesn't reach back so far, read and watch anew.
  StatusOr<std::unique_ptr<ConfigWatch>> Watch(const config::Scope& scope, const std::string& prefix,
                                               store::Revision revision);

 private:
  struct Found {  // the named keys as one read found them
    std::map<std::string, config::KvPtr> kvs;
    config::KvPtr cluster;
    store::Revision revision = 0;
  };
  /// As ConfigWritten::warnings, by the cache.
  std::vector<std::string> WarningsOf(const config::Scope& scope) const;
  Status CheckChange(const config::Scope& scope, const ConfigChange& change) const;
  std::vector<store::Operation> Gets(const store::Prefix& prefix, const ConfigChange& change) const;
  static Found TakeGets(const ConfigChange& change, const store::TxnResult& result);
  /// Whether all of `txn`, whose answer was lost, is in the store.
  StatusOr<std::optional<store::Revision>> ReadBack(const store::Transaction& txn, store::Revision before);
  /// What a node has itself, and the group that counts for it, at one revision.
  StatusOr<ConfigValues> ReadNode(const config::Scope& scope, std::string& group);
  StatusOr<ConfigValues> ReadScope(const config::Scope& scope, const std::string& prefix, store::Revision at);

  store::Store& store_;
  store::WatchCache& cache_;
  const store::Keys keys_;
  const Duration read_timeout_;
  ClusterFence fence_;
};

}  // namespace isla::registry
