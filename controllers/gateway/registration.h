// A node's registration in the store: nodeterm/<node> and node/<node>. Each function is a read and a fenced write; they
// block, and are called on a thread for that.
#pragma once

#include <isla/v1/agent.pb.h>

#include <functional>
#include <optional>
#include <string>

#include "api/base/clock.h"
#include "api/base/status.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/runtime/records.h"
#include "store/store.h"

namespace isla::controllers {

/// One word and a text for people, as a Refusal carries them.
struct Refused {
  std::string reason;
  std::string message;
};

/// What is wrong with a Hello by itself. `certificate_name`: of the peer's certificate; "" = a local peer.
std::optional<Refused> CheckHello(const isla::v1::Hello& hello, const std::string& certificate_name);

struct Registration {
  int64_t term = 0;
  store::Revision fence = 0;  // mod_revision of nodeterm/<node>: every later write compares it
  bool went_back = false;     // the agent knew a higher term than the store: that is a backup
  int64_t stored_term = 0;
  int64_t epoch = 1;          // the cluster's, as of this registration
};

struct RegistrationOptions {
  std::string gateway_id;
  store::Revision gateway_created = 0;  // create_revision of gateway/<id>
  std::string stream;                   // unique; tells this registration from another of the same gateway
};

struct RegistrationOutcome {
  Status status;                   // OK: `registration` holds, or `refused` is set
  std::optional<Refused> refused;
  Registration registration;
};

/// Takes the node: term = the highest known + 1, node/<node> connected and ours. Refused: its uid is another's, or
/// it is served already, elsewhere, under another boot of the machine. ABORTED: changed meanwhile, try again.
/// An agent that knows a higher term than the store tells that a backup was restored: meta/cluster's epoch is raised in the
/// same transaction, once for each restore.
RegistrationOutcome Register(store::Store& store, const ClusterState& state, const Clock& clock,
                             const isla::v1::Hello& hello, const RegistrationOptions& options);

/// Writes the epoch to meta/cluster that `state` found to have begun, if it isn't there yet: once for each restore, however
/// many gateways saw it. ABORTED, or what the store says: call again.
Status RaiseEpoch(store::Store& store, const ClusterState& state);

/// Changes node/<node> by `change` (false: nothing to change, nothing is written) while nodeterm/<node> has the revision
/// `fence`. FAILED_PRECONDITION: it has another: the node isn't ours any more.
Status UpdateNode(store::Store& store, const ClusterState& state, const std::string& node, store::Revision fence,
                  const std::function<bool(Node&)>& change, store::Deadline deadline);

}  // namespace isla::controllers
