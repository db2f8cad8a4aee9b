// The project controller: says that a project is Active; empties one that was deleted (marks its sessions
// deleted, one after the other, with their uids), then removes its keys in one transaction. New sessions can't
// come meanwhile: creating compares the project's spec, and the mark changed that. One key a project.
#pragma once

#include <string>
#include <vector>

#include "api/registry/registry.h"
#include "controllers/runtime/reconciler.h"

namespace isla::controllers {

class ProjectController final : public Reconciler {
 public:
  /// `registry` must outlive it.
  ProjectController(store::Keys keys, registry::Registry& registry) : keys_(std::move(keys)), registry_(registry) {}

  std::string_view name() const override { return "project"; }
  std::vector<std::string> AllKeys(const ClusterState& state) const override { return state.ProjectNames(); }
  void KeysFor(const Change& change, const ClusterState& state, std::vector<std::string>& keys) const override;
  Decision Reconcile(const std::string& key, const ClusterState& state) const override;

 private:
  Decision PutStatus(const ProjectView& view, const std::string& phase, const std::string& message) const;
  Decision Empty(const ProjectView& view) const;

  const store::Keys keys_;
  registry::Registry& registry_;
};

}  // namespace isla::controllers
