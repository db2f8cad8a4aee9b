// The typed cache of the controllers and the gateway: every key that they read, decoded once, joined and
// indexed, at one revision.
//
// The informer (informer.h) is the only writer: Reset with a whole list, then Apply with each batch of the
// watch cache. Readers take views: copies of pointers to immutable records, all of one revision, so that
// a reconciler works on them without any lock. A key that doesn't decode is kept as malformed (`error`), never
// dropped and never in the way of another.
//
// Memory: what is kept beside a value's bytes (which the watch cache holds anyway) is what is looked at again and again. A session of
// 2 KiB takes about as much again, in all its indexes together.
//
// Sums (what is used on a node) are always computed from the entries of bind/; nothing is counted up and down.
// Threads: every method from any thread; Reset and Apply from one at a time (the informer's).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "api/base/clock.h"
#include "api/base/json.h"
#include "api/base/mutex.h"
#include "api/config/merge.h"
#include "controllers/runtime/records.h"
#include "isla/v1/objects.pb.h"
#include "store/cache/watch_cache.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::controllers {

/// A key with its decoded value. Immutable once it is shared.
template <typename T>
struct Stored {
  std::shared_ptr<const store::KeyValue> kv;
  T value{};
  Status error;  // not OK: malformed, `value` means nothing

  bool ok() const { return error.ok(); }
  const std::string& key() const { return kv->key; }
  store::Revision mod_revision() const { return kv->mod_revision; }
};
template <typename T>
using StoredPtr = std::shared_ptr<const Stored<T>>;

/// The mod_revision for a compare: 0 for a key that isn't there.
template <typename T>
store::Revision ModRevision(const StoredPtr<T>& stored) {
  return stored == nullptr ? 0 : stored->mod_revision();
}

/// What the controllers need of any object in spec/.
struct ObjectMeta {
  std::string uid;
  int64_t generation = 0;
  std::string created_at;
  std::string deletion_timestamp;  // "" = not being deleted
  int64_t deletion_grace_seconds = -1;
  std::vector<std::string> finalizers;

  bool deleting() const { return !deletion_timestamp.empty(); }
};

/// What the controllers look at again and again. The rest is needed once, when the session is placed: DecodeSession.
struct SessionSpec {
  ObjectMeta meta;
  Status valid;     // INVALID_ARGUMENT: it decodes, but can't run
  Resources asked;  // of what can run
  std::vector<std::pair<std::string, std::string>> node_selector;
  std::string policy = "default";  // its sandbox's
  Duration timeout{};  // zero: none
  Duration termination_grace_period = std::chrono::seconds(30);
};

struct ProjectSpec {
  ObjectMeta meta;
};

/// A SandboxPolicy as nodes get it.
struct PolicySpec {
  ObjectMeta meta;
  std::string text;  // what is the user's of it, as a manifest
  std::string hash;  // of the text: its version
  int64_t program_room = 0;  // what its program adds to a container's memory, beside the grant (api/base/program_room.h)
};

struct StatusRecord {
  std::string uid;
  int64_t observed_generation = 0;
  json::Value status;
};

struct RunKey {
  std::string node;
  std::string container;
  int64_t incarnation = 0;
  auto operator<=>(const RunKey&) const = default;
};

/// The revisions that every view stands at, for the gate and for fencing.
struct ViewRevisions {
  store::Revision revision = 0;          // the watermark
  store::Revision cluster_revision = 0;  // as ClusterState::cluster_revision
  int64_t epoch = 1;                     // as ClusterState::epoch
  store::Revision epoch_began = 0;       // what was created before this is of an older epoch
};

struct SessionView : ViewRevisions {
  std::string ns, name;
  StoredPtr<SessionSpec> spec;
  StoredPtr<StatusRecord> status;
  StoredPtr<Bind> bind;
  std::map<RunKey, StoredPtr<Run>> runs;           // of its containers, past incarnations too
  std::map<std::string, StoredPtr<Node>> nodes;    // those that bind names
  std::set<std::string> nodes_reachable;           // of these, connected to a gateway that lives
  StoredPtr<PolicySpec> policy;                    // that its spec names; null: the built-in one, or there is none of that name
  Duration status_age{};  // since this process first saw the present status; for deadlines only

  /// The record of this container, or null.
  const Run* RunOf(const BindContainer& container) const;
  /// bind and status belong to the present spec.
  bool BindIsOurs() const;
  bool StatusIsOurs() const;
};

struct NodeView : ViewRevisions {
  std::string name;
  StoredPtr<Node> node;
  StoredPtr<NodeTerm> term;
  bool gateway_alive = false;  // gateway/<node.gateway> exists
};

struct CandidateNode {
  std::string name;
  StoredPtr<Node> node;
  bool reachable = false;
  Resources used;  // grants, and what the programs of policies add to them
};

struct PendingSession {
  std::string ns, name;
  StoredPtr<SessionSpec> spec;
  StoredPtr<StatusRecord> status;
  StoredPtr<Bind> bind;
  StoredPtr<PolicySpec> policy;  // that its spec names; null: the built-in one, or there is none of that name
};

struct SchedulingView : ViewRevisions {
  std::vector<PendingSession> pending;  // not placed, not being deleted; by create_revision
  std::vector<CandidateNode> nodes;     // by name
};

struct ProjectView : ViewRevisions {
  std::string name;
  StoredPtr<ProjectSpec> spec;
  StoredPtr<StatusRecord> status;
  /// Keys in spec/ and bind/ of its namespace that are left, sessions first: policies go after those who may need them.
  struct Content {
    std::string kind, name, uid;
    bool deleting = false;
    bool malformed = false;
  };
  std::vector<Content> content;
  std::vector<std::string> leftover_keys;  // manifest-status/ and status/ of objects that are gone
};

struct ManifestView : ViewRevisions {
  std::string ns, name;
  std::shared_ptr<const store::KeyValue> manifest;
  StoredPtr<ManifestVerdict> verdict;
};

/// A desired container of one node, as the gateway tells it.
struct DesiredOnNode {
  BindContainer container;
  std::string bind_key;
  store::Revision bind_revision = 0;
  StoredPtr<Run> run;  // null: not reported yet
};

/// What a batch changed: one for each key. A key whose object's uid changed comes as a deletion, then an
/// addition.
struct Change {
  enum class Type { kAdded, kModified, kDeleted };
  Type type = Type::kModified;
  store::ParsedKey key;
  std::string session;             // "ns/name": spec and status of a session, bind, run (if known whose)
  std::vector<std::string> nodes;  // bind: the nodes named before or now
};

class ClusterState {
 public:
  /// `clock` must outlive it.
  ClusterState(store::Keys keys, const Clock& clock);
  ~ClusterState();

  const store::Keys& keys() const { return keys_; }

  /// Replaces everything; the differences, as changes. `history`: the watch cache's epoch, of which a greater one than before says
  /// that the list is of another history: a backup was restored. Blocks while values are decoded: by several threads, and before
  /// the state is locked. Reset and Apply: from one thread at a time, or a difference would be of a state that is gone.
  std::vector<Change> Reset(const store::ListResult& list, int64_t history = 0);
  std::vector<Change> Apply(const store::CacheBatch& batch);

  store::Revision revision() const;
  /// Waits until this state has what was written up to `revision`: for those who saw it elsewhere, as the API's answers are of the
  /// cache. DEADLINE_EXCEEDED otherwise.
  Status WaitFor(store::Revision revision, Duration timeout) const;
  /// meta/cluster's mod_revision, which every transaction compares; 0 if it isn't there or the store is closed: no
  /// transaction that compares 0 can succeed then.
  store::Revision cluster_revision() const;
  /// OK, or why the store is closed (api/registry/cluster.h).
  Status CheckOpen() const;
  /// Counts the restores of a backup: meta/cluster's, or one more than any that was seen, from the moment that the
  /// history was found to be another until meta/cluster says so (stored_epoch).
  int64_t epoch() const;
  int64_t stored_epoch() const;
  /// meta/cluster, or null.
  std::shared_ptr<const store::KeyValue> cluster() const;
  /// The id of meta/cluster; "" if it isn't there.
  std::string cluster_id() const;
  /// lead/controllers, or null.
  std::shared_ptr<const store::KeyValue> lead() const;

  SessionView Session(const std::string& key) const;
  SchedulingView Scheduling() const;
  NodeView Node(const std::string& name) const;
  ProjectView Project(const std::string& name) const;
  ManifestView Manifest(const std::string& key) const;
  StoredPtr<GatewayRecord> Gateway(const std::string& id) const;

  // Every key of a kind, to start a reconciler with.
  std::vector<std::string> SessionKeys() const;
  std::vector<std::string> NodeNames() const;
  std::vector<std::string> ProjectNames() const;
  std::vector<std::string> ManifestKeys() const;
  std::vector<std::string> SessionsOnNode(const std::string& node) const;
  /// Those whose spec names the SandboxPolicy `policy`, "ns/name". Looks at all sessions of the namespace.
  std::vector<std::string> SessionsWithPolicy(const std::string& policy) const;
  std::vector<std::string> NodesOfGateway(const std::string& id) const;

  /// The containers that bind/ places on this node: of one session, or of all.
  std::vector<DesiredOnNode> DesiredOf(const std::string& node) const;
  std::vector<DesiredOnNode> DesiredOf(const std::string& node, const std::string& session) const;
  /// The session that names the container in bind/, or "".
  std::string OwnerOf(const std::string& container_uid) const;
  Resources UsedOn(const std::string& node) const;
  /// The text of a SandboxPolicy of this namespace in this version; null if it is gone, or another version by now.
  std::shared_ptr<const std::string> PolicyText(const std::string& ns, const std::string& name, const std::string& hash) const;

  /// The settings that are set for a node: its own over its group's over the global ones. "" = the global ones alone.
  /// Those that are set nowhere have no `from`.
  std::vector<config::Effective> Config(const std::string& node) const;
  /// Why what is stored at a key of class kConfig (`path`: ParsedKey::name) isn't used; "" if it is, or isn't there.
  std::string SettingError(const std::string& path) const;

 private:
  struct Impl;
  const store::Keys keys_;
  const std::unique_ptr<Impl> impl_;
};

/// "ns/name" taken apart.
std::pair<std::string, std::string> SplitKey(const std::string& key);

/// The epoch that meta/cluster has; 1 if there is none or it can't be read.
int64_t ClusterEpoch(const store::KeyValue* cluster);

/// The uid of a session's only container.
std::string MainContainerUid(const std::string& session_uid);

/// A session as it is in spec/ (canonical JSON).
StatusOr<SessionSpec> DecodeSessionSpec(std::string_view bytes);
/// The same, if it is what the API can serve as the object of its key.
StatusOr<SessionSpec> DecodeStoredSession(const store::KeyValue& kv);
StatusOr<ProjectSpec> DecodeStoredProject(const store::KeyValue& kv);
StatusOr<PolicySpec> DecodeStoredPolicy(const store::KeyValue& kv);
/// All of a session, with every default.
StatusOr<isla::v1::Session> DecodeSession(std::string_view bytes);
StatusOr<StatusRecord> DecodeStatusRecord(std::string_view bytes);

}  // namespace isla::controllers
