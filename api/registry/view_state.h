// The state that the view's thread writes and its watches read. Private to api/registry.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "api/base/mutex.h"
#include "api/registry/view.h"

namespace isla::registry {

/// A function that others may call until its owner clears it: no call runs, or begins, after Clear.
class ReadyCell {
 public:
  void Set(std::function<void()> ready) {
    MutexLock lock(mu_);
    ready_ = std::move(ready);
  }
  void Clear() { Set(nullptr); }
  void Call() {
    MutexLock lock(mu_);
    if (ready_) ready_();
  }

 private:
  Mutex mu_;
  std::function<void()> ready_ GUARDED_BY(mu_);
};

using ObjectKey = std::pair<std::string, std::string>;  // namespace ("" for cluster-wide kinds), name

/// One change of one object. before null: it is new; after null: it is gone, and `before` is its last state
/// with the revision of the deletion as its resourceVersion.
struct StoredEvent {
  store::Revision revision = 0;
  ObjectKey key;
  ObjectPtr before;
  ObjectPtr after;
};

/// Who wants to be woken by changes of a kind.
struct Listener {
  std::string ns;    // "" = any
  std::string name;  // "" = any
  ReadyCell ready;
};

struct KindState {
  struct Entry {
    std::shared_ptr<const store::KeyValue> spec;
    std::shared_ptr<const store::KeyValue> status;
    ObjectPtr object;  // null while there is a status key alone
  };
  std::map<ObjectKey, Entry> objects;
  std::deque<StoredEvent> events;
  uint64_t first = 0;           // the number of events.front()
  store::Revision dropped = 0;  // all events up to this revision may be missing from `events`
  std::set<std::shared_ptr<Listener>> listeners;

  uint64_t end() const { return first + events.size(); }
};

struct ObjectView::State {
  State(store::Keys k, size_t h) : keys(std::move(k)), history(h) {}

  const store::Keys keys;
  const size_t history;

  Mutex mu;
  CondVar changed;
  bool built GUARDED_BY(mu) = false;
  bool stopped GUARDED_BY(mu) = false;
  uint64_t generation GUARDED_BY(mu) = 0;
  store::Revision watermark GUARDED_BY(mu) = 0;
  std::map<std::string, KindState> kinds GUARDED_BY(mu);  // by Kind::singular

  /// Takes the whole content of the store; watches of before end.
  void Rebuild(const store::ListResult& list) EXCLUDES(mu);
  /// Applies one batch of the cache; returns who has to be woken.
  std::vector<std::shared_ptr<Listener>> Apply(const store::CacheBatch& batch) EXCLUDES(mu);
  void Stop() EXCLUDES(mu);

 private:
  struct Touched {
    const api::Kind* kind;
    ObjectKey key;
    bool operator<(const Touched& other) const {
      return std::tie(kind, key) < std::tie(other.kind, other.key);
    }
  };
  /// Puts the key's new value in its entry; false if the key is of no object.
  bool Store(const store::Event& event, Touched& touched) REQUIRES(mu);
  void Emit(const Touched& touched, store::Revision revision, std::set<std::shared_ptr<Listener>>& wake)
      REQUIRES(mu);
  void Push(KindState& kind, StoredEvent event, std::set<std::shared_ptr<Listener>>& wake) REQUIRES(mu);
  std::vector<std::shared_ptr<Listener>> AllListeners() REQUIRES(mu);
};

/// `object` with this resourceVersion.
ObjectPtr WithRevision(const Object& object, store::Revision revision);

/// Where a watch begins.
struct WatchStart {
  std::vector<ObjectPtr> initial;  // sent first, as ADDED
  uint64_t cursor = 0;             // then what follows this event,
  store::Revision after = 0;       // and is newer than this
  store::Revision known = 0;       // up to where its user knows all already
  uint64_t generation = 0;         // of the view
};

std::unique_ptr<ObjectWatch> MakeWatch(std::shared_ptr<ObjectView::State> state, const api::Kind& kind,
                                       const std::string& ns, const ListOptions& options, WatchStart start);

}  // namespace isla::registry
