#include "controllers/project/project_controller.h"

#include <fmt/format.h>

#include "controllers/session/status.h"

namespace isla::controllers {

using store::Compare;
using store::KeyClass;
using store::Operation;

void ProjectController::KeysFor(const Change& change, const ClusterState&, std::vector<std::string>& keys) const {
  const store::ParsedKey& key = change.key;
  const bool object = key.key_class == KeyClass::kSpec || key.key_class == KeyClass::kStatus;
  if (object && key.kind == "project") keys.push_back(key.name);
  // A project that goes waits for what it holds to go.
  if (change.type == Change::Type::kDeleted && (object || key.key_class == KeyClass::kBind) &&
      key.ns != store::kClusterWide) {
    keys.push_back(key.ns);
  }
}

Decision ProjectController::Reconcile(const std::string& key, const ClusterState& state) const {
  const ProjectView view = state.Project(key);
  if (view.spec == nullptr) {
    if (view.status == nullptr) return {};
    Decision decision;
    decision.what = "leftover";
    decision.cluster_revision = view.cluster_revision;
    decision.txn = store::Transaction{
        {Compare::Missing(keys_.Spec("project", store::kClusterWide, key)),
         Compare::ModRevision(view.status->key(), view.status->mod_revision())},
        {Operation::Delete(view.status->key())},
        {}};
    return decision;
  }
  if (!view.spec->ok()) return {};
  if (view.spec->value.meta.deleting()) return Empty(view);
  return PutStatus(view, "Active", "");
}

Decision ProjectController::PutStatus(const ProjectView& view, const std::string& phase,
                                      const std::string& message) const {
  const ObjectMeta& meta = view.spec->value.meta;
  const bool ours = view.status != nullptr && view.status->ok() && view.status->value.uid == meta.uid;
  json::Value status = ours ? view.status->value.status : json::Value::MakeObject();
  status.Set("phase", phase);
  if (message.empty()) {
    status.Remove("message");
  } else {
    status.Set("message", message);
  }
  if (ours && status == view.status->value.status && view.status->value.observed_generation == meta.generation) {
    return {};
  }
  const std::string key = keys_.Status("project", store::kClusterWide, view.name);
  Decision decision;
  decision.what = "status";
  decision.cluster_revision = view.cluster_revision;
  decision.txn = store::Transaction{{Compare::ModRevision(view.spec->key(), view.spec->mod_revision()),
                                     Compare::ModRevision(key, ModRevision(view.status))},
                                    {Operation::Put(key, EncodeStatus(meta, status, nullptr))},
                                    {}};
  return decision;
}

Decision ProjectController::Empty(const ProjectView& view) const {
  for (const ProjectView::Content& content : view.content) {
    const api::Kind* const kind = api::FindKind(content.kind);
    if ((content.kind != "session" && content.kind != "sandboxpolicy") || content.deleting) continue;
    Decision decision;
    decision.what = "delete-" + content.kind;
    decision.request = [this, ns = view.name, content, kind](const std::vector<Compare>& fence) -> StatusOr<store::Revision> {
      registry::DeleteOptions options;
      options.caller = {"system:project-controller", {"system:controllers"}};
      options.uid = content.uid;
      options.conditions = fence;
      const auto result = registry_.Delete(*kind, ns, content.name, options);
      if (!result.ok() && result.status().code() != Code::kNotFound) return result.status();
      // The cache may not know yet; then it is asked to go once more, and goes on going.
      return store::Revision{0};
    };
    return decision;
  }
  if (!view.content.empty()) {
    std::string names;
    for (const ProjectView::Content& content : view.content) {
      if (names.size() > 200) {
        names += ", ...";
        break;
      }
      names += (names.empty() ? "" : ", ") + content.kind + " " + content.name;
    }
    return PutStatus(view, "Terminating", fmt::format("{} left: {}", view.content.size(), names));
  }
  Decision decision;
  decision.what = "remove";
  decision.cluster_revision = view.cluster_revision;
  const std::string status = keys_.Status("project", store::kClusterWide, view.name);
  store::Transaction txn;
  txn.compares = {Compare::ModRevision(view.spec->key(), view.spec->mod_revision()),
                  Compare::ModRevision(status, ModRevision(view.status))};
  for (const std::string& key : view.leftover_keys) {
    if (txn.success.size() < 100) txn.success.push_back(Operation::Delete(key));
  }
  // The project goes last: what is left over would have no owner any more.
  if (view.leftover_keys.size() <= 100) {
    txn.success.push_back(Operation::Delete(view.spec->key()));
    if (view.status != nullptr) txn.success.push_back(Operation::Delete(status));
  }
  decision.txn = std::move(txn);
  return decision;
}

}  // namespace isla::controllers
