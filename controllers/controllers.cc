#include "controllers/controllers.h"

#include <thread>
#include <utility>

#include "api/base/log.h"
#include "controllers/inbox/inbox_controller.h"
#include "controllers/node/node_controller.h"
#include "controllers/project/project_controller.h"
#include "controllers/runtime/leadership.h"
#include "controllers/scheduler/scheduler.h"
#include "controllers/session/session_controller.h"
#include "store/compactor.h"

namespace isla::controllers {
namespace {

/// Lets the store forget old history while this process leads.
class Compaction {
 public:
  Compaction(store::Store& store, const ClusterState& state, const Clock& clock, store::Revision token)
      : state_(state), token_(token), compactor_(store, state.keys(), clock), thread_([this] { Run(); }) {}
  ~Compaction() {
    {
      MutexLock lock(mu_);
      stop_ = true;
      wake_.NotifyAll();
    }
    thread_.join();
  }

 private:
  void Run() {
    while (true) {
      const std::vector<store::Compare> fence = {
          store::Compare::CreateRevision(state_.keys().Lead(), token_),
          store::Compare::ModRevision(state_.keys().Cluster(), state_.cluster_revision())};
      FollowKeep();
      const StatusOr<store::Revision> done = compactor_.Tick(fence);
      if (!done.ok()) {
        log_.Warn("compaction failed", "error='{}' retry_in_s=30", ToString(done.status()));
      } else if (*done != 0) {
        log_.Info("compacted", "revision={}", *done);
      }
      MutexLock lock(mu_);
      // The compactor samples the revision at each tick, so it wants one more often than it compacts.
      if (!stop_) wake_.WaitFor(mu_, std::chrono::seconds(30));
      if (stop_) return;
    }
  }

  /// islad/history/keepSeconds, where it is set.
  void FollowKeep() {
    for (const config::Effective& effective : state_.Config("")) {
      if (effective.setting->name != config::kIsladHistoryKeepSeconds) continue;
      const Duration keep = std::chrono::seconds(*effective.value->ToInt64());
      if (keep == keep_) return;
      keep_ = keep;
      compactor_.SetKeep(keep);
      log_.Announce("setting applied", "{}={} from={}", effective.setting->name, *effective.value->ToInt64(),
                    effective.from ? config::ScopeText(*effective.from) : "default");
    }
  }

  const ClusterState& state_;
  const store::Revision token_;
  const Logger log_{"compaction"};
  store::Compactor compactor_;  // the thread's own, as is keep_
  Duration keep_ = store::CompactorOptions().keep;
  Mutex mu_;
  CondVar wake_;
  bool stop_ GUARDED_BY(mu_) = false;
  std::jthread thread_;
};

class AllControllers final : public Controllers {
 public:
  AllControllers(store::Store& store, const ClusterState& state, Listeners& listeners, registry::Registry& registry,
                 const Clock& clock, Metrics* metrics, const ControllersOptions& options)
      : reconcilers_(MakeReconcilers(state.keys(), store, registry, clock)) {
    LeadershipOptions leadership;
    leadership.id = options.id;
    leadership.ttl = options.lease_ttl;
    leadership.metrics = metrics;
    leadership.while_leading = [&store, &state, &clock](store::Revision token) -> std::shared_ptr<void> {
      return std::make_shared<Compaction>(store, state, clock, token);
    };
    leadership_ = std::make_unique<Leadership>(store, state, listeners, clock, reconcilers_, std::move(leadership));
  }

  bool leading() const override { return leadership_->leading(); }

 private:
  const std::vector<std::unique_ptr<Reconciler>> reconcilers_;
  std::unique_ptr<Leadership> leadership_;
};

}  // namespace

std::vector<std::unique_ptr<Reconciler>> MakeReconcilers(const store::Keys& keys, store::Store& store,
                                                         registry::Registry& registry, const Clock& clock) {
  std::vector<std::unique_ptr<Reconciler>> reconcilers;
  reconcilers.push_back(std::make_unique<Scheduler>(keys, clock));
  reconcilers.push_back(std::make_unique<SessionController>(keys, clock));
  reconcilers.push_back(std::make_unique<NodeController>(keys, clock));
  reconcilers.push_back(std::make_unique<ProjectController>(keys, registry));
  reconcilers.push_back(std::make_unique<InboxController>(keys, store, registry, clock));
  return reconcilers;
}

std::unique_ptr<Controllers> StartControllers(store::Store& store, const ClusterState& state, Listeners& listeners,
                                              registry::Registry& registry, const Clock& clock, Metrics* metrics,
                                              ControllersOptions options) {
  return std::make_unique<AllControllers>(store, state, listeners, registry, clock, metrics, options);
}

}  // namespace isla::controllers
