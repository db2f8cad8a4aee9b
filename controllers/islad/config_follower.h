// islad's own settings, applied while it runs: a listener of the informer that looks at the global settings at each
// change of them. What is unset falls back to the flag. (Those of the leader's work are read where it is done.)
// What is stored and can't be used, of any scope, is said here, once a change, by each islad: somebody put it by hand.
// Threads: the informer's.
#pragma once

#include "api/base/log.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/runtime/informer.h"

namespace isla::islad {

class ConfigFollower final : public controllers::ChangeListener {
 public:
  /// Listens from now until its end. Both must outlive it. `level`: the flag's.
  ConfigFollower(const controllers::ClusterState& state, controllers::Listeners& listeners, LogLevel level);
  ~ConfigFollower() override;

  void OnChanges(const std::vector<controllers::Change>& changes, store::Revision revision) override;
  void OnReset() override {}  // the differences follow as changes

 private:
  void ApplyLogLevel(store::Revision revision);

  const controllers::ClusterState& state_;
  controllers::Listeners& listeners_;
  const LogLevel flag_;
  LogLevel applied_;
};

}  // namespace isla::islad
