// isla-agentd as a whole: builds the objects from bottom to top, runs the loop until SIGTERM, takes them down in
// reverse. Containers are left as they are.
#pragma once

#include <string>
#include <vector>

#include "api/base/log.h"
#include "api/base/status.h"

namespace isla::agent {

struct AgentOptions {
  std::string node;
  std::vector<std::string> gateways;
  std::string tls_ca, tls_cert, tls_key;
  std::string state_dir = "/var/lib/isla/agentd";
  std::string run_dir = "/run/isla/containers";
  std::string node_config = "/etc/isla/node.json";
  std::string shim;
  std::string init;
  std::string supervisor;
  std::string policyc;
  std::string version;
  LogLevel log_level = LogLevel::kInfo;  // the flag's: what holds while no setting says otherwise
};

/// Blocks SIGTERM, SIGINT, SIGHUP and SIGCHLD, and ignores SIGPIPE: call it before any thread exists.
void PrepareSignals();

/// Runs until SIGTERM or SIGINT. An error: it could not start, or its loop failed. The exit code otherwise.
StatusOr<int> RunAgent(const AgentOptions& options);

}  // namespace isla::agent
