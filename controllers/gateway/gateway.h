// The gateway: the control plane's end of the agents' streams (api/proto/isla/v1/agent.proto). An islad that serves has one.
//
// It takes nodes with a term, tells them what bind/ says they should have, writes what they report to run/, and keeps
// node/<name> true. All that it knows is in the store; a stream's memory is only what that one agent was told.
// Failure: a gateway that dies leaves gateway/<id> to its lease, whose end tells the leader that its nodes aren't
// watched; its agents dial again, here or elsewhere, and the next term fences whatever it had under way.
//
// No gRPC in this header. Threads: gRPC's, two for messages (they never block), a few for calls of the store, one for
// timers, one or two for the lease. Every method from any thread.
#pragma once

#include <isla/v1/agent.pb.h>

#include <chrono>
#include <memory>
#include <string>

#include "api/base/clock.h"
#include "api/base/metrics.h"
#include "api/base/status.h"
#include "controllers/gateway/agent_service.h"
#include "controllers/gateway/node_link.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/runtime/informer.h"
#include "store/store.h"

namespace isla::controllers {

struct GatewayOptions {
  /// Names this gateway in the store; must be this process's alone (a process that died keeps its own until the lease ends).
  std::string id;
  ListenOptions listen;
  std::string api_address;  // where other islads reach this one's API; in gateway/<id>
  std::chrono::seconds lease_ttl{10};
  int writers = 8;  // calls of the store at once
  LinkOptions link;  // but gateway_id
  Duration sweep_every = std::chrono::seconds(2);
  Metrics* metrics = nullptr;
};

/// A stream of bytes from a node. Its destructor ends it.
class NodeStream {
 public:
  virtual ~NodeStream() = default;
  /// As server::LogStream::Next.
  virtual StatusOr<std::string> Next() = 0;
  virtual void Notify(std::function<void()> ready) = 0;
};

class Gateway {
 public:
  virtual ~Gateway() = default;  // stops as Stop does

  /// Takes the lease (it goes on trying), listens, and serves. `state` must be fed by the informer that `listeners` hang on.
  /// All references must outlive the gateway.
  static StatusOr<std::unique_ptr<Gateway>> Start(GatewayOptions options, store::Store& store,
                                                  const ClusterState& state, Listeners& listeners,
                                                  const Clock& clock);

  /// Ends every stream, marks the nodes as not connected, and gives the lease up. Blocks for some seconds at most.
  virtual void Stop() = 0;

  /// The log of a container. Blocks until the node answers (5 s at most). UNAVAILABLE: the node isn't connected here, and
  /// the text says where it is. NOT_FOUND: it has no such log.
  virtual StatusOr<std::unique_ptr<NodeStream>> OpenLog(const std::string& node, const isla::v1::LogRequest& request) = 0;

  /// As in gateway/<id>.
  virtual const std::string& id() const = 0;
  virtual size_t connected() const = 0;
  /// The store has answered lately, and says that this gateway is there.
  virtual bool fresh() const = 0;
  /// The threads of timers and messages have come by within `timeout`: they don't hang. Those that call the store may
  /// rightly be busy for long. Not from one of them, nor after Stop.
  virtual bool Responds(Duration timeout) = 0;
  /// The port of listen.address.
  virtual int port() const = 0;
};

}  // namespace isla::controllers
