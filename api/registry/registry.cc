#include "api/registry/registry.h"

#include <algorithm>
#include <atomic>
#include <compare>

#include "api/base/stored_json.h"
#include "api/object/object.h"
#include "api/registry/admission.h"
#include "api/registry/fence.h"
#include "api/registry/view.h"

namespace isla::registry {

namespace {

using store::Compare;
using store::Key;
using store::KeyValue;
using store::Operation;
using store::Revision;
using store::Transaction;

constexpr int kMaxTries = 8;           // races that one request may lose

using KvPtr = std::shared_ptr<const KeyValue>;

Revision RevisionOf(const KvPtr& kv) { return kv == nullptr ? 0 : kv->mod_revision; }

/// The keys of one object as one read found them.
struct Current {
  KvPtr spec;
  KvPtr status;
  KvPtr bind;  // of sessions
  KvPtr cluster;
  Revision revision = 0;

  Revision resource_version() const { return std::max(RevisionOf(spec), RevisionOf(status)); }
};

Status NotFound(const api::Kind& kind, const std::string& name) {
  return Errorf(Code::kNotFound, "{} '{}' not found", kind.resource, name);
}

Status Conflict() {
  return Error(Code::kAborted,
               "the object has been modified; please apply your changes to the latest version and try again");
}

/// Whether the condition holds for its key as it was found (null: there is none); as store.h defines it.
bool Holds(const Compare& condition, const KeyValue* kv) {
  std::strong_ordering order = std::strong_ordering::equal;
  switch (condition.target) {
    case Compare::Target::kVersion: order = (kv == nullptr ? 0 : kv->version) <=> condition.number; break;
    case Compare::Target::kCreateRevision:
      order = (kv == nullptr ? 0 : kv->create_revision) <=> condition.number;
      break;
    case Compare::Target::kModRevision: order = (kv == nullptr ? 0 : kv->mod_revision) <=> condition.number; break;
    case Compare::Target::kValue:
      if (kv == nullptr) return false;
      order = kv->value.compare(condition.value) <=> 0;
      break;
  }
  switch (condition.op) {
    case Compare::Op::kEqual: return order == 0;
    case Compare::Op::kNotEqual: return order != 0;
    case Compare::Op::kLess: return order < 0;
    case Compare::Op::kGreater: return order > 0;
  }
  return false;
}

/// ABORTED if a condition didn't hold; gets[first...] are their keys as the transaction found them.
Status CheckConditions(const std::vector<Compare>& conditions, const store::TxnResult& result, size_t first) {
  for (size_t i = 0; i < conditions.size() && first + i < result.gets.size(); ++i) {
    if (Holds(conditions[i], result.gets[first + i].get())) continue;
    return Errorf(Code::kAborted, "a condition of the write on '{}' doesn't hold", conditions[i].key);
  }
  return OkStatus();
}

bool IsInvalidStored(const Object& object) { return object.StringAt({"status", "phase"}) == "Invalid"; }

/// The session has been placed: what may still change is less.
bool IsFrozen(const KvPtr& bind) {
  if (bind == nullptr) return false;
  const auto value = json::Parse(bind->value, kStoredJson);
  if (!value.ok()) return true;  // unreadable: rather refuse than change under a running container
  const json::Value* containers = value->Find("containers");
  return containers != nullptr && containers->is_array() && !containers->items().empty();
}

/// As Kubernetes says it: a client that knows the cause lists again without a revision.
Status TooLargeRevision(Revision asked, Revision current) {
  return api::WithCauses(
      Errorf(Code::kDeadlineExceeded, "Too large resource version: {}, current: {}", asked, current),
      {{std::string(api::kTooLargeRevision), "", "Too large resource version", {}}});
}

bool IsTooLargeRevision(const Status& status) {
  const api::FieldErrors causes = api::FieldErrorsOf(status);
  return !causes.empty() && causes.front().reason == api::kTooLargeRevision;
}

class StoreRegistry final : public Registry {
 public:
  StoreRegistry(store::Store& store, store::WatchCache& cache, const Clock& clock, Random& random,
                RegistryOptions options)
      : store_(store),
        cache_(cache),
        clock_(clock),
        random_(random),
        options_(std::move(options)),
        fence_(cache, options_.keys.Cluster(), options_.read_timeout),
        config_(store, cache, options_.keys, options_.read_timeout),
        view_(cache, options_.keys, options_.watch_history) {}

  StatusOr<ObjectPtr> Get(const api::Kind& kind, const std::string& ns, const std::string& name) override {
    ASSIGN_OR_RETURN(const Current current, Read(kind, ns, name));
    return ObjectOf(kind, ns, name, current);
  }

  StatusOr<ObjectList> List(const api::Kind& kind, const std::string& ns, const ListOptions& options) override {
    RETURN_IF_ERROR(CatchUp(options));
    return view_.List(kind, ns, options);
  }

  StatusOr<std::unique_ptr<ObjectWatch>> Watch(const api::Kind& kind, const std::string& ns,
                                               const ListOptions& options, Revision revision) override {
    ListOptions wait = options;
    if (revision > 0) {
      wait.match = ListOptions::Match::kNotOlderThan;
      wait.revision = revision;
    }
    const Status ready = CatchUp(wait);
    // A revision that the store hasn't reached: it went back (restored from a backup). List again.
    if (IsTooLargeRevision(ready)) return Error(Code::kOutOfRange, Message(ready));
    RETURN_IF_ERROR(ready);
    return view_.Watch(kind, ns, options, revision);
  }

  StatusOr<ObjectPtr> Create(const api::Kind& kind, const std::string& ns, json::Value manifest,
                             const WriteOptions& options) override;
  StatusOr<ObjectPtr> Update(const api::Kind& kind, const std::string& ns, const std::string& name,
                             json::Value manifest, const WriteOptions& options) override;
  StatusOr<ObjectPtr> MergePatch(const api::Kind& kind, const std::string& ns, const std::string& name,
                                 const json::Value& patch, const WriteOptions& options) override;
  StatusOr<DeleteResult> Delete(const api::Kind& kind, const std::string& ns, const std::string& name,
                                const DeleteOptions& options) override;
  ConfigRegistry& config() override { return config_; }

 private:
  struct ObjectKeys {
    Key spec;
    Key status;
    Key bind;  // empty for kinds without one
  };

  ObjectKeys KeysOf(const api::Kind& kind, const std::string& ns, const std::string& name) const {
    const std::string_view space = kind.namespaced ? std::string_view(ns) : store::kClusterWide;
    const store::Keys& keys = options_.keys;
    if (kind.kind == api::NodeKind().kind) return {keys.Node(name), {}, {}};
    return {keys.Spec(kind.singular, space, name), keys.Status(kind.singular, space, name),
            kind.kind == api::SessionKind().kind ? keys.Bind(ns, name) : Key()};
  }

  /// The reads that tell all about an object, in the order that TakeGets expects.
  std::vector<Operation> Gets(const ObjectKeys& keys) const {
    std::vector<Operation> gets = {Operation::Get(options_.keys.Cluster()), Operation::Get(keys.spec)};
    if (!keys.status.empty()) gets.push_back(Operation::Get(keys.status));
    if (!keys.bind.empty()) gets.push_back(Operation::Get(keys.bind));
    return gets;
  }

  static Current TakeGets(const ObjectKeys& keys, const store::TxnResult& result) {
    Current current;
    size_t next = 0;
    const auto take = [&result, &next] { return next < result.gets.size() ? result.gets[next++] : nullptr; };
    current.cluster = take();
    current.spec = take();
    if (!keys.status.empty()) current.status = take();
    if (!keys.bind.empty()) current.bind = take();
    current.revision = result.revision;
    return current;
  }

  /// All keys of an object in one transaction.
  StatusOr<Current> Read(const api::Kind& kind, const std::string& ns, const std::string& name) {
    if (!IsKeyPart(name) || (kind.namespaced && !IsNamespace(ns))) return NotFound(kind, name);
    const ObjectKeys keys = KeysOf(kind, ns, name);
    Transaction txn;
    txn.success = Gets(keys);
    ASSIGN_OR_RETURN(const store::TxnResult result, store_.Txn(txn));
    Observe(result.revision);
    return TakeGets(keys, result);
  }

  StatusOr<ObjectPtr> ObjectOf(const api::Kind& kind, const std::string& ns, const std::string& name,
                               const Current& current) const {
    if (current.spec == nullptr) return NotFound(kind, name);
    if (ObjectPtr known = view_.FindExact(kind, ns, name, RevisionOf(current.spec), RevisionOf(current.status))) {
      return known;
    }
    return JoinObject(kind, current.spec.get(), current.status.get());
  }

  /// Waits until the view may answer a read with these options.
  Status CatchUp(const ListOptions& options) {
    RETURN_IF_ERROR(view_.WaitFor(0, options_.read_timeout));  // built at all
    if (options.match == ListOptions::Match::kNewest) {
      RETURN_IF_ERROR(cache_.ReadBarrier(options_.read_timeout));
      return view_.WaitFor(cache_.watermark(), options_.read_timeout);
    }
    if (options.match == ListOptions::Match::kNotOlderThan) {
      if (cache_.watermark() < options.revision) {
        // A revision that somebody was told is in the store, so behind the barrier the cache has it too; one that it
        // still hasn't was never given out by this store, and waiting wouldn't bring it.
        RETURN_IF_ERROR(cache_.ReadBarrier(options_.read_timeout));
        if (cache_.watermark() < options.revision) return TooLargeRevision(options.revision, cache_.watermark());
      }
      return view_.WaitFor(options.revision, options_.read_timeout);
    }
    // The cache as it is, but never older than what this islad has told somebody: `wait` reads, then lists
    // with resourceVersion=0, and would take an object that the cache hasn't yet for one that is gone.
    const Status recent = view_.WaitFor(Observed(), std::chrono::milliseconds(200));
    return recent.code() == Code::kDeadlineExceeded ? OkStatus() : recent;
  }

  void Observe(Revision revision) {
    const uint64_t generation = view_.generation();
    if (observed_generation_.exchange(generation) != generation) observed_ = 0;  // the store may have gone back
    Revision seen = observed_.load();
    while (seen < revision && !observed_.compare_exchange_weak(seen, revision)) {
    }
  }
  Revision Observed() const { return observed_generation_ == view_.generation() ? observed_.load() : 0; }

  StatusOr<KvPtr> FindProject(const std::string& ns, bool live);
  Status CheckProject(const std::string& ns, const KvPtr& project) const;

  struct Attempt {
    bool done = false;
    Revision revision = 0;
    Current found;  // if not done
  };
  /// Puts `bytes` in place of current.spec if nothing of `compares` has changed. ABORTED if one of the caller's
  /// `conditions` doesn't hold: that is never tried again.
  StatusOr<Attempt> Put(const ObjectKeys& keys, const Current& current, std::string bytes,
                        std::vector<Compare> compares, const std::vector<Compare>& conditions);
  StatusOr<ObjectPtr> Written(const api::Kind& kind, const ObjectKeys& keys, const Current& current,
                              std::string bytes, Revision revision);

  /// Makes the new manifest from the stored object.
  using Change = std::function<StatusOr<json::Value>(const json::Value& stored)>;
  StatusOr<ObjectPtr> Modify(const api::Kind& kind, const std::string& ns, const std::string& name,
                             const Change& change, bool patched, const std::string& resource_version,
                             const WriteOptions& options);
  StatusOr<DeleteResult> Remove(const ObjectKeys& keys, const Current& current,
                                const ObjectPtr& object, const DeleteOptions& options, bool& lost);

  store::Store& store_;
  store::WatchCache& cache_;
  const Clock& clock_;
  Random& random_;
  const RegistryOptions options_;
  ClusterFence fence_;
  ConfigRegistry config_;
  std::atomic<Revision> observed_ = 0;
  std::atomic<uint64_t> observed_generation_ = 0;
  ObjectView view_;
};

StatusOr<KvPtr> StoreRegistry::FindProject(const std::string& ns, bool live) {
  const std::string key = options_.keys.Spec(api::ProjectKind().singular, store::kClusterWide, ns);
  if (!live) return KvPtr(cache_.Get(key));
  ASSIGN_OR_RETURN(store::GetResult result, store_.Get(key));
  return result.kv;
}

Status StoreRegistry::CheckProject(const std::string& ns, const KvPtr& project) const {
  if (project == nullptr) {
    return Errorf(Code::kFailedPrecondition, "unable to create new content in namespace {}: project '{}' does not exist",
                  ns, ns);
  }
  const ObjectPtr object = JoinObject(api::ProjectKind(), project.get(), nullptr);
  if (IsInvalidStored(*object)) {
    return Errorf(Code::kFailedPrecondition, "unable to create new content in namespace {}: its project is invalid",
                  ns);
  }
  if (object->FindPath({"metadata", "deletionTimestamp"}) != nullptr) {
    return Errorf(Code::kFailedPrecondition,
                  "unable to create new content in namespace {} because it is being terminated", ns);
  }
  return OkStatus();
}

StatusOr<ObjectPtr> StoreRegistry::Create(const api::Kind& kind, const std::string& ns, json::Value manifest,
                                          const WriteOptions& options) {
  if (kind.kind == api::NodeKind().kind) {
    return Error(Code::kUnimplemented, "nodes are registered by their agents");
  }
  const bool generated = manifest.StringAt({"metadata", "name"}).empty();
  ASSIGN_OR_RETURN(json::Value object,
                   PrepareCreate(kind, ns, manifest, options.caller, clock_.Wall(), random_));
  std::string name = object.StringAt({"metadata", "name"});
  if (kind.namespaced && !IsNamespace(ns)) return CheckProject(ns, nullptr);
  // The project as the cache has it, compared in the transaction: one round trip. Only if that says no, or
  // turns out to be old, it is read from the store.
  KvPtr project;
  if (kind.namespaced) {
    ASSIGN_OR_RETURN(project, FindProject(ns, options.dry_run));
    if (!CheckProject(ns, project).ok()) {
      ASSIGN_OR_RETURN(project, FindProject(ns, true));
      RETURN_IF_ERROR(CheckProject(ns, project));
    }
  }
  for (int tries = 0; tries < kMaxTries; ++tries) {
    const ObjectKeys keys = KeysOf(kind, ns, name);
    std::string bytes = json::Serialize(object);
    if (options.dry_run) {
      ASSIGN_OR_RETURN(const Current current, Read(kind, ns, name));
      if (current.spec != nullptr) return Errorf(Code::kAlreadyExists, "{} '{}' already exists", kind.resource, name);
      json::Value shown = *JoinObject(kind, std::make_shared<KeyValue>(KeyValue{keys.spec, bytes, 0, 0, 0, 0}).get(),
                                      nullptr);
      shown.Member("metadata").Remove("resourceVersion");
      return ObjectPtr(std::make_shared<const Object>(std::move(shown)));
    }
    std::vector<Compare> compares;
    if (kind.namespaced) compares.push_back(Compare::ModRevision(project->key, project->mod_revision));
    ASSIGN_OR_RETURN(const Attempt attempt, Put(keys, {}, bytes, std::move(compares), options.conditions));
    if (attempt.done) return Written(kind, keys, {}, std::move(bytes), attempt.revision);
    if (attempt.found.spec != nullptr) {
      if (!generated) return Errorf(Code::kAlreadyExists, "{} '{}' already exists", kind.resource, name);
      ASSIGN_OR_RETURN(object, PrepareCreate(kind, ns, manifest, options.caller, clock_.Wall(), random_));
      name = object.StringAt({"metadata", "name"});
    }
    if (kind.namespaced) {
      ASSIGN_OR_RETURN(project, FindProject(ns, true));
      RETURN_IF_ERROR(CheckProject(ns, project));
    }
  }
  return Error(Code::kUnavailable, "lost too many races, try again");
}

StatusOr<StoreRegistry::Attempt> StoreRegistry::Put(const ObjectKeys& keys, const Current& current,
                                                    std::string bytes, std::vector<Compare> compares,
                                                    const std::vector<Compare>& conditions) {
  ASSIGN_OR_RETURN(const Revision fence, fence_.Get());
  Transaction txn;
  txn.compares = std::move(compares);
  txn.compares.insert(txn.compares.end(), conditions.begin(), conditions.end());
  txn.compares.push_back(Compare::ModRevision(options_.keys.Cluster(), fence));
  txn.compares.push_back(Compare::ModRevision(keys.spec, RevisionOf(current.spec)));
  txn.success.push_back(Operation::Put(keys.spec, bytes));
  txn.failure = Gets(keys);
  const size_t own_gets = txn.failure.size();
  for (const Compare& condition : conditions) txn.failure.push_back(Operation::Get(condition.key));
  auto result = store_.Txn(txn);
  if (result.status().code() == Code::kDeadlineExceeded) {
    // Unknown outcome. Our bytes at a newer revision are ours; anything else stays unknown.
    const auto read = store_.Get(keys.spec);
    if (read.ok() && read->kv != nullptr && read->kv->value == bytes &&
        read->kv->mod_revision > RevisionOf(current.spec)) {
      return Attempt{true, read->kv->mod_revision, {}};
    }
    return result.status();
  }
  RETURN_IF_ERROR(result);
  Observe(result->revision);
  Attempt attempt{result->succeeded, result->revision, {}};
  if (attempt.done) return attempt;
  attempt.found = TakeGets(keys, *result);
  RETURN_IF_ERROR(CheckConditions(conditions, *result, own_gets));
  RETURN_IF_ERROR(fence_.Check(attempt.found.cluster, fence));
  return attempt;
}

StatusOr<ObjectPtr> StoreRegistry::Written(const api::Kind& kind, const ObjectKeys& keys, const Current& current,
                                           std::string bytes, Revision revision) {
  KeyValue kv;
  kv.key = keys.spec;
  kv.value = std::move(bytes);
  kv.mod_revision = revision;
  return JoinObject(kind, &kv, current.status.get());
}

StatusOr<ObjectPtr> StoreRegistry::Modify(const api::Kind& kind, const std::string& ns, const std::string& name,
                                          const Change& change, bool patched, const std::string& resource_version,
                                          const WriteOptions& options) {
  if (kind.kind == api::NodeKind().kind) return Error(Code::kUnimplemented, "nodes are read-only");
  ASSIGN_OR_RETURN(Current current, Read(kind, ns, name));
  const ObjectKeys keys = KeysOf(kind, ns, name);
  for (int tries = 0; tries < kMaxTries; ++tries) {
    ASSIGN_OR_RETURN(const ObjectPtr object, ObjectOf(kind, ns, name, current));
    if (IsInvalidStored(*object)) {
      return Errorf(Code::kFailedPrecondition, "{}; delete it and create it anew", object->StringAt({"status", "message"}));
    }
    if (!resource_version.empty() && resource_version != std::to_string(current.resource_version())) {
      return Conflict();
    }
    ASSIGN_OR_RETURN(json::Value stored, json::Parse(current.spec->value, kStoredJson));
    ClearPositions(stored);
    ASSIGN_OR_RETURN(json::Value manifest, change(stored));
    const bool frozen = IsFrozen(current.bind);
    ASSIGN_OR_RETURN(const json::Value after,
                     PrepareUpdate(kind, ns, name, std::move(manifest), {stored, frozen, patched}));
    if (after == stored) return object;  // nothing to write
    std::string bytes = json::Serialize(after);
    if (options.dry_run) return Written(kind, keys, current, std::move(bytes), current.resource_version());
    std::vector<Compare> compares;
    if (!resource_version.empty() && !keys.status.empty()) {
      compares.push_back(Compare::ModRevision(keys.status, RevisionOf(current.status)));
    }
    // A change of spec was allowed by whether the session is placed: that must still be so.
    if (!keys.bind.empty() && api::SpecDiffers(stored, after)) {
      compares.push_back(Compare::ModRevision(keys.bind, RevisionOf(current.bind)));
    }
    ASSIGN_OR_RETURN(Attempt attempt, Put(keys, current, bytes, std::move(compares), options.conditions));
    if (attempt.done) return Written(kind, keys, current, std::move(bytes), attempt.revision);
    current = std::move(attempt.found);
  }
  return Conflict();
}

StatusOr<ObjectPtr> StoreRegistry::Update(const api::Kind& kind, const std::string& ns, const std::string& name,
                                          json::Value manifest, const WriteOptions& options) {
  const Change change = [&manifest](const json::Value&) { return StatusOr<json::Value>(manifest); };
  return Modify(kind, ns, name, change, false, ResourceVersionOf(manifest), options);
}

StatusOr<ObjectPtr> StoreRegistry::MergePatch(const api::Kind& kind, const std::string& ns,
                                              const std::string& name, const json::Value& patch,
                                              const WriteOptions& options) {
  if (!patch.is_object()) {
    return Errorf(Code::kInvalidArgument, "a merge patch must be a JSON object, not {}", patch.type_name());
  }
  const Change change = [&patch](const json::Value& stored) {
    return StatusOr<json::Value>(api::MergePatch(stored, patch));
  };
  return Modify(kind, ns, name, change, true, ResourceVersionOf(patch), options);
}

StatusOr<Registry::DeleteResult> StoreRegistry::Remove(const ObjectKeys& keys,
                                                       const Current& current, const ObjectPtr& object,
                                                       const DeleteOptions& options, bool& lost) {
  // Without its manifest nobody could end what was started for it.
  if (current.bind != nullptr) {
    return Errorf(Code::kFailedPrecondition,
                  "its stored manifest can't be read, and it has a placement (bind/): repair spec/ first");
  }
  if (options.dry_run) return DeleteResult{object, true};
  ASSIGN_OR_RETURN(const Revision fence, fence_.Get());
  Transaction txn;
  txn.compares.push_back(Compare::ModRevision(options_.keys.Cluster(), fence));
  txn.compares.push_back(Compare::ModRevision(keys.spec, RevisionOf(current.spec)));
  txn.compares.push_back(Compare::ModRevision(keys.status, RevisionOf(current.status)));
  if (!keys.bind.empty()) txn.compares.push_back(Compare::Missing(keys.bind));
  txn.compares.insert(txn.compares.end(), options.conditions.begin(), options.conditions.end());
  txn.success.push_back(Operation::Delete(keys.spec));
  txn.success.push_back(Operation::Delete(keys.status));
  txn.failure.push_back(Operation::Get(options_.keys.Cluster()));
  for (const Compare& condition : options.conditions) txn.failure.push_back(Operation::Get(condition.key));
  ASSIGN_OR_RETURN(const store::TxnResult result, store_.Txn(txn));
  Observe(result.revision);
  if (!result.succeeded) {
    lost = true;
    RETURN_IF_ERROR(CheckConditions(options.conditions, result, 1));
    RETURN_IF_ERROR(fence_.Check(result.gets.empty() ? nullptr : result.gets[0], fence));
  }
  return DeleteResult{object, true};
}

StatusOr<Registry::DeleteResult> StoreRegistry::Delete(const api::Kind& kind, const std::string& ns,
                                                       const std::string& name, const DeleteOptions& options) {
  if (kind.kind == api::NodeKind().kind) return Error(Code::kUnimplemented, "nodes can't be deleted yet");
  ASSIGN_OR_RETURN(Current current, Read(kind, ns, name));
  const ObjectKeys keys = KeysOf(kind, ns, name);
  for (int tries = 0; tries < kMaxTries; ++tries) {
    ASSIGN_OR_RETURN(const ObjectPtr object, ObjectOf(kind, ns, name, current));
    if (kind.kind == api::ProjectKind().kind && name == "default") {
      return Error(Code::kFailedPrecondition, "project 'default' may not be deleted");
    }
    const std::string uid = object->StringAt({"metadata", "uid"});
    if (!options.uid.empty() && options.uid != uid) {
      return Errorf(Code::kAborted, "the UID in the precondition ({}) does not match the UID in record ({})",
                    options.uid, uid);
    }
    if (!options.resource_version.empty() &&
        options.resource_version != std::to_string(current.resource_version())) {
      return Conflict();
    }
    const json::Value* finalizers = object->FindPath({"metadata", "finalizers"});
    const bool held = finalizers != nullptr && finalizers->is_array() && !finalizers->items().empty();
    // What was put straight into the store may have no finalizer; once it is placed it must be ended first.
    if (IsInvalidStored(*object) || (!held && current.bind == nullptr)) {
      bool lost = false;
      ASSIGN_OR_RETURN(DeleteResult result, Remove(keys, current, object, options, lost));
      if (!lost) return result;
      ASSIGN_OR_RETURN(current, Read(kind, ns, name));
      continue;
    }
    ASSIGN_OR_RETURN(const json::Value stored, json::Parse(current.spec->value, kStoredJson));
    const json::Value marked = MarkDeleted(kind, stored, clock_.Wall(), options.grace_period_seconds);
    if (marked == stored) return DeleteResult{object, false};
    std::string bytes = json::Serialize(marked);
    ObjectPtr shown;
    if (options.dry_run) {
      ASSIGN_OR_RETURN(shown, Written(kind, keys, current, std::move(bytes), current.resource_version()));
      return DeleteResult{shown, false};
    }
    std::vector<Compare> compares;
    if (!options.resource_version.empty()) {
      compares.push_back(Compare::ModRevision(keys.status, RevisionOf(current.status)));
    }
    ASSIGN_OR_RETURN(Attempt attempt, Put(keys, current, bytes, std::move(compares), options.conditions));
    if (attempt.done) {
      ASSIGN_OR_RETURN(shown, Written(kind, keys, current, std::move(bytes), attempt.revision));
      return DeleteResult{shown, false};
    }
    current = std::move(attempt.found);
  }
  return Conflict();
}

}  // namespace

std::unique_ptr<Registry> MakeRegistry(store::Store& store, store::WatchCache& cache, const Clock& clock,
                                       Random& random, RegistryOptions options) {
  return std::make_unique<StoreRegistry>(store, cache, clock, random, std::move(options));
}

}  // namespace isla::registry
