// The gRPC server of the agents: listeners, and a reactor for each call. gRPC's headers stay in agent_service.cc.
//
// Listens on a unix socket (0600, in a folder of 0700: who can open it is this machine's root or this user) and, if asked,
// on a TLS address where only peers with a certificate of the CA get in; its common name is the node's name.
// Threads: gRPC's. Reactions only queue, and post to the link's strand.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/base/status.h"
#include "controllers/gateway/data_hub.h"
#include "controllers/gateway/node_link.h"

namespace isla::controllers {

struct ListenOptions {
  std::string socket_path;  // "" = none; its folder is made
  std::string address;      // "host:port", "" = none; then all three files are needed
  std::string ca_file, certificate_file, key_file;
};

class AgentService {
 public:
  virtual ~AgentService() = default;
  /// Ends every call with UNAVAILABLE, waits until each is over, and stops listening. Idempotent.
  virtual void Shutdown() = 0;
  /// The port of `address`; 0 if there is none.
  virtual int port() const = 0;

  using StartLink = std::function<std::shared_ptr<NodeLink>(std::shared_ptr<AgentStream>, std::string certificate_name)>;
  /// `hub` must outlive it. INVALID_ARGUMENT, ALREADY_EXISTS (another process listens there) or what the system says.
  static StatusOr<std::unique_ptr<AgentService>> Listen(const ListenOptions& options, StartLink start, DataHub& hub);
};

}  // namespace isla::controllers
