// All controllers of one islad: campaigns for leadership, and, while it leads, runs the session controller, the
// scheduler, the project and node controllers, the manifest inbox, and compaction.
//
// For islad's main, which makes, in this order:
//   store, watch cache, registry
//   ClusterState state(keys, clock);  Listeners listeners;  Informer informer(cache, state, listeners);
//   StartControllers(...)
// and destroys them in the reverse order. The gateway uses the same state and listeners.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "api/base/clock.h"
#include "api/base/metrics.h"
#include "api/registry/registry.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/runtime/informer.h"
#include "controllers/runtime/reconciler.h"
#include "store/store.h"

namespace isla::controllers {

struct ControllersOptions {
  std::string id;                            // this islad's name, as in gateway/<id>
  std::chrono::seconds lease_ttl{10};        // how long after a leader's silent death another takes over
};

class Controllers {
 public:
  /// Ends the term if this process leads (what is in flight is finished), gives leadership up at once so that
  /// another takes over, joins all threads.
  virtual ~Controllers() = default;
  /// True while the controllers of this process decide.
  virtual bool leading() const = 0;
};

/// Begins to campaign; returns at once. All references must outlive the result; `metrics` may be null.
std::unique_ptr<Controllers> StartControllers(store::Store& store, const ClusterState& state, Listeners& listeners,
                                              registry::Registry& registry, const Clock& clock, Metrics* metrics,
                                              ControllersOptions options);

/// Every reconciler, in the order of a ControllerSet. For the above and for simulation.
std::vector<std::unique_ptr<Reconciler>> MakeReconcilers(const store::Keys& keys, store::Store& store,
                                                         registry::Registry& registry, const Clock& clock);

}  // namespace isla::controllers
