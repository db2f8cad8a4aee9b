// The node controller: a node whose gateway died is not connected. Its gateway writes connected=false itself
// when a stream ends; only when gateway/<id> is gone, its lease with it, nobody else would. One key a node.
#pragma once

#include <string>
#include <vector>

#include "api/base/clock.h"
#include "controllers/runtime/reconciler.h"

namespace isla::controllers {

class NodeController final : public Reconciler {
 public:
  /// `clock` must outlive it.
  NodeController(store::Keys keys, const Clock& clock) : keys_(std::move(keys)), clock_(clock) {}

  std::string_view name() const override { return "node"; }
  std::vector<std::string> AllKeys(const ClusterState& state) const override { return state.NodeNames(); }
  void KeysFor(const Change& change, const ClusterState& state, std::vector<std::string>& keys) const override;
  Decision Reconcile(const std::string& key, const ClusterState& state) const override;

 private:
  const store::Keys keys_;
  const Clock& clock_;
};

}  // namespace isla::controllers
