#include "controllers/runtime/cluster_state.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "api/registry/cluster.h"
#include "controllers/runtime/decoded_key.h"
#include "controllers/runtime/settings_index.h"
#include "store/kv_set.h"

namespace isla::controllers {

using store::KeyClass;
using KvPtr = std::shared_ptr<const store::KeyValue>;

namespace {

template <typename Map>
std::vector<std::string> KeysOf(const Map& map) {
  std::vector<std::string> keys;
  keys.reserve(map.size());
  for (const auto& [key, value] : map) keys.push_back(key);
  return keys;
}

template <typename Map>
auto FindOrNull(const Map& map, const std::string& key) -> typename Map::mapped_type {
  const auto found = map.find(key);
  return found == map.end() ? typename Map::mapped_type() : found->second;
}

template <typename Map>
void SetOrErase(Map& map, const typename Map::key_type& key, typename Map::mapped_type value) {
  if (value == nullptr) {
    map.erase(key);
  } else {
    map[key] = std::move(value);
  }
}

void SortUnique(std::vector<std::string>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

std::string ObjectKey(const store::ParsedKey& key) { return key.ns + "/" + key.name; }

}  // namespace

int64_t ClusterEpoch(const store::KeyValue* cluster) {
  if (cluster == nullptr) return 1;
  const StatusOr<json::Value> tree = json::Parse(cluster->value);
  return tree.ok() ? std::max<int64_t>(1, tree->Int64At({"epoch"}).value_or(1)) : 1;
}

struct ClusterState::Impl {
  /// By age: create_revision, then creationTimestamp, since an import puts many in one transaction. `session` is the key in `sessions`;
  /// `spec` is held, so that a newer one may take its place in the entry first.
  struct PendingKey {
    StoredPtr<SessionSpec> spec;
    const std::string* session = nullptr;
    bool operator<(const PendingKey& other) const {
      return std::tie(spec->kv->create_revision, spec->value.meta.created_at, *session) <
             std::tie(other.spec->kv->create_revision, other.spec->value.meta.created_at, *other.session);
    }
  };

  struct SessionEntry {
    StoredPtr<SessionSpec> spec;
    StoredPtr<StatusRecord> status;
    StoredPtr<Bind> bind;
    MonotonicTime status_since{};
    // Short: vectors of what is unique, sorted.
    std::vector<std::string> containers;  // uids in owners
    std::vector<std::string> on_nodes;    // named by bind
    std::optional<std::set<PendingKey>::iterator> pending_place;  // in `pending`

    bool empty() const { return spec == nullptr && status == nullptr && bind == nullptr; }
  };
  struct ProjectEntry {
    StoredPtr<ProjectSpec> spec;
    StoredPtr<StatusRecord> status;
  };
  struct NodeUse {
    std::map<std::string, Resources> by_session;
    std::optional<Resources> sum;  // of by_session; nothing: not computed since it changed
  };
  struct ManifestEntry {
    KvPtr manifest;
    StoredPtr<ManifestVerdict> verdict;
  };

  Impl(const store::Keys& k, const Clock& c) : keys(k), clock(c) {}

  const store::Keys keys;
  const Clock& clock;

  mutable Mutex mu;
  mutable CondVar advanced;
  store::Revision revision GUARDED_BY(mu) = 0;
  KvPtr cluster GUARDED_BY(mu);
  Status open GUARDED_BY(mu);  // why it isn't
  int64_t stored_epoch GUARDED_BY(mu) = 1;
  int64_t least_epoch GUARDED_BY(mu) = 1;
  int64_t history GUARDED_BY(mu) = 0;
  KvPtr lead GUARDED_BY(mu);
  store::KvSet all GUARDED_BY(mu);  // every key, to derive the differences of a new list
  std::map<std::string, SessionEntry> sessions GUARDED_BY(mu);
  std::map<std::string, ProjectEntry> projects GUARDED_BY(mu);
  std::map<std::string, StoredPtr<PolicySpec>> policies GUARDED_BY(mu);  // by ns/name
  std::map<std::string, ManifestEntry> manifests GUARDED_BY(mu);
  std::map<std::string, StoredPtr<controllers::Node>> nodes GUARDED_BY(mu);
  std::map<std::string, StoredPtr<NodeTerm>> terms GUARDED_BY(mu);
  std::map<std::string, StoredPtr<GatewayRecord>> gateways GUARDED_BY(mu);
  std::unordered_map<std::string, std::map<RunKey, StoredPtr<Run>>> runs GUARDED_BY(mu);  // by container
  std::unordered_map<std::string, const std::string*> owners GUARDED_BY(mu);  // container -> session: the key in `sessions`
  mutable std::map<std::string, NodeUse> use GUARDED_BY(mu);
  std::set<PendingKey> pending GUARDED_BY(mu);
  SettingsIndex settings GUARDED_BY(mu);

  void ApplyKey(DecodedKey decoded, std::vector<Change>& changes) REQUIRES(mu);
  void ApplySession(Change& change, const DecodedKey& decoded, std::vector<Change>& changes) REQUIRES(mu);
  void ApplyProject(const Change& change, const DecodedKey& decoded) REQUIRES(mu);
  void ApplyRun(Change& change, const DecodedKey& decoded) REQUIRES(mu);
  void ApplyManifest(const Change& change, const DecodedKey& decoded) REQUIRES(mu);
  /// Of a whole list: the keys that are gone, and the values that are new here.
  void Compare(const store::ListResult& list, std::vector<std::string>& gone, std::vector<KvPtr>& fresh) const EXCLUDES(mu);
  void Reindex(const std::string& key, SessionEntry& entry) REQUIRES(mu);
  void FillRevisions(ViewRevisions& view) const REQUIRES(mu) {
    view.revision = revision;
    view.cluster_revision = ClusterRevision();
    view.epoch = std::max(stored_epoch, least_epoch);
    // Until the epoch that the history began with is written, all that is there is older.
    if (stored_epoch < view.epoch) view.epoch_began = revision + 1;
    else if (cluster != nullptr) view.epoch_began = cluster->mod_revision;
  }
  store::Revision ClusterRevision() const REQUIRES(mu) {
    return cluster == nullptr || !open.ok() ? 0 : cluster->mod_revision;
  }
  bool Reachable(const StoredPtr<controllers::Node>& node) const REQUIRES(mu) {
    return node != nullptr && node->ok() && node->value.connected && gateways.contains(node->value.gateway);
  }
  Resources Used(const std::string& node) const REQUIRES(mu);
  void AddDesired(const std::string& node, const SessionEntry& entry, std::vector<DesiredOnNode>& out) const
      REQUIRES(mu);
  StoredPtr<PolicySpec> PolicyOf(const std::string& ns, const SessionEntry& entry) const REQUIRES(mu) {
    if (entry.spec == nullptr || !entry.spec->ok() || entry.spec->value.policy == "default") return nullptr;
    return FindOrNull(policies, ns + "/" + entry.spec->value.policy);
  }
};

// ---- writing ----

void ClusterState::Impl::ApplyKey(DecodedKey decoded, std::vector<Change>& changes) {
  const KvPtr& kv = decoded.kv;
  const bool known = all.contains(decoded.text);
  if (kv == nullptr && !known) return;
  Change change;
  change.type = kv == nullptr ? Change::Type::kDeleted : (known ? Change::Type::kModified : Change::Type::kAdded);
  change.key = std::move(decoded.key);
  if (kv == nullptr) {
    all.erase(all.find(decoded.text));
  } else {
    store::Put(all, kv);
  }
  const std::string& name = change.key.name;
  switch (change.key.key_class) {
    case KeyClass::kSpec:
    case KeyClass::kStatus:
      if (change.key.kind == "session") ApplySession(change, decoded, changes);
      if (change.key.kind == "project") ApplyProject(change, decoded);
      if (change.key.kind == "sandboxpolicy" && change.key.key_class == KeyClass::kSpec) {
        SetOrErase(policies, ObjectKey(change.key), decoded.As<PolicySpec>());
      }
      break;
    case KeyClass::kBind: ApplySession(change, decoded, changes); break;
    case KeyClass::kRun: ApplyRun(change, decoded); break;
    case KeyClass::kManifest:
    case KeyClass::kManifestStatus: ApplyManifest(change, decoded); break;
    case KeyClass::kNode: SetOrErase(nodes, name, decoded.As<controllers::Node>()); break;
    case KeyClass::kNodeTerm: SetOrErase(terms, name, decoded.As<NodeTerm>()); break;
    case KeyClass::kGateway: SetOrErase(gateways, name, decoded.As<GatewayRecord>()); break;
    case KeyClass::kLead: lead = kv; break;
    case KeyClass::kMeta:
      if (decoded.text == keys.Cluster()) {
        cluster = kv;
        stored_epoch = ClusterEpoch(kv.get());
        open = registry::CheckOpen(kv.get());
      }
      break;
    case KeyClass::kConfig: settings.Apply(name, kv.get()); break;
    default: break;
  }
  changes.push_back(std::move(change));
}

void ClusterState::Impl::ApplySession(Change& change, const DecodedKey& decoded, std::vector<Change>& changes) {
  change.session = ObjectKey(change.key);
  const auto place = sessions.try_emplace(change.session).first;
  SessionEntry& entry = place->second;
  if (entry.empty()) entry.status_since = clock.Monotonic();
  std::vector<std::string> touched = entry.on_nodes;
  if (change.key.key_class == KeyClass::kSpec) {
    const StoredPtr<SessionSpec> before = entry.spec;
    entry.spec = decoded.As<SessionSpec>();
    if (before != nullptr && entry.spec != nullptr && before->ok() && entry.spec->ok() &&
        before->value.meta.uid != entry.spec->value.meta.uid) {
      Change gone = change;
      gone.type = Change::Type::kDeleted;
      changes.push_back(std::move(gone));
      change.type = Change::Type::kAdded;
    }
  } else if (change.key.key_class == KeyClass::kStatus) {
    entry.status = decoded.As<StatusRecord>();
    entry.status_since = clock.Monotonic();
  } else {
    entry.bind = decoded.As<Bind>();
  }
  Reindex(place->first, entry);
  touched.insert(touched.end(), entry.on_nodes.begin(), entry.on_nodes.end());
  SortUnique(touched);
  change.nodes = std::move(touched);
  if (entry.empty()) sessions.erase(place);
}

void ClusterState::Impl::Reindex(const std::string& key, SessionEntry& entry) {
  for (const std::string& uid : entry.containers) {
    const auto found = owners.find(uid);
    if (found != owners.end() && found->second == &key) owners.erase(found);
  }
  entry.containers.clear();
  for (const std::string& node : entry.on_nodes) {
    NodeUse& on = use[node];
    on.by_session.erase(key);
    on.sum.reset();
    if (on.by_session.empty()) use.erase(node);
  }
  entry.on_nodes.clear();
  if (entry.pending_place) pending.erase(*entry.pending_place);
  entry.pending_place.reset();

  if (entry.spec != nullptr && entry.spec->ok()) {
    std::string uid = MainContainerUid(entry.spec->value.meta.uid);
    if (!uid.empty()) entry.containers.push_back(std::move(uid));
  }
  const Bind* bind = entry.bind != nullptr && entry.bind->ok() ? &entry.bind->value : nullptr;
  if (bind != nullptr) {
    for (const BindContainer& container : bind->containers) {
      entry.containers.push_back(container.uid);
      entry.on_nodes.push_back(container.node);
      NodeUse& on = use[container.node];
      on.sum.reset();
      Resources& mine = on.by_session[key];
      if (!container.released) mine = Add(mine, container.resources);
    }
  }
  SortUnique(entry.containers);
  SortUnique(entry.on_nodes);
  for (const std::string& uid : entry.containers) owners[uid] = &key;
  // A malformed bind/ may name containers that run: such a session is never placed again.
  const bool placed = entry.bind != nullptr && (bind == nullptr || !bind->containers.empty());
  if (entry.spec != nullptr && entry.spec->ok() && !entry.spec->value.meta.deleting() && !placed) {
    entry.pending_place = pending.insert({entry.spec, &key}).first;
  }
}

void ClusterState::Impl::ApplyProject(const Change& change, const DecodedKey& decoded) {
  const std::string& name = change.key.name;
  ProjectEntry& entry = projects[name];
  if (change.key.key_class == KeyClass::kSpec) {
    entry.spec = decoded.As<ProjectSpec>();
  } else {
    entry.status = decoded.As<StatusRecord>();
  }
  if (entry.spec == nullptr && entry.status == nullptr) projects.erase(name);
}

void ClusterState::Impl::ApplyRun(Change& change, const DecodedKey& decoded) {
  const RunKey key{change.key.node, change.key.container, change.key.incarnation};
  auto& of_container = runs[key.container];
  SetOrErase(of_container, key, decoded.As<Run>());
  if (of_container.empty()) runs.erase(key.container);
  const auto owner = owners.find(key.container);
  if (owner != owners.end()) change.session = *owner->second;
}

void ClusterState::Impl::ApplyManifest(const Change& change, const DecodedKey& decoded) {
  const std::string key = ObjectKey(change.key);
  ManifestEntry& entry = manifests[key];
  if (change.key.key_class == KeyClass::kManifest) {
    entry.manifest = decoded.kv;
  } else {
    entry.verdict = decoded.As<ManifestVerdict>();
  }
  if (entry.manifest == nullptr && entry.verdict == nullptr) manifests.erase(key);
}

void ClusterState::Impl::Compare(const store::ListResult& list, std::vector<std::string>& gone, std::vector<KvPtr>& fresh) const {
  std::vector<KvPtr> present = list.kvs;
  if (!std::is_sorted(present.begin(), present.end(), store::KvOrder())) std::sort(present.begin(), present.end(), store::KvOrder());
  MutexLock lock(mu);
  auto known = all.begin();
  for (const KvPtr& kv : present) {
    for (; known != all.end() && (*known)->key < kv->key; ++known) gone.push_back((*known)->key);
    const bool same_key = known != all.end() && (*known)->key == kv->key;
    const bool same = same_key && (*known)->mod_revision == kv->mod_revision && (*known)->create_revision == kv->create_revision &&
                      (*known)->value == kv->value;
    if (!same) fresh.push_back(kv);
    if (same_key) ++known;
  }
  for (; known != all.end(); ++known) gone.push_back((*known)->key);
}

ClusterState::ClusterState(store::Keys keys, const Clock& clock)
    : keys_(std::move(keys)), impl_(std::make_unique<Impl>(keys_, clock)) {}
ClusterState::~ClusterState() = default;

std::vector<Change> ClusterState::Reset(const store::ListResult& list, int64_t history) {
  std::vector<std::string> gone;
  std::vector<KvPtr> fresh;
  impl_->Compare(list, gone, fresh);
  std::vector<DecodedKey> decoded = DecodeKeys(keys_, fresh);
  std::vector<Change> changes;
  changes.reserve(gone.size() + decoded.size());
  MutexLock lock(impl_->mu);
  if (history > impl_->history) {
    impl_->history = history;
    impl_->least_epoch = std::max(impl_->least_epoch, impl_->stored_epoch) + 1;
  }
  for (const std::string& key : gone) {
    if (auto one = DecodeKey(keys_, key, nullptr)) impl_->ApplyKey(std::move(*one), changes);
  }
  for (DecodedKey& one : decoded) impl_->ApplyKey(std::move(one), changes);
  impl_->revision = list.revision;
  impl_->advanced.NotifyAll();
  return changes;
}

std::vector<Change> ClusterState::Apply(const store::CacheBatch& batch) {
  std::vector<DecodedKey> decoded;
  for (const store::Event& event : batch.events) {
    auto one = DecodeKey(keys_, event.kv->key, event.type == store::Event::Type::kDelete ? nullptr : event.kv);
    if (one) decoded.push_back(std::move(*one));
  }
  std::vector<Change> changes;
  MutexLock lock(impl_->mu);
  for (DecodedKey& one : decoded) impl_->ApplyKey(std::move(one), changes);
  impl_->revision = std::max(impl_->revision, batch.revision);
  impl_->advanced.NotifyAll();
  return changes;
}

// ---- reading ----

const Run* SessionView::RunOf(const BindContainer& container) const {
  const auto found = runs.find({container.node, container.uid, container.incarnation});
  return found == runs.end() || !found->second->ok() ? nullptr : &found->second->value;
}

bool SessionView::BindIsOurs() const {
  return bind != nullptr && bind->ok() && spec != nullptr && spec->ok() &&
         bind->value.uid == spec->value.meta.uid;
}

bool SessionView::StatusIsOurs() const {
  return status != nullptr && status->ok() && spec != nullptr && spec->ok() &&
         status->value.uid == spec->value.meta.uid;
}

store::Revision ClusterState::revision() const {
  MutexLock lock(impl_->mu);
  return impl_->revision;
}

Status ClusterState::WaitFor(store::Revision revision, Duration timeout) const {
  const MonotonicTime until = impl_->clock.Monotonic() + timeout;
  MutexLock lock(impl_->mu);
  while (impl_->revision < revision) {
    const Duration left = until - impl_->clock.Monotonic();
    if (left > Duration::zero() && impl_->advanced.WaitFor(impl_->mu, left)) continue;
    if (impl_->revision >= revision) break;
    return Errorf(Code::kDeadlineExceeded, "the state is at revision {}, and {} is wanted", impl_->revision, revision);
  }
  return OkStatus();
}

store::Revision ClusterState::cluster_revision() const {
  MutexLock lock(impl_->mu);
  return impl_->ClusterRevision();
}

Status ClusterState::CheckOpen() const {
  MutexLock lock(impl_->mu);
  return impl_->open;
}

int64_t ClusterState::epoch() const {
  MutexLock lock(impl_->mu);
  return std::max(impl_->stored_epoch, impl_->least_epoch);
}

int64_t ClusterState::stored_epoch() const {
  MutexLock lock(impl_->mu);
  return impl_->stored_epoch;
}

KvPtr ClusterState::cluster() const {
  MutexLock lock(impl_->mu);
  return impl_->cluster;
}

std::string ClusterState::cluster_id() const {
  KvPtr kv;
  {
    MutexLock lock(impl_->mu);
    kv = impl_->cluster;
  }
  if (kv == nullptr) return {};
  const StatusOr<json::Value> tree = json::Parse(kv->value);
  return tree.ok() ? tree->StringAt({"id"}) : std::string();
}

KvPtr ClusterState::lead() const {
  MutexLock lock(impl_->mu);
  return impl_->lead;
}

SessionView ClusterState::Session(const std::string& key) const {
  SessionView view;
  std::tie(view.ns, view.name) = SplitKey(key);
  MutexLock lock(impl_->mu);
  impl_->FillRevisions(view);
  const auto found = impl_->sessions.find(key);
  if (found == impl_->sessions.end()) return view;
  const Impl::SessionEntry& entry = found->second;
  view.spec = entry.spec;
  view.status = entry.status;
  view.bind = entry.bind;
  view.status_age = impl_->clock.Monotonic() - entry.status_since;
  for (const std::string& uid : entry.containers) {
    const auto of_container = impl_->runs.find(uid);
    if (of_container == impl_->runs.end()) continue;
    view.runs.insert(of_container->second.begin(), of_container->second.end());
  }
  for (const std::string& name : entry.on_nodes) {
    const auto node = FindOrNull(impl_->nodes, name);
    if (node != nullptr) view.nodes[name] = node;
    if (impl_->Reachable(node)) view.nodes_reachable.insert(name);
  }
  view.policy = impl_->PolicyOf(view.ns, entry);
  return view;
}

std::vector<std::string> ClusterState::SessionsWithPolicy(const std::string& policy) const {
  const auto [ns, name] = SplitKey(policy);
  const std::string prefix = ns + "/";
  std::vector<std::string> sessions;
  MutexLock lock(impl_->mu);
  for (auto it = impl_->sessions.lower_bound(prefix); it != impl_->sessions.end() && it->first.starts_with(prefix); ++it) {
    if (it->second.spec != nullptr && it->second.spec->ok() && it->second.spec->value.policy == name) sessions.push_back(it->first);
  }
  return sessions;
}

Resources ClusterState::Impl::Used(const std::string& node) const {
  const auto found = use.find(node);
  if (found == use.end()) return {};
  if (!found->second.sum) {
    Resources sum;
    for (const auto& [session, resources] : found->second.by_session) sum = Add(sum, resources);
    found->second.sum = sum;
  }
  return *found->second.sum;
}

Resources ClusterState::UsedOn(const std::string& node) const {
  MutexLock lock(impl_->mu);
  return impl_->Used(node);
}

SchedulingView ClusterState::Scheduling() const {
  SchedulingView view;
  MutexLock lock(impl_->mu);
  impl_->FillRevisions(view);
  view.pending.reserve(impl_->pending.size());
  for (const Impl::PendingKey& pending : impl_->pending) {
    const Impl::SessionEntry& entry = impl_->sessions.at(*pending.session);
    auto [ns, name] = SplitKey(*pending.session);
    StoredPtr<PolicySpec> policy = impl_->PolicyOf(ns, entry);
    view.pending.push_back({std::move(ns), std::move(name), entry.spec, entry.status, entry.bind, std::move(policy)});
  }
  // Without a session to place nobody looks at the nodes.
  if (view.pending.empty()) return view;
  for (const auto& [name, node] : impl_->nodes) {
    view.nodes.push_back({name, node, impl_->Reachable(node), impl_->Used(name)});
  }
  return view;
}

NodeView ClusterState::Node(const std::string& name) const {
  NodeView view;
  view.name = name;
  MutexLock lock(impl_->mu);
  impl_->FillRevisions(view);
  view.node = FindOrNull(impl_->nodes, name);
  view.term = FindOrNull(impl_->terms, name);
  view.gateway_alive =
      view.node != nullptr && view.node->ok() && impl_->gateways.contains(view.node->value.gateway);
  return view;
}

ProjectView ClusterState::Project(const std::string& name) const {
  ProjectView view;
  view.name = name;
  MutexLock lock(impl_->mu);
  impl_->FillRevisions(view);
  const auto found = impl_->projects.find(name);
  if (found == impl_->projects.end()) return view;
  view.spec = found->second.spec;
  view.status = found->second.status;
  if (view.spec == nullptr || !view.spec->ok() || !view.spec->value.meta.deleting()) return view;
  // Only a project that goes needs to know what it holds; this walks every key, and it is rare.
  for (const KvPtr& kv : impl_->all) {
    const std::string& key = kv->key;
    const std::optional<store::ParsedKey> parsed = keys_.Parse(key);
    if (!parsed || parsed->ns != name) continue;
    if (parsed->key_class == KeyClass::kSpec) {
      ProjectView::Content content{parsed->kind, parsed->name, {}, false, false};
      if (parsed->kind == "session") {
        const StoredPtr<SessionSpec> spec = impl_->sessions.at(name + "/" + parsed->name).spec;
        content.malformed = !spec->ok();
        if (spec->ok()) {
          content.uid = spec->value.meta.uid;
          content.deleting = spec->value.meta.deleting();
        }
      }
      if (const StoredPtr<PolicySpec> policy = parsed->kind != "sandboxpolicy" ? nullptr : FindOrNull(impl_->policies, name + "/" + parsed->name)) {
        content.malformed = !policy->ok();
        if (policy->ok()) content.uid = policy->value.meta.uid;
      }
      view.content.push_back(std::move(content));
    } else if (parsed->key_class == KeyClass::kBind && !impl_->all.contains(keys_.Spec("session", name, parsed->name).text())) {
      view.content.push_back({"bind", parsed->name, {}, false, true});
    } else if (parsed->key_class == KeyClass::kManifestStatus) {
      view.leftover_keys.push_back(key);
    } else if (parsed->key_class == KeyClass::kStatus && !impl_->all.contains(keys_.Spec(parsed->kind, name, parsed->name).text())) {
      view.leftover_keys.push_back(key);
    }
  }
  std::stable_partition(view.content.begin(), view.content.end(), [](const ProjectView::Content& content) { return content.kind != "sandboxpolicy"; });
  return view;
}

std::shared_ptr<const std::string> ClusterState::PolicyText(const std::string& ns, const std::string& name, const std::string& hash) const {
  StoredPtr<PolicySpec> policy;
  {
    MutexLock lock(impl_->mu);
    policy = FindOrNull(impl_->policies, ns + "/" + name);
  }
  if (policy == nullptr || !policy->ok() || policy->value.hash != hash) return nullptr;
  return {policy, &policy->value.text};
}

ManifestView ClusterState::Manifest(const std::string& key) const {
  ManifestView view;
  std::tie(view.ns, view.name) = SplitKey(key);
  MutexLock lock(impl_->mu);
  impl_->FillRevisions(view);
  const auto found = impl_->manifests.find(key);
  if (found == impl_->manifests.end()) return view;
  view.manifest = found->second.manifest;
  view.verdict = found->second.verdict;
  return view;
}

StoredPtr<GatewayRecord> ClusterState::Gateway(const std::string& id) const {
  MutexLock lock(impl_->mu);
  return FindOrNull(impl_->gateways, id);
}

std::vector<std::string> ClusterState::SessionKeys() const {
  MutexLock lock(impl_->mu);
  return KeysOf(impl_->sessions);
}

std::vector<std::string> ClusterState::NodeNames() const {
  MutexLock lock(impl_->mu);
  return KeysOf(impl_->nodes);
}

std::vector<std::string> ClusterState::ProjectNames() const {
  MutexLock lock(impl_->mu);
  return KeysOf(impl_->projects);
}

std::vector<std::string> ClusterState::ManifestKeys() const {
  MutexLock lock(impl_->mu);
  return KeysOf(impl_->manifests);
}

std::vector<std::string> ClusterState::SessionsOnNode(const std::string& node) const {
  MutexLock lock(impl_->mu);
  const auto found = impl_->use.find(node);
  return found == impl_->use.end() ? std::vector<std::string>() : KeysOf(found->second.by_session);
}

std::vector<std::string> ClusterState::NodesOfGateway(const std::string& id) const {
  MutexLock lock(impl_->mu);
  std::vector<std::string> names;
  for (const auto& [name, node] : impl_->nodes) {
    if (node->ok() && node->value.gateway == id) names.push_back(name);
  }
  return names;
}

void ClusterState::Impl::AddDesired(const std::string& node, const SessionEntry& entry,
                                    std::vector<DesiredOnNode>& out) const {
  if (entry.bind == nullptr || !entry.bind->ok()) return;
  for (const BindContainer& container : entry.bind->value.containers) {
    if (container.node != node) continue;
    DesiredOnNode desired{container, entry.bind->key(), entry.bind->mod_revision(), nullptr};
    const auto of_container = runs.find(container.uid);
    if (of_container != runs.end()) {
      const auto run = of_container->second.find({node, container.uid, container.incarnation});
      if (run != of_container->second.end()) desired.run = run->second;
    }
    out.push_back(std::move(desired));
  }
}

std::vector<DesiredOnNode> ClusterState::DesiredOf(const std::string& node) const {
  std::vector<DesiredOnNode> out;
  MutexLock lock(impl_->mu);
  const auto found = impl_->use.find(node);
  if (found == impl_->use.end()) return out;
  for (const auto& [session, resources] : found->second.by_session) {
    impl_->AddDesired(node, impl_->sessions.at(session), out);
  }
  return out;
}

std::vector<DesiredOnNode> ClusterState::DesiredOf(const std::string& node, const std::string& session) const {
  std::vector<DesiredOnNode> out;
  MutexLock lock(impl_->mu);
  const auto found = impl_->sessions.find(session);
  if (found != impl_->sessions.end()) impl_->AddDesired(node, found->second, out);
  return out;
}

std::vector<config::Effective> ClusterState::Config(const std::string& node) const {
  std::vector<config::Layer> layers;
  {
    MutexLock lock(impl_->mu);
    const auto known = impl_->nodes.find(node);
    const bool readable = known != impl_->nodes.end() && known->second->ok();
    const std::map<std::string, std::string> none;
    layers = impl_->settings.LayersOf(node, readable ? known->second->value.labels : none);
  }
  return config::Merge(layers);
}

std::string ClusterState::SettingError(const std::string& path) const {
  MutexLock lock(impl_->mu);
  return impl_->settings.ErrorOf(path);
}

std::string ClusterState::OwnerOf(const std::string& container_uid) const {
  MutexLock lock(impl_->mu);
  const auto found = impl_->owners.find(container_uid);
  return found == impl_->owners.end() ? std::string() : *found->second;
}

}  // namespace isla::controllers
