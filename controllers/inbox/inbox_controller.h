// The manifest/ inbox: people and tools with nothing but etcdctl put a manifest there, and the leader applies
// it with the API's own code, as the user "system:inbox".
//
//   manifest/<ns>/<name>         any text; the names in it must agree with the key's ("_" = cluster-wide)
//   manifest-status/<ns>/<name>  the verdict on one mod_revision of it: Applied, Unchanged or Refused, and why
//
// A manifest is applied once for each time that it was put. A bad one gets its verdict and is in nobody's way.
// Deleting a manifest deletes its verdict and no object. One key a manifest.
#pragma once

#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/registry/registry.h"
#include "controllers/runtime/reconciler.h"

namespace isla::controllers {

/// Whether two states of an object have the same of what a manifest says: its status may have moved on in between.
bool SaysTheSame(const json::Value& before, const json::Value& after);

class InboxController final : public Reconciler {
 public:
  /// References must outlive it.
  InboxController(store::Keys keys, store::Store& store, registry::Registry& registry, const Clock& clock)
      : keys_(std::move(keys)), store_(store), registry_(registry), clock_(clock) {}

  std::string_view name() const override { return "inbox"; }
  int workers() const override { return 2; }
  std::vector<std::string> AllKeys(const ClusterState& state) const override { return state.ManifestKeys(); }
  void KeysFor(const Change& change, const ClusterState& state, std::vector<std::string>& keys) const override;
  Decision Reconcile(const std::string& key, const ClusterState& state) const override;

 private:
  struct Outcome {
    std::string verdict;
    std::string message;
  };
  StatusOr<store::Revision> Apply(const ManifestView& view, const std::vector<store::Compare>& fence) const;
  /// What became of it; an error means: try again.
  StatusOr<Outcome> Judge(const ManifestView& view, const std::vector<store::Compare>& conditions) const;
  StatusOr<Outcome> CreateOrUpdate(const api::Kind& kind, const std::string& ns, const std::string& name,
                                   const json::Value& manifest, const std::vector<store::Compare>& conditions) const;

  const store::Keys keys_;
  store::Store& store_;
  registry::Registry& registry_;
  const Clock& clock_;
};

}  // namespace isla::controllers
