// One term of leadership: the controllers of this process while it leads.
//
// For each reconciler there is a work queue and a gate. A worker takes a key, and
//   1. holds it back until the cache has reached this leader's last write to that key (so no decision is made
//      twice because of a stale view);
//   2. asks Reconcile for at most one action;
//   3. commits it fenced; on success the key comes back by the event of the write itself; on a stale view or an
//      unknown outcome it comes back after its back-off.
// A write that is fenced off ends the term: `on_fenced` is called once, nothing is decided any more.
//
// Start runs it on threads. Without Start it is the single-threaded twin for simulation: Step takes one key
// of one controller and runs it to its end.
// Threads: OnChanges and OnReset come from the informer; everything else from any thread.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/metrics.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/runtime/fenced_writer.h"
#include "controllers/runtime/informer.h"
#include "controllers/runtime/reconciler.h"
#include "controllers/runtime/work_queue.h"

namespace isla::controllers {

struct ControllerSetOptions {
  uint64_t seed = 1;  // of the back-off's jitter
  std::function<void()> on_fenced;
  Metrics* metrics = nullptr;
};

class ControllerSet : public ChangeListener {
 public:
  /// All references must outlive it.
  ControllerSet(const std::vector<std::unique_ptr<Reconciler>>& reconcilers, const ClusterState& state,
                store::Store& store, store::Revision token, const Clock& clock, ControllerSetOptions options);
  ~ControllerSet() override;

  /// Adds every key of every reconciler: call it once the set hears of changes.
  void AddAll();
  /// Starts the worker threads.
  void Start();
  /// Decides nothing from now on; returns when the writes in flight have ended.
  void Stop();

  void OnChanges(const std::vector<Change>& changes, store::Revision revision) override;
  void OnReset() override;

  /// Simulation: the controllers by number; runs one ready key of controller `index`, false if none was ready.
  size_t size() const { return controllers_.size(); }
  bool Step(size_t index);
  /// Time until something delayed becomes ready.
  std::optional<Duration> NextDelay() const;
  size_t depth() const;

 private:
  struct Controller;

  void Work(Controller& controller);
  void Process(Controller& controller, const std::string& key);
  void Finish(Controller& controller, const std::string& key, const Decision& decision);
  bool Held(Controller& controller, const std::string& key);
  void Fenced(const Controller& controller, const std::string& key, const Status& status);

  const ClusterState& state_;
  const FencedWriter writer_;
  const Clock& clock_;
  const ControllerSetOptions options_;
  const Logger log_{"controllers"};
  std::atomic<bool> stopping_{false};
  std::vector<std::unique_ptr<Controller>> controllers_;
  std::vector<std::jthread> threads_;
};

}  // namespace isla::controllers
