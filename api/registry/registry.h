// The registry: objects of the API over the store. It joins an object's keys (spec/ and status/), admits
// writes (strict decoding, defaults, validation, mutability, the project's state) and does them in one
// compare-and-set transaction, with meta/cluster compared in each. Used by the HTTP server, and by the
// leader's manifest/ inbox: one code path for both.
//
// Reads: Get is a live read of the store. List and Watch come from the watch cache; a List at the newest
// revision passes a read barrier first, so that a caller sees its own writes through any replica.
// resourceVersion of an object is the greater mod_revision of its two keys, as decimal text.
// An object whose stored bytes don't decode is served with status.phase "Invalid"-like content saying so,
// and blocks nothing else.
// Errors carry FieldErrors where a manifest is at fault. NOT_FOUND, ALREADY_EXISTS, ABORTED (409 Conflict),
// INVALID_ARGUMENT (422 with field errors, 400 without), FAILED_PRECONDITION (403 Forbidden: project missing
// or going), OUT_OF_RANGE (410), UNAVAILABLE (503), DEADLINE_EXCEEDED (504).
// Threads: any; calls block (store round trips).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/base/json.h"
#include "api/base/status.h"
#include "api/base/uuid.h"
#include "api/object/kind.h"
#include "api/object/selector.h"
#include "api/registry/caller.h"
#include "api/registry/cluster.h"
#include "api/registry/config.h"
#include "api/registry/object.h"
#include "store/cache/watch_cache.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::registry {

struct WriteOptions {
  Caller caller;
  bool dry_run = false;
  /// More conditions of the write's transaction, for the leader (its own key's create_revision, the inbox's
  /// manifest as it was read). ABORTED if one doesn't hold; never tried again then.
  std::vector<store::Compare> conditions;
};

struct DeleteOptions {
  Caller caller;
  bool dry_run = false;
  int64_t grace_period_seconds = -1;  // -1 = the object's own
  std::string uid;                    // preconditions; "" = none
  std::string resource_version;
  std::vector<store::Compare> conditions;  // as in WriteOptions
};

struct ListOptions {
  api::LabelSelector labels;
  api::FieldSelector fields;
  /// kNewest: behind a read barrier. kAny (resourceVersion=0): the cache as it is. kNotOlderThan: waits.
  enum class Match { kNewest, kAny, kNotOlderThan };
  Match match = Match::kNewest;
  store::Revision revision = 0;
};

struct ObjectList {
  std::vector<ObjectPtr> items;  // sorted by namespace, name
  store::Revision revision = 0;
};

struct ObjectEvent {
  enum class Type { kAdded, kModified, kDeleted, kBookmark };
  Type type = Type::kAdded;
  ObjectPtr object;  // kDeleted: its last state, with the resourceVersion of the deletion. kBookmark: null
  /// kBookmark, alone in its batch: there was nothing else, and all up to this revision has been delivered.
  store::Revision revision = 0;
};

/// A watch of objects; its destructor ends it.
class ObjectWatch {
 public:
  virtual ~ObjectWatch() = default;
  /// As store::Subscription: DEADLINE_EXCEEDED nothing yet, OUT_OF_RANGE 410, CANCELLED shutting down. At most
  /// a few dozen events at once. One thread at a time.
  virtual StatusOr<std::vector<ObjectEvent>> Next(std::chrono::nanoseconds wait) = 0;
  /// `ready` is called (from any thread; it must return at once) each time there may be something new. Set once.
  virtual void Notify(std::function<void()> ready) = 0;
};

class Registry {
 public:
  virtual ~Registry() = default;

  virtual StatusOr<ObjectPtr> Get(const api::Kind& kind, const std::string& ns, const std::string& name) = 0;
  /// `ns` "" = all namespaces.
  virtual StatusOr<ObjectList> List(const api::Kind& kind, const std::string& ns, const ListOptions& options) = 0;
  /// From after `revision`; 0 = the present objects first (as ADDED), then what follows. The selectors hold for
  /// events too: an object that stops matching is a DELETED.
  virtual StatusOr<std::unique_ptr<ObjectWatch>> Watch(const api::Kind& kind, const std::string& ns,
                                                       const ListOptions& options, store::Revision revision) = 0;

  /// `manifest` as the user typed it; the created object with defaults and what the server adds.
  virtual StatusOr<ObjectPtr> Create(const api::Kind& kind, const std::string& ns, json::Value manifest,
                                     const WriteOptions& options) = 0;
  /// Replaces spec, labels and annotations. metadata.resourceVersion in the manifest is a precondition if there.
  virtual StatusOr<ObjectPtr> Update(const api::Kind& kind, const std::string& ns, const std::string& name,
                                     json::Value manifest, const WriteOptions& options) = 0;
  /// RFC 7396; tried again while it loses races, unless the patch names a resourceVersion.
  virtual StatusOr<ObjectPtr> MergePatch(const api::Kind& kind, const std::string& ns, const std::string& name,
                                         const json::Value& patch, const WriteOptions& options) = 0;
  /// Marks the object for deletion if it has finalizers (returned with deletionTimestamp), else removes it
  /// (returned as it was, `gone` set). Deleting what is marked already is OK.
  struct DeleteResult {
    ObjectPtr object;
    bool gone = false;
  };
  virtual StatusOr<DeleteResult> Delete(const api::Kind& kind, const std::string& ns, const std::string& name,
                                        const DeleteOptions& options) = 0;

  /// The settings of the cluster, its groups and nodes.
  virtual ConfigRegistry& config() = 0;
};

struct RegistryOptions {
  store::Keys keys = store::Keys();
  size_t watch_history = 4096;  // events kept for each kind: how far a watcher may fall behind
  Duration read_timeout = std::chrono::seconds(3);  // how long a read waits for the cache
};

/// All references must outlive the registry. Watches of a registry must end before it does.
std::unique_ptr<Registry> MakeRegistry(store::Store& store, store::WatchCache& cache, const Clock& clock,
                                       Random& random, RegistryOptions options);

/// Makes meta/cluster (id, epoch 1, level 1) and, unless the store is closed, Project `default` if they aren't there.
/// Idempotent; any islad calls it at its start.
Status Bootstrap(store::Store& store, const store::Keys& keys, const Clock& clock, Random& random);

/// spec + status as one object (what Get returns): status is ignored if its uid differs. Both from the store;
/// for a Node `spec` is its node/ key. Null if `spec` is.
ObjectPtr JoinObject(const api::Kind& kind, const store::KeyValue* spec, const store::KeyValue* status);

}  // namespace isla::registry
