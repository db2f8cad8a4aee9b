// What a controller is: something that looks at the present state of one key and says at most one thing to do.
//
// Reconcile is pure: it reads a view, never blocks, does no I/O, remembers nothing. It is level-triggered: the
// key says which, never what happened; a reconciler never needs to have seen an edge. What it decides is either
// one transaction, which the executor (controller_set.h) fences and commits, or one request (a blocking call
// that has its own fencing, such as a write through the registry).
// Every transaction must compare the mod_revision of each key that it overwrites or decided on; the fence adds
// lead/controllers and meta/cluster.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controllers/runtime/cluster_state.h"
#include "store/store.h"

namespace isla::controllers {

struct Decision {
  /// What is done, in a word or two: "bind", "status". Label of a metric: one of few.
  std::string what;
  std::optional<store::Transaction> txn;
  /// Called with the conditions that fence a leader's write; must pass them on to each write that it does.
  /// Returns the revision that the cache must reach before the key is looked at again; 0: not known.
  std::function<StatusOr<store::Revision>(const std::vector<store::Compare>& fence)> request;
  /// The view that it was decided on.
  store::Revision cluster_revision = 0;
  /// Look at the key again then, if nothing changes before.
  std::optional<Duration> look_again;

  bool nothing() const { return !txn && !request; }
};

class Reconciler {
 public:
  virtual ~Reconciler() = default;
  virtual std::string_view name() const = 0;
  /// All keys, to begin with.
  virtual std::vector<std::string> AllKeys(const ClusterState& state) const = 0;
  /// Adds the keys that a change may concern.
  virtual void KeysFor(const Change& change, const ClusterState& state, std::vector<std::string>& keys) const = 0;
  virtual Decision Reconcile(const std::string& key, const ClusterState& state) const = 0;
  /// How many keys may be in work at once.
  virtual int workers() const { return 1; }
};

}  // namespace isla::controllers
