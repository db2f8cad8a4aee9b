// What every store must have before anything else: meta/cluster and Project `default`.
#include "api/object/object.h"
#include "api/registry/admission.h"
#include "api/registry/registry.h"

namespace isla::registry {

Status Bootstrap(store::Store& store, const store::Keys& keys, const Clock& clock, Random& random) {
  store::Transaction cluster;
  cluster.compares.push_back(store::Compare::Missing(keys.Cluster()));
  cluster.success.push_back(store::Operation::Put(
      keys.Cluster(),
      json::Serialize(json::Value::MakeObject({{"id", NewUuid(random)}, {"epoch", 1}, {"level", kKnownLevel}}))));
  RETURN_IF_ERROR(store.Txn(cluster));
  ASSIGN_OR_RETURN(const ClusterRecord record, ReadCluster(store, keys));
  if (record.closed) return OkStatus();  // an import brings the projects

  const api::Kind& kind = api::ProjectKind();
  json::Value manifest = json::Value::MakeObject({{"apiVersion", api::kApiVersion}, {"kind", kind.kind}});
  manifest.Member("metadata").Set("name", "default");
  manifest.Set("spec", json::Value::MakeObject({{"description", "The project that is always there"}}));
  ASSIGN_OR_RETURN(const json::Value object,
                   PrepareCreate(kind, {}, std::move(manifest), {"system:isla", {}}, clock.Wall(), random));
  const std::string key = keys.Spec(kind.singular, store::kClusterWide, "default");
  store::Transaction project;
  project.compares.push_back(store::Compare::ModRevision(keys.Cluster(), record.mod_revision));
  project.compares.push_back(store::Compare::Missing(key));
  project.success.push_back(store::Operation::Put(key, json::Serialize(object)));
  return store.Txn(project).status();
}

}  // namespace isla::registry
