// Logs of sessions for the API server: finds the container and its node, and asks the gateway for the stream.
#pragma once

#include <memory>

#include "api/base/mutex.h"
#include "api/server/log_source.h"
#include "controllers/gateway/gateway.h"
#include "controllers/runtime/cluster_state.h"

namespace isla::islad {

class SessionLogs final : public server::LogSource {
 public:
  SessionLogs(const controllers::ClusterState& state, const Clock& clock) : state_(state), clock_(clock) {}

  /// Null: there is none (yet, or any more). Any thread.
  void SetGateway(std::shared_ptr<controllers::Gateway> gateway);
  StatusOr<std::unique_ptr<server::LogStream>> Open(const server::LogRequest& request) override;

 private:
  const controllers::ClusterState& state_;
  const Clock& clock_;
  Mutex mu_;
  std::shared_ptr<controllers::Gateway> gateway_ GUARDED_BY(mu_);
};

}  // namespace isla::islad
