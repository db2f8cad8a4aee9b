#include "controllers/node/node_controller.h"

namespace isla::controllers {

using store::Compare;
using store::KeyClass;

void NodeController::KeysFor(const Change& change, const ClusterState& state, std::vector<std::string>& keys) const {
  if (change.key.key_class == KeyClass::kNode) keys.push_back(change.key.name);
  if (change.key.key_class == KeyClass::kGateway) {
    for (std::string& node : state.NodesOfGateway(change.key.name)) keys.push_back(std::move(node));
  }
}

Decision NodeController::Reconcile(const std::string& key, const ClusterState& state) const {
  const NodeView view = state.Node(key);
  if (view.node == nullptr || !view.node->ok() || !view.node->value.connected || view.gateway_alive) return {};
  controllers::Node node = view.node->value;
  node.connected = false;
  node.last_change = RecordTime(clock_.Wall());
  Decision decision;
  decision.what = "disconnected";
  decision.cluster_revision = view.cluster_revision;
  decision.txn = store::Transaction{
      {Compare::ModRevision(view.node->key(), view.node->mod_revision()), Compare::Missing(keys_.Gateway(node.gateway))},
      {store::Operation::Put(view.node->key(), Encode(node))},
      {}};
  return decision;
}

}  // namespace isla::controllers
